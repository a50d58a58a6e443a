//! The kernel command line: `panic.*` goes to the panic path, `run.*` and `test.*` are for the bench
//! that runs this kernel, `capture.*` is what one kernel tells the next.
//!
//! | key | values | default | meaning |
//! |---|---|---|---|
//! | `run.nonce` | up to 16 hex digits | 0 | tells this run from every other |
//! | `run.hold` | ms, 0 to 600000 | 0 | how long the last kernel waits to be looked at, or for a typed `g` |
//! | `run.listen` | ms, 0 to 600000 | 0 | the console interrupts, and the panic waits for a typed byte; how long the capture kernel waits for a typed `z`, with interrupts on |
//! | `run.end` | `boot` | no | turns the machine off as soon as this line is read: what a run takes at least |
//! | `test.panic` | see [`Trigger`] | `rust` | how the panic comes about |
//! | `test.cpu` | 0 to 15 | 0 | on which CPU |
//! | `test.nudge` | µs, 0 to 1000000 | 20000 | how long a CPU of the load lets pass between two interrupts for the next one |
//! | `test.delay` | ms, 0 to 60000 | 10 | after how much load |
//! | `test.spin` | 0 to 15 | none | this CPU spins with interrupts off for ever |
//! | `test.nmi` | `CPU:WHAT`, see [`NmiHandler`] | none | this CPU is inside an NMI handler when the panic comes |
//! | `test.notifier` | `CLASS:FAULT` | none | adds a notifier that goes wrong; may be given 4 times |
//! | `test.hammer` | `mutex`, `lock`, `enter`, `store` | no | the other CPUs write to a journal, and a notifier asks for it so |
//! | `test.section` | µs, 0 to 1000000 | 100 | how long one of their critical sections takes |
//! | `test.firmware` | `WHO:SERVICE:TIME` or `WHO:lock`, see [`FirmwareLoad`] | none | firmware takes its time, and a notifier asks it what time it is |
//! | `test.console` | `firmware` | the machine's own | the emergency console goes through firmware |
//! | `test.role` | `CPU:INTERRUPTS/LOCK/US/THEN`, see [`roles`] | none | what that CPU does when the panic comes |
//! | `test.bench` | `lock` | no | measures what a lock costs, at boot |
//! | `test.store` | 0 to 64 | 0 | writes that many entries into the firmware store at boot, and clears the first |
//! | `test.contract` | tier, 0 to 9 | none | no panic: what the HAL promises is checked, the checks of that tier |
//! | `test.step` | `STEP:FAULT`, see [`Fault`] | none | this step goes wrong inside; may be given 6 times |
//! | `test.image` | `none` or `flip` | load it | do not load the crash image; flip a byte of it once it is loaded |
//! | `capture.record` | `ADDRESS,LENGTH` | none | physical place of the record: this is a capture kernel |

use core_panic::config::{Config, ConfigError};
use crash_record::names::{Class, Step};
use hal::testload::FirmwareService;
use hal::{CpuId, MAX_CPUS};

use crate::roles::{self, Role};

/// How the panic comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trigger {
    /// `rust`: a Rust `panic!`.
    Rust,
    /// `null`: a read of address 0.
    Null,
    /// `wild`: a write to an address that nothing maps.
    Wild,
    /// `undefined`: an undefined instruction.
    Undefined,
    /// `trap`: the machine's trap instruction.
    Trap,
    /// `stack-overflow`: recursion into the guard page.
    StackOverflow,
    /// `write-text`: a write to kernel text.
    WriteText,
    /// `exec-data`: a jump into data.
    ExecuteData,
    /// `display`: a `panic!` whose message panics while it is formatted.
    Display,
    /// `nmi`: a `panic!` inside an NMI handler.
    Nmi,
    /// `console`: a `panic!` inside the console's receive interrupt, when `!` is typed.
    Console,
    /// `all`: a `panic!` on every CPU at once.
    All,
    /// `button`: a `panic!` in the handler of an NMI that nobody here has sent.
    Button,
    /// `machine-check`: the machine check's handler is entered without one.
    MachineCheck,
    /// `early`: a `panic!` before the secondaries are up.
    Early,
    /// `none`: no panic at all.
    None,
}

