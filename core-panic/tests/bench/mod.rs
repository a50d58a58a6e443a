//! A machine made of threads, just enough of it to run the sequence on the host: each CPU is a
//! thread, a signal is a mailbox that the thread polls, and whatever does not return leaves by
//! unwinding with an [`End`].

mod store;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use core_panic::notifier::{Context, LateClass, Notifier, Refusal, Registration};
use core_panic::{Cause, Config, Panic, Registry};
use crash_lock::Domain;
use crash_record::event::{Event, Stream};
use crash_record::layout;
use crash_record::names::{Class, Rung};
use crash_record::write::{Identity, RecordArea};
use hal::clock::Clock;
use hal::console::EmergencyConsole;
use hal::cpu::Cpu;
use hal::firmware::{Firmware, FirmwareError};
use hal::ipi::Ipi;
use hal::kexec::{Handoff, Image, Kexec, KexecError, Quiesced, Verified};
use hal::nmi::{Nmi, SignalError, Strength};
use hal::registers::{Registers, Snapshot};
use hal::stack::PanicStacks;
use hal::timer::DeadlineTimer;
use hal::{CpuId, Platform, Unsupported};

/// How a CPU left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Into the park loop.
    Parked,
    /// Into the crash image, told of this record.
    Jumped(u64),
    /// By a reboot.
    Rebooted,
    /// By turning off.
    PoweredOff,
}

thread_local! {
    static ME: Cell<CpuId> = const { Cell::new(CpuId::BOOT) };
}

#[derive(Clone)]
pub struct Regs([u64; 4]);

impl Registers for Regs {
    fn words(&self) -> &[u64] {
        &self.0
    }
    fn pc(&self) -> u64 {
        self.0[0]
    }
    fn sp(&self) -> u64 {
        self.0[1]
    }
    fn witness(&self) -> u64 {
        self.0[2]
    }
    fn backtrace(&self, out: &mut [u64]) -> usize {
        out[0] = 0xbac;
        1
    }
}

pub fn snapshot() -> Snapshot<Regs> {
    let me = ME.get().index() as u64;
    Snapshot { registers: Regs([0x1000 + me, 0x2000 + me, me, 0]), interrupted: None }
}

#[derive(Default)]
struct Mailbox {
    ipi: AtomicBool,
    nmi: AtomicBool,
    /// Takes no maskable signal.
    masked: AtomicBool,
    /// Takes none at all.
    deaf: AtomicBool,
}

/// What the machine is to do wrong.
#[derive(Default)]
pub struct Faults {
    pub no_nmi: bool,
    pub maskable_nmi: bool,
    /// No NMI can be sent to this CPU.
    pub nmi_refused: Option<usize>,
    /// There is a timer, and masked interrupts keep it out.
    pub maskable_timer: bool,
    /// It refuses to be armed after as many times.
    pub timer_refuses_after: Option<u32>,
    pub no_image: bool,
    pub bad_digest: bool,
    pub jump_fails: bool,
    pub reboot_returns: bool,
    /// The console takes this many bytes and then none.
    pub console_takes: Option<usize>,
    /// Sending an IPI to CPU 2 panics.
    pub ipi_panics: Option<&'static OnceLock<&'static Panic<'static, Machine>>>,
    /// Every line that has this in it panics, in the same way.
    pub line_panics: Option<&'static str>,
}

pub struct Machine {
    start: Instant,
    mail: [Mailbox; hal::MAX_CPUS],
    pub console: Mutex<Vec<u8>>,
    pub faults: Faults,
    image: Image,
    pub quiesced: AtomicU32,
    armed: AtomicU32,
    pub stacks: Mutex<Vec<usize>>,
    over: AtomicBool,
    store: store::Slots,
}

impl Cpu for Machine {
    fn current(&self) -> CpuId {
        ME.get()
    }
    fn mask_interrupts(&self) -> bool {
        true
    }
    fn relax(&self) {
        // Whoever still waits when the owner has left the machine was parked.
        if self.over.load(Ordering::SeqCst) && ME.get() != CpuId::BOOT {
            resume_unwind(Box::new(End::Parked));
        }
        std::thread::yield_now();
    }
    fn park_wait(&self) {
        resume_unwind(Box::new(End::Parked))
    }
}

