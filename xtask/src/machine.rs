//! Machines: everything the runner knows about a port and the emulator it runs on, read from
//! `machines/<name>.toml`. No machine is named in this program.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::data::{self, twice};
use crate::scenario::Column;
use crate::store::Format;
use crate::workspace::Workspace;

/// One file of `machines/`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Its name: the file's name without the suffix, and what people type.
    pub name: String,
    /// One line for lists.
    pub summary: String,
    /// How its kernel is built.
    pub build: Build,
    /// Main memory.
    pub memory: Memory,
    /// How many CPUs.
    pub cpus: Cpus,
    /// How its emulator is started.
    pub qemu: Qemu,
    /// How a run may end, by name. A scenario's `ending` names one of these.
    pub ending: BTreeMap<String, Ending>,
    /// How the emulator prints registers.
    pub registers: Registers,
    /// Where the check of the image does not look.
    #[serde(default)]
    pub image_check: ImageCheck,
    /// How programs of its kind run on a host, so that tests meet its byte order.
    #[serde(default)]
    pub host_tests: Option<HostTests>,
    /// Its firmware store, where it has one. Scenarios ask for it.
    #[serde(default)]
    pub store: Option<StoreDevice>,
    /// Debian packages.
    #[serde(default)]
    pub debian: Debian,
    /// What the port lacks, and why: what its kernel says, no more and no less.
    #[serde(default)]
    pub lacks: BTreeMap<Capability, String>,
    /// How far the port has come.
    #[serde(default)]
    pub conformance: Conformance,
    /// What `cargo xtask test` runs on it.
    pub suite: Suite,
}

/// `[build]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// Built-in target triple.
    pub target: String,
    /// Flags for rustc, one per element; paths are relative to the workspace root.
    #[serde(default)]
    pub rustflags: Vec<String>,
}

/// `[memory]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// MiB, when nothing else is asked for.
    pub default_mib: u32,
    /// MiB that the kernel and its crash region need at least.
    pub minimum_mib: u32,
    /// MiB that the emulated machine takes at most.
    #[serde(default = "Memory::default_maximum")]
    pub maximum_mib: u32,
    /// MiB that the size has to be a multiple of.
    #[serde(default = "one")]
    pub step_mib: u32,
    /// Added to the ELF's `p_paddr` to get the physical address a byte is loaded at.
    #[serde(default)]
    pub physical_bias: u64,
    /// Physical address at which memory begins.
    #[serde(default)]
    pub start: u64,
}

impl Memory {
    fn default_maximum() -> u32 {
        3072
    }

    /// The sizes it may have, in words.
    pub fn range(&self) -> String {
        let range = format!("{} to {} MiB", self.minimum_mib, self.maximum_mib);
        if self.step_mib == 1 { range } else { format!("{range} in steps of {}", self.step_mib) }
    }
}

/// `[cpus]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpus {
    /// When nothing else is asked for.
    pub default: u32,
    /// Most that the port supports.
    pub maximum: u32,
}

/// `[qemu]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Qemu {
    /// Program.
    pub binary: String,
    /// Environment variable that overrides the program.
    pub environment: String,
    /// Arguments that every run gets. `{cpus}`, `{memory}` (MiB) and `{run}` (the run's folder) are
    /// replaced, here and in every other argument list.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// Arguments that hand over the kernel. `{kernel}` is the image's path, `{command_line}` the
    /// kernel command line.
    pub kernel_arguments: Vec<String>,
    /// Bytes of kernel command line that get there whole. Absent: as many as the emulator takes.
    #[serde(default)]
    pub command_line_max: Option<usize>,
    /// Accelerators; `auto` is the first one that works here.
    pub accel: Vec<Choice>,
    /// Firmware; the first one is the default.
    pub firmware: Vec<Choice>,
}

/// One accelerator or firmware.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// What people type.
    pub name: String,
    /// One line for lists.
    #[serde(default)]
    pub summary: String,
    /// Arguments it adds.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// A file that must be there, readable and writable, for it to work.
    #[serde(default)]
    pub needs: Option<String>,
    /// The deadline and the idle timer of a run are multiplied by this.
    #[serde(default = "one")]
    pub patience: u32,
    /// `panic.scale` for the kernel: every deadline on the panic path is multiplied by it.
    #[serde(default = "one")]
    pub panic_scale: u32,
}

fn one() -> u32 {
    1
}

/// `[ending.<name>]`: what the emulator shows when a run ends this way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ending {
    /// Exit status of the emulator.
    #[serde(default)]
    pub exit: Option<i32>,
    /// `reason` of the QMP event SHUTDOWN. Absent: there must be no such event.
    #[serde(default)]
    pub shutdown: Option<String>,
    /// The guest stays as it is: the runner ends the run after the `final` event.
    #[serde(default)]
    pub stays: bool,
}

/// `[registers]`: the text of the monitor command `info registers -a`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registers {
    /// What stands in front of a CPU's number.
    pub cpu: String,
    /// What stands in front of the hexadecimal program counter.
    pub pc: String,
    /// The program counter's number in the debugger's protocol.
    pub debugger_pc: u32,
    /// Where trap entries lie, if that is outside of the image: from the first address to behind the last one.
    #[serde(default)]
    pub vectors: Option<[u64; 2]>,
}

