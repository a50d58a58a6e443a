//! Scenario files on the simulated machine: the words of a kernel command line, and what comes from outside, as a
//! [`Scenario`].
//!
//! `panic.*` is read by the code that reads it on metal. Of `test.*` and `run.*` a word means here what it means to the
//! kernel (`kernel/src/options.rs`), or it is refused by name: what would be something else than on metal is not
//! staged. Its notifiers are the kernel's, by class, order and name.

mod role;
mod runs;

use core_panic::config::ConfigError;
use crash_record::names::{Class, Step};

use crate::MAX_CPUS;
use crate::faults::{Call, Faults, What};
use crate::lock::Which;
use crate::plan::{Op, Plan};
use crate::scenario::{Body, Does, Handler, NotifierSpec, Scenario};
use role::Role;

pub use runs::{Ran, Seen, again, runs};

/// A word that the simulated machine cannot do, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unstaged {
    /// The word.
    pub word: String,
    /// Why.
    pub why: &'static str,
}

impl std::fmt::Display for Unstaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.word, self.why)
    }
}

/// Words of which every value is refused.
const CANNOT: &[(&str, &str)] = &[
    ("run.listen", "no device interrupts here"),
    ("test.firmware", "the firmware that tests put in front is the machine's"),
    ("test.console", "the firmware that tests put in front is the machine's"),
    ("test.bench", "there are no instructions to count"),
    ("test.contract", "`cargo xtask conformance sim` asks for these promises"),
    ("test.store", "entries that a kernel writes at boot"),
    ("store", "the file behind an emulator's firmware store"),
    ("qemu_arguments", "there is no emulator"),
];

/// Triggers that are traps of a real machine.
const TRAPS: [&str; 7] = ["null", "wild", "undefined", "trap", "stack-overflow", "write-text", "exec-data"];
const TRAP: &str = "what traps is a machine, and what it traps as";

/// How the panic comes about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trigger {
    Rust,
    Display,
    Nmi,
    All,
    Button,
    MachineCheck,
    Early,
}

/// The kernel's notifiers that go wrong: by the place in its constant table.
const WRONG: [(&str, &str, Does); 6] = [
    ("panic", "panics", Does::Panic),
    ("null", "reads-null", Does::Fault),
    ("hang", "hangs", Does::Spin),
    ("refuse", "refuses", Does::Fail),
    ("stop-again", "stops-again", Does::StopAgain),
    ("die", "dies", Does::Die),
];
/// The most of them.
const MOST_WRONG: usize = 4;

/// What was read so far.
struct Reader {
    scenario: Scenario,
    cpus: usize,
    trigger: Trigger,
    cpu: usize,
    /// Class, place in [`WRONG`].
    wrong: Vec<(Class, usize)>,
    journal: Option<Does>,
    section_ms: u16,
    roles: Vec<(usize, Role)>,
    pressed: bool,
}

/// A machine with so many CPUs whose kernel gets these words. The word `input=AFTER:WHAT` is something that comes from
/// outside after an event.
pub fn scenario(cpus: usize, words: &str) -> Result<Scenario, Unstaged> {
    let refused = |word: &str, why| Unstaged { word: word.to_owned(), why };
    if !(1..=MAX_CPUS).contains(&cpus) {
        return Err(refused(&cpus.to_string(), "there are 1 to 4 CPUs"));
    }
    let mut reader = Reader {
        scenario: Scenario::new(cpus),
        cpus,
        trigger: Trigger::Rust,
        cpu: 0,
        wrong: Vec::new(),
        journal: None,
        section_ms: 1,
        roles: Vec::new(),
        pressed: false,
    };
    for cpu in reader.scenario.cpus.iter_mut().take(cpus) {
        *cpu = Body::Works;
    }
    let mut inputs = Vec::new();
    for word in words.split_ascii_whitespace() {
        let (key, value) = word.split_once('=').ok_or_else(|| refused(word, "not of the form key=value"))?;
        match reader.scenario.config.set(key, value) {
            Ok(true) => {}
            // What comes from outside is read in the light of all the words.
            Ok(false) if key == "input" => inputs.push(word),
            Ok(false) => reader.set(key, value).map_err(|why| refused(word, why))?,
            Err(ConfigError::UnknownKey) => return Err(refused(word, NO_SUCH_KEY)),
            Err(ConfigError::Expected(_)) => {
                return Err(refused(word, "what a kernel says of that is its own"));
            }
        }
    }
    if let Some(cpu) = reader.scenario.config.cpu.filter(|cpu| *cpu as usize >= cpus) {
        return Err(refused(&format!("panic.cpu={cpu}"), NO_SUCH_CPU));
    }
    for word in inputs {
        reader.input(word).map_err(|why| refused(word, why))?;
    }
    reader.finish().map_err(|(word, why)| refused(word, why))
}

