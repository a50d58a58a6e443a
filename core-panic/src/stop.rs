//! Stopping the other CPUs.
//!
//! The ladder is data: rungs, each a signal and a time to answer. On a machine without NMIs a policy that has no
//! other rung asks by IPI, and says so. A CPU has answered when its own
//! slot in the record says `parked`, which it writes after it saved its registers. Nobody can come
//! back: the park loop does not end, a CPU that answers after its time parks all the same, and one
//! that comes up meanwhile parks before it does anything else (P6).

use crash_record::layout::{header, slot};
use crash_record::names::{CpuState, Rung, Step};
use hal::ipi::Ipi;
use hal::kexec::Kexec;
use hal::nmi::{Nmi, SignalError, Strength};
use hal::registers::{Registers, Snapshot};
use hal::sync::Ordering;
use hal::{CpuId, Platform};

use crate::config::StopPolicy;
use crate::deadline::Hit;
use crate::report::Detail;
use crate::sequence::{Cause, Panic};

/// The rungs of a policy, each with its time to answer in ms. `image`: a crash image is loaded.
pub const fn ladder(policy: StopPolicy, image: bool) -> &'static [(Rung, u64)] {
    match policy {
        StopPolicy::IpiNmi => &[(Rung::Ipi, 1_000), (Rung::Nmi, 1_000)],
        StopPolicy::Nmi | StopPolicy::Deferred => &[(Rung::Nmi, 1_000)],
        StopPolicy::Linux if image => &[(Rung::Nmi, 1_000)],
        StopPolicy::Linux => &[(Rung::Ipi, 1_000), (Rung::Nmi, 1_000)],
    }
}

/// How long a CPU may take to answer once a stop was broken off, ms: most have answered already.
const LATE_ANSWER_MS: u64 = 100;

/// What became of a signal that may or may not concern a panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// There is no panic: the signal is somebody else's.
    NotOurs,
    /// There is one, and this CPU already plays its part: counted, return.
    Counted,
    /// This CPU is to stop when its critical section is over: return, with interrupts masked
    /// ([`hal::trap::Resume`]).
    Deferred,
}

/// The stop has been settled; less is how often that was tried after it was broken off, which is so often at most.
pub(crate) const SETTLED: u32 = 2;

/// A set of CPUs.
#[derive(Clone, Copy, PartialEq, Eq)]
struct CpuSet(u32);

impl CpuSet {
    fn with(self, cpu: CpuId) -> Self {
        CpuSet(self.0 | cpu.bit())
    }
    fn iter(self) -> impl Iterator<Item = CpuId> {
        CpuId::all().filter(move |cpu| self.0 & cpu.bit() != 0)
    }
    fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl<P: Platform> Panic<'_, P> {
    /// A stop signal, or what may be one, arrived on this CPU. Call it from the handlers of the stop
    /// IPI (`Rung::Ipi`) and of the NMI (`Rung::Nmi`), with interrupts masked.
    ///
    /// Returns only if this CPU is not to be stopped by it: there is no panic, this CPU owns the panic or is
    /// parked already, or it is to finish its critical section first.
    #[inline(never)] // the image check starts here
    pub fn on_signal(&self, rung: Rung, snapshot: &Snapshot<P::Registers>) -> Signal {
        let Some(owner) = self.claim.owner() else { return Signal::NotOurs };
        let me = self.platform.current();
        if owner == me && rung == Rung::Nmi {
            // A warden that is about to take over: the shot that is still on record was for the owner before it.
            let heir = self.record.state(me) == CpuState::Parked;
            let hit = if heir { Hit::Not } else { self.deadline.hit(self.platform.now_ns()) };
            match hit {
                Hit::Late => {
                    let cause = Cause { reason: "deadline", message: &"it took longer than it may" };
                    self.enter(&cause, snapshot);
                }
                Hit::Early(left) => self.extend(left),
                Hit::Not => {}
            }
            if !snapshot.registers.resumable() {
                self.enter(&Cause { reason: "not-resumable", message: &"an NMI lost state" }, snapshot);
            }
        }
        // Also one that is about to park: what it is saving came first.
        if owner == me || self.parking.load(Ordering::Acquire) & me.bit() != 0 {
            if rung == Rung::Nmi {
                self.record.count(header::SURPLUS_NMIS);
            }
            return Signal::Counted;
        }
        if self.defers(me, rung, snapshot) {
            return Signal::Deferred;
        }
        if self.goes_on(me) && snapshot.registers.resumable() {
            self.record.count(header::SURPLUS_NMIS);
            return Signal::Deferred;
        }
        self.accept(me, owner, rung, snapshot);
        self.park(me, rung, snapshot)
    }

