//! The command line, as one enum.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::matrix::order::Shard;
use crate::scenario::{Kexec, Stop};

/// Build, run and check Mayday: kernels that panic, stop their CPUs and are captured
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 as expected, 1 not as expected, 2 usage, 3 environment.
First time here? Try: cargo xtask qemu --list";

/// Every command.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot a kernel, let it crash, capture it, and judge what happened
    Qemu(QemuArgs),
    /// Run all checks: host tests, tidy, image checks, and every scenario on every machine
    Test(TestArgs),
    /// Every way to die on every machine: the rows of `test`, in parts, shuffled, often, or at random moments
    #[command(after_help = FILTER_HELP)]
    Matrix(MatrixArgs),
    /// Find what is missing here (emulators, library source, a linker) and install it
    Setup(SetupArgs),
    /// Build one machine's kernel and print where it is
    Build(BuildArgs),
    /// Print the order of steps, their budgets, the notifiers, and how long all of it may take
    Explain(ExplainArgs),
    /// Check what the compiler cannot: dependency rules, the atomics facade, generated docs
    Tidy(TidyArgs),
    /// Run the panic path on a simulated machine under many schedules, and judge every run
    Simulate(SimulateArgs),
    /// Measure: many panics, each with other work for its CPUs
    #[command(subcommand)]
    Experiment(ExperimentCommand),
    /// Start a port: copy the skeleton, register it, and let it build for its target at once
    NewArch(NewArchArgs),
    /// Say how far a port has come, what it does not do yet, and where to look
    Conformance(ConformanceArgs),
    /// Put the cases of reports together, and write what people and other tools look at
    Report(ReportArgs),
    /// Break the tree on purpose, patch by patch, and require that the named check goes red
    Mutants(MutantArgs),
}

/// The command line with the names of the machines in its help.
pub fn command(machines: &[String]) -> clap::Command {
    let first = machines.last().map_or("MACHINE", String::as_str);
    let second = machines.first().map_or("MACHINE", String::as_str);
    let lines = [
        ("--list".to_owned(), "machines and scenarios"),
        (first.to_owned(), "the default scenario on the default number of CPUs"),
        (format!("{second} --kexec off --cpus 8"), "notifiers only, eight CPUs"),
        (format!("{first} --repeat 50"), "often, and count"),
    ];
    let mut help = String::from("Examples:\n");
    for (arguments, what) in lines {
        let _ = writeln!(help, "  {:<46} {what}", format!("cargo xtask qemu {arguments}"));
    }
    help.push_str(QEMU_HELP);
    Cli::command().mut_subcommand("qemu", |command| command.after_help(help))
}

const QEMU_HELP: &str = "
Every run has a folder under out/ with the console, the QMP traffic, the memory that was read and
the verdict; out/latest is the last one.

Exit codes: 0 as expected (or n/a, which is said), 1 not as expected, 2 usage, 3 environment.";

/// `cargo xtask conformance`
#[derive(Clone, Debug, Args)]
pub struct ConformanceArgs {
    /// Port: one of machines/*.toml, `sim`, or `all`
    #[arg(required_unless_present = "list")]
    pub port: Option<String>,
    /// Print `names=` with every port and `machines=` with those that are emulated, as JSON arrays, and stop: for a
    /// workflow that has a job for each
    #[arg(long, conflicts_with_all = ["port", "tier"])]
    pub list: bool,
    /// The tier that it has to reach (default: the one that its machine file claims, and on to the first that it
    /// does not reach)
    #[arg(long, value_name = "T")]
    pub tier: Option<u8>,
    /// Virtual CPUs that may be busy at once (default: twelve for each CPU of this host)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
}

