//! What is staged: a value, so that a seed or a row of a table makes one.

use core_panic::Config;
use core_panic::config::{FinalAction, KexecMode, StopPolicy};
use crash_record::names::{Class, Step};

use crate::MAX_CPUS;
use crate::faults::{Call, Faults, What};
use crate::lock::Which;
use crate::plan::{Op, Plan};
use crate::random::Random;
use crate::services::{Id, Kind};

/// What a CPU does by itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Body {
    /// There is no such CPU.
    Absent,
    /// Works until it is stopped.
    Works,
    /// Does this, as often as the scenario says.
    Runs(Plan),
    /// Panics.
    Panics,
    /// Panics in an NMI handler.
    PanicsInNmi,
    /// Comes up at any time, and works.
    Starts,
    /// Panics before it was published as online.
    PanicsEarly,
    /// Was started and never comes up.
    Never,
    /// Nobody has started it.
    Unstarted,
    /// Something goes wrong with it that is no panic of its own code.
    Fails(What),
    /// Is in an NMI handler from the start, which does this.
    Handles(Handler),
    /// Checks what the HAL promises: the checks of this tier.
    Checks(u8),
    /// Does for it what it is asked to.
    Serves,
}

/// What an NMI handler does in which a CPU is when the panic comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Handler {
    /// Returns some time after this CPU was signalled.
    Busy,
    /// Looks for a panic once the stop is over; the path goes on when this CPU has parked.
    Late,
    /// Never returns, and never looks.
    Deaf,
}

/// What a notifier does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Does {
    /// Its work.
    Work,
    /// Writes a line.
    Talk,
    /// Refuses.
    Skip,
    /// Reports a failure.
    Fail,
    /// Panics.
    Panic,
    /// Faults.
    Fault,
    /// Waits for ever, politely.
    Spin,
    /// Hangs.
    Hang,
    /// Lets time pass, less than its budget.
    Slow,
    /// Works under a lock that it asks for with the token.
    Enter(Which),
    /// The same, and panics under it.
    EnterAndPanic(Which),
    /// Works under a lock, and asks for it once more.
    EnterTwice(Which),
    /// Asks for a lock as if there were no panic.
    Lock(Which),
    /// Waits for the ordinary lock.
    Ordinary,
    /// Calls firmware.
    Call(Id),
    /// Writes an entry to the store, under its lock.
    Store,
    /// Writes to the console driver's device, under its lock.
    Device,
    /// Sends the stop signals once more to whoever is parked.
    StopAgain,
    /// Never comes back, and no NMI reaches its CPU any more.
    Die,
}

/// A notifier.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct NotifierSpec {
    /// Class.
    pub class: Class,
    /// What it does.
    pub does: Does,
    /// What it is called; its place in the scenario, if that does not matter.
    pub name: Option<&'static str>,
}

/// The most notifiers of a scenario.
pub const MAX_NOTIFIERS: usize = 20;

/// The most steps of a scenario that go wrong inside.
pub const MAX_STEPS: usize = 6;

/// Everything about a run but its schedule.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The CPUs.
    pub cpus: [Body; MAX_CPUS],
    /// The configuration of the panic path.
    pub config: Config,
    /// The notifiers in the order of their registration.
    pub notifiers: [Option<NotifierSpec>; MAX_NOTIFIERS],
    /// Whether the record step hands the record to somebody, who writes to the store under its lock.
    pub keeper: bool,
    /// The machine's firmware.
    pub firmware: Kind,
    /// What is wrong with the machine.
    pub faults: Faults,
    /// Steps that go wrong inside, and how (bench.rs).
    pub steps: [Option<(Step, What)>; MAX_STEPS],
    /// NMIs from outside that may come, at any point.
    pub external_nmis: u8,
    /// CPU that they go to; any if `None`.
    pub external_to: Option<u8>,
    /// Whether an NMI from outside makes a CPU panic that takes it while there is none.
    pub button_panics: bool,
    /// Whether one of them comes for sure: before the machine comes to rest without a panic.
    pub pressed: bool,
    /// Machine checks that may come, at any point, on any CPU.
    pub machine_checks: u8,
    /// Times that a little time may pass while somebody could run.
    pub early_ticks: u8,
    /// Times that a lot of time may pass.
    pub leaps: u8,
    /// Switches away from a CPU that could go on; unlimited if `None`.
    pub preemptions: Option<u8>,
    /// How often a working CPU does its work.
    pub rounds: u8,
    /// Waits that may end before time passes: one iteration takes a while, so not too many fit in between.
    pub turns: u8,
}