    /// The boot CPU is about to start `cpu`.
    pub fn starting(&self, cpu: CpuId) {
        self.record.set_slot(cpu, slot::STATE, u64::from(CpuState::Starting.number()));
    }

    /// This CPU is up. Call it once per CPU, before it does anything of its own; if a panic is under
    /// way it does not return.
    pub fn online(&self) {
        let me = self.platform.current();
        self.record.set_slot(me, slot::STATE, u64::from(CpuState::Online.number()));
        if self.claim.published().is_some_and(|owner| owner != me) {
            self.platform.mask_interrupts();
            self.park(me, Rung::Online, &self.platform.capture());
        }
    }

    /// The park loop. Registers first, then the word that says so; then the CPU may watch the owner,
    /// and after that nothing ever again.
    pub(crate) fn park(&self, me: CpuId, rung: Rung, snapshot: &Snapshot<P::Registers>) -> ! {
        self.parking.fetch_or(me.bit(), Ordering::AcqRel);
        self.record.save(me, rung, self.platform.now_ns(), snapshot);
        // A fault in the park loop changes nothing about how this CPU came here.
        if self.record.state(me) != CpuState::Parked {
            self.note_held(me, rung, snapshot.registers.resumable());
        }
        self.record.set_slot(me, slot::STATE, u64::from(CpuState::Parked.number()));
        self.locks.parked(me);
        self.stand_by(me);
        loop {
            self.platform.park_wait();
        }
    }

    fn pending(&self, among: CpuSet) -> CpuSet {
        among.iter().filter(|cpu| self.record.state(*cpu) != CpuState::Parked).fold(CpuSet(0), CpuSet::with)
    }

    /// The stop step. Stopping twice is harmless: who is parked is not signalled.
    pub(crate) fn stop(&self, me: CpuId) -> Result<Detail, Detail> {
        let online = self.to_stop(me);
        let rungs = ladder(self.config().stop, self.image_is_loaded());
        for &(rung, answer_ms) in rungs {
            let targets = self.pending(online);
            if targets.count() == 0 {
                break;
            }
            let ask =
                || self.send(me, Rung::Ipi, targets, self.platform.ipi().map(|ipi| |cpu| ipi.send_stop(cpu)));
            let sent = match rung {
                Rung::Ipi => ask(),
                _ => {
                    let nmi = self.platform.nmi();
                    // Asked politely is better than left running, on a machine that can do no more.
                    let instead = nmi.is_err() && rungs.iter().all(|(rung, _)| *rung != Rung::Ipi);
                    let sent = self.send(me, rung, targets, nmi.map(|nmi| |cpu| nmi.send(cpu)));
                    if instead { ask() } else { sent }
                }
            };
            if sent {
                self.wait(me, targets, self.config().deadline_ns(answer_ms));
            }
        }
        let settled = self.settle(me, online, true);
        // Not before: what is cut short in the middle is written down again.
        self.settled.store(SETTLED, Ordering::Release);
        settled
    }

    /// A stop that was broken off has signalled whom it has signalled: those may still answer. Then whom it has not
    /// reached gets the strongest signal there is, once; the rest of the path would run beside it. And it is written down
    /// what became of everybody. Where that is broken off, too, it is written down once more, since the next kernel
    /// does not vouch for a stop without an end: then nothing is sent, nobody is waited for and nothing is said on the
    /// console, any of which may be what breaks it.
    pub(crate) fn settle_late(&self, me: CpuId) {
        let before = self.settled.fetch_add(1, Ordering::AcqRel);
        // Sending may be what keeps failing; then the final action is worth more.
        if before == 0 && !self.no_more_words() {
            let answer = self.config().deadline_ns(LATE_ANSWER_MS);
            // Two signals back to back cost a context on some machines, and what broke the stop off may be one to all.
            self.wait_for_answers(me, answer);
            self.send_the_rest(me);
            self.wait(me, self.to_stop(me), answer);
        }
        let online = self.to_stop(me);
        let (Ok(detail) | Err(detail)) = self.settle(me, online, before == 0);
        self.settled.store(SETTLED, Ordering::Release);
        self.note(me, Step::Stop, format_args!("the stop was broken off: {detail}"));
    }

