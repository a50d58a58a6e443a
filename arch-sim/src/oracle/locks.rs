//! Locks and stops (P4, P6, P9): who holds what, by the words of the locks; who is inside, by what the CPUs do; why
//! a CPU may be stopped with a lock held, by what the scenario did to it.

use core_panic::config::StopPolicy;
use core_panic::stop::Signal;
use crash_lock::{Found, Kernel};
use crash_record::layout::slot;
use crash_record::names::{CpuState, Orphan};

use crate::MAX_CPUS;
use crate::faults::{Call, Faults};
use crate::lock::{LOCKS, Which};
use crate::platform::Sim;
use crate::random::mix;
use crate::world::World;

/// Set in a lock's word while a repair hook runs.
const REPAIRING: u64 = 1 << 63;

/// A CPU, with how often it had entered the panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Context {
    cpu: u8,
    entries: u8,
}

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub struct Locks {
    /// By lock: who its word names.
    holder: [Option<Context>; LOCKS],
    /// By lock: who is inside.
    inside: [Option<Context>; LOCKS],
    /// By CPU: the lock that it asks for.
    asking: [Option<u8>; MAX_CPUS],
    /// By CPU: polls since it asked.
    polls: [u8; MAX_CPUS],
    /// CPUs that asked when they held nothing and the panic was known to the locks.
    late: u8,
    /// By CPU: times that it entered the panic.
    entries: [u8; MAX_CPUS],
    /// CPUs that have acknowledged a stop and finish their critical section.
    pub deferred: u8,
    /// By CPU: when the signal that it takes, or took last, came, ns.
    signalled: [u64; MAX_CPUS],
    /// By CPU: when the signal came that deferred it, ns.
    since: [u64; MAX_CPUS],
    /// By CPU: number of the registers at that signal.
    first: [u64; MAX_CPUS],
    /// CPUs that have kept these.
    kept: u8,
    /// CPUs whose deferral the owner has ended.
    cut: u8,
    /// CPUs that panicked or faulted.
    pub died: u8,
    /// CPUs that the signal which they take robs of their context.
    lost: u8,
    /// By CPU: locks held at the first signal, and when it parked.
    held: [[u8; 2]; MAX_CPUS],
    /// By CPU: why it may have parked with locks held, a bit for each [`Orphan`].
    why: [u8; MAX_CPUS],
    /// Locks that the panic path stole, and that it was refused, a bit each.
    pub stolen: u8,
    /// See `stolen`.
    pub refused: u8,
    /// Times that a lock was stolen, and that a lock or a call was refused.
    pub rulings: [u8; 2],
    /// Times that what ran on the owner was abandoned for a lock.
    pub abandoned: u8,
    /// CPUs that were deferred at any time.
    pub were_deferred: u8,
}

impl Locks {
    fn held(&self, cpu: usize) -> u8 {
        self.holder.iter().flatten().filter(|holder| usize::from(holder.cpu) == cpu).count() as u8
    }

    /// Stands for everything that is remembered.
    pub fn state(&self) -> u64 {
        let context =
            |it: &Option<Context>| it.map_or(0, |it| 1 + u64::from(it.cpu) * 64 + u64::from(it.entries));
        let mut hash = 0;
        for (holder, inside) in self.holder.iter().zip(&self.inside) {
            hash = mix(hash, context(holder) << 32 | context(inside));
        }
        for cpu in 0..MAX_CPUS {
            let asking = self.asking[cpu].map_or(0, |lock| u64::from(lock) + 1);
            let [first, last] = self.held[cpu];
            let why = u64::from(self.why[cpu]);
            hash = mix(hash, asking | u64::from(self.polls[cpu]) << 8 | u64::from(self.entries[cpu]) << 16);
            hash = mix(hash, u64::from(first) | u64::from(last) << 8 | why << 16);
            hash = mix(hash, self.since[cpu]);
            hash = mix(hash, self.first[cpu]);
        }
        let sets = [self.late, self.deferred, self.kept, self.cut, self.died, self.lost, self.stolen];
        sets.iter().fold(hash, |hash, set| mix(hash, u64::from(*set)))
    }
}

impl World {
    fn locks(&mut self) -> &mut Locks {
        &mut self.oracle.locks
    }

    fn context(&self) -> Context {
        let cpu = self.current;
        Context { cpu: cpu as u8, entries: self.oracle.locks.entries[cpu] }
    }

    /// The executing CPU goes on on a panic stack.
    pub fn enters(&mut self) {
        let me = self.current;
        let asked = self.oracle.locks.asking[me].take();
        let locks = self.locks();
        locks.entries[me] = locks.entries[me].saturating_add(1);
        if let Some(lock) = asked {
            self.tell(|| format!("does not wait for lock {lock} any more"));
        }
    }

