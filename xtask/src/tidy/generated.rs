//! Parts of documents that are written by this program, so that they cannot fall behind the data.
//!
//! A part stands between two lines, `<!-- generated: NAME -->` and `<!-- end generated -->`.

use std::collections::BTreeMap;

use anyhow::Result;

use super::tree::{Problem, Tree};
use crate::conformance::tiers::Tiers;
use crate::explain;
use crate::machine::{Capability, Machine};
use crate::scenario::{Scenario, value_name};
use crate::workspace::Workspace;

const CHECK: &str = "generated-docs";
const BEGIN: &str = "<!-- generated: ";
const BEGIN_END: &str = " -->";
const END: &str = "<!-- end generated -->";

/// Contents of the parts by name.
pub type Parts = BTreeMap<&'static str, String>;

/// What the data says now; the order, its bounds and the keys are the kernel's to say.
pub fn parts(workspace: &Workspace, machines: &[Machine], scenarios: &[Scenario]) -> Result<Parts> {
    let tiers = Tiers::read(workspace, scenarios)?;
    Ok(BTreeMap::from([
        ("machines", machine_table(machines)),
        ("support", support_table(&tiers, machines)),
        ("tiers", tier_table(&tiers, scenarios)),
        ("scenarios", scenario_table(scenarios)),
        ("rows", row_table(machines, scenarios)),
        ("order", explain::part(workspace, "order")?),
        ("bounds", explain::part(workspace, "bounds")?),
        ("config", explain::part(workspace, "config")?),
    ]))
}