/// `cargo xtask qemu`
#[derive(Clone, Debug, Args)]
pub struct QemuArgs {
    /// Machine: one of machines/*.toml
    pub machine: Option<String>,
    /// List machines and scenarios, and stop
    #[arg(long)]
    pub list: bool,
    #[command(flatten)]
    pub run: RunArgs,
    /// Run it this often, and count
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Wait for a debugger, and print the line that starts it
    #[arg(long, conflicts_with = "repeat")]
    pub gdb: bool,
    /// Write the verdict as data
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw a page of the run (of all of them with --repeat), into this folder or else into the run's own
    #[arg(long, value_name = "DIR", num_args = 0..=1)]
    #[allow(clippy::option_option)]
    pub report: Option<Option<PathBuf>>,
}

/// What a single run can be asked for.
#[derive(Clone, Debug, Default, Args)]
pub struct RunArgs {
    /// Scenario: one of scenarios/*.toml
    #[arg(long, value_name = "NAME")]
    pub scenario: Option<String>,
    /// Number of CPUs
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole_number)]
    pub cpus: Option<i64>,
    /// Main memory in MiB
    #[arg(long, value_name = "MIB", allow_negative_numbers = true, value_parser = whole_number)]
    pub memory: Option<i64>,
    /// Accelerator: auto, or one that the machine file lists
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub accel: String,
    /// Firmware: one that the machine file lists
    #[arg(long, value_name = "NAME")]
    pub firmware: Option<String>,
    /// When to jump into the crash image
    #[arg(long, value_enum)]
    pub kexec: Option<Kexec>,
    /// How to stop the other CPUs
    #[arg(long, value_enum)]
    pub stop: Option<Stop>,
    /// Give a run up after this many seconds, whatever it does
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u32).range(1..))]
    pub timeout: Option<u32>,
    /// Text for the end of the kernel command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
}

/// A whole number of any size: what fits is for the machine to say, and not for this type.
fn whole_number(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not a whole number".into());
    }
    Ok(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
}

const FILTER_HELP: &str = "EXPR: words joined by `&`, `|`, `!` and parentheses. A word is a part of a row's name, as \
--list shows it; `axis=value` or `axis=value,value` asks for values of arch, scenario, kexec, stop, cpus, accel or \
firmware.

Exit codes: 0 as expected, 1 not, 2 usage, 3 environment.";

/// `cargo xtask matrix`
#[derive(Clone, Debug, Default, Args)]
pub struct MatrixArgs {
    /// Machine: one of machines/*.toml (default: each of them)
    #[arg(long, value_name = "MACHINE")]
    pub arch: Option<String>,
    /// Only the rows that match
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Virtual CPUs that may be busy at once (default: twelve for each CPU of this host)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// Only the I-th of N parts; a row is always in the same one
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Where the random numbers start, decimal or hexadecimal after 0x: the rows come in a random order; with --chaos,
    /// what is done (default: 1)
    #[arg(long, value_name = "S")]
    pub seed: Option<String>,
    /// Run each this often, and print the rate of those that go well sometimes
    #[arg(long, value_name = "K", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeat: u32,
    /// Every scenario with every value of every axis, which takes much longer
    #[arg(long)]
    pub full: bool,
    /// Run one row at a time, before each the same emulator with a kernel that ends at once, and say how many times that
    /// a row takes
    #[arg(long, conflicts_with = "jobs")]
    pub floor: bool,
    /// Instead of the rows, this many runs on each machine to which something is done at random moments
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with_all = ["shard", "repeat", "full", "floor"])]
    pub chaos: Option<u32>,
    /// Write the report into this folder
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
    /// List what would run, and stop
    #[arg(long)]
    pub list: bool,
}

