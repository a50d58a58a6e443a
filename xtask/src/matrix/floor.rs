//! What a run takes at least: the same emulator, starting a kernel that turns the machine off as soon as it has read its
//! command line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Result;

use crate::error::{unexpected, usage};
use crate::machine::Ending;
use crate::qemu::folder::Folder;
use crate::qemu::inspect::Target;
use crate::qemu::plan::{self, Plan};
use crate::qemu::{Ended, Unobserved, session};
use crate::workspace::Workspace;

/// Runs of which the median counts: the latest.
const RUNS: usize = 3;

/// What makes the kernel end at once, and how the machine then has to end.
const COMMAND_LINE: &str = "run.end=boot";
const ENDING: &str = "poweroff";

/// Measures floors, each by what it depends on.
pub struct Floors<'a> {
    workspace: &'a Workspace,
    kernels: &'a BTreeMap<String, PathBuf>,
    /// Wall times in ms, the latest last.
    seen: Mutex<BTreeMap<String, Vec<u64>>>,
}

impl<'a> Floors<'a> {
    /// None yet.
    pub fn new(workspace: &'a Workspace, kernels: &'a BTreeMap<String, PathBuf>) -> Self {
        Floors { workspace, kernels, seen: Mutex::default() }
    }

    /// The floor of a run that begins right afterwards, ms. What else this host does changes all the time, so each run
    /// has a floor run of its own right before it.
    pub fn beside(&self, plan: &Plan) -> Result<u64> {
        let at_once = at_once(plan)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let times = seen.entry(place(plan)).or_default();
        times.push(run(self.workspace, &at_once, &self.kernels[&plan.machine.name])?);
        while times.len() < RUNS {
            times.push(run(self.workspace, &at_once, &self.kernels[&plan.machine.name])?);
        }
        Ok(latest(times))
    }
}

/// The median of the latest ones.
fn latest(times: &[u64]) -> u64 {
    let mut latest = times[times.len().saturating_sub(RUNS)..].to_vec();
    latest.sort_unstable();
    latest[latest.len() / 2]
}

/// What it depends on.
fn place(plan: &Plan) -> String {
    let Plan { machine, cpus, memory, accel, firmware, .. } = plan;
    format!("{}/cpus-{cpus}/{memory}-MiB/{}/{}", machine.name, accel.name, firmware.name)
}

/// The same machine, whose kernel ends at once.
fn at_once(plan: &Plan) -> Result<Plan> {
    let mut plan = plan.clone();
    let name = &plan.machine.name;
    plan.ending = plan.machine.ending.get(ENDING).cloned().ok_or_else(|| {
        usage(format!("--floor: machines/{name}.toml has no ending `{ENDING}` to measure by"))
    })?;
    plan.scenario.command_line = COMMAND_LINE.into();
    plan.scenario.qemu_arguments.clear();
    plan.scenario.input.clear();
    plan.scenario.store = None;
    plan.append = None;
    Ok(plan)
}

fn run(workspace: &Workspace, plan: &Plan, kernel: &Path) -> Result<u64> {
    let nonce = plan::nonce()?;
    let folder = Folder::create(workspace, &plan.machine.name, "floor", nonce)?;
    folder.write("qemu.txt", &format!("{}\n", plan.paste_line(kernel, folder.path(), nonce)))?;
    let arguments = plan.machine_arguments(kernel, folder.path(), nonce);
    let evidence = session::run(plan, &folder, &arguments, &Target::default(), false, &mut Unobserved)?;
    let shown = workspace.relative(folder.path()).display();
    let fault = if !ended_so(&evidence.ended, &evidence.shutdowns, &plan.ending) {
        format!("it ended by {:?}", evidence.ended)
    } else if let Some(event) = evidence.log.events.first() {
        // On some machines every good end is the same, and this one did more than it was to.
        format!("its kernel says `{}`, and is to say nothing", event.kind)
    } else {
        return Ok(evidence.wall.as_millis() as u64);
    };
    Err(unexpected(format!("the floor of {}: {fault} ({shown})", place(plan))))
}

/// One that hung, or was reset, has measured something else.
fn ended_so(ended: &Ended, shutdowns: &[String], rule: &Ending) -> bool {
    matches!(ended, Ended::Exit(code) if Some(*code) == rule.exit)
        && shutdowns.last() == rule.shutdown.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::rows::Matrix;

    #[test]
    fn a_floor_is_of_the_machine_and_of_nothing_else() {
        let workspace = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let matrix = Matrix::new(&workspace, false).unwrap();
        for plan in &matrix.plans {
            let floor = at_once(plan).unwrap();
            assert_eq!(place(&floor), place(plan));
            let line = floor.command_line(1);
            assert!(
                line.ends_with(&format!("panic.scale={} {COMMAND_LINE}", plan.accel.panic_scale)),
                "{line}"
            );
            let arguments = floor.machine_arguments(Path::new("/k"), Path::new("/r"), 1);
            assert!(!arguments.iter().any(|word| word.contains("/r")), "{arguments:?}");
        }
    }

    #[test]
    fn the_latest_count() {
        assert_eq!(latest(&[900, 900, 900, 30, 10, 20]), 20);
        assert_eq!(latest(&[5, 1, 3]), 3);
    }

    #[test]
    fn a_run_that_ends_otherwise_measures_nothing() {
        let rule = Ending { exit: Some(0), shutdown: Some("off".into()), stays: false };
        let ended = |ended, shutdown: &str| ended_so(&ended, &[shutdown.to_owned()], &rule);
        assert!(ended(Ended::Exit(0), "off"));
        assert!(!ended(Ended::Exit(1), "off") && !ended(Ended::Exit(0), "reset"));
        assert!(!ended(Ended::Idle(std::time::Duration::from_secs(1)), "off"));
    }
}
