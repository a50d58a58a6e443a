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
    let others = [("--compare", &args.compare), ("--equals", &args.equals)];
    for (option, other) in others.iter().filter_map(|(option, other)| Some((option, other.as_ref()?))) {
        if same(out, other) {
            let out = out.display();
            return Err(usage(format!("{option} {}: the report would go into it ({out})", other.display())));
        }
    }
    let own = args.folders.iter().any(|folder| same(folder, out));
    if own && args.folders.len() > 1 {
        return Err(usage(format!("--out {}: it is one of the parts, and would be lost", out.display())));
    }
    let equals = args.equals.as_ref().map(|other| Ok::<_, anyhow::Error>((other, Cases::read(other)?.cases)));
    let equals = equals.transpose()?;
    let earlier = args.compare.as_ref().map(|earlier| Cases::read(earlier)).transpose()?;
    if !own {
        let mut writer = Writer::create(out)?;
        cases.iter().try_for_each(|case| writer.add(case))?;
    }
    let earlier = args.compare.as_deref().zip(earlier.as_ref().map(|earlier| earlier.cases.as_slice()));
    finish(out, &cases, &warnings, earlier, &Named::read(workspace)?)?;
    let Some((other, known)) = equals else { return Ok(()) };
    let found = differences(&known, &cases);
    for difference in &found {
        say!("  {} {difference}", paint(RED, "differs"));
    }
    if found.is_empty() {
        say!("{} {}: the same cases, outcomes and outcomes of steps", paint(BOLD, "Equals"), other.display());
        return Ok(());
    }
    Err(unexpected(format!("{} cases differ from those in {}", found.len(), other.display())))
}

/// Whether two names are of one folder, that may not be there yet.
fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    real(one).ok().zip(real(other).ok()).is_some_and(|(one, other)| one == other)
}

/// Writes what is made of cases, whose lines are there already, and says where it is. `compare` is an earlier report, and
/// its cases.
pub fn finish(
    folder: &Path,
    cases: &[Case],
    warnings: &[String],
    compare: Option<(&Path, &[Case])>,
    named: &Named,
) -> Result<()> {
    let comparison = compare.map(|(earlier, known)| (earlier, Comparison::of(known, cases)));
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