/// `cargo xtask test`
#[derive(Clone, Debug, Args)]
pub struct TestArgs {
    /// Only what has this text in its name, as --list shows it, or matches as in `matrix`
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Virtual CPUs that may be busy at once (default: twelve for each CPU of this host)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
    /// Every scenario with every value of every axis, which takes much longer
    #[arg(long)]
    pub full: bool,
    /// List what would run, and stop
    #[arg(long)]
    pub list: bool,
    /// Write the verdicts as data
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Draw a page of all scenarios, into this folder, with their data
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// `cargo xtask setup`
#[derive(Clone, Debug, Default, Args)]
pub struct SetupArgs {
    /// Install without asking
    #[arg(long)]
    pub yes: bool,
    /// Only look; exit code 3 if something is missing
    #[arg(long, conflicts_with = "yes")]
    pub check: bool,
    /// Also what lets the host's tests run once more as another machine's programs, where a machine file asks for that
    #[arg(long)]
    pub host_tests: bool,
}

/// `cargo xtask explain`
#[derive(Clone, Debug, Default, Args)]
pub struct ExplainArgs {
    /// Take the number of CPUs and the scale of this machine's runs: one of machines/*.toml
    pub machine: Option<String>,
    /// When to jump into the crash image
    #[arg(long, value_enum)]
    pub kexec: Option<Kexec>,
    /// How to stop the other CPUs
    #[arg(long, value_enum)]
    pub stop: Option<Stop>,
    /// What every budget is multiplied by (default: 1, or the machine's)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub scale: Option<u32>,
    /// Number of CPUs (default: 4, or the machine's)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=16))]
    pub cpus: Option<u32>,
    /// What the digest of the crash image took when it was loaded, in ms
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub digest: u32,
    /// Text for the end of the kernel command line
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub append: Option<String>,
}

/// `cargo xtask simulate`
#[derive(Clone, Debug, Default, Args)]
pub struct SimulateArgs {
    /// Where the random numbers start: decimal, or hexadecimal after 0x (default: 1)
    #[arg(long, value_name = "S")]
    pub seed: Option<String>,
    /// Random schedules to run (default: 100000; of a scenario file 200 for each combination)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub schedules: Option<u64>,
    /// Only this row of the list of failure modes
    #[arg(long, value_name = "R")]
    pub row: Option<String>,
    /// List the rows, and what the missing ones wait for
    #[arg(long, conflicts_with_all = ["row", "replay", "exhaustive", "seed", "schedules"])]
    pub rows: bool,
    /// One run again, with its timeline: the choices that a failing run printed with its seed
    #[arg(long, value_name = "CHOICES", allow_hyphen_values = true, conflicts_with = "schedules")]
    pub replay: Option<String>,
    /// Every schedule of some small scenarios, instead of random ones
    #[arg(long, conflicts_with_all = ["row", "replay", "seed", "schedules"])]
    pub exhaustive: bool,
    /// Stage every file of scenarios/ that this machine can stage, and judge by what the file expects
    #[arg(long, conflicts_with_all = ["row", "rows", "replay", "exhaustive", "scenario"])]
    pub scenarios: bool,
    /// Of these only the ones with this text in their name
    #[arg(long, value_name = "TEXT", requires = "scenarios")]
    pub filter: Option<String>,
    /// The same for one of them; with --replay and one value for each of the next three, one run again
    #[arg(long, value_name = "NAME", conflicts_with_all = ["row", "rows", "exhaustive"])]
    pub scenario: Option<String>,
    /// When to jump into the crash image (default: each value that the scenario has a meaning with)
    #[arg(long, value_enum, requires = "scenario")]
    pub kexec: Option<Kexec>,
    /// How to stop the other CPUs (default: the same)
    #[arg(long, value_enum, requires = "scenario")]
    pub stop: Option<Stop>,
    /// Number of CPUs, up to 4 (default: each that the scenario has a meaning with)
    #[arg(long, value_name = "N", requires = "scenario", value_parser = clap::value_parser!(u32).range(1..=4))]
    pub cpus: Option<u32>,
    /// Host threads (default: one for each CPU of this host)
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u32).range(1..))]
    pub jobs: Option<u32>,
}

/// `cargo xtask experiment`
#[derive(Clone, Debug, Subcommand)]
pub enum ExperimentCommand {
    /// Compare the ways to stop other CPUs: what becomes of their locks, and how long it takes
    #[command(after_help = STOP_TRIALS_HELP)]
    Stop(StopTrialsArgs),
}

const STOP_TRIALS_HELP: &str = "A trial boots a machine whose CPUs do what the seed says when the panic comes: hold \
a lock for some time yet, wait for one, loop with interrupts off, or work. The same trial is the same under every \
policy. What became of each lock is held against what the seed did to its holder.