/// `[image_check]`: where the check of the linked image starts, and where it does not look.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageCheck {
    /// Pairs of symbols between which lies data, or code of another mode than the kernel's, such as the
    /// first instructions of a secondary.
    #[serde(default)]
    pub skip: Vec<[String; 2]>,
    /// Symbols of functions that trap entries call: the panic path begins there too.
    #[serde(default)]
    pub entries: Vec<String>,
    /// Why the panic path cannot be followed yet: for a port that is being written.
    #[serde(default)]
    pub not_yet: Option<String>,
}

/// `[host_tests]`: the tests of the host once more, under user-mode emulation.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostTests {
    /// Target triple with a standard library.
    pub target: String,
    /// Program that links for it.
    pub linker: String,
    /// Program that runs what was built, and its arguments.
    pub runner: Vec<String>,
    /// Debian packages that bring linker, C library and runner.
    #[serde(default)]
    pub debian: Vec<String>,
    /// Crates that only build for some kinds of hosts, or are about this one.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// `[store]`: a file of the run's folder in which the machine's firmware keeps things.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreDevice {
    /// Bytes of the file.
    pub bytes: usize,
    /// How it is laid out.
    pub format: Format,
    /// Arguments that add it; the file is `{run}/store.img`.
    pub arguments: Vec<String>,
}

/// Bytes of a reason for an absence.
const MOST_REASON: usize = 64;

/// `[debian]`: packages by what they are needed for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    /// The emulator, and firmware that it does not bring.
    #[serde(default)]
    pub qemu: Vec<String>,
    /// A linker, where the toolchain brings none.
    #[serde(default)]
    pub linker: Vec<String>,
}

/// What `panic.scale` may be (`core_panic::config`).
const SCALES: std::ops::RangeInclusive<u32> = 1..=100;

/// What a machine may lack: the capabilities of `hal::Platform`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Maskable signals between CPUs.
    Ipi,
    /// Non-maskable ones.
    Nmi,
    /// The jump into a crash image.
    Kexec,
    /// A timer that arrives as an NMI.
    Timer,
    /// Reset and power.
    Firmware,
    /// Storage that outlives the kernel.
    Store,
}

impl Capability {
    /// Every one, in the order of the trait.
    pub const ALL: [Capability; 6] = [
        Capability::Ipi,
        Capability::Nmi,
        Capability::Kexec,
        Capability::Timer,
        Capability::Firmware,
        Capability::Store,
    ];

    /// The word for it: the accessor's name.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Ipi => "ipi",
            Capability::Nmi => "nmi",
            Capability::Kexec => "kexec",
            Capability::Timer => "timer",
            Capability::Firmware => "firmware",
            Capability::Store => "store",
        }
    }
}

/// `[conformance]`: how far the port has come.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conformance {
    /// The tier that it claims; none yet, if it is left out.
    #[serde(default)]
    pub tier: Option<u8>,
}

/// `[suite]`: the columns of the matrix that `cargo xtask test` runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    /// Numbers of CPUs.
    pub cpus: Vec<u32>,
    /// One row for each scenario and number of CPUs, on the first firmware and the first accelerator (of the
    /// scenario's own, where it has some) alone: for a machine whose rows would make the suite too long. `--full` has all
    /// of them.
    #[serde(default)]
    pub sample: bool,
}

impl Machine {
    /// Whether its kernel has a panic path, by what the port claims.
    pub fn panics(&self) -> bool {
        self.conformance.tier.is_some_and(|tier| tier > 0)
    }

    /// Every machine's name.
    pub fn names(workspace: &Workspace) -> Result<Vec<String>> {
        data::names(&workspace.machines())
    }

