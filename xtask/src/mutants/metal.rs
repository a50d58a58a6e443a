//! Mutants that are built for a machine and booted, or whose image is looked at.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use crate::cli::RunArgs;
use crate::error::{Exit, class_of, one_line, unexpected, usage};
use crate::machine::Machine;
use crate::qemu::Unobserved;
use crate::qemu::plan::{Plan, Planned};
use crate::report::{self, BOLD, RED, paint, say};
use crate::run::{self, RunResult};
use crate::scenario::{Scenario, Stop};
use crate::workspace::Workspace;
use crate::{build, image_check, verdict};

/// The header of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutant {
    /// Name of the patch.
    pub name: String,
    /// What is broken.
    pub why: String,
    /// Scenarios that it turns red, on one image; none: the image is looked at, and not run.
    pub scenarios: Vec<String>,
    /// Machine names; empty for all.
    machines: Vec<String>,
    /// CPUs, where it is not the machine's default.
    cpus: Option<i64>,
    /// Accelerator, where it is not the one that works.
    accel: Option<String>,
    /// Stop policy, where it is not the scenario's first.
    stop: Option<Stop>,
    /// What goes red.
    pub check: String,
    /// Ports that it changes, if it changes nothing else.
    ports: Vec<String>,
    /// The patch.
    pub patch: PathBuf,
}

impl Mutant {
    /// Reads a patch's header; `shown` is how a person names the file.
    pub fn parse(name: &str, patch: &Path, shown: &Path, text: &str) -> Result<Self> {
        let header: Vec<_> = text.lines().take_while(|line| !line.starts_with("diff ")).collect();
        let value = |key: &str| {
            let found = header.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            found
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
                .ok_or_else(|| usage(format!("{}: its header has no line `{key}: …`", shown.display())))
        };
        let check = value("check")?;
        let of_the_image = image_check::NAMES.contains(&check.as_str());
        if !of_the_image && !verdict::NAMES.contains(&check.as_str()) {
            let line = header.iter().position(|line| line.starts_with("check:")).map_or(0, |line| line + 1);
            return Err(usage(format!(
                "{}:{line}: no check `{check}`. There are: {}",
                shown.display(),
                [&verdict::NAMES[..], &image_check::NAMES[..]].concat().join(", ")
            )));
        }
        let cpus = value("cpus").ok().map(|cpus| {
            let shown = shown.display();
            cpus.parse().map_err(|_| usage(format!("{shown}: `cpus: {cpus}` is not a number")))
        });
        let stop = value("stop").ok().map(|stop| {
            let shown = shown.display();
            Stop::from_str(&stop, false)
                .map_err(|_| usage(format!("{shown}: `stop: {stop}` is no stop policy")))
        });
        let machine = value("machine")?;
        let machines = match machine.as_str() {
            "all" => Vec::new(),
            names => list(names),
        };
        Ok(Mutant {
            name: name.to_owned(),
            why: header.first().map(|line| line.trim().to_owned()).unwrap_or_default(),
            scenarios: if of_the_image { Vec::new() } else { list(&value("scenario")?) },
            machines,
            cpus: cpus.transpose()?,
            accel: value("accel").ok(),
            stop: stop.transpose()?,
            check,
            ports: ports(text),
            patch: patch.to_path_buf(),
        })
    }

    /// Every patch that breaks an image.
    pub fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        let paths = super::patches(workspace)?;
        let read = |path: &PathBuf| {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let shown = workspace.relative(path);
            let text = crate::data::text(path, shown)?;
            match super::case(&text) {
                Some(_) => Ok(None),
                None => Self::parse(&name, path, shown, &text).map(Some),
            }
        };
        paths.iter().map(read).filter_map(Result::transpose).collect()
    }
}

/// The ports that a patch changes, by name; none if it changes anything else.
fn ports(text: &str) -> Vec<String> {
    let changed = text.lines().filter_map(|line| line.strip_prefix("+++ b/"));
    let port = |path: &str| path.strip_prefix("arch-")?.split('/').next().map(str::to_owned);
    changed.map(port).collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// Names between commas.
pub fn list(names: &str) -> Vec<String> {
    names.split(',').map(|name| name.trim().to_owned()).collect()
}

/// A mutant on a machine, in one scenario.
pub struct Row<'r> {
    mutant: &'r Mutant,
    machine: &'r Machine,
    /// `None`: the image is looked at, and not run.
    scenario: Option<&'r str>,
}

