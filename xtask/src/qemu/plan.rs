//! From what was asked for to one run: every choice made, every value checked, the emulator's
//! arguments written out.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::cli::RunArgs;
use crate::data;
use crate::error::{Classed, environment, usage};
use crate::machine::{Capability, Choice, Ending, Machine, StoreDevice};
use crate::scenario::{Expect, Kexec, Scenario, Stop, value_name};

/// Guest milliseconds that the kernel waits at `hold` for the runner, should the runner be gone.
const HOLD_MS: u32 = 60_000;

/// Keys of the kernel command line that the runner sets itself, and with which option. What comes later wins in
/// the kernel, and the verdict would be about another run than its title says.
const OWN_KEYS: [(&str, &str); 4] = [
    ("run.nonce", "no option: it is another one each time"),
    ("run.hold", "no option: the runner looks into the guest there"),
    ("panic.kexec", "--kexec"),
    ("panic.stop", "--stop"),
];

/// One run, ready to be started once there is a kernel.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where.
    pub machine: Machine,
    /// What.
    pub scenario: Scenario,
    /// What has to come of it, with these values of the axes.
    pub expect: Expect,
    /// How the run has to end.
    pub ending: Ending,
    /// Number of CPUs.
    pub cpus: u32,
    /// MiB.
    pub memory: u32,
    /// Accelerator.
    pub accel: Choice,
    /// Firmware.
    pub firmware: Choice,
    /// When to jump.
    pub kexec: Kexec,
    /// How to stop.
    pub stop: Stop,
    /// Seconds for the whole run, if somebody said so.
    pub timeout: Option<u32>,
    /// End of the kernel command line.
    pub append: Option<String>,
    /// Something is done to it at random moments: it is judged by what holds all the same.
    pub random: bool,
}

/// A run, or why it has no meaning.
#[derive(Clone, Debug)]
pub enum Planned {
    /// It can be run.
    Run(Box<Plan>),
    /// It has no meaning, for this reason.
    NotApplicable(String),
}

impl Plan {
    /// Makes every choice and checks every value.
    pub fn make(machine: Machine, scenario: Scenario, args: &RunArgs) -> Result<Planned> {
        let name = &machine.name;
        let within = |value: Option<i64>, default: u32, least: u32, most: u32| {
            let value = value.unwrap_or(default.into());
            u32::try_from(value).ok().filter(|value| (least..=most).contains(value)).ok_or(value)
        };
        let cpus = within(args.cpus, machine.cpus.default, 1, machine.cpus.maximum).map_err(|cpus| {
            usage(format!("--cpus {cpus}: {name} runs with 1 to {} CPUs", machine.cpus.maximum))
        })?;
        let (minimum, maximum) = (machine.memory.minimum_mib, machine.memory.maximum_mib);
        let memory = within(args.memory, machine.memory.default_mib, minimum, maximum).map_err(|memory| {
            usage(format!(
                "--memory {memory}: {name} needs at least {minimum} MiB (kernel and crash region) and takes at most {maximum} MiB"
            ))
        })?;
        let step = machine.memory.step_mib;
        if !memory.is_multiple_of(step) {
            return Err(usage(format!(
                "--memory {memory}: {name} takes multiples of {step} MiB, such as {}",
                (memory / step * step).max(minimum)
            )));
        }
        let words = args.append.iter().flat_map(|append| append.split_ascii_whitespace());
        for key in words.filter_map(|word| Some(word.split_once('=')?.0)) {
            if let Some((_, option)) = OWN_KEYS.iter().find(|(own, _)| *own == key) {
                return Err(usage(format!("--append {key}=…: the runner sets this itself ({option})")));
            }
        }
        let accel = pick_accel(&machine, &args.accel)?.clone();
        let firmware = match &args.firmware {
            Some(wanted) => pick(&machine.qemu.firmware, wanted, &format!("{name} has no firmware"))?.clone(),
            None => {
                machine.qemu.firmware.first().cloned().ok_or_else(|| usage(format!("{name}: no firmware")))?
            }
        };
        let jumps = !machine.lacks.contains_key(&Capability::Kexec);
        let mut values = scenario.kexec.iter().copied();
        let first = values.clone().find(|kexec| jumps || *kexec == Kexec::Off).or_else(|| values.next());
        let default_kexec = first.unwrap_or(Kexec::Post);
        let default_stop = scenario.stop.first().copied().unwrap_or(Stop::Deferred);
        let (kexec, stop) = (args.kexec.unwrap_or(default_kexec), args.stop.unwrap_or(default_stop));
        if let Some(reason) =
            scenario.not_applicable(&machine, cpus, &accel.name, &firmware.name, kexec, stop)
        {
            return Ok(Planned::NotApplicable(reason));
        }
        if let Some(file) = accel.needs.as_deref().filter(|file| !usable(Path::new(file))) {
            return Err(environment(format!(
                "--accel {}: {file} is not there or may not be opened; `--accel auto` picks what works here",
                accel.name
            )));
        }
        let scenario = scenario.on_machine(name);
        let expect = scenario.expect.resolve(kexec);
        let ending_name = expect.ending.clone().unwrap_or_default();
        let ending = machine.ending.get(&ending_name).cloned().ok_or_else(|| {
            let known: Vec<_> = machine.ending.keys().cloned().collect();
            usage(format!(
                "scenarios/{}.toml: ending: `{ending_name}` is not one of machines/{name}.toml: {}",
                scenario.name,
                known.join(", ")
            ))
        })?;
        let plan = Plan {
            machine,
            expect,
            ending,
            cpus,
            memory,
            accel,
            firmware,
            kexec,
            stop,
            timeout: args.timeout,
            append: args.append.clone(),
            random: false,
            scenario,
        };
        let bytes = plan.command_line(u64::MAX).len();
        if let Some(most) = plan.machine.qemu.command_line_max.filter(|most| bytes > *most) {
            return Err(usage(format!(
                "the kernel command line is {bytes} bytes long, and {} takes at most {most}: shorten --append or the scenario's command_line",
                plan.machine.name
            )));
        }
        Ok(Planned::Run(Box::new(plan)))
    }