const TRIGGERS: &[(&str, Trigger)] = &[
    ("rust", Trigger::Rust),
    ("null", Trigger::Null),
    ("wild", Trigger::Wild),
    ("undefined", Trigger::Undefined),
    ("trap", Trigger::Trap),
    ("stack-overflow", Trigger::StackOverflow),
    ("write-text", Trigger::WriteText),
    ("exec-data", Trigger::ExecuteData),
    ("display", Trigger::Display),
    ("nmi", Trigger::Nmi),
    ("console", Trigger::Console),
    ("all", Trigger::All),
    ("button", Trigger::Button),
    ("machine-check", Trigger::MachineCheck),
    ("early", Trigger::Early),
    ("none", Trigger::None),
];

/// How a step or a notifier goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// `panic`: it panics.
    Panic,
    /// `null`: it reads address 0.
    Null,
    /// `hang`: it never comes back.
    Hang,
}

/// How the notifier that logs asks for its lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ask {
    /// `mutex`: an ordinary spin lock, and it waits.
    Mutex,
    /// `lock`: a lock that knows its holder, without a token.
    Lock,
    /// `enter`: the same, with a token.
    Enter,
    /// `store`: the same, and the journal is the firmware store.
    Store,
}

const FAULTS: &[(&str, Fault)] = &[("panic", Fault::Panic), ("null", Fault::Null), ("hang", Fault::Hang)];

/// What is slow about firmware, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FirmwareLoad {
    /// `owner`: for the CPU that panics. `others`: for all others, which call it all the time.
    pub owner: bool,
    /// What.
    pub slow: Slow,
}

/// What is slow about firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Slow {
    /// `lock`: the lock in front of it is taken and never released.
    Lock,
    /// `clock`, `mask` or `route`, and µs, or `hang`: a service takes that long, or for ever.
    Service(FirmwareService, Option<u64>),
}

const SERVICES: &[(&str, FirmwareService)] =
    &[("clock", FirmwareService::Clock), ("mask", FirmwareService::Mask), ("route", FirmwareService::Route)];

/// What a notifier does that it should not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotifierFault {
    /// As a step does.
    Fault(Fault),
    /// `refuse`: it fails, and wants nobody else to be told.
    Refuse,
    /// `stop-again`: it sends every other CPU the stop signals once more.
    StopAgain,
    /// `die`: it never comes back, and no NMI reaches its CPU any more.
    Die,
    /// `allocate`: it allocates memory.
    Allocate,
}

/// What the handler does in which a CPU is when the panic comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NmiHandler {
    /// `busy`: it goes on for a while after the stop's first signal to this CPU, then it returns.
    Busy,
    /// `poll`: it never returns, and looks for a panic.
    Poll,
    /// `late`: it looks for a panic only once the stop is over, and the path goes on when it has parked.
    Late,
    /// `deaf`: it never returns and never looks.
    Deaf,
}

const NMI_HANDLERS: &[(&str, NmiHandler)] = &[
    ("busy", NmiHandler::Busy),
    ("poll", NmiHandler::Poll),
    ("late", NmiHandler::Late),
    ("deaf", NmiHandler::Deaf),
];

/// Notifiers that go wrong, at most.
pub const MAX_FAULTS: usize = 4;

/// Steps that go wrong, at most.
pub const MAX_STEPS: usize = 6;

