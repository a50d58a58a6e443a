//! `cargo xtask simulate --scenarios`, and `--scenario NAME`: the files that drive machines drive the simulated one, and
//! every schedule is judged by what the file expects.

use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;
use std::time::Instant;

use anyhow::Result;

use super::answer::{Answer, Reader};
use super::variant::{Variant, variants};
use super::{simulator, verdict as end_of};
use crate::cli::SimulateArgs;
use crate::error::{Classed, unexpected, usage};
use crate::qemu::kill::Leash;
use crate::report::{BOLD, DIM, GREEN, RED, YELLOW, paint, say};
use crate::scenario::{Scenario, no_meaning};
use crate::verdict::simulated;
use crate::workspace::Workspace;

/// Schedules of each combination, if nobody says how many.
const SCHEDULES: u64 = 200;

/// A file, and its combinations or why it has none.
pub struct Chosen {
    name: String,
    variants: Result<Vec<Variant>, String>,
}

/// What the command line asks for.
pub fn chosen(workspace: &Workspace, args: &SimulateArgs) -> Result<Vec<Chosen>> {
    let scenarios = match &args.scenario {
        Some(name) => vec![Scenario::load(workspace, name)?],
        None => Scenario::all(workspace)?,
    };
    let wanted = |scenario: &Scenario| args.filter.as_ref().is_none_or(|text| scenario.name.contains(text));
    let mut all = Vec::new();
    for scenario in scenarios.into_iter().filter(wanted) {
        if !scenario.must_fail.is_empty() {
            return Err(usage(format!("`{}` is about checks that a machine is judged by", scenario.name)));
        }
        let variants = match variants(&scenario) {
            Ok(all) => Ok(narrowed(&scenario, args, all)?),
            Err(why) => Err(why),
        };
        all.push(Chosen { name: scenario.name, variants });
    }
    if all.is_empty() {
        let text = args.filter.as_deref().unwrap_or_default();
        return Err(usage(format!("--filter {text}: no scenario has this in its name")));
    }
    Ok(all)
}

