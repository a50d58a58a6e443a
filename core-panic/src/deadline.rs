//! The deadline of what runs: who may cut it short, and how a late shot hits nothing.
//!
//! One word holds (generation, state). Each body – a step, a notifier, a link of the final chain – gets
//! a generation of its own:
//!
//! ```text
//!              begin(g)                  end(g)
//!   Idle ────────────────▶ Running(g) ──────────────▶ Done(g)      the owner
//!                              │
//!                              │ fire(g)       sent(g)
//!                              └─────▶ Firing(g) ─────▶ Sent(g)    a watcher
//! ```
//!
//! A watcher takes `Running(g)` to `Firing(g)` *before* it sends the NMI. So when the owner's `end(g)`
//! finds `Running(g)`, no shot for g exists and none will; when it does not, a shot is on its way, and
//! the owner waits (bounded) for it and consumes it. The NMI handler abandons the body only if the
//! word still names the body's generation and the owner has not begun to end it; every other NMI
//! returns. No shot meant for one body can hit another.

use hal::sync::{AtomicU64, Ordering};

/// What the word says about a generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Nothing was begun yet.
    Idle,
    /// A body runs.
    Running,
    /// A watcher found it too late and is about to send.
    Firing,
    /// The NMI was sent.
    Sent,
    /// The body is over.
    Done,
    /// Nobody may fire any more: the owner is about to leave this kernel.
    Retired,
    /// No shot was answered: a watcher is about to take the panic over. An owner that comes back to life
    /// goes nowhere before the claim has said which of the two goes on ([`crate::claim::Claim::outlive`]).
    Dead,
}

const STATES: [State; 7] =
    [State::Idle, State::Running, State::Firing, State::Sent, State::Done, State::Retired, State::Dead];

/// A generation and its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shot {
    /// Counts bodies.
    pub generation: u64,
    /// What became of it.
    pub state: State,
}

impl Shot {
    const fn word(self) -> u64 {
        (self.generation << 8) | self.state as u64
    }
    fn from_word(word: u64) -> Shot {
        let state = STATES.get((word & 0xff) as usize).copied().unwrap_or(State::Idle);
        Shot { generation: word >> 8, state }
    }
}

/// What an NMI on the owner means for what runs there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hit {
    /// Its time is over: abandon it.
    Late,
    /// The timer that watches it fired by a clock that is ahead of this one: this much is left, ns. It must
    /// be set again, since it fires once.
    Early(u64),
    /// Nothing: the NMI is somebody else's.
    Not,
}

/// The word and what belongs to it.
pub struct Deadline {
    word: AtomicU64,
    /// Generation that its owner has begun to end: from here on an NMI no longer abandons it.
    ending: AtomicU64,
    /// Generation whose shot has arrived.
    taken: AtomicU64,
    /// Generation that a timer watches.
    timed: AtomicU64,
    began_ns: AtomicU64,
    limit_ns: AtomicU64,
}

impl Deadline {
    hal::const_unless_loom! {
        /// Nothing runs.
        #[allow(clippy::new_without_default)] // a static's initialiser
        pub fn new() -> Self {
            Deadline {
                word: AtomicU64::new(0),
                ending: AtomicU64::new(0),
                taken: AtomicU64::new(0),
                timed: AtomicU64::new(0),
                began_ns: AtomicU64::new(0),
                limit_ns: AtomicU64::new(0),
            }
        }
    }

    /// The word.
    pub fn now(&self) -> Shot {
        Shot::from_word(self.word.load(Ordering::Acquire))
    }

    /// How long the body that runs may take, ns.
    pub fn limit_ns(&self) -> u64 {
        self.limit_ns.load(Ordering::Acquire)
    }