/// What the command line said.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// `panic.*`.
    pub config: Config,
    /// `run.nonce`.
    pub nonce: u64,
    /// `run.hold`, ms.
    pub hold_ms: u64,
    /// `run.listen`, ms.
    pub listen_ms: u64,
    /// `run.end=boot`.
    pub end_at_boot: bool,
    /// `test.panic`.
    pub trigger: Trigger,
    /// `test.cpu`.
    pub cpu: usize,
    /// `test.nudge`, µs. A stop signal that comes right behind an interrupt finds a trap entry, and on ppc64 with it a
    /// context that is lost: that happens, but it is not what most runs are about.
    pub nudge_us: u64,
    /// `test.delay`, ms.
    pub delay_ms: u64,
    /// `test.spin`.
    pub spin: Option<usize>,
    /// `test.notifier`.
    pub faults: [Option<(Class, NotifierFault)>; MAX_FAULTS],
    /// `test.nmi`: the CPU and what its handler does.
    pub nmi: Option<(usize, NmiHandler)>,
    /// `test.step`.
    pub steps: [Option<(Step, Fault)>; MAX_STEPS],
    /// `test.image=none`.
    pub no_image: bool,
    /// `test.hammer`.
    pub hammer: Option<Ask>,
    /// `test.section`, µs.
    pub section_us: u64,
    /// `test.firmware`.
    pub firmware: Option<FirmwareLoad>,
    /// `test.console=firmware`.
    pub firmware_console: bool,
    /// `test.role`, by CPU.
    pub roles: [Option<Role>; MAX_CPUS],
    /// `test.bench=lock`.
    pub bench: bool,
    /// `test.contract`: the tier.
    pub contract: Option<u8>,
    /// `test.store`: entries.
    pub store: u32,
    /// `test.image=flip`.
    pub flip_image: bool,
    /// `capture.record`: address and length in bytes.
    pub capture: Option<(u64, u64)>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config::DEFAULT,
            nonce: 0,
            hold_ms: 0,
            listen_ms: 0,
            end_at_boot: false,
            trigger: Trigger::Rust,
            cpu: 0,
            nudge_us: 20_000,
            delay_ms: 10,
            spin: None,
            faults: [None; MAX_FAULTS],
            nmi: None,
            steps: [None; MAX_STEPS],
            no_image: false,
            hammer: None,
            section_us: 100,
            firmware: None,
            firmware_console: false,
            roles: [None; MAX_CPUS],
            bench: false,
            contract: None,
            store: 0,
            flip_image: false,
            capture: None,
        }
    }
}

impl Options {
    /// What this CPU does when the panic comes.
    pub fn role(&self, cpu: CpuId) -> Option<Role> {
        self.roles[cpu.index()]
    }

    /// How this step is to go wrong.
    pub fn fault_in(&self, step: Step) -> Option<Fault> {
        self.steps.iter().flatten().find(|(named, _)| *named == step).map(|(_, fault)| *fault)
    }

    /// Reads a command line. What is unknown or malformed is handed to `complain` with the key and
    /// the reason, and changes nothing.
    pub fn parse(line: &str, mut complain: impl FnMut(&str, &ConfigError)) -> Options {
        let mut options = Options::default();
        for word in line.split_ascii_whitespace() {
            let Some((key, value)) = word.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                complain(shown(word), &ConfigError::Expected("key=value"));
                continue;
            };
            let result = match options.config.set(key, value) {
                Ok(false) => options.set(key, value),
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = result {
                complain(shown(key), &error);
            }
        }
        options
    }