    /// The executing CPU is about to ask for a lock.
    pub fn asks(&mut self, which: Which) {
        let me = self.current;
        // The locks know of a panic from the owner's first panic stack on.
        let known = self.oracle.locks.entries.iter().any(|entries| *entries > 0);
        let late = known && self.oracle.owned & 1 << me == 0 && self.oracle.locks.held(me) == 0;
        let locks = self.locks();
        locks.asking[me] = Some(which as u8);
        locks.polls[me] = 0;
        locks.late = locks.late & !(1 << me) | u8::from(late) << me;
        self.tell(|| format!("asks for {which:?}"));
    }

    /// The executing CPU asks for nothing any more.
    pub(super) fn asked(&mut self) {
        let me = self.current;
        self.locks().asking[me] = None;
    }

    /// The executing CPU polls for a lock.
    pub fn polls_for_a_lock(&mut self) {
        let me = self.current;
        let polls = self.oracle.locks.polls[me].saturating_add(1);
        self.locks().polls[me] = polls;
        if self.oracle.owner == Some(me as u8) && u32::from(polls) > Sim::PATIENCE + 1 {
            self.violation("P4", format_args!("the owner, CPU {me}, waits for a lock without an end"));
        }
    }

    fn rules(&mut self, which: usize) {
        let count = &mut self.locks().rulings[which];
        *count = count.saturating_add(1);
    }

    /// The executing CPU did not get a lock that it asked for.
    pub fn refused(&mut self, which: Which) {
        self.asked();
        self.locks().refused |= 1 << which as u8;
        self.rules(1);
        self.tell(|| format!("does not get {which:?}"));
    }

    /// What runs on the executing CPU is abandoned, since it waits for a lock that `holder` holds.
    pub fn abandons(&mut self, holder: usize) {
        let me = self.current;
        self.locks().asking[me] = None;
        self.locks().abandoned += 1;
        self.rules(1);
        self.tell(|| format!("is abandoned for a lock that CPU {holder} holds"));
        if self.oracle.owned & 1 << me == 0 {
            self.violation("P4", format_args!("CPU {me}, no owner, is abandoned for a lock"));
        }
    }

    /// The executing CPU has a lock.
    pub fn section_begins(&mut self, which: Which) {
        let (me, lock) = (self.current, which as usize);
        self.tell(|| format!("has {which:?}"));
        let context = self.context();
        let before = self.oracle.locks.inside[lock].replace(context);
        self.locks().asking[me] = None;
        if self.oracle.locks.late & 1 << me != 0 && self.oracle.owned & 1 << me == 0 {
            self.violation("P6", format_args!("CPU {me} asked for {which:?} in a panic and works under it"));
        }
        if let Some(other) = before
            && !self.may_be_robbed(which, other)
        {
            let cpu = other.cpu;
            self.violation("P4", format_args!("CPUs {cpu} and {me} are both inside {which:?}"));
        }
    }

    /// Whether a CPU is inside this lock's section.
    pub fn somebody_is_inside(&self, which: Which) -> bool {
        self.oracle.locks.inside[which as usize].is_some()
    }

    /// The executing CPU is about to release a lock.
    pub fn section_ends(&mut self, which: Which) {
        let (me, lock) = (self.current, which as usize);
        let inside = self.oracle.locks.inside[lock].take();
        if inside != Some(self.context()) && self.oracle.owned & 1 << me == 0 {
            self.violation("P4", format_args!("CPU {me} leaves {which:?}, and {inside:?} was inside"));
        }
    }

    /// A stolen value is made fit for use.
    pub fn repairs(&mut self, which: Which, found: Found) {
        self.tell(|| format!("repairs {which:?}, {found:?}"));
        if which == Which::Console {
            self.device.away = false;
        }
    }

    /// Whether the executing CPU may take a lock from `other`, by the table of the design.
    fn may_be_robbed(&self, which: Which, other: Context) -> bool {
        let me = self.current;
        let stopped = self.oracle.acknowledged & 1 << other.cpu != 0;
        let older = usize::from(other.cpu) == me && other.entries < self.oracle.locks.entries[me];
        which.is_stolen() && self.oracle.owned & 1 << me != 0 && (stopped || older)
    }

