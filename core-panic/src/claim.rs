//! Who owns the panic (P1).
//!
//! One word, `panic_cpu`: the owner's number + 1 in the low half, the epoch in the high half, 0 while
//! there is no panic. It changes by compare-exchange only: once from nobody to the owner, and after
//! that at most once by a redirect and once by a takeover, each of which has a bit of the epoch. What
//! each party does:
//!
//! * the winner goes through the steps;
//! * a loser saves its registers and parks; it stays stoppable, since it is parked like any other;
//! * the owner that enters again is a re-entry ([`crate::sequence`]);
//! * a CPU that is coming up publishes `online`, then reads the word; the owner writes the word, then
//!   takes the snapshot of who is online. A sequentially consistent fence stands between in both, so
//!   at least one of the two sees the other: no CPU slips through.

use hal::CpuId;
use hal::sync::{AtomicU64, Ordering, fence};

/// Set in the word once ownership was moved, or could have been, by a redirect.
const REDIRECTED: u64 = 1 << 32;
/// Set in the word once ownership was taken from a dead owner, or an owner that was taken for dead has kept it.
const TAKEN_OVER: u64 = 1 << 33;

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
    hal::const_unless_loom! {
        /// No panic.
        #[allow(clippy::new_without_default)] // a static's initialiser
        pub fn new() -> Self {
            Claim { word: AtomicU64::new(0) }
        }
    }

    /// `me` panics.
    pub fn enter(&self, me: CpuId) -> Entered {
        let mine = me.index() as u64 + 1;
        let mut free = 0;
        // Twice at the most, but for others that win meanwhile: then somebody owns it.
        loop {
            match self.word.compare_exchange(free, mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => {
                    // Pairs with the fence in `published`: the claim is visible before the snapshot of
                    // who is online is taken.
                    fence(Ordering::SeqCst);
                    return Entered::Owner;
                }
                Err(word) => match owner_of(word) {
                    Some(owner) if owner == me => return Entered::Again,
                    Some(owner) => return Entered::Lost(owner),
                    // The word is never a number that is no CPU; a stray write could make it one. Then
                    // nobody is in charge, and it is claimed like a free one: one wins.
                    None => free = word,
                },
            }
        }
    }

    /// Called by a CPU after it published itself as online: the owner, if there is a panic, and then
    /// the caller must park.
    pub fn published(&self) -> Option<CpuId> {
        fence(Ordering::SeqCst);
        self.owner()
    }

    fn pass_on(&self, from: CpuId, to: CpuId, flag: u64) -> bool {
        let word = self.word.load(Ordering::Acquire);
        if owner_of(word) != Some(from) || word & flag != 0 {
            return false;
        }
        let new = (to.index() as u64 + 1) | (word & !0xffff_ffff) | flag;
        let moved = self.word.compare_exchange(word, new, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if moved {
            fence(Ordering::SeqCst);
        }
        moved
    }

    /// `to` accepts the panic that `from` redirects to it; or, with `to` equal to `from`, the origin
    /// withdraws. Whichever comes first; the other one gets false. Once per panic.
    pub fn redirect(&self, from: CpuId, to: CpuId) -> bool {
        self.pass_on(from, to, REDIRECTED)
    }

    /// `to` takes the panic from `from`, which is dead. Once per panic.
    pub fn take_over(&self, from: CpuId, to: CpuId) -> bool {
        self.pass_on(from, to, TAKEN_OVER)
    }

    /// The owner `me` was taken for dead and is not: from here on nobody takes the panic from it. False if
    /// somebody has.
    pub fn outlive(&self, me: CpuId) -> bool {
        self.pass_on(me, me, TAKEN_OVER) || self.owner() == Some(me)
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

    #[test]
    fn a_destroyed_word_is_claimed_by_one() {
        let claim = Claim { word: AtomicU64::new(0xdead_beef) };
        let (zero, one) = (CpuId::BOOT, CpuId::new(1).unwrap());
        assert_eq!(claim.enter(one), Entered::Owner);
        assert_eq!(claim.enter(zero), Entered::Lost(one));
    }

    #[test]
    fn who_outlives_its_death_keeps_the_panic() {
        let claim = Claim::new();
        let (zero, one) = (CpuId::BOOT, CpuId::new(1).unwrap());
        claim.enter(zero);
        assert!(claim.outlive(zero) && claim.outlive(zero));
        assert!(!claim.take_over(zero, one));
        assert_eq!(claim.owner(), Some(zero));
    }

    #[test]
    fn it_moves_once_each_way() {
        let claim = Claim::new();
        let [zero, one, two] = [0, 1, 2].map(|cpu| CpuId::new(cpu).unwrap());
        assert!(!claim.take_over(zero, one), "there is no panic");
        claim.enter(zero);
        assert!(!claim.take_over(one, two), "it is another's");
        assert!(claim.redirect(zero, one));
        assert!(!claim.redirect(zero, zero), "too late to withdraw");
        assert!(!claim.redirect(one, two), "once");
        assert!(claim.take_over(one, two));
        assert!(!claim.take_over(two, zero), "once");
        assert!(claim.outlive(two) && !claim.outlive(one));
        assert_eq!(claim.owner(), Some(two));
    }
}