impl Clock for Machine {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64 + 1
    }
}

impl EmergencyConsole for Machine {
    fn write(&self, bytes: &[u8]) -> usize {
        let mut console = self.console.lock().unwrap();
        let room = self.faults.console_takes.map_or(bytes.len(), |most| most.saturating_sub(console.len()));
        let taken = bytes.len().min(room);
        console.extend_from_slice(&bytes[..taken]);
        drop(console);
        if let Some(text) = self.faults.line_panics
            && let Some(panic) = self.faults.ipi_panics.and_then(OnceLock::get)
            && bytes.windows(text.len()).any(|part| part == text.as_bytes())
        {
            panic.enter(&Cause { reason: "broken", message: &"in what settles it" }, &snapshot());
        }
        taken
    }
    fn read(&self) -> Option<u8> {
        None
    }
}

impl PanicStacks for Machine {
    const COUNT: usize = 2;
    fn switch<T>(&self, index: usize, entry: fn(&T) -> !, argument: &T) -> ! {
        self.stacks.lock().unwrap().push(index % Self::COUNT);
        entry(argument)
    }
}

impl Ipi for Machine {
    fn send_stop(&self, target: CpuId) -> Result<Strength, SignalError> {
        if let Some(panic) = self.faults.ipi_panics.and_then(OnceLock::get)
            && target.index() == 2
        {
            panic.enter(&Cause { reason: "broken", message: &"in the ladder" }, &snapshot());
        }
        self.mail[target.index()].ipi.store(true, Ordering::SeqCst);
        Ok(Strength::Maskable)
    }
    fn send_nudge(&self, _: CpuId) -> Result<Strength, SignalError> {
        Ok(Strength::Maskable)
    }
}

impl Nmi for Machine {
    fn send(&self, target: CpuId) -> Result<Strength, SignalError> {
        if self.faults.nmi_refused == Some(target.index()) {
            return Err(SignalError::Busy);
        }
        self.mail[target.index()].nmi.store(true, Ordering::SeqCst);
        Ok(if self.faults.maskable_nmi { Strength::Maskable } else { Strength::NonMaskable })
    }
    fn unblock(&self) {}
}

impl DeadlineTimer for Machine {
    fn arm(&self, _: u64) -> Result<Strength, SignalError> {
        let before = self.armed.fetch_add(1, Ordering::SeqCst);
        if self.faults.timer_refuses_after.is_some_and(|most| before >= most) {
            return Err(SignalError::Refused(5));
        }
        Ok(if self.faults.maskable_timer { Strength::Maskable } else { Strength::NonMaskable })
    }
    fn extend(&self, _: u64) {}
    fn disarm(&self) {}
}

impl Kexec for Machine {
    fn image(&self) -> Result<&Image, KexecError> {
        if self.faults.no_image { Err(KexecError::NoImage("none was given")) } else { Ok(&self.image) }
    }
    fn verify(&self) -> Result<Verified<'_>, KexecError> {
        if self.faults.bad_digest { Err(KexecError::Digest) } else { Ok(Verified::attest(&self.image)) }
    }
    fn quiesce(&self) -> Result<Quiesced, KexecError> {
        self.quiesced.fetch_add(1, Ordering::SeqCst);
        Ok(Quiesced { sources: 2, refused: 0 })
    }
    fn jump(&self, _: Verified<'_>, handoff: &Handoff) -> KexecError {
        if self.faults.jump_fails {
            return KexecError::Failed("the trampoline is not mapped");
        }
        resume_unwind(Box::new(End::Jumped(handoff.record)))
    }
}