/// The combinations with the values that were asked for.
fn narrowed(scenario: &Scenario, args: &SimulateArgs, all: Vec<Variant>) -> Result<Vec<Variant>> {
    let name = &scenario.name;
    if let Some(kexec) = args.kexec.filter(|kexec| !scenario.kexec.contains(kexec)) {
        return Err(usage(no_meaning(name, "kexec", kexec, &scenario.kexec)));
    }
    if let Some(stop) = args.stop.filter(|stop| !scenario.stop.contains(stop)) {
        return Err(usage(no_meaning(name, "stop", stop, &scenario.stop)));
    }
    if let Some(cpus) = args.cpus.filter(|cpus| *cpus < scenario.cpus.minimum) {
        return Err(usage(format!("`{name}` needs {} CPUs, not {cpus}", scenario.cpus.minimum)));
    }
    let wanted = |variant: &Variant| {
        args.kexec.is_none_or(|kexec| variant.kexec == kexec)
            && args.stop.is_none_or(|stop| variant.stop == stop)
            && args.cpus.is_none_or(|cpus| variant.cpus == cpus)
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// What became of a file.
#[derive(Debug)]
pub enum Judged {
    /// Every schedule of every combination as expected.
    Good {
        /// Combinations.
        variants: usize,
        /// Kinds of runs that could be told apart.
        seen: usize,
    },
    /// The first thing that was not, and in how many combinations there was one.
    Bad(Box<Failure>, usize),
    /// It cannot be staged, and why.
    NotApplicable(String),
}

/// A run that is not as expected.
#[derive(Debug)]
pub struct Failure {
    variant: Variant,
    /// The check, and what it says.
    pub what: String,
    times: u64,
    schedule: String,
}

/// Judges a file by the answers to its combinations, in their order.
pub fn judge(chosen: &Chosen, mut answer: impl FnMut() -> Result<Answer>) -> Result<Judged> {
    let variants = match &chosen.variants {
        Ok(variants) => variants,
        Err(why) => return Ok(Judged::NotApplicable(why.clone())),
    };
    let (mut kinds, mut failed, mut refused) = (0, Vec::new(), Vec::new());
    for variant in variants {
        match answer()? {
            Answer::Unstaged(why) => refused.push(why),
            Answer::Ran(all) => {
                kinds += all.len();
                let mut bad = all.iter().filter_map(|seen| {
                    let verdict =
                        simulated::judge(&variant.expect, variant.cpus, variant.stop, &variant.words, seen);
                    let what = verdict.red().next().map(|check| {
                        format!("{}: expected {}; found {}", check.name, check.expected, check.found)
                    })?;
                    let (times, schedule) = (seen.times, seen.schedule.clone());
                    Some(Failure { variant: variant.clone(), what, times, schedule })
                });
                failed.extend(bad.next());
            }
        }
    }
    let combinations = failed.len();
    match (failed.into_iter().next(), refused.into_iter().next()) {
        (Some(first), _) => Ok(Judged::Bad(Box::new(first), combinations)),
        (None, None) => Ok(Judged::Good { variants: variants.len(), seen: kinds }),
        (None, Some(why)) if kinds == 0 => Ok(Judged::NotApplicable(why)),
        // What is said of a part of a file is soon taken for the whole of it.
        (None, Some(why)) => Err(unexpected(format!("`{}` can be staged in part: {why}", chosen.name))),
    }
}

/// Asks the simulator about these files, and says what became of each.
pub fn command(workspace: &Workspace, args: &SimulateArgs, chosen: &[Chosen]) -> Result<()> {
    let started = Instant::now();
    let schedules = if args.replay.is_some() { 1 } else { args.schedules.unwrap_or(SCHEDULES) };
    if let (Some(_), [Chosen { name, variants: Err(why) }]) = (&args.replay, chosen) {
        return Err(usage(format!("`{name}` is not staged: {why}")));
    }
    let lines: Vec<_> =
        chosen.iter().flat_map(|one| one.variants.iter().flatten()).map(Variant::line).collect();
    let mut simulator = simulator(workspace.root(), None, false);
    simulator.arg("--staged").stdin(Stdio::piped()).stdout(Stdio::piped());
    match &args.replay {
        Some(_) if lines.len() != 1 => {
            return Err(usage("--replay is about one run: say --scenario, --kexec, --stop and --cpus"));
        }
        Some(choices) => simulator.args(["--replay", choices]),
        None => simulator.args(["--schedules", &schedules.to_string()]),
    };
    for (name, value) in [("--seed", args.seed.clone()), ("--jobs", args.jobs.map(|jobs| jobs.to_string()))] {
        simulator.args(value.iter().flat_map(|value| [name, value]));
    }
    let mut leash = Leash::spawn(&mut simulator, Vec::new()).or_environment(|| "cannot run cargo".into())?;
    if let Some(mut input) = leash.child().stdin.take() {
        // It reads all of it before it answers. If it is gone, that shows below.
        let _ = lines.iter().try_for_each(|line| writeln!(input, "{line}"));
    }
    let output = leash.child().stdout.take().ok_or_else(|| unexpected("the simulator has no output"))?;
    let mut reader = Reader::new(BufReader::new(output).lines(), schedules);
    let told = tell(args, schedules, chosen, || reader.next());
    if reader.ended {
        // How it ended says more than what is missing.
        let status = leash.child().wait().or_environment(|| "the simulator is gone".into())?;
        use std::os::unix::process::ExitStatusExt;
        end_of(status.code(), status.signal())?;
    }
    let Count { good, bad, not_applicable, combinations } = told?;
    let took = started.elapsed().as_secs_f64();
    let runs = combinations as u64 * schedules;
    say!(
        "{}: {good} scenarios as expected, {bad} not, {not_applicable} n/a; {runs} schedules of {combinations} \
         combinations, {took:.1} s",
        paint(BOLD, "Result")
    );
    if bad == 0 {
        Ok(())
    } else {
        Err(unexpected("what the files expect is not what the simulated machine does"))
    }
}

#[derive(Default)]
struct Count {
    good: usize,
    bad: usize,
    not_applicable: usize,
    combinations: usize,
}

fn tell(
    args: &SimulateArgs,
    schedules: u64,
    chosen: &[Chosen],
    mut answer: impl FnMut() -> Result<Answer>,
) -> Result<Count> {
    let mut count = Count::default();
    let width = chosen.iter().map(|one| one.name.len()).max().unwrap_or(0);
    for one in chosen {
        let mut combinations = 0;
        let judged = judge(one, || {
            let answer = answer()?;
            if let Answer::Ran(seen) = &answer {
                combinations += 1;
                if args.replay.is_some() {
                    seen.iter().flat_map(|seen| &seen.timeline).for_each(|line| say!("{line}"));
                }
            }
            Ok(answer)
        })?;
        count.combinations += combinations;
        let name = &one.name;
        match judged {
            Judged::Good { variants, seen } => {
                count.good += 1;
                let runs = variants as u64 * schedules;
                let what = format!("{variants} combinations, {runs} schedules, {seen} kinds of runs");
                say!("{} {name:width$}  {what}", paint(GREEN, "ok  "));
            }
            Judged::NotApplicable(why) => {
                count.not_applicable += 1;
                say!("{} {name:width$}  {why}", paint(YELLOW, "n/a "));
            }
            Judged::Bad(first, bad) => {
                let Failure { variant, what, times, schedule } = *first;
                count.bad += 1;
                say!("{} {name:width$}  {what}", paint(RED, "FAIL"));
                let arguments = variant.arguments();
                let where_else = format!("{bad} of {combinations} combinations have some");
                say!("     {times} of {schedules} schedules with {arguments}; {where_else}");
                let again =
                    format!("cargo xtask simulate --scenario {name} {arguments} --replay '{schedule}'");
                say!("     {}", paint(DIM, format_args!("again: {again}")));
            }
        }
    }
    Ok(count)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
