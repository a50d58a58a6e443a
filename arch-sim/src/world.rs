//! The state of the simulated machine, and how the code that runs on it reaches it.

use std::cell::Cell;

use crate::MAX_CPUS;
use crate::action::{Action, Schedule};
use crate::allocator;
use crate::bench::Due;
use crate::choose::Chooser;
use crate::faults::{Call, Faults, What};
use crate::machine::Machine;
use crate::memory::Memory;
use crate::oracle::Oracle;
use crate::plan::Device;
use crate::random::mix;
use crate::scenario::{Body, Scenario};

/// Length of a tick, ns.
pub const TICK_NS: u64 = 10_000_000;
/// Length of a leap, ns: longer than any answer may take.
pub const LEAP_NS: u64 = 1_500_000_000;

/// How the machine ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum End {
    /// The owner went into the crash image.
    Jumped,
    /// It reset the machine.
    Rebooted,
    /// It turned the machine off.
    PoweredOff,
    /// It stays, stopped.
    Halted,
    /// Nobody panicked.
    Calm,
    /// Nothing can happen any more, and the owner is not done.
    Stuck,
    /// The owner is not done, long after its time.
    Overdue,
    /// A CPU crashed: a Rust panic on the panic path.
    Crashed,
    /// The run was given up, since its future is known.
    Abandoned,
}

/// What a CPU is doing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Status {
    /// Runs.
    Ready,
    /// In a polite busy wait: goes on when something changed that it looked at, or time passed.
    Waiting,
    /// Does nothing until it is signalled.
    Idle,
    /// In the park loop.
    Parked,
    /// Hangs where it is; only a signal gets it out.
    Hung,
    /// Not there (any more).
    Gone,
}

/// A simulated CPU.
#[derive(Clone, Copy, Debug)]
pub struct CpuWorld {
    /// What it is doing.
    pub status: Status,
    /// Takes maskable interrupts.
    pub interrupts: bool,
    /// The latch.
    pub nmi_pending: bool,
    /// It waits for interrupts to be on.
    pub nmi_maskable: bool,
    /// Holds NMIs off.
    pub nmi_blocked: bool,
    /// A stop IPI waits.
    pub ipi_pending: bool,
    /// Handlers that it is in.
    pub nesting: u8,
    /// Something that it read since its last wait has changed.
    pub dirty: bool,
    /// Where its stack begins.
    pub top: usize,
    /// About where its stack ends, while it is suspended.
    pub sp: usize,
    /// Waits that ended since time passed.
    pub turns: u8,
    /// When its timer fires, ns.
    pub timer: Option<u64>,
    /// Panic stack in use.
    pub stack: Option<usize>,
    /// Work that it did.
    pub work: u32,
}

impl CpuWorld {
    const NEW: CpuWorld = CpuWorld {
        status: Status::Ready,
        interrupts: true,
        nmi_pending: false,
        nmi_maskable: false,
        nmi_blocked: false,
        ipi_pending: false,
        nesting: 0,
        dirty: false,
        top: 0,
        sp: 0,
        turns: 0,
        timer: None,
        stack: None,
        work: 0,
    };
}

/// The machine's state, and what is needed to run it.
pub struct World {
    /// What is staged.
    pub scenario: Scenario,
    /// The CPUs.
    pub cpus: [CpuWorld; MAX_CPUS],
    /// How many there are.
    pub count: usize,
    /// The CPU that runs.
    pub current: usize,
    /// At the point where it is, another one may run.
    pub everybody: bool,
    /// A signal to deliver when it goes on.
    pub deliver: Option<Action>,
    /// Time, ns.
    pub now: u64,
    /// What the clock shows, ns.
    pub shown: u64,
    /// Points passed by all CPUs.
    pub point: u32,
    /// The memory.
    pub memory: Memory,
    /// The memory itself.
    pub machine: &'static Machine,
    /// Location of the last operation.
    pub last: Option<u32>,
    /// Only operations on shared locations are points where CPUs are switched.
    pub reduce: bool,
    /// Keep what a state's hash needs.
    pub hashing: bool,
    /// Who decides.
    pub chooser: Chooser,
    /// The choices that were not the first possibility.
    pub schedule: Schedule,
    /// Their hash.
    pub schedule_hash: u64,
    /// Calls of each kind so far.
    pub calls: [u16; Call::ALL.len()],
    /// External NMIs that may still come.
    pub external_left: u8,
    /// Machine checks that may still come.
    pub checks_left: u8,
    /// Ticks that may still come early.
    pub ticks_left: u8,
    /// Leaps that may still come.
    pub leaps_left: u8,
    /// Switches that may still come early.
    pub preemptions_left: u8,
    /// When the path must be over, ns.
    pub bound: u64,
    /// CPUs that are where the scenario wants them, a bit each.
    pub ready: u8,
    /// The step that is about to go wrong (bench.rs).
    pub due: Due,
    /// How it ended.
    pub end: Option<End>,
    /// The console driver's device.
    pub device: Device,
    /// What firmware keeps.
    pub store: crate::store::Content,
    /// Output.
    pub console: Vec<u8>,
    /// What happened, if somebody wants to know.
    pub timeline: Option<Vec<String>>,
    /// The promises.
    pub oracle: Oracle,
    /// Steps × what happened in them.
    pub coverage: [[u32; 8]; 16],
    /// The step that runs, for the coverage.
    pub stage: usize,
}

