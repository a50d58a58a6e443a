//! The loop over the steps, and how it goes on after a failure.
//!
//! Each step and each notifier is marked as started *before* it runs, and nothing that was started is
//! started again (P2). So a re-entry – a panic or a fault on the owner, inside a step – needs no clean
//! up and no return: it marks what was running as failed, moves to the other panic stack and goes on
//! with what comes next.

use core::fmt;

use crash_lock::{Authority, Domain};
use crash_record::layout::{header, log, slot};
use crash_record::names::{Class, CpuState, EntryKind, Outcome, Rung, Step};
use crash_record::write::RecordArea;
use hal::kexec::Kexec;
use hal::nmi::Nmi;
use hal::registers::Snapshot;
use hal::sync::{AtomicU32, AtomicU64, BindOnce, Ordering};
use hal::{CpuId, Platform};

use crate::claim::{Claim, Entered};
use crate::config::Config;
use crate::deadline::{Deadline, State};
use crate::notifier::{Notifier, Place, Refusal, Registry};
use crate::order::{Action, ORDER, StepSpec, applies, grace_ms, settle_ms};
use crate::report::{Detail, Text, Voice, foreign};
use crate::warden::Wardens;

/// How long the message of a re-entry may take, which somebody else's code formats, ms.
pub(crate) const MESSAGE_MS: u64 = 1_000;
/// How long a notifier may take to say the name by which it is recorded as failed or left out, ms.
pub(crate) const NAME_MS: u64 = 100;
/// Re-entries before the next step starts, from which on optional steps are left out.
const SKIP_OPTIONAL_AT: u32 = 2;
/// …, from which on only the final action is left.
pub(crate) const ONLY_FINAL_AT: u32 = 3;
/// …, from which on nothing is tried any more.
const HALT_AT: u32 = 4;
/// Entries altogether, above which optional steps and all notifiers are left out.
pub(crate) const MOST_REENTRIES: u32 = 16;

/// Why there is a panic.
#[derive(Clone, Copy)]
pub struct Cause<'a> {
    /// The kind, short and without spaces: `rust-panic`, `data-access`, ….
    pub reason: &'static str,
    /// What it has to say. Formatted in the announce step, where it may fail.
    pub message: &'a dyn fmt::Display,
}

/// How a step or a notifier ended, with what there is to say about it.
pub(crate) struct Ended {
    outcome: Outcome,
    detail: Detail,
}

impl Ended {
    pub(crate) fn skipped(why: fmt::Arguments<'_>) -> Self {
        Ended { outcome: Outcome::Skipped, detail: Detail::new(why) }
    }
    pub(crate) fn failed(why: fmt::Arguments<'_>) -> Self {
        Ended { outcome: Outcome::Failed, detail: Detail::new(why) }
    }
    pub(crate) fn done(cut: bool, what: fmt::Arguments<'_>) -> Self {
        let outcome = if cut { Outcome::Truncated } else { Outcome::Done };
        Ended { outcome, detail: Detail::new(what) }
    }
}

impl From<Result<Detail, Detail>> for Ended {
    fn from(result: Result<Detail, Detail>) -> Self {
        match result {
            Ok(detail) => Ended { outcome: Outcome::Done, detail },
            Err(detail) => Ended { outcome: Outcome::Failed, detail },
        }
    }
}

/// A count for each CPU.
struct Counts([AtomicU32; hal::MAX_CPUS]);

impl Counts {
    #[cfg(not(loom))]
    const fn new() -> Self {
        Counts([const { AtomicU32::new(0) }; hal::MAX_CPUS])
    }
    #[cfg(loom)]
    fn new() -> Self {
        Counts(core::array::from_fn(|_| AtomicU32::new(0)))
    }
}