impl Firmware for Machine {
    fn reboot(&self) -> FirmwareError {
        if self.faults.reboot_returns {
            return FirmwareError::Returned(-1);
        }
        resume_unwind(Box::new(End::Rebooted))
    }
    fn power_off(&self) -> FirmwareError {
        resume_unwind(Box::new(End::PoweredOff))
    }
    fn emulator_exit(&self, _: bool) -> FirmwareError {
        FirmwareError::Unsupported(Unsupported::new("threads"))
    }
}

impl Platform for Machine {
    type Registers = Regs;
    type Ipi = Machine;
    type Nmi = Machine;
    type Kexec = Machine;
    type Firmware = Machine;
    type Timer = Machine;
    type Store = store::Slots;
    fn name(&self) -> &'static str {
        "threads"
    }
    fn capture(&self) -> Snapshot<Regs> {
        snapshot()
    }
    fn ipi(&self) -> Result<&Machine, Unsupported> {
        Ok(self)
    }
    fn nmi(&self) -> Result<&Machine, Unsupported> {
        if self.faults.no_nmi { Err(Unsupported::new("threads have none")) } else { Ok(self) }
    }
    fn kexec(&self) -> Result<&Machine, Unsupported> {
        Ok(self)
    }
    fn timer(&self) -> Result<&Machine, Unsupported> {
        if self.faults.maskable_timer { Ok(self) } else { Err(Unsupported::new("threads have none")) }
    }
    fn firmware(&self) -> Result<&Machine, Unsupported> {
        Ok(self)
    }
    fn store(&self) -> Result<&store::Slots, Unsupported> {
        Ok(&self.store)
    }
}

/// A kernel on such a machine.
pub struct Bench {
    pub machine: &'static Machine,
    pub record: &'static RecordArea,
    pub panic: &'static Panic<'static, Machine>,
    cpus: usize,
}

/// What a secondary does besides waiting for signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Secondary {
    /// Answers everything.
    Listens,
    /// Has interrupts off.
    Masked,
    /// Answers nothing.
    Deaf,
    /// Panics itself once the panic is claimed.
    Panics,
    /// Comes up once the panic is claimed.
    Late,
}

pub struct Outcome {
    pub owner: End,
    pub others: Vec<Option<End>>,
    pub bytes: Vec<u8>,
    pub console: String,
}

impl Bench {
    pub fn new(cpus: usize, config: Config, faults: Faults, notifiers: &'static Registry) -> Bench {
        let machine = Box::leak(Box::new(Machine {
            start: Instant::now(),
            mail: Default::default(),
            console: Mutex::default(),
            faults,
            image: Image { entry: 1, base: 2, len: 3, build_id: 4, digest_ns: 0 },
            quiesced: AtomicU32::new(0),
            armed: AtomicU32::new(0),
            stacks: Mutex::default(),
            over: AtomicBool::new(false),
            store: store::Slots::default(),
        }));
        let record = Box::leak(Box::new(RecordArea::new()));
        record.set_up(&Identity {
            nonce: 7,
            build_id: 8,
            machine: "threads",
            cpus: cpus as u64,
            image_base: 0,
            record_base: 0x5000,
        });
        let locks = Box::leak(Box::new(Domain::new()));
        let panic = Box::leak(Box::new(Panic::new(machine, record, locks, notifiers)));
        panic.configure(config);
        ME.set(CpuId::BOOT);
        panic.online();
        Bench { machine, record, panic, cpus }
    }

    /// Runs: CPU 0 panics while each other CPU does its thing.
    pub fn run(&self, secondaries: &[Secondary]) -> Outcome {
        self.run_with(secondaries, &"on purpose")
    }