const NO_SUCH_KEY: &str = "no such key here";
const NO_SUCH_CPU: &str = "there is no such CPU";

impl Reader {
    fn cpu(&self, value: &str) -> Result<usize, &'static str> {
        value.parse().ok().filter(|cpu| *cpu < self.cpus).ok_or(NO_SUCH_CPU)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), &'static str> {
        if let Some((_, why)) = CANNOT.iter().find(|(known, _)| *known == key) {
            return Err(why);
        }
        match key {
            // Nobody looks in, so nobody is waited for.
            "run.hold" if value.parse::<u32>().is_ok() => {}
            "test.panic" => self.trigger = trigger(value)?,
            "test.cpu" => self.cpu = self.cpu(value)?,
            "test.spin" => self.scenario.faults.masked |= 1 << self.cpu(value)?,
            "test.nmi" => {
                let (cpu, what) = value.split_once(':').ok_or(NO_SUCH_VALUE)?;
                let cpu = self.cpu(cpu)?;
                match what {
                    "poll" => self.scenario.faults.in_nmi |= 1 << cpu,
                    "busy" => self.scenario.cpus[cpu] = Body::Handles(Handler::Busy),
                    "late" => self.scenario.cpus[cpu] = Body::Handles(Handler::Late),
                    "deaf" => self.scenario.cpus[cpu] = Body::Handles(Handler::Deaf),
                    _ => return Err(NO_SUCH_VALUE),
                }
            }
            "test.notifier" => {
                let (class, what) = value.split_once(':').ok_or(NO_SUCH_VALUE)?;
                if what == "allocate" {
                    return Err("there is no heap that could refuse");
                }
                let class = Class::from_name(class).ok_or(NO_SUCH_VALUE)?;
                let which = WRONG.iter().position(|(word, ..)| *word == what).ok_or(NO_SUCH_VALUE)?;
                if self.wrong.contains(&(class, which)) || self.wrong.len() == MOST_WRONG {
                    return Err("each once, and four at the most");
                }
                self.wrong.push((class, which));
            }
            "test.step" => {
                let (step, what) = value.split_once(':').ok_or(NO_SUCH_VALUE)?;
                let what = match what {
                    "panic" => What::Panic,
                    "null" => What::Fault,
                    "hang" => What::Hang,
                    _ => return Err(NO_SUCH_VALUE),
                };
                let step = Step::from_name(step).ok_or(NO_SUCH_VALUE)?;
                let free = self.scenario.steps.iter_mut().find(|step| step.is_none());
                *free.ok_or("six at the most")? = Some((step, what));
            }
            "test.image" if value == "none" => self.scenario.faults.no_image = true,
            "test.image" if value == "flip" => self.scenario.faults.bad_digest = true,
            "test.hammer" => {
                self.journal = Some(match value {
                    "lock" => Does::Lock(Which::Skip),
                    "enter" => Does::Enter(Which::Skip),
                    "mutex" => Does::Ordinary,
                    "store" => return Err("the file behind an emulator's firmware store"),
                    _ => return Err(NO_SUCH_VALUE),
                });
            }
            "test.section" => {
                let us: u32 = value.parse().ok().filter(|us| *us <= 1_000_000).ok_or(NO_SUCH_VALUE)?;
                self.section_ms = us.div_ceil(1_000) as u16;
            }
            "test.role" => {
                let (cpu, role) = value.split_once(':').ok_or(NO_SUCH_VALUE)?;
                let cpu = self.cpu(cpu)?;
                if self.roles.iter().any(|(known, _)| *known == cpu) {
                    return Err("one for each CPU");
                }
                self.roles.push((cpu, Role::read(role)?));
            }
            _ => return Err(NO_SUCH_KEY),
        }
        Ok(())
    }

    /// Something from outside, when all the other words were read.
    fn input(&mut self, word: &str) -> Result<(), &'static str> {
        let (after, what) =
            word.split_once('=').and_then(|(_, value)| value.split_once(':')).ok_or(NO_SUCH_VALUE)?;
        match what {
            // It hits every CPU; here as many of them come, each to any CPU, at any point.
            "inject-nmi" => {
                self.scenario.external_nmis = self.cpus as u8;
                match (after, self.trigger) {
                    ("boot/ready", Trigger::Button) => self.pressed = true,
                    ("panic/claim" | "panic/stopped", _) => {}
                    _ => return Err("it would find no panic and begin none"),
                }
                Ok(())
            }
            "send" => Err("no device interrupts here"),
            "corrupt" => Err("nobody writes into this machine's memory from outside"),
            "derail" => Err("no instruction is fetched here"),
            _ => Err("no monitor of an emulator here"),
        }
    }

    fn finish(mut self) -> Result<Scenario, (&'static str, &'static str)> {
        let roles = std::mem::take(&mut self.roles);
        if !roles.is_empty() {
            if self.trigger != Trigger::Rust || self.journal.is_some() {
                return Err(("test.role", "only with `test.panic=rust`, and without `test.hammer`"));
            }
            self.journal = Some(Does::Enter(Which::Skip));
        }
        for (cpu, role) in roles.iter().filter(|(cpu, _)| *cpu != self.cpu) {
            if self.scenario.cpus[*cpu] != Body::Works {
                return Err(("test.role", "it is to do something else, too"));
            }
            let asked_for = roles.iter().any(|(_, other)| other.lock.is_some() && other.lock == role.asks());
            self.scenario.cpus[*cpu] = Body::Runs(role.plan(asked_for));
        }
        if self.scenario.cpus[self.cpu] != Body::Works
            || Faults::has(self.scenario.faults.in_nmi | self.scenario.faults.masked, self.cpu)
        {
            return Err(("test.cpu", "it is to do something else, too"));
        }
        let message = |what| Faults::NONE.with(Call::Message, 0, what).injections;
        let body = match self.trigger {
            Trigger::Rust if !roles.is_empty() => {
                let own = roles.iter().find(|(cpu, _)| *cpu == self.cpu).and_then(|(_, role)| role.lock);
                let ops: Vec<_> = own.map(Op::Take).into_iter().chain([Op::Gather, Op::Panic]).collect();
                Body::Runs(Plan::new(&ops))
            }
            Trigger::Rust if self.journal.is_some() => {
                if self.cpus < 2 {
                    return Err(("test.hammer", "nobody else is there to hold the lock"));
                }
                self.hammer();
                let ordinary = self.journal == Some(Does::Ordinary);
                let held = if ordinary { Op::AwaitOne } else { Op::Await(Which::Skip) };
                Body::Runs(Plan::new(&[held, Op::Panic]))
            }
            _ if self.journal.is_some() => return Err(("test.hammer", "only with `test.panic=rust`")),
            Trigger::Rust => Body::Panics,
            Trigger::Display => {
                self.scenario.faults.injections = message(What::Panic);
                Body::Panics
            }
            Trigger::Nmi => Body::PanicsInNmi,
            Trigger::MachineCheck => Body::Fails(What::MachineCheck),
            Trigger::All => {
                self.others(Body::Panics);
                Body::Panics
            }
            Trigger::Early => {
                self.others(Body::Unstarted);
                Body::Panics
            }
            Trigger::Button if !self.pressed => return Err(("test.panic=button", "nobody presses it")),
            Trigger::Button => {
                (self.scenario.button_panics, self.scenario.pressed) = (true, true);
                Body::Works
            }
        };
        self.scenario.cpus[self.cpu] = body;
        self.notifiers();
        Ok(self.scenario)
    }

    /// What every other CPU does that has nothing special to do.
    fn others(&mut self, body: Body) {
        let mine = self.cpu;
        let others = self.scenario.cpus.iter_mut().enumerate().filter(|(cpu, _)| *cpu != mine);
        others.filter(|(_, was)| **was == Body::Works).for_each(|(_, was)| *was = body);
    }

    /// The others write to the journal in turn, with interrupts off.
    fn hammer(&mut self) {
        let ordinary = [Op::Mask, Op::Ordinary(self.section_ms), Op::Unmask, Op::Work(1)];
        let entry =
            [Op::Mask, Op::Take(Which::Skip), Op::Until(self.section_ms), Op::Drop, Op::Unmask, Op::Work(1)];
        let entry = if self.journal == Some(Does::Ordinary) { &ordinary[..] } else { &entry[..] };
        self.others(Body::Runs(Plan::new(entry)));
    }

    /// As the kernel registers them: within a class what wants the journal, what goes wrong, and what logs; last of all
    /// the one that lets the bench look, which has nothing to wait for here.
    fn notifiers(&mut self) {
        let mut add = |class, does, name| {
            self.scenario = self.scenario.registered(NotifierSpec { class, does, name: Some(name) });
        };
        if let Some(does) = self.journal {
            add(Class::Inform, does, "journal");
        }
        // Those before the dump are lines of a constant table, in its order.
        let constant = |(class, which): &(Class, usize)| if *class == Class::BeforeDump { *which } else { 0 };
        self.wrong.sort_by_key(constant);
        for (class, which) in &self.wrong {
            let (_, name, does) = WRONG[*which];
            add(*class, does, name);
        }
        for class in [Class::Inform, Class::PreReboot, Class::Terminal] {
            add(class, Does::Talk, "log");
        }
        add(Class::Terminal, Does::Work, "hold");
    }
}