/// The whole state of the panic path. One static per kernel.
pub struct Panic<'a, P: Platform> {
    pub(crate) platform: &'a P,
    pub(crate) record: &'a RecordArea,
    pub(crate) locks: &'static Domain,
    pub(crate) claim: Claim,
    pub(crate) notifiers: &'a Registry,
    config: BindOnce<Config>,
    pub(crate) keeper: BindOnce<&'static dyn Notifier>,
    /// Twice the place in [`ORDER`] of the step that runs or comes next, plus 1 while it runs: one word, so
    /// that whatever interrupts the end of a step cannot make it start again.
    place: AtomicU32,
    /// [`Place`] of the notifier started last in this step; 0 if none was.
    notifier: AtomicU32,
    /// CPU + 1 of the owner that runs it, while it runs: an owner that was taken for dead may begin one more.
    notifying: AtomicU32,
    /// Number + 1 of the notifier that is asked for its name, which is somebody else's code, too.
    naming: AtomicU32,
    /// Notifiers of this step that failed.
    failures: AtomicU32,
    step_began: AtomicU64,
    notifier_began: AtomicU64,
    /// Times that an owner entered, the first one included.
    entries: AtomicU32,
    /// Panic stacks that each CPU went through: the next entry takes the other one.
    stacks: Counts,
    /// CPUs, a bit each, that are on their way to the park loop or in it.
    pub(crate) parking: AtomicU32,
    /// CPUs, a bit each, that a maskable signal deferred.
    pub(crate) asked: AtomicU32,
    /// Re-entries since a step or a notifier started.
    depth: AtomicU32,
    /// Links of the final chain that were tried.
    links: AtomicU32,
    /// Locks and calls into firmware that were decided about.
    pub(crate) rulings: AtomicU32,
    /// Entries of an owner when it last began to tell such a decision; 0 when it was told.
    pub(crate) telling: AtomicU32,
    /// 1 while the message of a re-entry is formatted: what fails there is nothing of the step's any more.
    explaining: AtomicU32,
    /// 1 once `panic.timeout` was begun to be waited for.
    delayed: AtomicU32,
    /// CPU + 1 that the owner wants to hand the panic to; 0 if none.
    pub(crate) redirect_to: AtomicU32,
    /// What was said of a watch that is weak, or is none (watch.rs).
    pub(crate) unwatched: AtomicU32,
    /// 1 once the console took less than it was given: nothing waits for it again.
    pub(crate) console_dead: AtomicU32,
    /// 1 once it was written down what became of the other CPUs, or that was tried.
    pub(crate) settled: AtomicU32,
    /// The CPU that a stop signal is being sent to, plus 1; 0: none is.
    pub(crate) sending: AtomicU32,
    pub(crate) deadline: Deadline,
    pub(crate) wardens: Wardens,
    events: AtomicU64,
    /// Log lines below this one are on the console.
    printed: AtomicU64,
    /// Log lines below this one were written before the claim.
    logged_at_claim: AtomicU64,
}

