//! `cargo xtask report`: the cases of several folders as one report, compared with an earlier one.

use std::path::Path;

use anyhow::Result;

use super::{Earlier, JUNIT, PAGE};
use crate::cases::{Case, Cases, Comparison, FILE, Outcome, Writer, differences, merge};
use crate::cli::ReportArgs;
use crate::error::{unexpected, usage};
use crate::mutants::named::Named;
use crate::report::{BOLD, RED, YELLOW, paint, say};
use crate::workspace::Workspace;

/// Puts the folders together, and writes the report into the one that is named or else into the only one.
pub fn command(workspace: &Workspace, args: &ReportArgs) -> Result<()> {
    let mut warnings = Vec::new();
    let mut parts = Vec::new();
    for folder in &args.folders {
        let found = Cases::read(folder)?;
        warnings.extend(found.warnings);
        parts.push((folder.clone(), found.cases));
    }
    let cases = merge(parts)?;
    let out = match (&args.out, args.folders.as_slice()) {
        (Some(out), _) => out,
        (None, [only]) => only,
        (None, _) => {
            return Err(usage("--out DIR: where to put the report of several folders"));
        }
    };
    if !args.folders.contains(out) {
        let mut writer = Writer::create(out)?;
        cases.iter().try_for_each(|case| writer.add(case))?;
    }
    finish(out, &cases, &warnings, args.compare.as_deref(), &Named::read(workspace)?)?;
    let Some(other) = &args.equals else { return Ok(()) };
    let found = differences(&Cases::read(other)?.cases, &cases);
    for difference in &found {
        say!("  {} {difference}", paint(RED, "differs"));
    }
    if found.is_empty() {
        say!("{} {}: the same cases, outcomes and outcomes of steps", paint(BOLD, "Equals"), other.display());
        return Ok(());
    }
    Err(unexpected(format!("{} cases differ from those in {}", found.len(), other.display())))
}

/// Writes what is made of cases, whose lines are there already, and says where it is.
pub fn finish(
    folder: &Path,
    cases: &[Case],
    warnings: &[String],
    compare: Option<&Path>,
    named: &Named,
) -> Result<()> {
    let comparison = match compare {
        Some(earlier) => Some((earlier, Comparison::of(&Cases::read(earlier)?.cases, cases))),
        None => None,
    };
    let earlier = comparison
        .as_ref()
        .map(|(earlier, comparison)| Earlier { shown: earlier.display().to_string(), comparison });
    super::write(folder, cases, warnings, earlier.as_ref(), named)?;
    for warning in warnings {
        say!("{}: {warning}", paint(YELLOW, "warning"));
    }
    if let Some((earlier, found)) = &comparison {
        say!(
            "{} with {}: {} new red, {} newly green, {} still red, {} new, {} gone",
            paint(BOLD, "Compared"),
            earlier.display(),
            found.newly_red.len(),
            found.newly_green.len(),
            found.still_red.len(),
            found.new.len(),
            found.gone.len()
        );
        for id in &found.newly_red {
            say!("  {} {id}", paint(RED, "new red"));
        }
    }
    let many = |outcome| cases.iter().filter(|case| case.outcome == outcome).count();
    say!(
        "{} {} (and {FILE}, {JUNIT}): {} cases, {} passed, {} failed, {} n/a, {} skipped",
        paint(BOLD, "Report"),
        folder.join(PAGE).display(),
        cases.len(),
        many(Outcome::Passed),
        many(Outcome::Failed),
        many(Outcome::NotApplicable),
        many(Outcome::Skipped)
    );
    Ok(())
}