impl Row<'_> {
    /// Name in lists and filters.
    pub fn title(&self) -> String {
        let Row { mutant, machine, scenario } = self;
        match scenario {
            Some(scenario) if mutant.scenarios.len() > 1 => {
                format!("{}/{}/{scenario}", machine.name, mutant.name)
            }
            _ => format!("{}/{}", machine.name, mutant.name),
        }
    }

    /// What goes red, and what is broken.
    pub fn words(&self) -> (&str, &str) {
        (&self.mutant.check, &self.mutant.why)
    }

    /// Where.
    pub fn machine(&self) -> &Machine {
        self.machine
    }

    /// What runs; nothing if only the image is looked at.
    pub fn scenario(&self) -> Option<&str> {
        self.scenario
    }

    /// What has to be green without the patch.
    fn control(&self, workspace: &Workspace) -> Result<String> {
        let plan = self.plan(workspace)?;
        Ok(plan.map_or_else(|| format!("{}/image", self.machine.name), |plan| plan.title()))
    }

    fn plan(&self, workspace: &Workspace) -> Result<Option<Plan>> {
        let Some(scenario) = self.scenario else { return Ok(None) };
        let scenario = Scenario::load(workspace, scenario)?;
        let accel = self.mutant.accel.clone().unwrap_or_else(|| "auto".into());
        // Some have a meaning with one firmware only, which need not be the machine's first; and some name those of
        // several machines.
        let own = |name: &&String| self.machine.qemu.firmware.iter().any(|own| own.name == **name);
        let firmware = scenario.firmwares.iter().find(own).cloned();
        let args =
            RunArgs { accel, firmware, cpus: self.mutant.cpus, stop: self.mutant.stop, ..RunArgs::default() };
        match Plan::make(self.machine.clone(), scenario, &args)? {
            Planned::Run(plan) => Ok(Some(*plan)),
            Planned::NotApplicable(reason) => Err(unexpected(format!("n/a: {reason}"))),
        }
    }
}

/// Every mutant on every machine and in every scenario that its header names. A scenario that has no meaning on one
/// of the machines is left out there, as long as another one is left; `all` are those that claim a tier.
pub fn rows<'r>(
    workspace: &Workspace,
    mutants: &'r [Mutant],
    machines: &'r [Machine],
    filter: Option<&str>,
) -> Result<Vec<Row<'r>>> {
    let mut rows = Vec::new();
    for mutant in mutants {
        let file = format!("mutants/{}.patch", mutant.name);
        if let Some(odd) =
            mutant.machines.iter().find(|name| !machines.iter().any(|machine| machine.name == **name))
        {
            return Err(usage(format!("{file}: no machine `{odd}`")));
        }
        let scenarios = mutant
            .scenarios
            .iter()
            .map(|name| Scenario::load(workspace, name))
            .collect::<Result<Vec<_>>>()?;
        for machine in machines {
            let tier = machine.conformance.tier;
            let named = match mutant.machines.as_slice() {
                [] => tier.is_some(),
                names => names.contains(&machine.name),
            };
            if named && !mutant.ports.is_empty() && !mutant.ports.contains(&machine.name) {
                let name = &machine.name;
                return Err(usage(format!(
                    "{file}: it is for {name}, and changes nothing that {name} is built of"
                )));
            }
            if !named {
                continue;
            }
            let row = |scenario| Row { mutant, machine, scenario };
            if scenarios.is_empty() {
                rows.push(row(None));
                continue;
            }
            let before = rows.len();
            for (name, scenario) in mutant.scenarios.iter().zip(&scenarios) {
                let on = scenario.differing_on(&machine.name);
                let has = |needed| !machine.lacks.contains_key(needed);
                let claimed = tier.is_none_or(|tier| scenario.tiers.iter().any(|least| *least <= tier));
                let has = claimed
                    && scenario.requires.iter().all(has)
                    && (scenario.store.is_none() || machine.store.is_some());
                if has && on.is_none_or(|on| on.not_applicable.is_none()) {
                    rows.push(row(Some(name)));
                }
            }
            // Of all machines, one may lack what the scenario needs; one that is named must not.
            if rows.len() == before && mutant.machines.contains(&machine.name) {
                return Err(usage(format!(
                    "{file}: none of its scenarios has a meaning on {}",
                    machine.name
                )));
            }
        }
    }
    if let Some(filter) = filter {
        rows.retain(|row| row.title().contains(filter));
    }
    Ok(rows)
}