/// How a CPU comes to be the one that goes through the steps.
pub(crate) enum Entry<'j, R> {
    /// It panicked first.
    First(&'j Snapshot<R>),
    /// It was the owner already.
    Again(&'j Snapshot<R>),
    /// The owner handed the panic over, or died.
    Heir { from: CpuId, dead: bool },
}

/// What crosses from the interrupted stack to the panic stack.
struct Job<'j, 'a, P: Platform> {
    panic: &'j Panic<'a, P>,
    me: CpuId,
    cause: Option<&'j Cause<'j>>,
    entry: Entry<'j, P::Registers>,
}

impl<'a, P: Platform> Panic<'a, P> {
    hal::const_unless_loom! {
    /// No panic yet, the default configuration.
    pub fn new(
        platform: &'a P,
        record: &'a RecordArea,
        locks: &'static Domain,
        notifiers: &'a Registry,
    ) -> Self {
        Panic {
            platform,
            record,
            locks,
            claim: Claim::new(),
            notifiers,
            config: BindOnce::new(),
            keeper: BindOnce::new(),
            place: AtomicU32::new(0),
            notifier: AtomicU32::new(0),
            notifying: AtomicU32::new(0),
            naming: AtomicU32::new(0),
            failures: AtomicU32::new(0),
            step_began: AtomicU64::new(0),
            notifier_began: AtomicU64::new(0),
            entries: AtomicU32::new(0),
            stacks: Counts::new(),
            parking: AtomicU32::new(0),
            asked: AtomicU32::new(0),
            depth: AtomicU32::new(0),
            links: AtomicU32::new(0),
            rulings: AtomicU32::new(0),
            telling: AtomicU32::new(0),
            explaining: AtomicU32::new(0),
            delayed: AtomicU32::new(0),
            redirect_to: AtomicU32::new(0),
            unwatched: AtomicU32::new(0),
            console_dead: AtomicU32::new(0),
            settled: AtomicU32::new(0),
            sending: AtomicU32::new(0),
            deadline: Deadline::new(),
            wardens: Wardens::new(),
            events: AtomicU64::new(0),
            printed: AtomicU64::new(0),
            logged_at_claim: AtomicU64::new(0),
        }
    }
    }

    /// Sets the configuration, once, at boot. Before that the defaults hold.
    pub fn configure(&self, config: Config) {
        if self.config.bind(config) {
            self.record.store(header::SCALE, u64::from(config.scale));
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> Config {
        self.config.get().copied().unwrap_or(Config::DEFAULT)
    }

    /// True once somebody has claimed: other CPUs keep off the console from here on.
    pub fn claimed(&self) -> bool {
        self.claim.owner().is_some()
    }

    /// Whether the executing CPU does nothing any more but for a panic: it owns one, or parks. Another one may still be
    /// at work after the claim, in a critical section that it is to finish.
    pub fn takes_part(&self) -> bool {
        let me = self.platform.current();
        self.claim.owner() == Some(me) || self.parking.load(Ordering::Acquire) & me.bit() != 0
    }

    /// Puts a line of ordinary output into the log. Returns its number, and whether the caller may
    /// print it: not while there is a panic.
    pub fn log(&self, text: &[u8]) -> (u64, bool) {
        let sequence = self.record.log(self.platform.current(), self.platform.now_ns(), text);
        (sequence, !self.claimed())
    }

    /// The caller has printed log lines up to and including this one.
    pub fn printed(&self, sequence: u64) {
        self.printed.fetch_max(sequence + 1, Ordering::AcqRel);
    }

    /// A panic, or a fault that nobody can repair, on this CPU, in any context.
    ///
    /// Claims the panic and goes through the steps; or, if the panic is another CPU's, parks; or, if it
    /// is this CPU's already, marks what was running as failed and goes on.
    #[inline(never)] // the image check starts here
    pub fn enter(&self, cause: &Cause<'_>, snapshot: &Snapshot<P::Registers>) -> ! {
        self.platform.mask_interrupts();
        let me = self.platform.current();
        let entry = match self.claim.enter(me) {
            Entered::Owner => Entry::First(snapshot),
            Entered::Again => Entry::Again(snapshot),
            Entered::Lost(_) => self.park(me, Rung::LostClaim, snapshot),
        };
        self.go_on(me, Some(cause), entry)
    }

    /// Tells the locks something, by the right that the first to ask got. Nothing happens if that was not this
    /// sequence: then nobody is deferred and no token is handed out. Nothing is kept here: a re-entry in the
    /// middle of this asks again.
    pub(crate) fn says(&self, what: impl FnOnce(&Authority)) {
        if let Some(authority) = self.locks.authority(core::ptr::from_ref(self).addr()) {
            what(&authority);
        }
    }

    /// On to a panic stack that the abandoned context, if there is one, did not use.
    pub(crate) fn go_on(&self, me: CpuId, cause: Option<&Cause<'_>>, entry: Entry<'_, P::Registers>) -> ! {
        let generation = self.entries.fetch_add(1, Ordering::AcqRel).wrapping_add(1);
        self.says(|authority| {
            // One that was taken for dead and has come back parks at the gate; its heir has said whose the panic is.
            authority.own_while(me, generation, || self.claim.owner() == Some(me));
        });
        let stack = self.stacks.0.get(me.index()).map_or(0, |stack| stack.fetch_add(1, Ordering::AcqRel));
        self.platform.switch(stack as usize, begin, &Job { panic: self, me, cause, entry })
    }

    /// The gate before and after everything that can take long: whoever is no longer the owner parks
    /// here (P1). Between a takeover and this gate the old owner may still have been inside a step's
    /// body; that window cannot be closed without fencing the CPU off.
    pub(crate) fn gate(&self, me: CpuId) {
        if self.claim.owner() != Some(me) {
            self.park(me, Rung::LostClaim, &self.platform.capture())
        }
    }

    /// Writes down who owns the panic and where it was. At a re-entry again: the first time may have been
    /// cut short, and what is whole by then stays as it is.
    fn own(&self, me: CpuId, now: u64, snapshot: &Snapshot<P::Registers>) {
        self.record.store(header::OWNER, self.claim.raw());
        if self.record.load(header::CLAIMED_AT) == 0 {
            self.record.store(header::CLAIMED_AT, now);
        }
        if self.record.save(me, Rung::None, now, snapshot) {
            self.note_held(me, Rung::None, true);
        }
        self.record.set_slot(me, slot::STATE, u64::from(CpuState::Owner.number()));
    }

    fn first_entry(&self, me: CpuId, cause: &Cause<'_>, snapshot: &Snapshot<P::Registers>) {
        let now = self.platform.now_ns();
        self.logged_at_claim.store(self.record.log_end(), Ordering::Release);
        self.own(me, now, snapshot);
        self.entry(
            me,
            EntryKind::Reason,
            Some(Step::Claim),
            Some(Outcome::Done),
            now,
            0,
            cause.reason.as_bytes(),
        );
        // Somebody may have been stopped in the middle of a line.
        self.print(b"\n");
        self.event(me, "claim", &[("reason", &cause.reason), ("scale", &self.config().scale)]);
    }

    fn reentry(&self, me: CpuId, cause: &Cause<'_>, snapshot: &Snapshot<P::Registers>) {
        let depth = self.depth.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.over(me, self.deadline.now().generation, State::Done);
        if depth >= HALT_AT {
            loop {
                self.platform.park_wait();
            }
        }
        // The deeper it is, the likelier it is that saying so is what failed.
        if depth >= ONLY_FINAL_AT {
            self.console_dead.store(1, Ordering::Release);
        }
        let now = self.platform.now_ns();
        self.own(me, now, snapshot);
        self.print(b"\n");
        let step = self.current().map(|spec| spec.step);
        let name = step.map_or("none", Step::name);
        if depth < ONLY_FINAL_AT {
            self.entry(me, EntryKind::Reentry, step, None, now, u64::from(depth), cause.reason.as_bytes());
            self.event(me, "reentry", &[("depth", &depth), ("step", &name), ("cause", &cause.reason)]);
        }
        self.abandon(me, me, cause.reason);
        // Last, because it is somebody else's code that formats it: if it fails, nothing is lost.
        if depth < SKIP_OPTIONAL_AT {
            self.explaining.store(1, Ordering::Release);
            self.watched(me, MESSAGE_MS, || {
                let message: Text<{ log::TEXT_BYTES }> = foreign(cause.message);
                self.line(me, format_args!("*** again, in {name}: {}: {message}", cause.reason));
            });
            self.explaining.store(0, Ordering::Release);
        }
    }

    /// The panic is this CPU's now.
    fn inherit(&self, me: CpuId, from: CpuId, dead: bool) {
        let now = self.platform.now_ns();
        self.record.store(header::OWNER, self.claim.raw());
        if dead {
            // Before this CPU says that it is the owner: from there on a shot is for it.
            self.deadline.bury(self.deadline.now().generation, State::Done);
        }
        self.record.set_slot(me, slot::STATE, u64::from(CpuState::Owner.number()));
        self.record.set_slot(me, slot::OWNER_STATE, u64::from(CpuState::Owner.number()));
        let why = if dead { "takeover" } else { "redirect" };
        if dead {
            self.record.set_slot(from, slot::OWNER_STATE, u64::from(CpuState::Missing.number()));
            self.says(|authority| authority.missing(from));
            self.print(b"\n");
        }
        let step = self.current().map(|spec| spec.step);
        self.entry(me, EntryKind::Ownership, step, None, now, from.index() as u64, why.as_bytes());
        let name = step.map_or("none", Step::name);
        self.event(me, "owner", &[("from", &from), ("why", &why), ("step", &name)]);
        if dead {
            self.abandon(me, from, "owner-dead");
        }
    }

    /// What was running on `whose` has failed.
    fn abandon(&self, me: CpuId, whose: CpuId, why: &str) {
        // A message that told of a failure: that one was written down before, and what comes next is not to blame.
        if self.explaining.swap(0, Ordering::AcqRel) == 1 {
            return;
        }
        let ended = Ended::failed(format_args!("{why}"));
        let (whose, mine) = (whose.index() as u32 + 1, me.index() as u32 + 1);
        if self.notifying.compare_exchange(whose, mine, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            let place = Place::from_word(self.notifier.load(Ordering::Acquire));
            let name = self.watched(me, NAME_MS, || self.name(place.map_or(usize::MAX, Place::number)));
            self.notifying.store(0, Ordering::Release);
            self.end_notifier(me, name, &ended);
        } else if let Some(spec) = self.current()
            && self.runs()
            && !self.has_more(spec)
        {
            self.end_step(me, spec, &ended);
        }
    }

    /// Whether a step that was cut short between two notifiers has some left: they are not to blame for what failed beside
    /// them, and would be missing from the record (P2, P5). What keeps failing ends the step all the same. Behind the
    /// final one nothing comes.
    fn has_more(&self, spec: &StepSpec) -> bool {
        let place = Place::from_word(self.notifier.load(Ordering::Acquire));
        match spec.action {
            Action::Final => true,
            Action::Notify(class) => {
                self.depth.load(Ordering::Acquire) < SKIP_OPTIONAL_AT
                    && self.notifiers.after(class, place).is_some()
            }
            _ => false,
        }
    }

    /// The step that runs or comes next.
    pub(crate) fn current(&self) -> Option<&'static StepSpec> {
        ORDER.get(self.place.load(Ordering::Acquire) as usize / 2)
    }

    /// Whether that step runs.
    fn runs(&self) -> bool {
        self.place.load(Ordering::Acquire) % 2 == 1
    }

    /// On to the next step. Returns whether this one ran. Does nothing if an heir has done it.
    fn advance(&self) -> bool {
        let place = self.place.load(Ordering::Acquire);
        let next = (place | 1).wrapping_add(1);
        let _ = self.place.compare_exchange(place, next, Ordering::AcqRel, Ordering::Acquire);
        place % 2 == 1
    }

    fn run(&self, me: CpuId, cause: Option<&Cause<'_>>) -> ! {
        while let Some(spec) = self.current() {
            self.gate(me);
            if spec.step > Step::Stop && !self.is_settled() {
                self.watched(me, settle_ms(&self.config()), || self.settle_late(me));
            }
            if !applies(spec, &self.config()) {
                self.advance();
                continue;
            }
            if !self.runs() {
                if self.shortened(spec) {
                    let ended = Ended::skipped(format_args!("left out after repeated failures"));
                    self.end_step(me, spec, &ended);
                    continue;
                }
                if spec.step == Step::Stop {
                    self.redirect(me);
                }
                self.begin_step(me, spec);
            }
            let ended = match spec.action {
                Action::Notify(class) => self.notify(me, class, spec.budget_ms).into(),
                Action::Final => {
                    let _ = self.notify(me, Class::Terminal, spec.budget_ms);
                    self.last_action(me)
                }
                _ => self.watched(me, self.limit_ms(spec), || self.body(me, spec, cause)),
            };
            self.end_step(me, spec, &ended);
        }
        loop {
            self.platform.park_wait();
        }
    }

    /// What a step that calls no notifiers may take at scale 1, ms.
    fn limit_ms(&self, spec: &StepSpec) -> u64 {
        let more = self.verify_ms(spec).saturating_add(grace_ms(spec, &self.config()));
        spec.budget_ms.saturating_add(more)
    }

    /// What the kexec step may take on top of its budget: four times what the image's digest took when
    /// it was loaded, as measured on this machine.
    fn verify_ms(&self, spec: &StepSpec) -> u64 {
        if spec.action != Action::Kexec {
            return 0;
        }
        let image = self.platform.kexec().ok().and_then(|kexec| kexec.image().ok());
        image.map_or(0, |image| (image.digest_ns / 1_000_000).saturating_mul(4))
    }

    /// What a step does that calls no notifiers.
    fn body(&self, me: CpuId, spec: &StepSpec, cause: Option<&Cause<'_>>) -> Ended {
        match spec.action {
            Action::Announce => self.announce(me, spec, cause),
            Action::Stop => self.stop(me).into(),
            Action::Kexec => self.kexec(me, spec.step, self.step_began.load(Ordering::Acquire)),
            Action::Record => self.keep(me),
            Action::Flush => self.flush(me, spec),
            Action::Notify(_) | Action::Final => Ended::skipped(format_args!("not a body")),
        }
    }

    /// Whether this step is left out because the steps before it kept failing (P2).
    fn shortened(&self, spec: &StepSpec) -> bool {
        let depth = self.depth.load(Ordering::Acquire);
        match spec.action {
            Action::Final => false,
            _ if depth >= ONLY_FINAL_AT => true,
            _ => spec.optional && (depth >= SKIP_OPTIONAL_AT || self.abandoned_too_often()),
        }
    }

    /// Whether so much was abandoned that what is left to tell anybody is not worth the risk (P2).
    fn abandoned_too_often(&self) -> bool {
        self.entries.load(Ordering::Acquire) > MOST_REENTRIES
    }

    fn begin_step(&self, me: CpuId, spec: &StepSpec) {
        self.notifier.store(0, Ordering::Release);
        self.failures.store(0, Ordering::Release);
        self.step_began.store(self.platform.now_ns(), Ordering::Release);
        self.place.fetch_or(1, Ordering::AcqRel);
        self.depth.store(0, Ordering::Release);
        self.event(me, "begin", &[("step", &spec.step)]);
    }

    fn end_step(&self, me: CpuId, spec: &StepSpec, ended: &Ended) {
        // Before anything else: if what follows fails, this step is over all the same.
        let started = self.advance();
        let now = self.platform.now_ns();
        let began_at = if started { self.step_began.load(Ordering::Acquire) } else { now };
        let (step, outcome) = (spec.step, ended.outcome);
        self.entry(me, EntryKind::Step, Some(step), Some(outcome), began_at, 0, ended.detail.bytes());
        let took = now.saturating_sub(began_at);
        self.event(
            me,
            "end",
            &[("step", &step), ("outcome", &outcome), ("ns", &took), ("detail", &ended.detail)],
        );
    }

    /// Calls the notifiers of a class that have not been called yet.
    fn notify(&self, me: CpuId, class: Class, budget_ms: u64) -> Result<Detail, Detail> {
        loop {
            let before = self.notifier.load(Ordering::Acquire);
            let Some(place) = self.notifiers.after(class, Place::from_word(before)) else { break };
            // Whoever lost the panic meanwhile begins nothing; and where that cannot be seen yet, one of the two
            // begins it.
            self.gate(me);
            let won =
                self.notifier.compare_exchange(before, place.word(), Ordering::AcqRel, Ordering::Acquire);
            if won.is_err() {
                continue;
            }
            let number = place.number();
            let Some(notifier) = self.notifiers.notifier(number) else { continue };
            self.notifier_began.store(self.platform.now_ns(), Ordering::Release);
            if self.depth.load(Ordering::Acquire) >= ONLY_FINAL_AT || self.abandoned_too_often() {
                // Its name is its own code, too: what keeps failing is not asked for anything more.
                let ended = Ended::skipped(format_args!("number {number}, left out after repeated failures"));
                self.end_notifier(me, "?", &ended);
                continue;
            }
            self.notifying.store(me.index() as u32 + 1, Ordering::Release);
            self.depth.store(0, Ordering::Release);
            let step = crash_lock::Step::new();
            let voice = Voice::new(self, me, &step);
            let (name, result) = self.watched(me, budget_ms, || (self.name(number), notifier.notify(&voice)));
            self.notifying.store(0, Ordering::Release);
            let ended = match result {
                Ok(()) => Ended { outcome: Outcome::Done, detail: Detail::new(format_args!("")) },
                Err(Refusal::Skipped(why)) => Ended::skipped(format_args!("{why}")),
                Err(Refusal::Failed(why)) => Ended::failed(format_args!("{why}")),
            };
            self.end_notifier(me, name, &ended);
        }
        self.name_lost_notifiers(me);
        let count = self.notifiers.count(class);
        let failures = self.failures.load(Ordering::Acquire);
        let detail = Detail::new(format_args!("{failures} of {count} notifiers failed"));
        if failures == 0 { Ok(detail) } else { Err(detail) }
    }

    /// What this notifier is called, in a watched body. One that did not say it the last time is not asked again.
    fn name(&self, number: usize) -> &'static str {
        let Some(notifier) = self.notifiers.notifier(number) else { return "?" };
        let asked = (number as u32).wrapping_add(1);
        if self.naming.swap(asked, Ordering::AcqRel) == asked {
            return "?";
        }
        let name = notifier.name();
        self.naming.store(0, Ordering::Release);
        name
    }

    fn end_notifier(&self, me: CpuId, name: &'static str, ended: &Ended) {
        if ended.outcome == Outcome::Failed {
            self.failures.fetch_add(1, Ordering::AcqRel);
        }
        let spec = self.current();
        let class = match spec.map(|spec| spec.action) {
            Some(Action::Notify(class)) => class,
            _ => Class::Terminal,
        };
        let began_at = self.notifier_began.load(Ordering::Acquire);
        let why = &ended.detail;
        let text = match why.bytes() {
            [] => Detail::new(format_args!("{name}")),
            _ => Detail::new(format_args!("{name} {why}")),
        };
        let (kind, step, outcome) = (EntryKind::Notifier, spec.map(|spec| spec.step), ended.outcome);
        self.entry(me, kind, step, Some(outcome), began_at, u64::from(class.number()), text.bytes());
        let took = self.platform.now_ns().saturating_sub(began_at);
        let fields: [(&str, &dyn fmt::Display); 5] =
            [("class", &class), ("name", &name), ("outcome", &outcome), ("ns", &took), ("detail", why)];
        self.event(me, "notifier", &fields);
    }

    /// Times that an owner entered.
    pub(crate) fn generation(&self) -> u32 {
        self.entries.load(Ordering::Acquire)
    }

    pub(crate) fn next_event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::AcqRel)
    }

    /// Log lines that may not be on the console: the first one, the first one after the claim, the
    /// end. At most as many as the ring holds.
    pub(crate) fn unprinted(&self) -> (u64, u64, u64) {
        let end = self.record.log_end();
        let oldest = end.saturating_sub(crash_record::layout::LOG_SLOTS as u64);
        let from = self.printed.load(Ordering::Acquire).max(oldest);
        (from, self.logged_at_claim.load(Ordering::Acquire), end)
    }

    /// True once: the wait before the final action is not begun again.
    pub(crate) fn first_delay(&self) -> bool {
        self.delayed.swap(1, Ordering::AcqRel) == 0
    }

    /// The link of the final chain that comes next.
    pub(crate) fn link(&self) -> usize {
        self.links.load(Ordering::Acquire) as usize
    }

    /// This link has got as far as firmware.
    pub(crate) fn link_is_tried(&self, link: usize) {
        self.links.fetch_max(link as u32 + 1, Ordering::AcqRel);
    }

    /// Whether saying something may be what keeps failing.
    pub(crate) fn no_more_words(&self) -> bool {
        self.depth.load(Ordering::Acquire) >= ONLY_FINAL_AT
    }
}

/// The first frame on a panic stack.
#[inline(never)] // the image check starts here
fn begin<P: Platform>(job: &Job<'_, '_, P>) -> ! {
    let Job { panic, me, cause, entry } = job;
    let (me, cause) = (*me, *cause);
    // Whatever interrupted this CPU held NMIs off, and a CPU that takes none cannot be watched.
    if let Ok(nmi) = panic.platform.nmi() {
        nmi.unblock();
    }
    match (entry, cause) {
        (Entry::First(snapshot), Some(cause)) => {
            panic.first_entry(me, cause, snapshot);
            panic.run(me, Some(cause))
        }
        (Entry::Heir { from, dead }, _) => {
            panic.inherit(me, *from, *dead);
            panic.run(me, None)
        }
        (Entry::Again(snapshot), Some(cause)) => {
            panic.withdraw(me);
            panic.reentry(me, cause, snapshot);
            panic.run(me, None)
        }
        (_, None) => panic.run(me, None),
    }
}