    /// The CPUs that a stop is for, whatever became of them.
    fn to_stop(&self, me: CpuId) -> CpuSet {
        // An owner that is not this CPU has handed the panic over and is on its way to the park loop.
        let wanted = |cpu: &CpuId| {
            let state = self.record.state(*cpu);
            matches!(state, CpuState::Online | CpuState::Parked | CpuState::Owner | CpuState::Deferred)
        };
        CpuId::all().filter(|cpu| *cpu != me).filter(wanted).fold(CpuSet(0), CpuSet::with)
    }

    /// Waits until every CPU has answered what it was sent, or `answer_ns` are over.
    fn wait_for_answers(&self, me: CpuId, answer_ns: u64) {
        let start = self.platform.now_ns();
        for _ in 0..answer_ns / P::LEAST_ITERATION_NS {
            let mut others = CpuId::all().filter(|cpu| *cpu != me);
            let answered = others.all(|cpu| self.record.state(cpu) != CpuState::Online);
            if answered || self.platform.now_ns().saturating_sub(start) >= answer_ns {
                return;
            }
            self.platform.relax();
        }
    }

    /// An NMI to each CPU that works on and has had none; without NMIs an IPI to each that has had none of those.
    fn send_the_rest(&self, me: CpuId) {
        let nmi = self.platform.nmi();
        // The one in whose send the stop was broken off may have had none.
        let broken = self.sending.swap(0, Ordering::AcqRel);
        let had = |cpu: CpuId| {
            let sent = self.record.slot(cpu, slot::OWNER_SIGNALS);
            let sent = if nmi.is_ok() { sent >> 32 } else { sent };
            if broken == cpu.index() as u32 + 1 { 0 } else { sent }
        };
        let left = CpuId::all()
            .filter(|cpu| *cpu != me && self.record.state(*cpu) == CpuState::Online && had(*cpu) == 0)
            .fold(CpuSet(0), CpuSet::with);
        if left.count() == 0 {
            return;
        }
        match nmi {
            Ok(nmi) => self.send(me, Rung::Nmi, left, Ok(|cpu| nmi.send(cpu))),
            Err(_) => {
                let ipi = self.platform.ipi();
                self.send(me, Rung::Ipi, left, ipi.map(|ipi| |cpu| ipi.send_stop(cpu)))
            }
        };
    }