const NO_SUCH_VALUE: &str = "no such value here";

fn trigger(value: &str) -> Result<Trigger, &'static str> {
    Ok(match value {
        "rust" => Trigger::Rust,
        "display" => Trigger::Display,
        "nmi" => Trigger::Nmi,
        "all" => Trigger::All,
        "button" => Trigger::Button,
        "machine-check" => Trigger::MachineCheck,
        "early" => Trigger::Early,
        "console" => return Err("no device interrupts here"),
        "none" => return Err("nobody panics by himself, and nothing here makes him"),
        trap if TRAPS.contains(&trap) => return Err(TRAP),
        _ => return Err(NO_SUCH_VALUE),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_panic::config::{KexecMode, StopPolicy};

    fn why(words: &str) -> String {
        scenario(2, words).expect_err("not staged").to_string()
    }

    #[test]
    fn words_mean_what_they_mean_to_a_kernel() {
        let words = "panic.kexec=post panic.stop=nmi panic.cpu=1 test.notifier=inform:null test.step=stop:hang \
                     test.image=flip";
        let staged = scenario(2, words).expect("all of these can be staged");
        assert_eq!((staged.config.kexec, staged.config.stop), (KexecMode::Post, StopPolicy::Nmi));
        assert_eq!((staged.config.cpu, staged.faults.bad_digest), (Some(1), true));
        assert_eq!(staged.steps[0], Some((Step::Stop, What::Hang)));
        let names = staged.notifiers.iter().flatten().filter_map(|spec| spec.name);
        assert_eq!(names.collect::<Vec<_>>(), ["reads-null", "log", "log", "log", "hold"]);
        assert_eq!(staged.cpus[..3], [Body::Panics, Body::Works, Body::Absent]);
    }

    #[test]
    fn before_the_dump_the_order_is_the_constant_tables() {
        let words =
            "test.notifier=before-dump:hang test.notifier=inform:hang test.notifier=before-dump:panic";
        let staged = scenario(1, words).expect("all of these can be staged");
        let names = staged.notifiers.iter().flatten().map(|spec| (spec.class, spec.name.unwrap_or("")));
        let before: Vec<_> = names.filter(|(class, _)| *class == Class::BeforeDump).collect();
        assert_eq!(before, [(Class::BeforeDump, "panics"), (Class::BeforeDump, "hangs")]);
    }

    #[test]
    fn what_it_cannot_do_is_refused_by_name() {
        assert!(why("test.store=5").starts_with("`test.store=5`: "));
        assert!(why("panic.scale=many").starts_with("`panic.scale=many`: "));
        assert!(why("panic.kexce=post").starts_with("`panic.kexce=post`: "));
        assert!(why("quiet").starts_with("`quiet`: "));
        assert!(why("test.panick=rust").starts_with("`test.panick=rust`: "));
        assert!(why("test.cpu=2").contains("no such CPU"));
        assert!(why("panic.cpu=2").contains("no such CPU"));
        assert!(why("test.panic=null").contains("trap"));
        assert!(why("test.panic=button").contains("nobody presses it"));
        assert!(why("input=boot/ready:inject-nmi").contains("no panic"));
        assert!(why("input=panic/claim:send").contains("device"));
        assert!(why("test.cpu=1 test.nmi=1:deaf").contains("something else"));
        assert!(scenario(5, "").is_err() && scenario(0, "").is_err());
    }
}
