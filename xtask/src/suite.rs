//! `cargo xtask test`: host tests, models of memory orderings, tidy, image checks, and the matrix of scenarios.

mod host;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;

use crate::cases::Case;
use crate::cli::{TestArgs, TidyArgs};
use crate::error::usage;
use crate::machine::Machine;
use crate::matrix::filter::{Filter, Subject};
use crate::matrix::rows::Matrix;
use crate::matrix::runner::{Pace, Tally, Task, conclude, heading, run_all};
use crate::mutants::named::Named;
use crate::page::Writing;
use crate::qemu::Unobserved;
use crate::report::say;
use crate::workspace::Workspace;
use crate::{build, image_check, run, setup, tidy};
#[cfg(test)]
pub use host::browser;

/// What runs once, whatever machines there are.
const STAGES: [&str; 4] = ["host-tests", "models", "tidy", PAGE];

/// The stage that needs a browser.
const PAGE: &str = "report-page";

/// `cargo xtask test`
pub fn command(workspace: &Workspace, args: &TestArgs) -> Result<()> {
    let started = Instant::now();
    let filter = args.filter.as_deref().map(|text| Filter::read(workspace, text)).transpose()?;
    let wanted = |name: &str| {
        let subject = Subject { name: name.to_owned(), ..Subject::default() };
        filter.as_ref().is_none_or(|filter| filter.matches(&subject))
    };
    let mut matrix = Matrix::new(workspace, args.full)?;
    if let Some(filter) = &filter {
        matrix.filter(filter);
    }
    let machines = matrix.machines.clone();
    let images: Vec<_> =
        machines.iter().filter(|machine| wanted(&format!("{}/image", machine.name))).collect();
    let unrun: Vec<Case> = matrix.unrun().collect();
    let mut stages = STAGES.map(|name| (name, wanted(name)));
    for (name, wanted) in &mut stages {
        if let Some(why) = host::no_browser().filter(|_| *name == PAGE && *wanted) {
            *wanted = false;
            matrix.skipped.push(format!("{name}: {why}"));
        }
    }
    let emulated: Vec<_> = machines.iter().filter(|machine| wanted(&host::title(machine))).collect();
    let emulated = host::emulated(&emulated, &mut matrix.skipped)?;
    if matrix.plans.is_empty()
        && matrix.not_applicable.is_empty()
        && matrix.skipped.is_empty()
        && images.is_empty()
        && emulated.is_empty()
        && stages.iter().all(|(_, wanted)| !wanted)
    {
        return Err(nothing_matches(args.filter.as_deref()));
    }
    if args.list {
        list(&stages, &emulated, &images, &matrix);
        return Ok(());
    }
    run::prepare_json(args.json.as_deref())?;
    let named = Named::read(workspace)?;
    // First of all: the checks below also look at what only a guest's toolchain can compile.
    setup::ensure_all(&machines.iter().collect::<Vec<_>>())?;
    let mut tally = Tally::default();
    for (name, _) in stages.iter().filter(|(_, wanted)| *wanted) {
        heading(name);
        let result = match *name {
            "tidy" => tidy::run(workspace, &TidyArgs::default()),
            "models" => host::models(workspace),
            PAGE => host::page(workspace),
            _ => host::tests(workspace),
        };
        tally.note(name, result)?;
    }
    for machine in &emulated {
        heading(&host::title(machine));
        tally.note(&host::title(machine), host::tests_as(workspace, machine))?;
    }
    let mut kernels = BTreeMap::new();
    for machine in &machines {
        let checked = images.iter().any(|image| image.name == machine.name);
        if !checked && !matrix.plans.iter().any(|plan| plan.machine.name == machine.name) {
            continue;
        }
        heading(&format!("{}/image", machine.name));
        let kernel = build::kernel(workspace, machine);
        let result = kernel.and_then(|kernel| {
            kernels.insert(machine.name.clone(), kernel.clone());
            if checked { image_check::run(machine, &kernel) } else { Ok(()) }
        });
        tally.note(&format!("{}/image", machine.name), result)?;
    }
    let mut report = Writing::begin(workspace, args.report.as_deref())?;
    unrun.into_iter().try_for_each(|case| report.add(case))?;
    let plans = matrix.plans.iter().filter(|plan| kernels.contains_key(&plan.machine.name));
    let tasks: Vec<_> = plans.map(Task::of).collect();
    let run = |task: &Task| {
        run::run(workspace, task.plan, &kernels[&task.plan.machine.name], false, &mut Unobserved)
    };
    let mut cases = Vec::new();
    run_all(&tasks, &Pace::once(args.jobs), &run, &mut tally, |task, result| {
        let case = task.case(result);
        cases.extend(args.json.is_some().then(|| case.clone()));
        report.add(case)
    })?;
    report.finish()?;
    if let Some(path) = &args.json {
        run::write_json(
            path,
            &json!({ "passed": tally.failed.is_empty(), "failed": tally.failed, "runs": cases }),
        )?;
    }
    matrix.say_skipped();
    conclude(&tally, &matrix, &named, started)
}