    /// Whether it is written down what became of everybody, or that was tried too often.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire) >= SETTLED
    }

    /// Sends one rung's signal to each target, and says what the signal really was. False if none was
    /// sent.
    fn send<F>(&self, me: CpuId, rung: Rung, targets: CpuSet, signal: Result<F, hal::Unsupported>) -> bool
    where
        F: Fn(CpuId) -> Result<Strength, SignalError>,
    {
        let signal = match signal {
            Ok(signal) => signal,
            Err(unsupported) => {
                self.note(me, Step::Stop, format_args!("{rung}: {unsupported}"));
                return false;
            }
        };
        let mut weakest = None;
        // Who is deferred has acknowledged a signal already, that of a redirect.
        for cpu in targets.iter().filter(|cpu| self.record.state(*cpu) != CpuState::Deferred) {
            let at = self.record.slot(cpu, slot::OWNER_SIGNALLED_AT);
            if at == 0 {
                self.record.set_slot(cpu, slot::OWNER_SIGNALLED_AT, self.platform.now_ns());
            }
            let sent = self.record.slot(cpu, slot::OWNER_SIGNALS);
            let one = if rung == Rung::Ipi { 1 } else { 1 << 32 };
            self.record.set_slot(cpu, slot::OWNER_SIGNALS, sent.wrapping_add(one));
            self.sending.store(cpu.index() as u32 + 1, Ordering::Release);
            let answer = signal(cpu);
            self.sending.store(0, Ordering::Release);
            match answer {
                Ok(Strength::Maskable) => weakest = Some("maskable"),
                Ok(_) => weakest = weakest.or(Some("non-maskable")),
                Err(error) => {
                    // Written down before it was sent, so that an answer finds it; it was not.
                    self.record.set_slot(cpu, slot::OWNER_SIGNALS, sent);
                    self.record.set_slot(cpu, slot::OWNER_SIGNALLED_AT, at);
                    self.note(me, Step::Stop, format_args!("{rung} to CPU {cpu} not sent: {error:?}"))
                }
            }
        }
        self.event(
            me,
            "rung",
            &[("rung", &rung), ("strength", &weakest.unwrap_or("none")), ("targets", &targets.count())],
        );
        if rung == Rung::Nmi && weakest == Some("maskable") {
            self.note(me, Step::Stop, format_args!("the NMI of this machine is maskable"));
        }
        // Who is deferred already has to be waited for, too.
        weakest.is_some() || targets.iter().any(|cpu| self.record.state(cpu) == CpuState::Deferred)
    }

    /// Waits until all targets have parked, or their time to answer and what comes after it is over. A clock
    /// that stands still is caught by the iteration cap: the machine states how long one takes at least.
    fn wait(&self, me: CpuId, targets: CpuSet, answer_ns: u64) {
        let start = self.platform.now_ns();
        let grace = self.config().deadline_ns(u64::from(self.config().grace_ms));
        let most = answer_ns.saturating_mul(2).saturating_add(grace);
        for _ in 0..most / P::LEAST_ITERATION_NS {
            let now = self.platform.now_ns();
            if !targets.iter().any(|cpu| self.awaited(me, cpu, now, start, answer_ns)) {
                return;
            }
            self.platform.relax();
        }
    }

    fn image_is_loaded(&self) -> bool {
        self.platform.kexec().is_ok_and(|kexec| kexec.image().is_ok())
    }

    /// Writes down what became of every CPU, and says so if `aloud`.
    fn settle(&self, me: CpuId, online: CpuSet, aloud: bool) -> Result<Detail, Detail> {
        let cpus = (self.record.load(header::CPUS) as usize).min(hal::MAX_CPUS);
        let (mut parked, mut missing) = (CpuSet(0), CpuSet(0));
        for cpu in CpuId::all().take(cpus) {
            let state = match self.record.state(cpu) {
                _ if cpu == me => CpuState::Owner,
                CpuState::Online | CpuState::Owner => CpuState::Missing,
                state => state,
            };
            self.record.set_slot(cpu, slot::OWNER_STATE, u64::from(state.number()));
            self.record.set_slot(cpu, slot::OWNER_HEARTBEAT, self.record.slot(cpu, slot::HEARTBEAT));
            if cpu == me {
                continue;
            }
            if state == CpuState::Parked {
                parked = parked.with(cpu);
            }
            if matches!(state, CpuState::Missing | CpuState::Deferred) {
                missing = missing.with(cpu);
                self.says(|authority| authority.missing(cpu));
            }
            if !aloud {
                continue;
            }
            let rung = Rung::from_number(self.record.slot(cpu, slot::RUNG) as u16).unwrap_or(Rung::None);
            let rung = if state == CpuState::Parked { rung } else { Rung::None };
            let signalled = self.record.slot(cpu, slot::OWNER_SIGNALLED_AT);
            let latency = match rung {
                // Somebody else's NMI may have stopped it, before any signal of this path was sent.
                Rung::Ipi | Rung::Nmi if signalled != 0 => {
                    self.record.slot(cpu, slot::SAVED_AT).saturating_sub(signalled)
                }
                _ => 0,
            };
            let fields: [(&str, &dyn core::fmt::Display); 4] =
                [("who", &cpu), ("state", &state), ("rung", &rung), ("ns", &latency)];
            self.event(me, "stopped", &fields);
            self.tell_held(me, cpu);
        }
        self.record.store(header::STOPPED_AT, self.platform.now_ns());
        let detail = Detail::new(format_args!(
            "{} parked, {} missing of {} online",
            parked.count(),
            missing.count(),
            online.count()
        ));
        if missing.count() == 0 { Ok(detail) } else { Err(detail) }
    }
}