    /// The row's name: what a filter matches and a person reads.
    pub fn title(&self) -> String {
        format!(
            "{}/{}/kexec-{}/{}/cpus-{}/{}/{}",
            self.machine.name,
            self.scenario.name,
            value_name(self.kexec),
            value_name(self.stop),
            self.cpus,
            self.accel.name,
            self.firmware.name
        )
    }

    /// The command that runs this again.
    pub fn rerun(&self) -> String {
        let mut line = format!(
            "cargo xtask qemu {} --scenario {} --cpus {} --memory {} --accel {} --firmware {} --kexec {} --stop {}",
            self.machine.name,
            self.scenario.name,
            self.cpus,
            self.memory,
            self.accel.name,
            self.firmware.name,
            value_name(self.kexec),
            value_name(self.stop),
        );
        if let Some(append) = &self.append {
            line.push_str(&format!(" --append {}", shell_quoted(append)));
        }
        if let Some(seconds) = self.timeout {
            line.push_str(&format!(" --timeout {seconds}"));
        }
        line
    }

    /// The firmware store, if this run has one.
    pub fn store(&self) -> Option<&StoreDevice> {
        self.scenario.store.and(self.machine.store.as_ref())
    }

    /// True if something is to be done to it that only a debugger can do.
    pub fn needs_debugger(&self) -> bool {
        self.scenario.input.iter().any(|input| input.derail.is_some() || input.corrupt.is_some())
    }

    fn patience(&self) -> u32 {
        self.accel.patience.saturating_mul(self.firmware.patience).max(1)
    }

    /// Wall time for the whole run.
    pub fn deadline(&self) -> Duration {
        let default = self.scenario.timeout.saturating_mul(self.patience());
        Duration::from_secs(u64::from(self.timeout.unwrap_or(default)))
    }

    /// Wall time without a byte on the console.
    pub fn idle(&self) -> Duration {
        let idle = Duration::from_secs(u64::from(self.scenario.idle.saturating_mul(self.patience())));
        idle.min(self.deadline())
    }

    /// The kernel command line. What comes later wins in the kernel, so a person can override.
    pub fn command_line(&self, nonce: u64) -> String {
        format!("run.hold={HOLD_MS} {}", self.unheld_command_line(nonce))
    }

    /// The same for a run that nobody looks into: it does not hold, so it ends by itself.
    fn unheld_command_line(&self, nonce: u64) -> String {
        let mut parts = vec![
            format!("run.nonce={nonce:016x}"),
            format!("panic.kexec={}", value_name(self.kexec)),
            format!("panic.stop={}", value_name(self.stop)),
            format!("panic.scale={}", self.accel.panic_scale),
        ];
        parts.extend([self.scenario.command_line.trim().to_owned()]);
        parts.extend(self.append.iter().map(|append| append.trim().to_owned()));
        parts.retain(|part| !part.is_empty());
        parts.join(" ")
    }