impl Scenario {
    /// One CPU panics, `cpus - 1` work; nothing is wrong.
    pub const fn new(cpus: usize) -> Scenario {
        let mut bodies = [Body::Absent; MAX_CPUS];
        let mut at = 0;
        while at < cpus && at < MAX_CPUS {
            bodies[at] = if at == 0 { Body::Panics } else { Body::Works };
            at += 1;
        }
        Scenario {
            cpus: bodies,
            config: Config::DEFAULT,
            notifiers: [None; MAX_NOTIFIERS],
            keeper: false,
            firmware: Kind::Plain,
            faults: Faults::NONE,
            steps: [None; MAX_STEPS],
            external_nmis: 0,
            external_to: None,
            button_panics: false,
            pressed: false,
            machine_checks: 0,
            early_ticks: 0,
            leaps: 0,
            preemptions: None,
            rounds: 1,
            turns: 16,
        }
    }

    /// With this CPU doing that.
    pub const fn cpu(mut self, cpu: usize, body: Body) -> Scenario {
        self.cpus[cpu] = body;
        self
    }

    /// With this configuration.
    pub const fn config(mut self, config: Config) -> Scenario {
        self.config = config;
        self
    }

    /// With this firmware.
    pub const fn firmware(mut self, firmware: Kind) -> Scenario {
        self.firmware = firmware;
        self
    }

    /// With these faults.
    pub const fn faults(mut self, faults: Faults) -> Scenario {
        self.faults = faults;
        self
    }

    /// With one more notifier; unchanged if there is no room.
    pub const fn notifier(self, class: Class, does: Does) -> Scenario {
        self.registered(NotifierSpec { class, does, name: None })
    }

    /// With one more notifier; unchanged if there is no room.
    pub const fn registered(mut self, spec: NotifierSpec) -> Scenario {
        let mut at = 0;
        while at < MAX_NOTIFIERS {
            if self.notifiers[at].is_none() {
                self.notifiers[at] = Some(spec);
                return self;
            }
            at += 1;
        }
        self
    }

    /// CPUs in the machine.
    pub fn count(&self) -> usize {
        self.cpus.iter().take_while(|body| **body != Body::Absent).count()
    }

    /// Whether somebody waits for others before he panics, so that time has to pass before.
    pub fn awaits(&self) -> bool {
        let awaits = |op| matches!(op, Op::Await(_) | Op::AwaitOne | Op::Gather);
        self.cpus.iter().any(|body| matches!(body, Body::Runs(plan) if plan.has(awaits)))
    }

    /// A number that stands for it.
    pub fn hash(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (self.cpus, self.notifiers, self.faults, self.rounds, self.preemptions).hash(&mut hasher);
        (self.external_nmis, self.external_to, self.button_panics, self.machine_checks).hash(&mut hasher);
        (self.early_ticks, self.leaps, self.turns, self.firmware, self.keeper).hash(&mut hasher);
        (self.steps, self.pressed).hash(&mut hasher);
        let config = &self.config;
        (config.kexec as u8, config.stop as u8, config.final_action as u8).hash(&mut hasher);
        (config.timeout_s, config.scale, config.cpu, config.grace_ms).hash(&mut hasher);
        hasher.finish()
    }

    /// Any scenario, from a seed.
    pub fn random(seed: u64) -> Scenario {
        let mut random = Random::new(seed ^ 0x5CE4_A210);
        let cpus = [2, 2, 2, 3, 3, 4][random.below(6) as usize];
        let mut scenario = Scenario::new(cpus);
        for cpu in 1..cpus {
            scenario.cpus[cpu] = match random.below(10) {
                0 | 1 => Body::Panics,
                2 => Body::PanicsInNmi,
                3 | 4 => Body::Starts,
                5 => [Body::PanicsEarly, Body::Never][random.below(2) as usize],
                6 | 7 => Body::Runs(Plan::random(&mut random)),
                _ => Body::Works,
            };
        }
        if random.once_in(8) {
            scenario.cpus.swap(0, 1);
        }
        if random.once_in(8) {
            scenario.cpus[0] = Body::PanicsInNmi;
        }
        scenario.config = random_config(&mut random, cpus);
        for _ in 0..random.below(5) {
            let class = Class::ALL[random.below(Class::ALL.len() as u64) as usize];
            const DOES: [Does; 16] = [
                Does::Work,
                Does::Talk,
                Does::Skip,
                Does::Fail,
                Does::Panic,
                Does::Fault,
                Does::Spin,
                Does::Hang,
                Does::Slow,
                Does::Enter(Which::Skip),
                Does::Enter(Which::Steal),
                Does::EnterAndPanic(Which::Steal),
                Does::EnterTwice(Which::Steal),
                Does::Lock(Which::Skip),
                Does::Lock(Which::Never),
                Does::Store,
            ];
            let does = DOES[random.below(DOES.len() as u64) as usize];
            scenario = scenario.notifier(class, does);
        }
        if random.once_in(3) {
            random_holders(&mut random, &mut scenario);
        }
        scenario.faults = random_faults(&mut random, cpus);
        scenario.external_nmis = [0, 0, 1, 2][random.below(4) as usize];
        scenario.button_panics = random.once_in(4);
        scenario.machine_checks = [0, 0, 0, 1, 2][random.below(5) as usize];
        scenario.early_ticks = [0, 0, 20][random.below(3) as usize];
        scenario.leaps = [0, 0, 1, 3][random.below(4) as usize];
        scenario
    }
}