    /// Holds the CPU numbers against the machine: one that it does not have is complained about, and its
    /// default stands.
    pub fn fit(&mut self, cpus: usize, mut complain: impl FnMut(&str, &ConfigError)) {
        let error = ConfigError::Expected("the number of a CPU that this machine has");
        if self.cpu >= cpus {
            self.cpu = 0;
            complain("test.cpu", &error);
        }
        if self.spin.is_some_and(|cpu| cpu >= cpus) {
            self.spin = None;
            complain("test.spin", &error);
        }
        if self.nmi.is_some_and(|(cpu, _)| cpu >= cpus) {
            self.nmi = None;
            complain("test.nmi", &error);
        }
        for role in self.roles.iter_mut().skip(cpus) {
            if role.take().is_some() {
                complain("test.role", &error);
            }
        }
        if self.config.cpu.is_some_and(|cpu| cpu as usize >= cpus) {
            self.config.cpu = None;
            complain("panic.cpu", &error);
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ConfigError> {
        match key {
            "run.nonce" => self.nonce = hex(value)?,
            "run.hold" => self.hold_ms = number(value, 600_000, "a number of ms up to 600000")?,
            "run.listen" => self.listen_ms = number(value, 600_000, "a number of ms up to 600000")?,
            "run.end" if value == "boot" => self.end_at_boot = true,
            "run.end" => return Err(ConfigError::Expected("boot")),
            "test.panic" => {
                let expected = "rust, null, wild, undefined, trap, stack-overflow, write-text, \
                                exec-data, display, nmi, console, all, early or none";
                self.trigger = named(TRIGGERS, value).ok_or(ConfigError::Expected(expected))?;
            }
            "test.cpu" => self.cpu = number(value, 15, "a CPU number up to 15")? as usize,
            "test.nudge" => {
                self.nudge_us = number(value, 1_000_000, "a number of us up to 1000000")?;
            }
            "test.delay" => self.delay_ms = number(value, 60_000, "a number of ms up to 60000")?,
            "test.spin" => self.spin = Some(number(value, 15, "a CPU number up to 15")? as usize),
            "test.notifier" => {
                let fault = notifier_fault(value)?;
                let free = self.faults.iter_mut().find(|fault| fault.is_none());
                *free.ok_or(ConfigError::Expected("at most four of these"))? = Some(fault);
            }
            "test.nmi" => {
                let expected = ConfigError::Expected("CPU:WHAT, a CPU number and busy, poll, late or deaf");
                let (cpu, what) = value.split_once(':').ok_or(expected)?;
                let cpu = number(cpu, 15, "a CPU number up to 15")? as usize;
                self.nmi = Some((cpu, named(NMI_HANDLERS, what).ok_or(expected)?));
            }
            "test.hammer" => {
                self.hammer = Some(match value {
                    "mutex" => Ask::Mutex,
                    "lock" => Ask::Lock,
                    "enter" => Ask::Enter,
                    "store" => Ask::Store,
                    _ => return Err(ConfigError::Expected("mutex, lock, enter or store")),
                });
            }
            "test.section" => self.section_us = number(value, 1_000_000, "a number of µs up to 1000000")?,
            "test.firmware" => {
                let expected = "WHO:lock or WHO:SERVICE:TIME, others or owner, clock, mask or route, and µs up \
                                to 10000000 or hang";
                self.firmware = Some(firmware_load(value).ok_or(ConfigError::Expected(expected))?);
            }
            "test.console" if value == "firmware" => self.firmware_console = true,
            "test.console" => return Err(ConfigError::Expected("firmware")),
            "test.role" => {
                let (cpu, role) = roles::parse(value)?;
                // A `CPU` below `MAX_CPUS`; what comes later wins.
                if let Some(slot) = self.roles.get_mut(cpu) {
                    *slot = Some(role);
                }
            }
            "test.bench" => match value {
                "lock" => self.bench = true,
                _ => return Err(ConfigError::Expected("lock")),
            },
            "test.contract" => self.contract = Some(number(value, 9, "a tier, 0 to 9")? as u8),
            "test.store" => self.store = number(value, 64, "a number of entries up to 64")? as u32,
            "test.step" => {
                let expected = ConfigError::Expected("STEP:FAULT, a step and panic, null or hang");
                let (step, fault) = value.split_once(':').ok_or(expected)?;
                let step = Step::from_name(step).ok_or(expected)?;
                let step = (step, named(FAULTS, fault).ok_or(expected)?);
                let free = self.steps.iter_mut().find(|step| step.is_none());
                *free.ok_or(ConfigError::Expected("at most six of these"))? = Some(step);
            }
            "test.image" => match value {
                "none" => self.no_image = true,
                "flip" => self.flip_image = true,
                _ => return Err(ConfigError::Expected("none or flip")),
            },
            "capture.record" => {
                let expected = ConfigError::Expected("ADDRESS,LENGTH in hex with 0x");
                let (address, length) = value.split_once(',').ok_or(expected)?;
                let both = (address.strip_prefix("0x"), length.strip_prefix("0x"));
                let (Some(address), Some(length)) = both else { return Err(expected) };
                self.capture = Some((hex(address)?, hex(length)?));
            }
            _ => return Err(ConfigError::UnknownKey),
        }
        Ok(())
    }
}

/// As much of a key as a complaint has room for.
fn shown(key: &str) -> &str {
    let end = (0..=key.len().min(60)).rev().find(|end| key.is_char_boundary(*end));
    key.get(..end.unwrap_or(0)).unwrap_or(key)
}

fn firmware_load(value: &str) -> Option<FirmwareLoad> {
    let (who, what) = value.split_once(':')?;
    let owner = named(&[("owner", true), ("others", false)], who)?;
    let slow = match what.split_once(':') {
        None if what == "lock" => Slow::Lock,
        None => return None,
        Some((service, "hang")) => Slow::Service(named(SERVICES, service)?, None),
        Some((service, us)) => {
            Slow::Service(named(SERVICES, service)?, Some(number(us, 10_000_000, "").ok()?))
        }
    };
    Some(FirmwareLoad { owner, slow })
}

fn notifier_fault(value: &str) -> Result<(Class, NotifierFault), ConfigError> {
    let expected = ConfigError::Expected(
        "CLASS:FAULT, a class of notifiers and panic, null, hang, refuse, stop-again, die or allocate",
    );
    let (class, fault) = value.split_once(':').ok_or(expected)?;
    let class = Class::from_name(class).ok_or(expected)?;
    let fault = match fault {
        "refuse" => NotifierFault::Refuse,
        "stop-again" => NotifierFault::StopAgain,
        "die" => NotifierFault::Die,
        "allocate" => NotifierFault::Allocate,
        other => NotifierFault::Fault(named(FAULTS, other).ok_or(expected)?),
    };
    Ok((class, fault))
}

fn named<T: Copy>(table: &[(&str, T)], wanted: &str) -> Option<T> {
    table.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value)
}

fn hex(value: &str) -> Result<u64, ConfigError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let parsed = digits.then(|| u64::from_str_radix(value, 16).ok()).flatten();
    parsed.ok_or(ConfigError::Expected("up to 16 hexadecimal digits"))
}

