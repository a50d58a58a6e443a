//! `cargo xtask experiment stop`: many panics, each with other work for its CPUs, under every stop policy.
//!
//! A trial is a run of the scenario that is marked for it, with roles that a seed makes up ([`seed`]), and judged as
//! every run is: what became of the locks is held against the roles, not against what the stop says of itself. The
//! same trial meets the same roles under each policy. One trial, one boot: a stop cannot be undone.

mod file;
pub mod seed;
mod table;
mod trial;

use anyhow::Result;

use crate::cli::{ExperimentCommand, RunArgs, StopTrialsArgs};
use crate::error::{Exit, class_of, one_line, unexpected, usage};
use crate::machine::Machine;
use crate::qemu::Unobserved;
use crate::qemu::plan::{Plan, Planned};
use crate::random::parse_seed;
use crate::report::{BOLD, GREEN, RED, YELLOW, nanoseconds, paint, say};
use crate::run;
use crate::scenario::{Scenario, Stop, value_name};
use crate::workspace::Workspace;
use crate::{build, report, setup};
use trial::{Series, Trial};

/// `cargo xtask experiment`
pub fn command(workspace: &Workspace, command: &ExperimentCommand) -> Result<()> {
    match command {
        ExperimentCommand::Stop(args) => stop(workspace, args),
    }
}

/// Trials on one machine.
struct Batch {
    machine: Machine,
    series: Series,
    grace_us: u64,
}

/// Policies, if none is named: those that differ. With a crash image, which every trial has, `linux` is `nmi`.
const POLICIES: [Stop; 3] = [Stop::Deferred, Stop::Nmi, Stop::IpiNmi];

fn stop(workspace: &Workspace, args: &StopTrialsArgs) -> Result<()> {
    if args.resume && args.json.is_none() {
        return Err(usage("--resume: name the file to go on with: --json FILE"));
    }
    let scenario = Scenario::of_trials(workspace)?;
    let policies = if args.policy.is_empty() { POLICIES.to_vec() } else { args.policy.clone() };
    let mut batches = Vec::new();
    match &args.arch {
        Some(name) => batches.push(batch(workspace, &scenario, args, name)?),
        // One that lacks what the trials are about is none of "each of them".
        None => {
            for machine in Machine::all(workspace)? {
                match scenario.requires.iter().find_map(|what| Some((what, machine.lacks.get(what)?))) {
                    Some((what, why)) => {
                        say!("{} {}: it lacks `{}`: {why}", paint(YELLOW, "n/a"), machine.name, what.name());
                    }
                    None => batches.push(batch(workspace, &scenario, args, &machine.name)?),
                }
            }
        }
    }
    let series: Vec<_> = batches.iter().map(|batch| batch.series.clone()).collect();
    let mut trials = match &args.json {
        Some(path) => file::read(path, &series, args.resume)?,
        None => Vec::new(),
    };
    setup::ensure_all(&batches.iter().map(|batch| &batch.machine).collect::<Vec<_>>())?;
    for batch in &batches {
        series_of_trials(workspace, &scenario, args, batch, &policies, &mut trials)?;
        let done: Vec<_> = trials
            .iter()
            .filter(|trial| trial.series == batch.series && trial.trial < args.trials)
            .cloned()
            .collect();
        say!("\n{}", table::show(&batch.series, &policies, &done).trim_end());
    }
    let counted = |trial: &&Trial| policies.contains(&trial.policy) && trial.trial < args.trials;
    let all = trials.iter().filter(counted).count();
    let red: Vec<_> = trials.iter().filter(counted).filter(|trial| !trial.red.is_empty()).collect();
    for trial in &red {
        let policy = value_name(trial.policy);
        say!(
            "{} {} {policy} trial {}: {}",
            paint(RED, "FAIL"),
            trial.series.machine,
            trial.trial,
            trial.red.join(", ")
        );
    }
    if red.is_empty() {
        say!("\n{}: {all} of {all} trials as expected", paint(BOLD, "Result"));
        return Ok(());
    }
    Err(unexpected(format!("{} of {all} trials did not end as expected", red.len())))
}

/// Checks what can be checked before anything runs.
fn batch(workspace: &Workspace, scenario: &Scenario, args: &StopTrialsArgs, name: &str) -> Result<Batch> {
    let machine = Machine::load(workspace, name)?;
    let plan = plan(&machine, scenario, args, Stop::Deferred, None)?;
    let grace_ms = crate::roles::Roles::of(&plan.scenario.command_line).grace_ms.ok_or_else(|| {
        usage(format!("scenarios/{}.toml: trials need `panic.grace` on its command_line", scenario.name))
    })?;
    let seed = parse_seed(&args.seed)?;
    let series = Series {
        machine: name.to_owned(),
        accel: plan.accel.name.clone(),
        firmware: plan.firmware.name.clone(),
        cpus: plan.cpus,
        seed,
    };
    Ok(Batch { grace_us: grace_ms * u64::from(plan.accel.panic_scale) * 1_000, machine, series })
}

