//! `cargo xtask simulate`: the simulator as a child. It runs the same `core-panic` as a kernel, so this
//! program does not link it (`dependency-direction`): what it is told is what anybody would type.

pub mod answer;
mod files;
mod variant;

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::cli::SimulateArgs;
use crate::error::{Classed, environment, unexpected, usage};
use crate::qemu::kill;
use crate::workspace::Workspace;

/// The command that runs the simulator of the tree at `root`, its own arguments to follow; or, with
/// `build`, that only builds it.
pub fn simulator(root: &Path, target: Option<&Path>, build: bool) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).arg(if build { "build" } else { "run" });
    command.args(["--quiet", "--release", "--package", "arch-sim", "--bin", "simulate"]);
    if let Some(target) = target {
        command.arg("--target-dir").arg(target);
    }
    if !build {
        command.arg("--");
    }
    command
}

/// Schedules that are run if nobody says how many.
const SCHEDULES: u64 = 100_000;

fn arguments(args: &SimulateArgs) -> Vec<String> {
    let mut out = Vec::new();
    let mut option = |name: &str, value: &str| out.extend([format!("--{name}"), value.to_owned()]);
    if args.rows {
        return vec!["--rows".into()];
    }
    if let Some(seed) = args.seed.as_ref().filter(|_| !args.exhaustive) {
        option("seed", seed);
    }
    match &args.replay {
        Some(choices) => option("replay", choices),
        None if args.exhaustive => {}
        None => option("schedules", &args.schedules.unwrap_or(SCHEDULES).to_string()),
    }
    if let Some(row) = &args.row {
        option("row", row);
    }
    if let Some(jobs) = args.jobs {
        option("jobs", &jobs.to_string());
    }
    if args.exhaustive {
        out.push("--exhaustive".into());
    }
    out
}

/// `cargo xtask simulate`
pub fn command(workspace: &Workspace, args: &SimulateArgs) -> Result<()> {
    let chosen =
        if args.scenarios || args.scenario.is_some() { Some(files::chosen(workspace, args)?) } else { None };
    let status =
        |mut command: Command| kill::status(&mut command).or_environment(|| "cannot run cargo".into());
    if !status(simulator(workspace.root(), None, true))?.success() {
        return Err(unexpected("the simulator could not be built"));
    }
    if let Some(chosen) = chosen {
        return files::command(workspace, args, &chosen);
    }
    let mut command = simulator(workspace.root(), None, false);
    command.args(arguments(args));
    let status = status(command)?;
    verdict(status.code(), status.signal())
}

/// What it means that the simulator ended so. One that panics is one that found something: what it runs
/// panics in the same process.
fn verdict(code: Option<i32>, signal: Option<i32>) -> Result<()> {
    match (code, signal) {
        (Some(0), _) => Ok(()),
        (Some(1), _) => Err(unexpected("a promise was not kept; the line `again:` replays the run")),
        (Some(2), _) => Err(usage("the simulator does not take these arguments")),
        (Some(code), _) => Err(unexpected(format!("the simulator died: exit status {code}"))),
        (None, Some(KILLED | TERMINATED)) => Err(environment("the simulator was killed")),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            Err(unexpected(format!("the simulator died by signal {signal}, or what it runs panicked")))
        }
    }
}

/// Signals that come from outside.
const KILLED: i32 = 9;
const TERMINATED: i32 = 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: SimulateArgs) -> String {
        arguments(&args).join(" ")
    }

    #[test]
    fn a_simulator_that_dies_has_found_something() {
        use crate::error::{Exit, class_of};
        let class =
            |code, signal| verdict(code, signal).map_or_else(|error| class_of(&error), |()| Exit::Usage);
        assert!(verdict(Some(0), None).is_ok());
        for (code, signal) in [(Some(1), None), (Some(101), None), (None, Some(6)), (None, Some(11))] {
            assert_eq!(class(code, signal), Exit::Unexpected, "{code:?} {signal:?}");
        }
        assert_eq!(class(Some(2), None), Exit::Usage);
        assert_eq!(class(None, Some(9)), Exit::Environment);
    }

    #[test]
    fn arguments_are_handed_on() {
        let args = SimulateArgs { seed: Some("0x5".into()), schedules: Some(7), ..SimulateArgs::default() };
        assert_eq!(words(args.clone()), "--seed 0x5 --schedules 7");
        let row = SimulateArgs { row: Some("28b".into()), jobs: Some(1), ..args.clone() };
        assert_eq!(words(row), "--seed 0x5 --schedules 7 --row 28b --jobs 1");
        let replay = SimulateArgs { replay: Some("3r1".into()), ..args.clone() };
        assert_eq!(words(replay), "--seed 0x5 --replay 3r1");
        assert_eq!(words(SimulateArgs { rows: true, ..args.clone() }), "--rows");
        assert_eq!(words(SimulateArgs { exhaustive: true, ..args }), "--exhaustive");
    }
}
