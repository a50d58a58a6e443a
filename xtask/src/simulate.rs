//! `cargo xtask simulate`: the simulator as a child. It runs the same `core-panic` as a kernel, so this
//! program does not link it (`dependency-direction`): what it is told is what anybody would type.

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

fn arguments(args: &SimulateArgs) -> Vec<String> {
    let mut out = Vec::new();
    let mut option = |name: &str, value: &str| out.extend([format!("--{name}"), value.to_owned()]);
    if args.rows {
        return vec!["--rows".into()];
    }
    if !args.exhaustive {
        option("seed", &args.seed);
    }
    match &args.replay {
        Some(choices) => option("replay", choices),
        None if args.exhaustive => {}
        None => option("schedules", &args.schedules.to_string()),
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
    let mut command = simulator(workspace.root(), None, false);
    command.args(arguments(args));
    let status = kill::status(&mut command).or_environment(|| "cannot run cargo".into())?;
    match status.code() {
        Some(0) => Ok(()),
        Some(1) => Err(unexpected("a promise was not kept; the line `again:` replays the run")),
        Some(2) => Err(usage("the simulator does not take these arguments")),
        Some(_) => Err(unexpected("the simulator could not be built")),
        None => Err(environment("the simulator was killed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(args: SimulateArgs) -> String {
        arguments(&args).join(" ")
    }

    #[test]
    fn arguments_are_handed_on() {
        let args = SimulateArgs { seed: "0x5".into(), schedules: 7, ..SimulateArgs::default() };
        assert_eq!(words(args.clone()), "--seed 0x5 --schedules 7");
        let row = SimulateArgs { row: Some("28b".into()), jobs: Some(1), ..args.clone() };
        assert_eq!(words(row), "--seed 0x5 --schedules 7 --row 28b --jobs 1");
        let replay = SimulateArgs { replay: Some("3r1".into()), ..args.clone() };
        assert_eq!(words(replay), "--seed 0x5 --replay 3r1");
        assert_eq!(words(SimulateArgs { rows: true, ..args.clone() }), "--rows");
        assert_eq!(words(SimulateArgs { exhaustive: true, ..args }), "--exhaustive");
    }
}