fn machine_table(machines: &[Machine]) -> String {
    let mut lines = vec![
        "| machine | what it is | CPUs | memory | firmware | accelerators | emulator |".to_owned(),
        "|---|---|---|---|---|---|---|".to_owned(),
    ];
    for machine in machines {
        let names = |choices: &[crate::machine::Choice]| {
            choices.iter().map(|choice| choice.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        lines.push(format!(
            "| `{}` | {} | 1 to {} | {} | {} | {} | `{}` |",
            machine.name,
            machine.summary,
            machine.cpus.maximum,
            machine.memory.range(),
            names(&machine.qemu.firmware),
            names(&machine.qemu.accel),
            machine.qemu.binary,
        ));
    }
    lines.join("\n")
}

/// How far each port has come, as its file claims and `conformance` checks, and what it lacks.
fn support_table(tiers: &Tiers, machines: &[Machine]) -> String {
    let mut lines = vec![
        "| port | tier | that is, beside what lies below | lacks |".to_owned(),
        "|---|---|---|---|".to_owned(),
    ];
    for machine in machines {
        let lacks = |(capability, why): (&Capability, &String)| format!("`{}`: {why}", capability.name());
        let lacks: Vec<_> = machine.lacks.iter().map(lacks).collect();
        let lacks = if lacks.is_empty() { "nothing".to_owned() } else { lacks.join("; ") };
        let (tier, title) = match machine.conformance.tier {
            Some(tier) => (tier.to_string(), tiers.title(tier)),
            None => ("none yet".to_owned(), ""),
        };
        lines.push(format!("| `{}` | {tier} | {title} | {lacks} |", machine.name));
    }
    let most = tiers.most();
    lines.push(format!(
        "| `sim` | {most} | {} | it is no machine: page tables, real stacks and the jump itself are not simulated |",
        tiers.title(most)
    ));
    lines.join("\n")
}

/// What each tier is about.
fn tier_table(tiers: &Tiers, scenarios: &[Scenario]) -> String {
    let mut lines = vec![
        "| tier | a port | needs | modules | promises of the HAL | scenarios |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    let quoted = |names: Vec<&str>| {
        let names: Vec<_> = names.into_iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    for number in 0..=tiers.most() {
        let Some(tier) = tiers.tier(number) else { continue };
        let own = || scenarios.iter().filter(|scenario| scenario.tiers.contains(&number));
        let promises = own().flat_map(|scenario| scenario.contract.iter().map(String::as_str)).collect();
        let others =
            own().filter(|scenario| scenario.contract.is_empty()).map(|scenario| scenario.name.as_str());
        lines.push(format!(
            "| {number} | {} | {} | {} | {} | {} |",
            tier.title,
            quoted(tier.needs.iter().map(|capability| capability.name()).collect()),
            quoted(tier.modules.iter().map(String::as_str).collect()),
            quoted(promises),
            quoted(others.collect()),
        ));
    }
    lines.join("\n")
}

fn scenario_table(scenarios: &[Scenario]) -> String {
    let mut lines = vec![
        "| scenario | what happens | CPUs | kexec | stop |".to_owned(),
        "|---|---|---|---|---|".to_owned(),
    ];
    for scenario in scenarios {
        let default = if scenario.default { " (default)" } else { "" };
        let kexec: Vec<_> = scenario.kexec.iter().map(|&value| value_name(value)).collect();
        let stop: Vec<_> = scenario.stop.iter().map(|&value| value_name(value)).collect();
        lines.push(format!(
            "| `{}`{default} | {} | {} and up | {} | {} |",
            scenario.name,
            scenario.summary,
            scenario.cpus.minimum,
            kexec.join(", "),
            stop.join(", ")
        ));
    }
    lines.join("\n")
}

/// A line for each row that a scenario stages.
fn row_table(machines: &[Machine], scenarios: &[Scenario]) -> String {
    let names: Vec<_> = machines.iter().map(|machine| machine.name.as_str()).collect();
    let mut lines = vec![
        format!("| row | scenario | what happens | {} |", names.join(" | ")),
        format!("|---|---|---|{}", "---|".repeat(names.len())),
    ];
    let mut rows: Vec<(Option<u32>, &Scenario)> = Vec::new();
    for scenario in scenarios.iter().filter(|scenario| scenario.staging.is_some()) {
        rows.extend(scenario.rows.iter().map(|row| (Some(*row), scenario)));
        if scenario.rows.is_empty() {
            rows.push((None, scenario));
        }
    }
    rows.sort_by_key(|(row, _)| row.unwrap_or(u32::MAX));
    for (row, scenario) in rows {
        let row = row.map_or("–".to_owned(), |row| row.to_string());
        let staged: Vec<_> =
            machines.iter().map(|machine| scenario.staged_on(&machine.name, &machine.lacks)).collect();
        let (name, summary) = (&scenario.name, &scenario.summary);
        lines.push(format!("| {row} | `{name}` | {summary} | {} |", staged.join(" | ")));
    }
    lines.join("\n")
}

/// Documents whose generated parts differ from what they should be, with the text that they should have; and
/// what is wrong with their markers.
pub fn outdated(tree: &Tree, parts: &Parts) -> (Vec<(String, String)>, Vec<Problem>) {
    let mut rewritten = Vec::new();
    let mut problems = Vec::new();
    let mut used = Vec::new();
    for (path, text) in tree.below("", ".md") {
        match regenerate(text, parts) {
            Ok((new, names)) => {
                used.extend(names);
                if new != text {
                    rewritten.push((path.to_owned(), new));
                }
            }
            Err((line, message)) => problems.push(Problem::at(CHECK, path, line, message)),
        }
    }
    for name in parts.keys().filter(|name| !used.iter().any(|used| used == *name)) {
        let message = format!("no document has the part `{BEGIN}{name}{BEGIN_END}`");
        problems.push(Problem::of(CHECK, "README.md", message));
    }
    for (path, _) in &rewritten {
        let message = "a generated part is out of date; `cargo xtask tidy --fix` rewrites it";
        problems.push(Problem::of(CHECK, path, message));
    }
    (rewritten, problems)
}

/// The text with its parts filled in and the names of these parts, or line and message of a broken marker.
fn regenerate(text: &str, parts: &Parts) -> Result<(String, Vec<String>), (usize, String)> {
    let mut new = String::new();
    let mut names = Vec::new();
    let mut open: Option<usize> = None;
    for (number, line) in text.split_inclusive('\n').enumerate().map(|(number, line)| (number + 1, line)) {
        let begins = line.trim_end().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(BEGIN_END));
        let ends = line.trim_end() == END;
        match (open, begins, ends) {
            (None, Some(name), _) => {
                let part = parts
                    .get(name)
                    .ok_or_else(|| (number, format!("no generated part is called `{name}`")))?;
                new.push_str(line);
                new.push_str(part);
                new.push('\n');
                names.push(name.to_owned());
                open = Some(number);
            }
            (Some(_), Some(_), _) => return Err((number, "a generated part begins inside another".into())),
            (None, None, true) => return Err((number, "a generated part ends that did not begin".into())),
            (Some(_), None, true) => {
                new.push_str(line);
                open = None;
            }
            (None, None, false) => new.push_str(line),
            (Some(_), None, false) => {}
        }
    }
    match open {
        Some(number) => Err((number, "this generated part does not end".into())),
        None => Ok((new, names)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts::from([("machines", "| new |".to_owned())])
    }

    fn tree(text: &str) -> Tree {
        Tree::of(&[("README.md", text)])
    }

    #[test]
    fn an_old_part_is_a_problem_and_rewritten() {
        let text = "a\n<!-- generated: machines -->\nold\nlines\n<!-- end generated -->\nb\n";
        let (rewritten, problems) = outdated(&tree(text), &parts());
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].check, CHECK);
        let fixed = "a\n<!-- generated: machines -->\n| new |\n<!-- end generated -->\nb\n";
        assert_eq!(rewritten, [("README.md".to_owned(), fixed.to_owned())]);
        assert_eq!(outdated(&tree(fixed), &parts()), (vec![], vec![]));
    }

    #[test]
    fn broken_markers_are_problems_and_nothing_is_rewritten() {
        let cases = [
            "<!-- generated: machines -->\nold\n",
            "<!-- end generated -->\n",
            "<!-- generated: nothing -->\n<!-- end generated -->\n",
            "<!-- generated: machines -->\n<!-- generated: machines -->\n<!-- end generated -->\n",
        ];
        for text in cases {
            let (rewritten, problems) = outdated(&tree(text), &parts());
            assert!(rewritten.is_empty() && !problems.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_part_that_no_document_has_is_a_problem() {
        assert_eq!(outdated(&tree("nothing\n"), &parts()).1.len(), 1);
    }
}