/// A scenario that is about locks and firmware.
fn random_holders(random: &mut Random, scenario: &mut Scenario) {
    for body in scenario.cpus.iter_mut().filter(|body| matches!(body, Body::Works)) {
        *body = Body::Runs(Plan::random(random));
    }
    if random.once_in(4) {
        // Whoever panics first may hold locks of its own.
        let ops = [Op::Take(Which::Steal), Op::Take(Which::Skip), Op::Panic];
        scenario.cpus[0] = Body::Runs(Plan::new(&ops[random.below(2) as usize..]));
    }
    scenario.firmware = [Kind::Plain, Kind::Rtas, Kind::Strict, Kind::Runtime][random.below(4) as usize];
    for _ in 0..random.below(3) {
        let class = Class::ALL[random.below(Class::ALL.len() as u64) as usize];
        let id = Id::ALL[random.below(Id::ALL.len() as u64) as usize];
        *scenario = scenario.notifier(class, Does::Call(id));
    }
    scenario.config.grace_ms = [100, 100, 20][random.below(3) as usize];
    scenario.rounds = 1 + random.below(2) as u8;
}

fn random_config(random: &mut Random, cpus: usize) -> Config {
    Config {
        kexec: [KexecMode::Pre, KexecMode::Post, KexecMode::Off][random.below(3) as usize],
        stop: [StopPolicy::Nmi, StopPolicy::IpiNmi, StopPolicy::Linux, StopPolicy::Deferred]
            [random.below(4) as usize],
        final_action: [FinalAction::Reboot, FinalAction::PowerOff, FinalAction::Halt]
            [random.below(3) as usize],
        timeout_s: [0, 0, 0, 1][random.below(4) as usize],
        cpu: random.once_in(4).then(|| random.below(cpus as u64) as u32),
        ..Config::DEFAULT
    }
}

fn random_faults(random: &mut Random, cpus: usize) -> Faults {
    let mut faults = Faults::NONE;
    let one = |random: &mut Random| 1 << random.below(cpus as u64);
    if random.once_in(4) {
        faults.deaf = one(random);
    }
    if random.once_in(4) {
        faults.masked = one(random);
    }
    if random.once_in(8) {
        faults.in_nmi = one(random);
    }
    if random.once_in(16) {
        faults.lost = one(random);
    }
    faults.no_nmi = random.once_in(24);
    faults.maskable_nmi = random.once_in(24);
    faults.no_timer = random.once_in(4);
    faults.early_timer = random.once_in(4);
    faults.no_firmware = random.once_in(16);
    faults.no_image = random.once_in(8);
    faults.bad_digest = random.once_in(8);
    faults.jump_fails = random.once_in(8);
    faults.reboot_fails = random.once_in(8);
    faults.power_fails = random.once_in(8);
    if random.once_in(40) {
        faults.clock_stops = 1 + random.below(60) as u16;
    }
    for _ in 0..[0, 0, 1, 2, 3][random.below(5) as usize] {
        let call = Call::ALL[random.below(Call::ALL.len() as u64) as usize];
        const WHATS: [What; 6] =
            [What::Panic, What::Fault, What::MachineCheck, What::Hang, What::Garbage, What::Dropped];
        let mut what = WHATS[random.below(6) as usize];
        if what == What::Hang
            && matches!(call, Call::Unblock | Call::Clock | Call::Image | Call::Nmi | Call::Ipi)
        {
            // An instruction or two each, or bounded by the port.
            what = What::MachineCheck;
        }
        if what == What::Hang && call == Call::Console {
            // Output between two bodies is not watched yet: row 28c has it, as pending.
            what = What::Garbage;
        }
        let often = match call {
            Call::Console | Call::Clock => 40,
            Call::Ipi | Call::Nmi | Call::Arm | Call::Unblock => 4,
            _ => 1,
        };
        faults = faults.with(call, random.below(often) as u16, what);
    }
    faults
}