Exit codes: 0 every trial as expected, 1 not, 2 usage, 3 environment.";

/// `cargo xtask experiment stop`
#[derive(Clone, Debug, Args)]
pub struct StopTrialsArgs {
    /// Machine: one of machines/*.toml (default: each of them)
    #[arg(long, value_name = "MACHINE")]
    pub arch: Option<String>,
    /// Number of CPUs (default: the machine's)
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = whole_number)]
    pub cpus: Option<i64>,
    /// Trials for each policy
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub trials: u32,
    /// Where the random numbers start: decimal, or hexadecimal after 0x
    #[arg(long, value_name = "S", default_value = "1")]
    pub seed: String,
    /// Only this policy; may be given more than once (default: deferred, nmi and ipi-nmi)
    #[arg(long, value_name = "POLICY", value_enum)]
    pub policy: Vec<Stop>,
    /// Accelerator: auto, or one that the machine file lists; icount gives the same figures every time
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub accel: String,
    /// Firmware: one that the machine file lists (default: its first)
    #[arg(long, value_name = "NAME")]
    pub firmware: Option<String>,
    /// Add a line of data for each trial to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Leave out the trials that the file has already
    #[arg(long)]
    pub resume: bool,
}

/// `cargo xtask report`
#[derive(Clone, Debug, Args)]
#[command(after_help = REPORT_HELP)]
pub struct ReportArgs {
    /// Folders that have a cases.jsonl
    #[arg(required = true, value_name = "DIR")]
    pub folders: Vec<PathBuf>,
    /// Where to put the report (default: into the folder, if there is only one)
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Say what differs from an earlier report
    #[arg(long, value_name = "DIR")]
    pub compare: Option<PathBuf>,
    /// Fail unless this report has the same cases, outcomes and outcomes of steps
    #[arg(long, value_name = "DIR")]
    pub equals: Option<PathBuf>,
}

const REPORT_HELP: &str =
    "Parts of a suite that ran on several machines together are the report of all of it; a case \
that two of them have must be the same in both.

Exit codes: 0 written, 1 the folders contradict each other or --equals fails, 2 usage, 3 environment.";

/// `cargo xtask tidy`
#[derive(Clone, Debug, Default, Args)]
pub struct TidyArgs {
    /// Rewrite the generated parts of the docs, and format the sources
    #[arg(long)]
    pub fix: bool,
    /// Leave out rustfmt and clippy: only what this program checks itself
    #[arg(long)]
    pub quick: bool,
}

/// `cargo xtask new-arch`
#[derive(Clone, Debug, Args)]
pub struct NewArchArgs {
    /// Name of the port: its folder is arch-NAME, its machine file machines/NAME.toml
    pub name: String,
    /// Target triple (default: the bare-metal one whose name begins so, if there is only one)
    #[arg(long, value_name = "TRIPLE")]
    pub target: Option<String>,
    /// Emulator (default: qemu-system-NAME)
    #[arg(long, value_name = "BINARY")]
    pub qemu: Option<String>,
    /// Machine of the emulator (default: virt)
    #[arg(long, value_name = "M")]
    pub machine: Option<String>,
}

/// `cargo xtask build`
#[derive(Clone, Debug, Args)]
pub struct BuildArgs {
    /// Machine: one of machines/*.toml
    pub machine: String,
}

/// `cargo xtask mutants`
#[derive(Clone, Debug, Args)]
pub struct MutantArgs {
    /// Only what has this text in its name, as --list shows it
    #[arg(long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Only those that are built for a machine: booted, or their image looked at
    #[arg(long)]
    pub metal: bool,
    /// Only this many, other ones every day
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub sample: Option<u32>,
    /// For the simulator's: print after how many schedules each is noticed, as the median of ten hunts
    #[arg(long)]
    pub seeds: bool,
    /// List the mutants, and stop
    #[arg(long)]
    pub list: bool,
}