    pub fn run_with(&self, secondaries: &[Secondary], message: &(dyn std::fmt::Display + Sync)) -> Outcome {
        let up = AtomicU32::new(1);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (1..self.cpus)
                .map(|number| {
                    let what = secondaries.get(number - 1).copied().unwrap_or(Secondary::Listens);
                    let (up, over) = (&up, &over);
                    scope.spawn(move || end_of(|| self.secondary(number, what, up, over)))
                })
                .collect();
            while (up.load(Ordering::SeqCst) as usize) < self.cpus {
                std::thread::yield_now();
            }
            ME.set(CpuId::BOOT);
            let owner = end_of(|| self.panic.enter(&Cause { reason: "test", message }, &snapshot()));
            over.store(true, Ordering::SeqCst);
            self.machine.over.store(true, Ordering::SeqCst);
            let others = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
            let bytes = (0..layout::RECORD_WORDS).flat_map(|at| self.record.load(at).to_ne_bytes()).collect();
            let console = String::from_utf8(self.machine.console.lock().unwrap().clone()).unwrap();
            Outcome { owner: owner.unwrap(), others, bytes, console }
        })
    }

    fn secondary(&self, number: usize, what: Secondary, up: &AtomicU32, over: &AtomicBool) {
        ME.set(CpuId::new(number).unwrap());
        let mail = &self.machine.mail[number];
        self.panic.starting(ME.get());
        mail.masked.store(what == Secondary::Masked, Ordering::SeqCst);
        mail.deaf.store(what == Secondary::Deaf, Ordering::SeqCst);
        if what == Secondary::Late {
            up.fetch_add(1, Ordering::SeqCst);
            while !self.panic.claimed() {
                std::thread::yield_now();
            }
            self.panic.online();
            unreachable!("a CPU came up during a panic and went on");
        }
        self.panic.online();
        up.fetch_add(1, Ordering::SeqCst);
        let heartbeat = self.record.heartbeat(ME.get()).unwrap();
        while !over.load(Ordering::SeqCst) {
            heartbeat.fetch_add(1, Ordering::SeqCst);
            if what == Secondary::Panics && self.panic.claimed() {
                self.panic.enter(&Cause { reason: "second", message: &"me too" }, &snapshot());
            }
            if !mail.deaf.load(Ordering::SeqCst) {
                if mail.nmi.swap(false, Ordering::SeqCst) {
                    let _ = self.panic.on_signal(Rung::Nmi, &snapshot());
                }
                if !mail.masked.load(Ordering::SeqCst) && mail.ipi.swap(false, Ordering::SeqCst) {
                    let _ = self.panic.on_signal(Rung::Ipi, &snapshot());
                }
            }
            std::thread::sleep(Duration::from_micros(50));
        }
    }
}

fn end_of<T>(body: impl FnOnce() -> T) -> Option<End> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(_) => None,
        Err(payload) => match payload.downcast::<End>() {
            Ok(end) => Some(*end),
            Err(payload) => resume_unwind(payload),
        },
    }
}

impl Outcome {
    /// The panic stream's events, checked for gaps and checksums: `kind` and the named fields.
    pub fn events(&self, kind: &str, fields: &[&str]) -> Vec<String> {
        let mut next = 0;
        let mut found = Vec::new();
        for line in self.console.lines() {
            let Some(event) = Event::parse(line) else { continue };
            let event = event.unwrap_or_else(|error| panic!("{error}: {line}"));
            assert_eq!((event.stream, event.sequence), (Stream::Panic, next), "{line}");
            next += 1;
            if event.kind == kind {
                let values: Vec<_> = fields.iter().map(|field| event.field(field).unwrap_or("-")).collect();
                found.push(values.join(":"));
            }
        }
        found
    }

    pub fn steps(&self) -> Vec<String> {
        self.events("end", &["step", "outcome"])
    }
}

/// A notifier made of a closure.
pub struct Call {
    pub name: &'static str,
    pub body: fn(&dyn Context) -> Result<(), Refusal>,
}

impl Notifier for Call {
    fn name(&self) -> &'static str {
        self.name
    }
    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        (self.body)(context)
    }
}

pub fn registry(notifiers: Vec<(Class, Box<dyn Notifier>)>) -> &'static Registry {
    let registry = Box::leak(Box::new(Registry::new()));
    for (class, notifier) in notifiers {
        let class = LateClass::of(class).expect("that class is a constant table");
        registry.register(Registration { class, priority: 0, notifier: Box::leak(notifier) }).unwrap();
    }
    registry
}