fn plan(
    machine: &Machine,
    scenario: &Scenario,
    args: &StopTrialsArgs,
    policy: Stop,
    append: Option<String>,
) -> Result<Plan> {
    let run = RunArgs {
        cpus: args.cpus,
        accel: args.accel.clone(),
        firmware: args.firmware.clone(),
        stop: Some(policy),
        append,
        ..RunArgs::default()
    };
    match Plan::make(machine.clone(), scenario.clone(), &run)? {
        Planned::Run(plan) => Ok(*plan),
        Planned::NotApplicable(reason) => Err(usage(reason)),
    }
}

fn series_of_trials(
    workspace: &Workspace,
    scenario: &Scenario,
    args: &StopTrialsArgs,
    batch: &Batch,
    policies: &[Stop],
    trials: &mut Vec<Trial>,
) -> Result<()> {
    let wanted: Vec<_> = (0..args.trials)
        .flat_map(|number| policies.iter().map(move |policy| (number, *policy)))
        .filter(|(number, policy)| {
            let same = |trial: &Trial| {
                trial.series == batch.series && trial.trial == *number && trial.policy == *policy
            };
            !trials.iter().any(same)
        })
        .collect();
    let Series { machine, accel, firmware, cpus, seed } = &batch.series;
    say!(
        "{} {machine}, {accel}, {firmware}, {cpus} CPUs, seed {seed}: {} trials to run",
        paint(BOLD, "--"),
        wanted.len()
    );
    if wanted.is_empty() {
        return Ok(());
    }
    let kernel = build::kernel(workspace, &batch.machine)?;
    // The roles that the file itself has are for a run of its own.
    let mut bare = scenario.clone();
    bare.command_line = without_roles(&scenario.command_line);
    for (place, &(number, policy)) in wanted.iter().enumerate() {
        let roles = seed::roles(*seed, number, *cpus, batch.grace_us);
        let plan = plan(&batch.machine, &bare, args, policy, Some(roles.to_string()))?;
        let mut result = match run::run(workspace, &plan, &kernel, false, &mut Unobserved) {
            Ok(result) => result,
            Err(error) if class_of(&error) == Exit::Environment => return Err(error),
            Err(error) => return Err(unexpected(format!("trial {number}: {}", one_line(&error)))),
        };
        let trial = Trial::of(&batch.series, number, &roles, &result);
        if let Some(path) = &args.json {
            file::append(path, &trial)?;
        }
        say!("{:>4}/{} {}", place + 1, wanted.len(), line(&trial));
        result.shrink();
        if !result.verdict.passed() {
            say!("{}", report::console_tail(&result, &result.plan.rerun()).trim_end());
        }
        trials.push(trial);
    }
    Ok(())
}

fn without_roles(command_line: &str) -> String {
    let words = command_line.split_ascii_whitespace().filter(|word| !word.starts_with("test.role="));
    words.collect::<Vec<_>>().join(" ")
}

/// A trial in one line.
fn line(trial: &Trial) -> String {
    let mark = if trial.red.is_empty() { paint(GREEN, "ok") } else { paint(RED, "FAIL") };
    let head = format!("{mark} {:<8} trial {:<4} {:<7}", value_name(trial.policy), trial.trial, trial.kind);
    let Some(measured) = &trial.measured else { return format!("{head} nothing measured") };
    let orphans: Vec<_> =
        measured.orphans.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let orphans = if orphans.is_empty() { "none".to_owned() } else { orphans.join(", ") };
    let entry = if measured.entry { "entry" } else { "no entry" };
    format!("{head} stopped in {:>9}, orphans: {orphans}, {entry}", nanoseconds(measured.stop_ns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_decimal_or_hexadecimal() {
        assert_eq!((parse_seed("7").unwrap(), parse_seed("0x1f").unwrap()), (7, 31));
        assert_eq!(
            one_line(&parse_seed("x").unwrap_err()),
            "--seed x: not a number of up to 64 bits, such as 7 or 0x7"
        );
    }

    #[test]
    fn the_roles_of_the_file_give_way() {
        assert_eq!(without_roles("a=1 test.role=1:on/0/0/end  b=2"), "a=1 b=2");
    }
}