fn number(value: &str, most: u64, expected: &'static str) -> Result<u64, ConfigError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = digits.then(|| value.parse().ok()).flatten().filter(|number| *number <= most);
    parsed.ok_or(ConfigError::Expected(expected))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_panic::config::KexecMode;

    fn parse(line: &str) -> (Options, Vec<String>) {
        let mut complaints = Vec::new();
        let options = Options::parse(line, |key, problem| complaints.push(format!("{key}: {problem}")));
        (options, complaints)
    }

    #[test]
    fn takes_every_key() {
        let line = "panic.kexec=post run.nonce=00ff run.hold=5000 run.end=boot test.panic=stack-overflow test.cpu=2 \
                    test.delay=1 test.nudge=5 test.spin=3 test.notifier=inform:panic test.notifier=pre-reboot:null \
                    test.nmi=1:late test.step=stop:hang test.image=none test.hammer=enter test.section=250 \
                    test.store=5 test.role=3:off/0/10/end test.bench=lock capture.record=0x1000,0xf000";
        let (options, complaints) = parse(line);
        assert_eq!(complaints, [] as [String; 0]);
        assert_eq!(options.config.kexec, KexecMode::Post);
        assert_eq!((options.nonce, options.hold_ms, options.cpu), (255, 5000, 2));
        assert_eq!((options.trigger, options.delay_ms, options.spin), (Trigger::StackOverflow, 1, Some(3)));
        assert_eq!(options.nudge_us, 5);
        assert_eq!(options.faults[1], Some((Class::PreReboot, NotifierFault::Fault(Fault::Null))));
        assert_eq!(
            (options.nmi, options.steps[0]),
            (Some((1, NmiHandler::Late)), Some((Step::Stop, Fault::Hang)))
        );
        assert_eq!((options.hammer, options.section_us), (Some(Ask::Enter), 250));
        assert_eq!((options.store, options.bench), (5, true));
        assert_eq!(options.roles.iter().position(Option::is_some), Some(3));
        assert!(options.end_at_boot);
        assert_eq!((options.no_image, options.capture), (true, Some((0x1000, 0xf000))));
    }

    #[test]
    fn cpus_that_the_machine_does_not_have_are_named() {
        let (mut options, _) = parse("test.cpu=4 test.spin=2 panic.cpu=15 test.role=4:on/0/0/end");
        let mut complaints = Vec::new();
        options.fit(4, |key, problem| complaints.push(format!("{key}: {problem}")));
        assert_eq!(complaints.len(), 3, "{complaints:?}");
        assert!(complaints[0].starts_with("test.cpu: expected the number of a CPU"));
        assert_eq!((options.cpu, options.spin, options.config.cpu), (0, Some(2), None));
        assert!(options.roles.iter().all(Option::is_none));
    }

    #[test]
    fn a_long_key_is_cut_and_not_lost() {
        let (_, complaints) = parse(&"k".repeat(300));
        assert!(complaints[0].starts_with(&"k".repeat(60)) && complaints[0].len() < 100);
    }

    #[test]
    fn complains_by_name_and_goes_on() {
        let line = "run.nonce=xyz run.end=now quiet =1 test.cpu=99 panic.stop=politely test.panick=rust test.hold=3 \
                    test.notifier=inform test.delay=+1 capture.record=12,13 test.panic=null";
        let (options, complaints) = parse(line);
        assert_eq!(
            complaints,
            [
                "run.nonce: expected up to 16 hexadecimal digits",
                "run.end: expected boot",
                "quiet: expected key=value",
                "=1: expected key=value",
                "test.cpu: expected a CPU number up to 15",
                "panic.stop: expected deferred, nmi, ipi-nmi or linux",
                "test.panick: no such key",
                "test.hold: no such key",
                "test.notifier: expected CLASS:FAULT, a class of notifiers and panic, null, hang, refuse, \
                 stop-again, die or allocate",
                "test.delay: expected a number of ms up to 60000",
                "capture.record: expected ADDRESS,LENGTH in hex with 0x",
            ]
        );
        assert_eq!(options.trigger, Trigger::Null);
        assert_eq!(options.delay_ms, 10);
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// Nonsense is complained about once, and costs nothing of what was said beside it.
        #[test]
        fn nonsense_costs_nothing(
            nonsense in "[a-z.]{0,12}=?[ -~]{0,40}", place in 0..3usize,
            key in proptest::sample::select(std::vec!["test.", "run.", "capture.record", "test.step", "test.nmi"]),
            value in "[!-~]{0,30}",
        ) {
            for odd in [nonsense.replace(' ', ""), std::format!("{key}={value}")] {
                let mut words = std::vec!["run.nonce=ff", "test.delay=7"];
                words.insert(place, &odd);
                let (mut options, complaints) = parse(&words.join(" "));
                proptest::prop_assert!(complaints.len() <= 1, "{complaints:?}");
                if !complaints.is_empty() {
                    proptest::prop_assert_eq!((options.nonce, options.delay_ms), (0xff, 7));
                }
                options.fit(1, |_, _| {});
                proptest::prop_assert_eq!(options.cpu, 0);
            }
        }
    }
}
