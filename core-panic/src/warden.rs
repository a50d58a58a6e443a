//! The warden: a parked CPU that watches the owner.
//!
//! The first CPU to park becomes the warden, the next one its standby; both poll instead of sleeping,
//! all others give the host their core. The warden counts the time of what the owner runs, in polls: a
//! gap of more than 10 ms between two polls counts as 10 ms, so that a warden which was not running
//! for a while does not take its own absence for the owner's. When the time is over it fires
//! ([`crate::deadline`]). When two shots stay unanswered for a second each, the owner is dead, and the
//! warden takes over, once.
//!
//! A warden touches nothing but its own stack, the clock, these words and the NMI.

use crash_record::layout::slot;
use crash_record::names::Role;
use hal::nmi::Nmi;
use hal::sync::{AtomicU32, AtomicU64, Ordering, fence};
use hal::{CpuId, Platform};

use crate::deadline::State;
use crate::sequence::Panic;

/// The most that a gap between two polls counts, ns.
pub(crate) const MOST_GAP_NS: u64 = 10_000_000;
/// How long a shot, or a warden's heartbeat, may stay without an answer, ms.
pub(crate) const ANSWER_MS: u64 = 1_000;

/// Who watches.
pub(crate) struct Wardens {
    warden: AtomicU32,
    standby: AtomicU32,
    beats: AtomicU64,
}

impl Wardens {
    hal::const_unless_loom! {
        /// Nobody watches.
        pub(crate) fn new() -> Self {
            Wardens { warden: AtomicU32::new(0), standby: AtomicU32::new(0), beats: AtomicU64::new(0) }
        }
    }

    /// Whether somebody watches the body that has just begun.
    pub(crate) fn watch(&self) -> bool {
        // Pairs with the fence in `stand_by`: this CPU began a body and looks for a watcher; a watcher
        // leaves its place and looks for a body. One of them sees the other.
        fence(Ordering::SeqCst);
        self.warden.load(Ordering::Acquire) != 0
    }

    /// Nobody has a place any more; whoever parks from here on may.
    pub(crate) fn dismiss(&self) {
        self.warden.store(0, Ordering::Release);
        self.standby.store(0, Ordering::Release);
    }

    fn leave(word: &AtomicU32, me: CpuId) {
        let _ = word.compare_exchange(me.index() as u32 + 1, 0, Ordering::AcqRel, Ordering::Acquire);
    }

    fn claim(word: &AtomicU32, from: u32, me: CpuId) -> bool {
        let mine = me.index() as u32 + 1;
        match word.compare_exchange(from, mine, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            // It had the place already, and a fault threw it out of it.
            Err(now) => now == mine,
        }
    }
}

/// Time in polls. A poll counts at least what an iteration takes: a clock that stands still does not
/// stop the watch.
struct Polls {
    last: u64,
    total: u64,
}

impl Polls {
    fn start(now: u64) -> Self {
        Polls { last: now, total: 0 }
    }
    fn poll<P: Platform>(&mut self, now: u64) -> u64 {
        let gap = now.saturating_sub(self.last).clamp(P::LEAST_ITERATION_NS, MOST_GAP_NS);
        self.last = now;
        self.total = self.total.saturating_add(gap);
        self.total
    }
}

impl<P: Platform> Panic<'_, P> {
    /// What a CPU does that has just parked: take a role if one is free. Returns when it has none.
    pub(crate) fn stand_by(&self, me: CpuId) {
        // Without NMIs there is nothing to fire with.
        if self.platform.nmi().is_err() {
            return;
        }
        loop {
            let had_role = if Wardens::claim(&self.wardens.warden, 0, me) {
                self.role(me, Role::Warden);
                self.watch_owner(me);
                true
            } else if Wardens::claim(&self.wardens.standby, 0, me) {
                self.role(me, Role::Standby);
                if self.watch_warden(me) {
                    self.role(me, Role::Warden);
                    self.watch_owner(me);
                }
                true
            } else {
                false
            };
            // An empty place says so: else nobody would look for another watcher.
            Wardens::leave(&self.wardens.warden, me);
            Wardens::leave(&self.wardens.standby, me);
            fence(Ordering::SeqCst);
            // A jump that failed at once: the owner has begun the next body, saw this CPU in its place and
            // relies on it.
            if !had_role || self.deadline.now().state == State::Retired {
                break;
            }
        }
        self.role(me, Role::None);
    }

    fn role(&self, me: CpuId, role: Role) {
        self.record.set_slot(me, slot::ROLE, u64::from(role.number()));
    }

    /// The standby's loop. True if the warden's heartbeat has stopped and its place is taken.
    fn watch_warden(&self, me: CpuId) -> bool {
        let warden = self.wardens.warden.load(Ordering::Acquire);
        let mut seen = self.wardens.beats.load(Ordering::Acquire);
        let mut polls = Polls::start(self.platform.now_ns());
        loop {
            if self.deadline.now().state == State::Retired {
                return false;
            }
            let beats = self.wardens.beats.load(Ordering::Acquire);
            if beats != seen {
                seen = beats;
                polls = Polls::start(self.platform.now_ns());
            } else if polls.poll::<P>(self.platform.now_ns()) >= self.config().deadline_ns(ANSWER_MS) {
                // The place is free when the warden took the panic over.
                return Wardens::claim(&self.wardens.warden, warden, me)
                    || Wardens::claim(&self.wardens.warden, 0, me);
            }
            self.platform.relax();
        }
    }

    /// The warden's loop. Returns when the owner has retired.
    fn watch_owner(&self, me: CpuId) {
        let mut watched = 0;
        let mut polls = Polls::start(self.platform.now_ns());
        loop {
            self.wardens.beats.fetch_add(1, Ordering::AcqRel);
            let shot = self.deadline.now();
            match shot.state {
                State::Retired => return,
                State::Running if shot.generation != watched => {
                    watched = shot.generation;
                    polls = Polls::start(self.platform.now_ns());
                }
                State::Running => {
                    let late = polls.poll::<P>(self.platform.now_ns()) >= self.deadline.limit_ns();
                    if late && self.deadline.fire(watched) {
                        self.shoot(me, watched);
                    }
                }
                // A warden before this one, or this one before it was thrown out, began to fire and got no
                // further.
                State::Firing | State::Sent | State::Dead if !self.deadline.arrived(shot.generation) => {
                    self.shoot(me, shot.generation);
                }
                _ => {}
            }
            self.platform.relax();
        }
    }

    /// Two NMIs, each with a second to answer; then the owner is dead.
    fn shoot(&self, me: CpuId, generation: u64) {
        let Some(owner) = self.claim.owner() else { return };
        let Ok(nmi) = self.platform.nmi() else { return };
        for _ in 0..2 {
            // Whether it was accepted does not matter: what counts is whether it is answered.
            let _ = nmi.send(owner);
            self.deadline.sent(generation);
            let mut polls = Polls::start(self.platform.now_ns());
            while polls.poll::<P>(self.platform.now_ns()) < self.config().deadline_ns(ANSWER_MS) {
                self.wardens.beats.fetch_add(1, Ordering::AcqRel);
                let shot = self.deadline.now();
                if self.deadline.arrived(generation)
                    || shot.generation != generation
                    || shot.state == State::Retired
                {
                    return;
                }
                self.platform.relax();
            }
        }
        if self.deadline.kill(generation) {
            self.take_over(me, owner);
        }
    }
}