thread_local! {
    static WORLD: Cell<*mut World> = const { Cell::new(std::ptr::null_mut()) };
}

/// Makes `world` the one that runs on this host thread; null for none.
pub(crate) fn install(world: *mut World) {
    WORLD.set(world);
}

/// Looks at, or changes, the world of the running simulation. `None` where none runs.
///
/// Host code: what it allocates is not held against the panic path.
pub fn with<R>(look: impl FnOnce(&mut World) -> R) -> Option<R> {
    /// The world while somebody looks at it: it is nobody else's then, so an atomic that is looked at is no point of the
    /// schedule.
    struct Taken(*mut World);
    impl Drop for Taken {
        fn drop(&mut self) {
            WORLD.set(self.0);
        }
    }
    let taken = Taken(WORLD.replace(std::ptr::null_mut()));
    if taken.0.is_null() {
        return None;
    }
    let guest = allocator::in_guest(false);
    // SAFETY: installed by `run`, whose borrow of it lasts until it is taken out again; whoever comes here before it is
    // put back finds none, so this is the only reference.
    let result = look(unsafe { &mut *taken.0 });
    allocator::in_guest(guest);
    Some(result)
}

/// The executing CPU.
pub fn current() -> usize {
    with(|world| world.current).unwrap_or(0)
}

/// The machine that the executing CPU belongs to.
pub fn machine() -> &'static Machine {
    with(|world| world.machine).expect("a simulated CPU runs in a world")
}

impl World {
    /// No run yet.
    pub fn new(machine: &'static Machine, memory: Memory) -> Self {
        World {
            scenario: Scenario::new(1),
            cpus: [CpuWorld::NEW; MAX_CPUS],
            count: 0,
            current: 0,
            everybody: true,
            deliver: None,
            now: 0,
            shown: 0,
            point: 0,
            memory,
            machine,
            last: None,
            reduce: true,
            hashing: false,
            chooser: Chooser::First,
            schedule: Schedule(Vec::with_capacity(4096)),
            schedule_hash: 0,
            calls: [0; Call::ALL.len()],
            external_left: 0,
            checks_left: 0,
            ticks_left: 0,
            leaps_left: 0,
            preemptions_left: 0,
            bound: 0,
            ready: 0,
            due: Due::default(),
            end: None,
            device: Device::default(),
            store: crate::store::Content::EMPTY,
            console: Vec::with_capacity(64 * 1024),
            timeline: None,
            oracle: Oracle::default(),
            coverage: [[0; 8]; 16],
            stage: 0,
        }
    }

    /// A new run of this scenario.
    pub fn reset(&mut self, scenario: &Scenario) {
        self.scenario = *scenario;
        self.count = scenario.count();
        self.cpus = [CpuWorld::NEW; MAX_CPUS];
        for (number, cpu) in self.cpus.iter_mut().enumerate() {
            let inside = matches!(scenario.cpus[number], Body::Handles(_));
            cpu.nmi_blocked = inside || Faults::has(scenario.faults.in_nmi, number);
            cpu.interrupts = !cpu.nmi_blocked && !Faults::has(scenario.faults.masked, number);
            if matches!(scenario.cpus[number], Body::Absent | Body::Never | Body::Unstarted) {
                cpu.status = Status::Gone;
            }
        }
        (self.current, self.everybody, self.deliver) = (0, true, None);
        (self.now, self.shown, self.point, self.schedule_hash) = (1_000, 1_000, 0, 0);
        self.memory.reset();
        self.schedule.0.clear();
        self.calls = [0; Call::ALL.len()];
        self.external_left = scenario.external_nmis;
        self.checks_left = scenario.machine_checks;
        self.ticks_left = scenario.early_ticks;
        self.leaps_left = scenario.leaps;
        self.preemptions_left = scenario.preemptions.unwrap_or(u8::MAX);
        self.bound = crate::verdict::bound_ns(scenario);
        self.ready = 0;
        self.due = Due::default();
        self.end = None;
        self.device = Device::default();
        self.store = crate::store::Content::EMPTY;
        self.console.clear();
        self.oracle.reset();
        self.stage = 0;
    }