    fn change(&self, from: Shot, to: State) -> bool {
        let to = Shot { state: to, ..from };
        self.word.compare_exchange(from.word(), to.word(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Owner: a body begins at `now_ns` and may take `limit_ns`. Returns its generation.
    pub fn begin(&self, now_ns: u64, limit_ns: u64) -> u64 {
        let generation = self.now().generation + 1;
        self.began_ns.store(now_ns, Ordering::Release);
        self.limit_ns.store(limit_ns, Ordering::Release);
        // An exchange, here and in `settle`: it takes its place after whatever a watcher wrote.
        self.word.swap(Shot { generation, state: State::Running }.word(), Ordering::AcqRel);
        generation
    }

    /// Owner: a timer is about to be armed for this generation.
    pub fn timed(&self, generation: u64) {
        self.timed.store(generation, Ordering::Release);
    }

    /// Owner: the body is over, for `to` (`Done` or `Retired`). False if a shot for it is on its way:
    /// wait for [`Deadline::arrived`], then call [`Deadline::settle`].
    pub fn end(&self, generation: u64, to: State) -> bool {
        self.ending.store(generation, Ordering::Release);
        self.change(Shot { generation, state: State::Running }, to)
    }

    /// Whether the shot of this generation has arrived.
    pub fn arrived(&self, generation: u64) -> bool {
        self.taken.load(Ordering::Acquire) >= generation
    }

    /// Owner: whatever there was for this generation is over. A watcher that is still between
    /// `Firing` and `Sent` finds its word gone. Does nothing once another generation runs: an owner that
    /// comes back to life after a takeover must not switch off the watch over its heir.
    ///
    /// False, and nothing changed: a watcher has taken the owner for dead.
    #[must_use]
    pub fn settle(&self, generation: u64, to: State) -> bool {
        // A watcher changes the word at most three times per generation.
        for _ in 0..4 {
            let shot = self.now();
            if shot.generation == generation && shot.state == State::Dead {
                return false;
            }
            if shot.generation != generation || self.change(shot, to) {
                return true;
            }
        }
        false
    }

    /// Whoever has the panic, and keeps it: what was found dead in this generation is over.
    pub fn bury(&self, generation: u64, to: State) {
        let shot = self.now();
        if shot.generation == generation {
            // Nobody else changes a word that says dead.
            self.change(shot, to);
        }
    }

    /// Watcher: it is too late for this generation. True: send the NMI, then call
    /// [`Deadline::sent`].
    pub fn fire(&self, generation: u64) -> bool {
        self.change(Shot { generation, state: State::Running }, State::Firing)
    }

    /// Watcher: the NMI was sent.
    pub fn sent(&self, generation: u64) {
        self.change(Shot { generation, state: State::Firing }, State::Sent);
    }

    /// Watcher: no shot was answered. True: take the panic over; the owner has not left, and from here on
    /// cannot before the claim has decided.
    pub fn kill(&self, generation: u64) -> bool {
        let shot = self.now();
        let unanswered = matches!(shot.state, State::Firing | State::Sent | State::Dead);
        shot.generation == generation && unanswered && self.change(shot, State::Dead)
    }

    /// NMI handler on the owner: is this the shot for what runs? `now_ns` decides for an NMI that came
    /// from a timer, for which nobody wrote `Firing`.
    pub fn hit(&self, now_ns: u64) -> Hit {
        let shot = self.now();
        let ending = self.ending.load(Ordering::Acquire) == shot.generation;
        let late = match shot.state {
            // Also one that comes too late for the watcher: it gets this CPU out of what it hangs in.
            State::Firing | State::Sent | State::Dead => true,
            State::Running => {
                let began_ns = self.began_ns.load(Ordering::Acquire);
                // The reading at the start was ahead of the clock. Time counts from here on: else no shot would
                // ever be late.
                if began_ns > now_ns {
                    self.began_ns.store(now_ns, Ordering::Release);
                }
                let took = now_ns.saturating_sub(began_ns);
                let left = self.limit_ns().saturating_sub(took);
                if left > 0 && !ending && self.timed.load(Ordering::Acquire) == shot.generation {
                    return Hit::Early(left);
                }
                left == 0 && self.change(shot, State::Sent)
            }
            _ => false,
        };
        // Timer and watcher may both shoot at what began before there was a watcher: the second one finds the re-entry that
        // the first one brought about.
        let first = late && self.taken.fetch_max(shot.generation, Ordering::AcqRel) < shot.generation;
        if first && !ending { Hit::Late } else { Hit::Not }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_shot_hits_what_it_was_meant_for() {
        let deadline = Deadline::new();
        let generation = deadline.begin(0, 10);
        assert_eq!(deadline.hit(5), Hit::Not, "an NMI from outside");
        assert!(deadline.fire(generation));
        deadline.sent(generation);
        assert_eq!(deadline.hit(5), Hit::Late);
        assert!(deadline.arrived(generation));
    }

    #[test]
    fn what_is_late_is_abandoned_once() {
        let deadline = Deadline::new();
        let first = deadline.begin(0, 10);
        deadline.timed(first);
        assert!(deadline.fire(first));
        assert_eq!(deadline.hit(20), Hit::Late, "the timer's");
        deadline.sent(first);
        assert_eq!(deadline.hit(21), Hit::Not, "the watcher's finds the re-entry");
        assert!(deadline.settle(first, State::Done));
        deadline.timed(deadline.begin(30, 10));
        assert_eq!(deadline.hit(40), Hit::Late, "what comes next has a time of its own");
    }

    #[test]
    fn a_late_shot_hits_nothing() {
        let deadline = Deadline::new();
        let first = deadline.begin(0, 10);
        assert!(deadline.end(first, State::Done));
        assert!(!deadline.fire(first), "nothing to fire at");
        assert_eq!(deadline.hit(100), Hit::Not);
        let second = deadline.begin(100, 10);
        assert!(!deadline.fire(first), "another one runs by now");
        assert_eq!(deadline.hit(105), Hit::Not);
        assert!(deadline.fire(second));
        assert!(!deadline.end(second, State::Done), "a shot is on its way");
        assert_eq!(deadline.hit(106), Hit::Not, "the body is over");
        assert!(deadline.arrived(second));
    }

    #[test]
    fn a_timer_needs_nobody_to_fire() {
        let deadline = Deadline::new();
        let generation = deadline.begin(100, 10);
        assert_eq!(deadline.hit(109), Hit::Not, "no timer was armed");
        deadline.timed(generation);
        assert_eq!(deadline.hit(108), Hit::Early(2));
        assert_eq!(deadline.hit(110), Hit::Late);
        assert!(!deadline.fire(generation), "one shot is enough");
    }

    #[test]
    fn nobody_fires_at_who_has_retired() {
        let deadline = Deadline::new();
        let generation = deadline.begin(0, 10);
        assert!(deadline.end(generation, State::Retired));
        assert!(!deadline.fire(generation));
        assert_eq!(deadline.hit(1_000), Hit::Not);
    }

    #[test]
    fn who_was_taken_for_dead_goes_nowhere_by_itself() {
        let deadline = Deadline::new();
        let generation = deadline.begin(0, 10);
        assert!(!deadline.kill(generation), "no shot was sent");
        assert!(deadline.fire(generation));
        deadline.sent(generation);
        assert!(deadline.kill(generation));
        for to in [State::Done, State::Retired] {
            assert!(!deadline.settle(generation, to));
        }
        assert_eq!(deadline.hit(5), Hit::Late, "a shot that comes at last");
        deadline.bury(generation, State::Done);
        assert!(!deadline.kill(generation));
        assert!(deadline.settle(generation, State::Done));
    }

    #[test]
    fn one_reading_that_is_ahead_delays_a_deadline_once() {
        let deadline = Deadline::new();
        let generation = deadline.begin(1_000_000, 10);
        deadline.timed(generation);
        assert_eq!(deadline.hit(5), Hit::Early(10));
        assert_eq!(deadline.hit(15), Hit::Late);
    }

    #[test]
    fn a_timer_is_not_set_again_for_what_is_over() {
        let deadline = Deadline::new();
        let generation = deadline.begin(0, 10);
        deadline.timed(generation);
        assert_eq!(deadline.hit(1), Hit::Early(9));
        assert!(deadline.end(generation, State::Done));
        assert_eq!(deadline.hit(2), Hit::Not);
        deadline.begin(3, 10);
        assert_eq!(deadline.hit(4), Hit::Not, "this one has no timer");
    }
}
