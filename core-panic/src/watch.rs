//! How a body runs under a deadline, and how the watch over it ends.

use crash_lock::Authority;
use crash_record::names::Step;
use hal::nmi::Strength;
use hal::sync::Ordering;
use hal::timer::DeadlineTimer;
use hal::{CpuId, Platform};

use crate::deadline::{Shot, State};
use crate::sequence::Panic;

/// The least time that a timer which fired too early is set to again, ns: so that a clock that lags far
/// behind makes a few of them and not a storm.
const LEAST_EXTENSION_NS: u64 = 1_000_000;

/// How long a shot that is on its way is waited for, ms.
pub(crate) const COLLECT_MS: u64 = 2_000;

/// Said: the timer that watches can be masked.
const MASKABLE: u32 = 1;
/// Said: nobody watches.
const UNWATCHED: u32 = 2;

impl<P: Platform> Panic<'_, P> {
    /// Runs a body under a deadline. The watcher is the warden, or else the timer; where there is
    /// neither, the record says so.
    pub(crate) fn watched<T>(&self, me: CpuId, limit_ms: u64, body: impl FnOnce() -> T) -> T {
        let limit = self.config().deadline_ns(limit_ms);
        let generation = self.deadline.begin(self.platform.now_ns(), limit);
        if !self.wardens.watch() {
            self.deadline.timed(generation);
            let armed = self.platform.timer().map(|timer| timer.arm(limit));
            let sure = matches!(armed, Ok(Ok(Strength::NonMaskable | Strength::NonMaskableNesting)));
            // Each is said once, and neither for the other: a timer that is maskable here may be refused at a later step.
            let what = if matches!(armed, Ok(Ok(_))) { MASKABLE } else { UNWATCHED };
            if !sure && self.unwatched.fetch_or(what, Ordering::AcqRel) & what == 0 {
                let step = self.current().map_or(Step::Claim, |spec| spec.step);
                match armed {
                    Err(unsupported) => self.note(me, step, format_args!("unwatched: {unsupported}")),
                    Ok(Ok(_)) => self.note(me, step, format_args!("the timer of this machine is maskable")),
                    Ok(result) => self.note(me, step, format_args!("unwatched: timer: {result:?}")),
                }
            }
        }
        let result = body();
        self.gate(me);
        self.no_longer_watched(me, generation);
        self.gate(me);
        result
    }

    /// The timer fired too early for what runs; or somebody else's NMI came, which looks the same and is
    /// answered the same way.
    pub(crate) fn extend(&self, left_ns: u64) {
        if let Ok(timer) = self.platform.timer() {
            timer.extend(left_ns.max(LEAST_EXTENSION_NS));
        }
    }

    fn no_longer_watched(&self, me: CpuId, generation: u64) {
        // A body that retired and came back (a jump that failed) has settled already. The word comes first:
        // after it no handler sets the timer again.
        let ended = self.deadline.now().state == State::Retired || self.deadline.end(generation, State::Done);
        if let Ok(timer) = self.platform.timer() {
            timer.disarm();
        }
        if !ended {
            self.collect(generation);
            self.over(me, generation, State::Done);
        }
    }

    /// What ran is over, for `to`. A warden that has taken this CPU for dead takes the panic by one exchange, this
    /// CPU keeps it by another on the same word: does not return if the warden was faster.
    pub(crate) fn over(&self, me: CpuId, generation: u64, to: State) {
        if !self.deadline.settle(generation, to) {
            self.claim.outlive(me);
            self.gate(me);
            self.deadline.bury(generation, to);
        }
    }

    /// Waits for a shot that is on its way, so that it cannot hit what comes next.
    fn collect(&self, generation: u64) {
        let time = self.config().deadline_ns(COLLECT_MS);
        let start = self.platform.now_ns();
        for _ in 0..time / P::LEAST_ITERATION_NS {
            let over = self.platform.now_ns().wrapping_sub(start) >= time;
            if over || self.deadline.arrived(generation) {
                return;
            }
            self.platform.relax();
        }
    }

    /// Nobody may fire any more: called right before this kernel is left for another. The watchers see the
    /// word and leave by themselves. Does not return if a warden has taken the panic.
    pub(crate) fn retire(&self, me: CpuId) {
        self.says(Authority::last_call);
        let Shot { generation, state } = self.deadline.now();
        let runs = matches!(state, State::Running | State::Firing | State::Sent);
        let ended = !runs || self.deadline.end(generation, State::Retired);
        if let Ok(timer) = self.platform.timer() {
            timer.disarm();
        }
        if !ended {
            self.collect(generation);
        }
        self.over(me, generation, State::Retired);
    }
}