/// Tries them all. Returns those that were not noticed.
pub fn try_all(workspace: &Workspace, rows: &[Row]) -> Result<Vec<String>> {
    let mut bad = Vec::new();
    let mut controls = BTreeMap::new();
    let mut built: Option<(&str, &str, PathBuf)> = None;
    for row in rows {
        let title = row.title();
        let name = row.control(workspace)?;
        let green = match controls.get(&name) {
            Some(&green) => green,
            None => *controls.entry(name.clone()).or_insert(control(workspace, row, &name)?),
        };
        say!("{} {title}: {}", paint(BOLD, "--"), row.mutant.why);
        let seen = if green {
            let (mutant, machine) = (row.mutant.name.as_str(), row.machine.name.as_str());
            let kernel = match built.take() {
                Some((of, on, kernel)) if (of, on) == (mutant, machine) => Ok(kernel),
                _ => broken(workspace, row),
            };
            kernel.and_then(|kernel| {
                let seen = attempt(workspace, row, &kernel);
                built = Some((mutant, machine, kernel));
                seen
            })
        } else {
            Err(unexpected("red without the patch, too"))
        };
        super::note(title, seen, &mut bad)?;
    }
    Ok(bad)
}

/// Whether the unbroken tree is green; if not, a red mutant says nothing about its patch.
fn control(workspace: &Workspace, row: &Row, name: &str) -> Result<bool> {
    say!("{} control: {name}, nothing broken", paint(BOLD, "--"));
    let result = build::kernel(workspace, row.machine).and_then(|kernel| match row.plan(workspace)? {
        Some(plan) => run::run(workspace, &plan, &kernel, false, &mut Unobserved).map(Some),
        None => image_check::run(row.machine, &kernel).map(|()| None),
    });
    match result {
        Ok(None) => Ok(true),
        Ok(Some(result)) => {
            say!("{}", report::one_line(&result));
            if !result.verdict.passed() {
                say!("{}", report::console_tail(&result, &result.plan.rerun()).trim_end());
            }
            Ok(result.verdict.passed())
        }
        Err(error) if class_of(&error) == Exit::Environment => Err(error),
        Err(error) => {
            say!("{} control: {name}: {}", paint(RED, "FAIL"), one_line(&error));
            Ok(false)
        }
    }
}

/// The image of the broken tree.
fn broken(workspace: &Workspace, row: &Row) -> Result<PathBuf> {
    let scratch_root = workspace.root().join("target/mutants");
    let tree = scratch_root.join("tree");
    super::fresh_copy(workspace.root(), &tree)?;
    super::apply(&tree, &row.mutant.patch)?;
    build::kernel_in(&Workspace::at(&tree), row.machine, &scratch_root.join("metal"))
}

/// Runs the broken image. Ok: what was seen; the mutant is caught.
fn attempt(workspace: &Workspace, row: &Row, kernel: &Path) -> Result<String> {
    let Row { mutant, machine, .. } = row;
    // The scenario comes from the unbroken tree, the run's folder goes there too.
    let Some(plan) = row.plan(workspace)? else {
        let findings = image_check::all(machine, kernel)?;
        if findings.iter().any(|finding| finding.check == mutant.check) {
            return Ok(format!("red by `{}`", mutant.check));
        }
        let others: Vec<_> = findings.iter().map(ToString::to_string).collect();
        return Err(unexpected(match others.as_slice() {
            [] => "survived: the image is as it should be".into(),
            others => format!("`{}` is not red; red are: {}", mutant.check, others.join("; ")),
        }));
    };
    let result = run::run(workspace, &plan, kernel, false, &mut Unobserved)?;
    caught(mutant, &result)
}