    /// The word of a lock has changed.
    pub fn lock_word(&mut self, lock: usize, old: u64, new: u64) {
        let me = self.current;
        let Some(which) = Which::ALL.into_iter().chain([Which::Firmware]).nth(lock) else { return };
        let (from, to) = (old & 0xffff, new & 0xffff);
        let mine = me as u64 + 1;
        let before = self.oracle.locks.holder[lock];
        if to == 0 {
            self.locks().holder[lock] = None;
            if from != mine {
                self.violation("P4", format_args!("CPU {me} releases {which:?}, which is not its own"));
            }
            return;
        }
        if to != mine {
            return self.violation("P4", format_args!("CPU {me} gives {which:?} to another"));
        }
        if old & !REPAIRING == new && old & REPAIRING != 0 {
            return;
        }
        let context = self.context();
        self.locks().holder[lock] = Some(context);
        if let Some(before) = before {
            self.locks().stolen |= 1 << lock;
            self.rules(0);
            self.tell(|| format!("steals {which:?} from CPU {}", before.cpu));
            if !self.may_be_robbed(which, before) {
                let cpu = before.cpu;
                self.violation("P4", format_args!("CPU {me} robs CPU {cpu} of {which:?}"));
            }
        }
    }

    /// The handler of a signal begins on the executing CPU.
    pub fn signalled(&mut self, lost: bool) -> Option<bool> {
        let (me, now) = (self.current, self.now);
        let locks = self.locks();
        locks.signalled[me] = now;
        locks.lost = locks.lost & !(1 << me) | u8::from(lost) << me;
        let deferred = locks.deferred & 1 << me != 0;
        Some(deferred)
    }

    /// The handler has returned, or is about to. `was`: the CPU was deferred before.
    pub(super) fn goes_on(&mut self, was: bool, number: u64, signal: Signal) {
        let me = self.current;
        self.locks().lost &= !(1 << me);
        let deferred = self.oracle.locks.deferred & 1 << me != 0;
        // Inside another handler, which is about to acknowledge, nothing runs that should not.
        let nested = self.cpus[me].nesting > 1;
        if signal == Signal::Deferred && !deferred && !nested {
            self.violation("P6", format_args!("CPU {me} goes on and has not acknowledged anything"));
        }
        if !was && deferred && self.oracle.locks.first[me] == 0 {
            self.locks().first[me] = number;
            if self.oracle.locks.held[me][0] == 0 {
                self.violation("P6", format_args!("CPU {me} is deferred and holds nothing"));
            }
        }
    }

    /// The executing CPU does a piece of its own work: may it?
    pub(super) fn works(&mut self) {
        let me = self.current;
        if self.oracle.locks.deferred & 1 << me == 0 {
            return;
        }
        if self.oracle.locks.held(me) == 0 {
            self.violation("P6", format_args!("CPU {me} was deferred, holds nothing any more and works"));
        }
        if self.cpus[me].interrupts {
            self.violation("P6", format_args!("CPU {me} is deferred and has interrupts on"));
        }
    }

    /// A CPU acknowledges a stop as deferred.
    pub(super) fn defers(&mut self, cpu: usize) {
        let held = self.oracle.locks.held(cpu);
        if self.oracle.saving & 1 << cpu != 0 {
            let what = format_args!("CPU {cpu} has written down where it parked, and goes on");
            self.violation("P9", what);
        }
        let locks = self.locks();
        locks.deferred |= 1 << cpu;
        locks.were_deferred |= 1 << cpu;
        locks.since[cpu] = locks.signalled[cpu];
        locks.held[cpu][0] = held;
    }

    /// A deferred CPU has become the owner, at the end of its critical section.
    pub(super) fn inherits(&mut self, cpu: usize) {
        self.locks().deferred &= !(1 << cpu);
    }

    /// The owner ends a deferral.
    pub(super) fn cuts(&mut self, cpu: usize) {
        let me = self.current;
        self.locks().cut |= 1 << cpu;
        self.tell(|| format!("ends the grace of CPU {cpu}"));
        if self.oracle.locks.were_deferred & 1 << cpu == 0 {
            self.violation(
                "P4",
                format_args!("CPU {me} sends a second signal to CPU {cpu}, which has not answered"),
            );
        }
        let config = &self.scenario.config;
        let grace = u64::from(config.grace_ms) * u64::from(config.scale) * 1_000_000;
        let faults = &self.scenario.faults;
        let clock = |it: &crate::faults::Injection| it.call == Call::Clock;
        let exact = faults.clock_stops == 0 && !faults.injections.iter().flatten().any(clock);
        let had = self.now - self.oracle.locks.since[cpu];
        if exact && had < grace {
            let ms = had / 1_000_000;
            self.violation("P4", format_args!("CPU {cpu} had {ms} ms of grace"));
        }
    }

    /// A CPU writes down what it did at the first signal.
    pub(super) fn keeps_first(&mut self, cpu: usize, commits: bool) {
        if self.oracle.locks.kept & 1 << cpu != 0 {
            self.violation("P9", format_args!("the first signal's registers of CPU {cpu} are written again"));
        }
        if cpu != self.current {
            let me = self.current;
            self.violation("P9", format_args!("CPU {me} writes the first signal's registers of CPU {cpu}"));
        }
        self.locks().kept |= u8::from(commits) << cpu;
    }