    /// The executing CPU.
    pub fn me(&mut self) -> &mut CpuWorld {
        &mut self.cpus[self.current]
    }

    /// A line of the timeline.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(timeline) = &mut self.timeline {
            timeline.push(format!(
                "{:6} {:8} us CPU {}: {}",
                self.point,
                self.now / 1_000,
                self.current,
                line()
            ));
        }
    }

    /// Whether this CPU can go on without a signal.
    pub fn can_run(&self, cpu: usize) -> bool {
        match self.cpus[cpu].status {
            Status::Ready => true,
            Status::Waiting => self.cpus[cpu].dirty && self.cpus[cpu].turns < self.scenario.turns,
            _ => false,
        }
    }

    /// Time passes.
    pub fn pass(&mut self, ns: u64) {
        self.now += ns;
        if !self.clock_stands() {
            self.shown = self.now;
        }
        for cpu in 0..self.count {
            let deaf = Faults::has(self.scenario.faults.deaf, cpu);
            let it = &mut self.cpus[cpu];
            it.turns = 0;
            if it.status == Status::Waiting {
                it.dirty = true;
            }
            if it.timer.is_some_and(|at| at <= self.now) {
                it.timer = None;
                it.nmi_pending |= !deaf;
                it.nmi_maskable = false;
            }
        }
    }

    /// Whether nobody is to panic, and the HAL's promises are checked.
    pub fn checks(&self) -> bool {
        matches!(self.scenario.cpus[0], Body::Checks(_))
    }

    /// Whether the clock has stopped.
    pub fn clock_stands(&self) -> bool {
        let stops = self.scenario.faults.clock_stops;
        stops != 0 && self.calls[Call::Clock as usize] >= stops
    }

    /// Counts a call, and says what goes wrong with it.
    pub fn call(&mut self, call: Call) -> Option<What> {
        let nth = self.calls[call as usize];
        self.calls[call as usize] = nth.saturating_add(1);
        let wrong = self.scenario.faults.at(call, nth)?;
        self.tell(|| format!("{call:?} number {nth}: {wrong:?}"));
        self.coverage[self.stage][match wrong {
            What::Hang => 4,
            What::Panic | What::Fault | What::MachineCheck => 5,
            What::Garbage | What::Dropped => 6,
        }] += 1;
        Some(wrong)
    }

    /// A number that stands for everything the future depends on, but for how many early switches are left.
    pub fn state(&self, everybody: bool) -> u64 {
        let mut hash = mix(self.memory.hash, self.now);
        let left = [self.external_left, self.checks_left, self.ticks_left, self.leaps_left];
        hash = mix(hash, left.iter().fold(0, |all, one| all << 8 | u64::from(*one)));
        hash = mix(hash, self.current as u64 | u64::from(everybody) << 8);
        hash = mix(hash, self.oracle.state());
        // How often something was called matters where a certain call goes wrong.
        let faults = &self.scenario.faults;
        for call in faults.injections.iter().flatten().map(|injection| injection.call) {
            hash = mix(hash, self.calls[call as usize].into());
        }
        if faults.clock_stops != 0 {
            hash = mix(hash, self.calls[Call::Clock as usize].into());
        }
        for (number, cpu) in self.cpus.iter().enumerate().take(self.count) {
            let nmi = [cpu.nmi_pending, cpu.nmi_maskable, cpu.nmi_blocked];
            let others = [cpu.interrupts, cpu.ipi_pending, cpu.dirty];
            let flags = nmi.iter().chain(&others).fold(0, |all, one| all << 1 | u64::from(*one));
            hash = mix(hash, stack_hash(cpu));
            hash = mix(hash, number as u64 | (cpu.status as u64) << 8 | flags << 16);
            hash = mix(hash, self.memory.read_hash[number]);
            hash = mix(hash, cpu.timer.unwrap_or(0) ^ u64::from(cpu.turns) << 56);
        }
        hash
    }
}

/// What is on a suspended CPU's stack: its local state, registers included, which the switch saved
/// there.
fn stack_hash(cpu: &CpuWorld) -> u64 {
    // What the switch pushes lies just below the mark.
    const BELOW: usize = 128;
    let from = (cpu.sp & !7).saturating_sub(BELOW);
    if cpu.sp == cpu.top {
        return 0;
    }
    let words = cpu.top.saturating_sub(from) / 8;
    // SAFETY: from a little below a suspended coroutine's stack pointer to the start of its stack: mapped, and
    // nobody runs on it. The bytes were written by code that has long moved on; reading them as integers
    // through a volatile access is as much as a debugger does.
    (0..words).fold(0, |hash, at| mix(hash, unsafe { std::ptr::read_volatile((from as *const u64).add(at)) }))
}