/// A run that was given up counts too: a check that only lacks its evidence then is not red, so one
/// that is red has seen the fault itself.
fn caught(mutant: &Mutant, result: &RunResult) -> Result<String> {
    let red: Vec<_> = result.verdict.red().map(|check| check.name).collect();
    let folder = result.folder_shown.display();
    if red.is_empty() {
        return Err(unexpected(format!("survived: every check is green ({folder})")));
    }
    if !red.contains(&mutant.check.as_str()) {
        let red = red.join(", ");
        return Err(unexpected(format!("`{}` is not red; red are: {red} ({folder})", mutant.check)));
    }
    let others: Vec<_> = red.iter().filter(|name| **name != mutant.check).copied().collect();
    let also = if others.is_empty() { String::new() } else { format!(" (also {})", others.join(", ")) };
    Ok(format!("red by `{}`{also}", mutant.check))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "It breaks.\n\nscenario: some\nmachine: one, two\ncheck: steps\n\ndiff --git a/x b/x\n";

    #[test]
    fn a_patch_of_ports_alone_knows_which() {
        let patch = |paths: &[&str]| {
            paths.iter().map(|path| format!("--- a/{path}\n+++ b/{path}\n")).collect::<String>()
        };
        assert_eq!(ports(&patch(&["arch-a/src/x.rs", "arch-b/y.S"])), ["a", "b"]);
        assert!(ports(&patch(&["arch-a/src/x.rs", "core-panic/src/y.rs"])).is_empty());
        assert!(ports("").is_empty());
    }

    fn parse(text: &str) -> Result<Mutant> {
        Mutant::parse("it", Path::new("/r/mutants/it.patch"), Path::new("mutants/it.patch"), text)
    }

    #[test]
    fn a_header_is_read() {
        let mutant = parse(HEADER).unwrap();
        assert_eq!(mutant.why, "It breaks.");
        assert_eq!((mutant.scenarios[0].as_str(), mutant.check.as_str()), ("some", "steps"));
        assert_eq!(mutant.machines, ["one", "two"]);
        assert_eq!(mutant.cpus, None);
        assert_eq!(parse(&HEADER.replace("machine:", "cpus: 1\nmachine:")).unwrap().cpus, Some(1));
        assert!(parse(&HEADER.replace("machine:", "cpus: one\nmachine:")).is_err());
        assert!(parse(&HEADER.replace("one, two", "all")).unwrap().machines.is_empty());
    }

    /// Each has a plan: a firmware, an accelerator and a number of CPUs that its machine has.
    #[test]
    fn every_mutant_of_the_tree_can_be_run_where_its_header_says() {
        let workspace = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let (mutants, machines) = (Mutant::all(&workspace).unwrap(), Machine::all(&workspace).unwrap());
        for row in rows(&workspace, &mutants, &machines, None).unwrap() {
            if let Err(error) = row.plan(&workspace) {
                panic!("{}: {}", row.title(), one_line(&error));
            }
        }
    }

    #[test]
    fn a_port_that_claims_nothing_yet_is_none_of_all() {
        let workspace = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let (mutants, mut machines) = (Mutant::all(&workspace).unwrap(), Machine::all(&workspace).unwrap());
        let before = rows(&workspace, &mutants, &machines, None).unwrap().len();
        let mut novel = machines[0].clone();
        novel.name = "novel".into();
        novel.conformance.tier = None;
        machines.push(novel);
        assert_eq!(rows(&workspace, &mutants, &machines, None).unwrap().len(), before);
        // One that claims something has to be broken by patches for all of them, too.
        machines.last_mut().unwrap().conformance.tier = Some(0);
        assert!(rows(&workspace, &mutants, &machines, None).is_err());
    }

    #[test]
    fn a_wrong_header_names_its_place() {
        let error = parse(&HEADER.replace("check: steps", "check: stpes")).unwrap_err();
        assert!(one_line(&error).starts_with("mutants/it.patch:5: no check `stpes`. There are: "), "{error}");
        let error = parse(&HEADER.replace("scenario: some", "")).unwrap_err();
        assert_eq!(one_line(&error), "mutants/it.patch: its header has no line `scenario: …`");
    }
}
