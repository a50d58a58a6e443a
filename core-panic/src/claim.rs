//! Who owns the panic (P1).
//!
//! One word, `panic_cpu`: the owner's number + 1 in the low half, the epoch in the high half, 0 while
//! there is no panic. It changes by compare-exchange only. What each party does:
//!
//! * the winner goes through the steps;
//! * a loser saves its registers and parks; it stays stoppable, since it is parked like any other;
//! * the owner that enters again is a re-entry ([`crate::sequence`]);
//! * a CPU that is coming up publishes `online`, then reads the word; the owner writes the word, then
//!   takes the snapshot of who is online. A sequentially consistent fence stands between in both, so
//!   at least one of the two sees the other: no CPU slips through.

use hal::CpuId;
use hal::sync::{AtomicU64, Ordering, fence};

/// The word `panic_cpu`.
pub struct Claim {
    word: AtomicU64,
}

/// What somebody who panics is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entered {
    /// Nobody owned the panic: it is yours.
    Owner,
    /// It was yours already: this is a re-entry.
    Again,
    /// It is another's: park.
    Lost(CpuId),
}

impl Claim {
    /// No panic.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)] // a static's initialiser
    pub const fn new() -> Self {
        Claim { word: AtomicU64::new(0) }
    }

    /// No panic.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Claim { word: AtomicU64::new(0) }
    }

    /// `me` panics.
    pub fn enter(&self, me: CpuId) -> Entered {
        let mine = me.index() as u64 + 1;
        match self.word.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // Pairs with the fence in `published`: the claim is visible before the snapshot of
                // who is online is taken.
                fence(Ordering::SeqCst);
                Entered::Owner
            }
            Err(word) => match owner_of(word) {
                Some(owner) if owner == me => Entered::Again,
                Some(owner) => Entered::Lost(owner),
                // The word is never a number that is no CPU; a stray write could make it one. Then
                // nobody is known to be in charge, and parking everybody would be a silent hang.
                None => Entered::Again,
            },
        }
    }

    /// Called by a CPU after it published itself as online: the owner, if there is a panic, and then
    /// the caller must park.
    pub fn published(&self) -> Option<CpuId> {
        fence(Ordering::SeqCst);
        self.owner()
    }

    /// The owner, if there is a panic.
    pub fn owner(&self) -> Option<CpuId> {
        owner_of(self.word.load(Ordering::Acquire))
    }

    /// The word as it goes into the record.
    pub fn raw(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }
}

fn owner_of(word: u64) -> Option<CpuId> {
    (word as u32).checked_sub(1).and_then(|cpu| CpuId::new(cpu as usize))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn one_wins() {
        let claim = Claim::new();
        let (zero, one) = (CpuId::BOOT, CpuId::new(1).unwrap());
        assert_eq!(claim.published(), None);
        assert_eq!(claim.enter(one), Entered::Owner);
        assert_eq!(claim.enter(zero), Entered::Lost(one));
        assert_eq!(claim.enter(one), Entered::Again);
        assert_eq!(claim.published(), Some(one));
    }
}