    /// Every machine.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        Self::names(workspace)?.iter().map(|name| Self::load(workspace, name)).collect()
    }

    /// Reads a machine; an unknown name is a usage error that lists the known ones.
    pub fn load(workspace: &Workspace, name: &str) -> Result<Self> {
        let known = Self::names(workspace)?;
        if !known.iter().any(|candidate| candidate == name) {
            return Err(data::unknown("no machine", name, &known));
        }
        let path = workspace.machines().join(format!("{name}.toml"));
        let shown = workspace.relative(&path);
        Self::parse(&data::text(&path, shown)?, shown)
    }

    /// Parses and checks the text of a machine file. `shown` is its path for messages.
    pub fn parse(text: &str, shown: &Path) -> Result<Self> {
        let machine: Machine = data::parse(text, shown)?;
        let wrong = |key: &str, message: String| Err(data::mistake(text, shown, key, &message));
        let file = shown.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        if machine.name != file {
            return wrong("name", format!("`{}` is not the file's name `{file}`", machine.name));
        }
        let Cpus { default, maximum } = machine.cpus;
        let most = crash_record::layout::MAX_SLOTS as u32;
        if maximum > most {
            return wrong("maximum", format!("{maximum} CPUs: a record has room for {most}"));
        }
        if default == 0 || default > maximum {
            return wrong("default", format!("{default} CPUs is not between 1 and the maximum, {maximum}"));
        }
        if let Some(count) = machine.suite.cpus.iter().find(|&&count| count == 0 || count > maximum) {
            return wrong("cpus", format!("{count} CPUs is not between 1 and the maximum, {maximum}"));
        }
        if machine.image_check.not_yet.is_some() && !machine.image_check.entries.is_empty() {
            return wrong("not_yet", "there are `entries`, so the panic path can be followed".into());
        }
        if let Some((capability, _)) = machine.lacks.iter().find(|(_, reason)| reason.trim().is_empty()) {
            return wrong(capability.name(), "an absence needs its reason".into());
        }
        // As `hal::Unsupported` has it; a bar would end a cell of a table.
        let odd =
            |reason: &str| reason.len() > MOST_REASON || !reason.is_ascii() || reason.contains(['|', '\n']);
        if let Some((capability, _)) = machine.lacks.iter().find(|(_, reason)| odd(reason)) {
            let message =
                format!("a reason is a line of at most {MOST_REASON} bytes of ASCII, without a bar");
            return wrong(capability.name(), message);
        }
        if let Some([from, to]) = machine.registers.vectors.filter(|[from, to]| from >= to) {
            return wrong("vectors", format!("{from:#x} is not below {to:#x}"));
        }
        let most = Column::ALL.len() - 1;
        if let Some(tier) = machine.conformance.tier.filter(|tier| usize::from(*tier) > most) {
            return wrong("tier", format!("there is no tier {tier}, only 0 to {most}"));
        }
        let memory = &machine.memory;
        if memory.default_mib < memory.minimum_mib || memory.default_mib > memory.maximum_mib {
            return wrong("default_mib", "not between minimum_mib and maximum_mib".into());
        }
        if memory.step_mib == 0 {
            return wrong("step_mib", "must be at least 1".into());
        }
        if !memory.default_mib.is_multiple_of(memory.step_mib) {
            return wrong("default_mib", format!("not a multiple of step_mib, {}", memory.step_mib));
        }
        let qemu = &machine.qemu;
        let choices = qemu.accel.iter().chain(&qemu.firmware).map(|choice| &choice.arguments);
        let choices = choices.chain(machine.store.iter().map(|store| &store.arguments));
        let choices = choices.map(|arguments| ("arguments", arguments));
        let lists = [("arguments", &qemu.arguments), ("kernel_arguments", &qemu.kernel_arguments)];
        for (key, arguments) in lists.into_iter().chain(choices) {
            if let Some((argument, message)) = unknown_placeholder(arguments) {
                return Err(data::mistake_in(text, shown, key, Some(argument), &message));
            }
        }
        for choice in qemu.accel.iter().chain(&qemu.firmware) {
            let of = |key: &str, message: String| {
                let message = format!("{message}, in `{}`", choice.name);
                Err(data::mistake(text, shown, key, &message))
            };
            if choice.patience == 0 {
                return of("patience", "must be at least 1".into());
            }
            if !SCALES.contains(&choice.panic_scale) {
                return of(
                    "panic_scale",
                    format!("{} is not from 1 to {}", choice.panic_scale, SCALES.end()),
                );
            }
        }
        for (what, choices) in [("accel", &qemu.accel), ("firmware", &qemu.firmware)] {
            let names: Vec<_> = choices.iter().map(|choice| choice.name.as_str()).collect();
            if let Some(name) = twice(&names) {
                let message = format!("`{name}` stands there twice among [[qemu.{what}]]");
                return Err(data::mistake_in(text, shown, "name", Some(name), &message));
            }
        }
        if let Some(count) = twice(&machine.suite.cpus) {
            return wrong("cpus", format!("{count} stands there twice"));
        }
        if machine.qemu.accel.is_empty() || machine.qemu.firmware.is_empty() {
            return wrong("qemu", "needs at least one [[qemu.accel]] and one [[qemu.firmware]]".into());
        }
        for (name, ending) in &machine.ending {
            if ending.exit.is_none() != ending.stays {
                return wrong("ending", format!("[ending.{name}] needs either `exit` or `stays = true`"));
            }
        }
        Ok(machine)
    }
}

/// What can be replaced in an argument of the emulator.
const PLACEHOLDERS: [&str; 5] = ["cpus", "memory", "run", "kernel", "command_line"];

/// The first argument with a placeholder that nothing is put in for, and what to say about it.
pub fn unknown_placeholder(arguments: &[String]) -> Option<(&str, String)> {
    for argument in arguments {
        let words = argument.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        for (word, _) in words {
            let looks_like_one =
                !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
            if looks_like_one && !PLACEHOLDERS.contains(&word) {
                let known = PLACEHOLDERS.map(|name| format!("{{{name}}}")).join(", ");
                return Some((argument, format!("`{{{word}}}` is no placeholder; there are: {known}")));
            }
        }
    }
    None
}