    /// A CPU says that it is parked: what it holds is orphaned, for one of the reasons that there are.
    pub(super) fn orphans(&mut self, cpu: usize) {
        if self.oracle.acknowledged & 1 << cpu != 0 {
            // A fault threw it out of its park loop: how it came there is settled.
            return;
        }
        let held = self.oracle.locks.held(cpu);
        let locks = &mut self.oracle.locks;
        locks.held[cpu][1] = held;
        if locks.were_deferred & 1 << cpu == 0 {
            locks.held[cpu][0] = held;
        }
        let was_deferred = locks.deferred & 1 << cpu != 0;
        locks.deferred &= !(1 << cpu);
        if held == 0 {
            return;
        }
        let bit = 1 << cpu;
        let deferring = self.scenario.config.stop == StopPolicy::Deferred;
        let leaving = self.oracle.last_call;
        let locks = &self.oracle.locks;
        // More than one may be true, and then any will do.
        let reasons = [
            (Orphan::Died, (locks.died | self.oracle.owned) & bit != 0),
            (Orphan::LostContext, locks.lost & bit != 0),
            (Orphan::Blocked, self.blocked(cpu) || (locks.asking[cpu].is_some() && leaving && was_deferred)),
            (Orphan::Grace, locks.cut & bit != 0),
            (Orphan::Policy, !deferring || leaving),
        ];
        let true_ones = reasons.into_iter().filter(|(_, holds)| *holds);
        let why = true_ones.fold(0, |all, (reason, _)| all | 1 << reason.number());
        self.locks().why[cpu] = why;
        self.tell(|| format!("CPU {cpu} leaves {held} locks behind: {why:#b}"));
        if why == 0 {
            let what = format_args!("CPU {cpu} parks with {held} locks held, and was to finish its section");
            self.violation("P4", what);
        }
    }

    /// Whether `cpu` waits for a lock that the owner, a stopped or a missing CPU holds.
    fn blocked(&self, cpu: usize) -> bool {
        let Some(holder) =
            self.oracle.locks.asking[cpu].and_then(|lock| self.oracle.locks.holder[usize::from(lock)])
        else {
            return false;
        };
        let other = holder.cpu;
        let missing = crate::verdict::owner_state(self, other.into()) == Some(CpuState::Missing);
        let deferred = crate::verdict::owner_state(self, other.into()) == Some(CpuState::Deferred);
        (self.oracle.owned | self.oracle.acknowledged) & 1 << other != 0 || missing || deferred
    }

    /// What the record says about what a CPU held.
    pub(crate) fn judge_held(&mut self, number: usize) {
        let bit = 1u8 << number;
        let Some(cpu) = hal::CpuId::new(number) else { return };
        let word = |at| self.machine.record.slot(cpu, at);
        let (first, last, why) = (word(slot::HELD_FIRST), word(slot::HELD_LAST), word(slot::ORPHAN));
        let (kept, set) = (word(slot::FIRST_COMMIT), word(slot::FIRST_SP));
        let locks = &self.oracle.locks;
        let (were, torn) = (locks.were_deferred & bit != 0, self.oracle.torn & bit != 0);
        let (wanted, died) = (locks.first[number], locks.died & bit != 0);
        let held = locks.held[number];
        let really = locks.why[number];
        if were && !torn && (kept == 0 || set != wanted) && wanted != 0 {
            let (is, should) = (set as u32, wanted as u32);
            let what = format_args!("CPU {number}: at the first signal {is} was kept, and it was {should}");
            self.violation("P9", what);
        }
        // The machine may end in the middle of a handler.
        let parked = self.oracle.acknowledged & bit != 0;
        if !were && parked && kept != 0 && !died {
            self.violation(
                "P9",
                format_args!("CPU {number} was not deferred and kept registers as if it were"),
            );
        }
        // What an owner held is written down when it claims, and in parts.
        if self.oracle.acknowledged & bit == 0 || (self.oracle.owned | self.oracle.torn) & bit != 0 {
            return;
        }
        if (first, last) != (held[0].into(), held[1].into()) {
            let what = format_args!("CPU {number} held {held:?} locks, the record says {first} and {last}");
            self.violation("P5", what);
        }
        let true_one = if really == 0 { why == 0 } else { why < 8 && really & 1 << why != 0 };
        if !true_one {
            let what = format_args!("CPU {number}: orphans for reason {really:#b}, the record says {why}");
            self.violation("P5", what);
        }
    }

    /// Whether an NMI robs the executing CPU of its context. For an owner that is as bad as a fault.
    pub fn loses_context(&mut self) -> bool {
        let lost = Faults::has(self.scenario.faults.lost, self.current);
        if lost && self.oracle.owner == Some(self.current as u8) {
            self.fails();
        }
        lost
    }
}