    /// The emulator, as the machine file or the environment says.
    pub fn binary(&self) -> PathBuf {
        match std::env::var_os(&self.machine.qemu.environment) {
            Some(path) if !path.is_empty() => path.into(),
            _ => PathBuf::from(&self.machine.qemu.binary),
        }
    }

    /// Arguments that make the machine: everything but how the runner talks to it.
    pub fn machine_arguments(&self, kernel: &Path, run: &Path, nonce: u64) -> Vec<String> {
        self.filled_arguments(kernel, run, &self.command_line(nonce))
    }

    fn filled_arguments(&self, kernel: &Path, run: &Path, command_line: &str) -> Vec<String> {
        let qemu = &self.machine.qemu;
        let fill = |argument: &String| {
            argument
                .replace("{cpus}", &self.cpus.to_string())
                .replace("{memory}", &self.memory.to_string())
                .replace("{run}", &run.display().to_string())
                .replace("{kernel}", &kernel.display().to_string())
                .replace("{command_line}", command_line)
        };
        let none = Vec::new();
        let lists = [
            &qemu.arguments,
            &self.accel.arguments,
            &self.firmware.arguments,
            &self.scenario.qemu_arguments,
            self.store().map_or(&none, |store| &store.arguments),
            &qemu.kernel_arguments,
        ];
        let mut arguments = vec![
            "-smp".to_owned(),
            self.cpus.to_string(),
            "-m".to_owned(),
            format!("{}M", self.memory),
            "-display".to_owned(),
            "none".to_owned(),
            "-no-reboot".to_owned(),
        ];
        arguments.extend(lists.into_iter().flatten().map(fill));
        arguments
    }

    /// The line to paste: the same machine, its console and monitor on the terminal. It ends by itself.
    pub fn paste_line(&self, kernel: &Path, run: &Path, nonce: u64) -> String {
        let mut words = vec![self.binary().display().to_string()];
        words.extend(self.filled_arguments(kernel, run, &self.unheld_command_line(nonce)));
        words.extend(["-serial".to_owned(), "mon:stdio".to_owned()]);
        words.iter().map(|word| shell_quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

fn pick<'c>(choices: &'c [Choice], wanted: &str, what: &str) -> Result<&'c Choice> {
    let known: Vec<_> = choices.iter().map(|choice| choice.name.clone()).collect();
    choices.iter().find(|choice| choice.name == wanted).ok_or_else(|| data::unknown(what, wanted, &known))
}

fn pick_accel<'c>(machine: &'c Machine, wanted: &str) -> Result<&'c Choice> {
    let choices = &machine.qemu.accel;
    if wanted != "auto" {
        let mut known: Vec<_> = choices.iter().map(|choice| choice.name.clone()).collect();
        known.insert(0, "auto".into());
        return choices
            .iter()
            .find(|choice| choice.name == wanted)
            .ok_or_else(|| data::unknown(&format!("{} has no accelerator", machine.name), wanted, &known));
    }
    choices.iter().find(|choice| works_here(choice)).ok_or_else(|| {
        environment(format!("none of the accelerators of machines/{}.toml works here", machine.name))
    })
}

/// True if what the choice needs is here.
pub fn works_here(choice: &Choice) -> bool {
    choice.needs.as_deref().is_none_or(|file| usable(Path::new(file)))
}

fn usable(file: &Path) -> bool {
    std::fs::OpenOptions::new().read(true).write(true).open(file).is_ok()
}

/// A word as a shell needs it. Control characters, which a terminal would act on, are escaped.
pub fn shell_quoted(word: &str) -> String {
    if word.chars().any(char::is_control) {
        let mut quoted = String::from("$'");
        for c in word.chars() {
            match c {
                '\'' | '\\' => quoted.extend(['\\', c]),
                c if c.is_control() => {
                    let mut bytes = [0; 4];
                    for byte in c.encode_utf8(&mut bytes).bytes() {
                        quoted.push_str(&format!("\\x{byte:02x}"));
                    }
                }
                c => quoted.push(c),
            }
        }
        return quoted + "'";
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A number that tells this run from every other; never 0.
pub fn nonce() -> Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| std::io::Read::read_exact(&mut file, &mut bytes))
        .or_environment(|| "cannot read /dev/urandom".into())?;
    Ok(u64::from_ne_bytes(bytes).max(1))
}