/// The error for a filter that leaves nothing.
pub fn nothing_matches(filter: Option<&str>) -> anyhow::Error {
    usage(format!("--filter {}: nothing matches; --list shows what there is", filter.unwrap_or_default()))
}

fn list(stages: &[(&str, bool)], emulated: &[&Machine], images: &[&Machine], matrix: &Matrix) {
    for (name, _) in stages.iter().filter(|(_, wanted)| *wanted) {
        say!("{name}");
    }
    for machine in emulated {
        say!("{}", host::title(machine));
    }
    for machine in images {
        say!("{}/image", machine.name);
    }
    for plan in &matrix.plans {
        say!("{}", plan.title());
    }
    matrix.say_unrun();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continuous_integration_runs_all_of_it() {
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let workflow = std::fs::read_to_string(workspace.root().join("ci/workflow.yml")).unwrap();
        let after = |start: &'static str| {
            workflow.lines().filter_map(move |line| line.trim().strip_prefix(start)).map(str::trim)
        };
        let matrix = Matrix::new(&workspace, false).unwrap();
        // A job for each machine says so with a placeholder.
        let each = |text: &str| -> Vec<_> {
            let machines = matrix.machines.iter();
            machines.map(|machine| text.replace("${{ matrix.machine }}", &machine.name)).collect()
        };
        let filters: Vec<_> = after("- run: cargo xtask test --filter ")
            .flat_map(each)
            .map(|text| Filter::parse(text.trim_matches('\'')).unwrap())
            .collect();
        let machines = matrix.machines.iter();
        let of_machines =
            machines.flat_map(|machine| [format!("{}/image", machine.name), host::title(machine)]);
        // Host tests only where a machine has them.
        let has = |name: &String| {
            let mut machines = matrix.machines.iter();
            machines.all(|machine| machine.host_tests.is_some() || host::title(machine) != *name)
        };
        for name in STAGES.map(String::from).into_iter().chain(of_machines.filter(has)) {
            let subject = Subject { name, ..Subject::default() };
            let runs = filters.iter().any(|filter| filter.matches(&subject));
            assert!(runs, "no job runs {}", subject.name);
        }
        // And every row, in one of the parts.
        let from = |key, list| {
            after(key).any(|value| value == format!("${{{{ fromJSON(needs.ports.outputs.{list}) }}}}"))
        };
        assert!(from("arch: ", "machines") && from("machine: ", "machines"), "every machine");
        // And every port has to reach what it claims.
        assert!(from("port: ", "names"), "every port");
        assert!(after("- run: cargo xtask conformance ").any(|port| port == "${{ matrix.port }}"));
        let parts: Vec<_> = after("part: ").collect();
        let count = parts.first().map_or(0, |list| list.split(',').count());
        let numbers: Vec<_> = (1..=count).map(|part| part.to_string()).collect();
        assert_eq!(parts, [format!("[{}]", numbers.join(", "))], "every part");
        let mut steps =
            after("- run: cargo xtask matrix --arch ${{ matrix.arch }} --shard ${{ matrix.part }}/");
        assert!(steps.any(|rest| rest.starts_with(&format!("{count} "))), "as many parts as are run");
    }
}
