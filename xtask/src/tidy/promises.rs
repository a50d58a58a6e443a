//! The table of promises: what it names exists, and each negative control is in it.
//!
//! A table that names tests is worth something only as long as the tests are there. Whatever stands
//! between backticks in its two last columns has to be one of the things below, found by name in the tree.

use std::collections::BTreeSet;

use super::tree::{Problem, Tree};
use crate::{image_check, verdict};

const CHECK: &str = "promises";
const TABLE: &str = "docs/promises.md";
/// Where the simulator's cases are.
const CASES: &str = "arch-sim/src/cases.rs";
/// Promises of the design.
const PROMISES: usize = 10;

/// What there is to be named.
struct Names<'t> {
    tests: BTreeSet<&'t str>,
    scenarios: BTreeSet<&'t str>,
    mutants: Vec<(&'t str, &'t str)>,
    cases: &'t str,
}

/// A row of the table.
struct Row<'t> {
    line: usize,
    number: &'t str,
    held_by: &'t str,
    controls: &'t str,
}

/// Holds the table against the tree.
pub fn check(tree: &Tree) -> Vec<Problem> {
    let Some(text) = tree.get(TABLE) else {
        return vec![Problem::of(CHECK, TABLE, "the table of promises is missing")];
    };
    let names = Names {
        tests: tree.below("", ".rs").flat_map(|(_, text)| test_functions(text)).collect(),
        scenarios: tree.below("scenarios", ".toml").map(|(path, _)| stem(path)).collect(),
        mutants: tree.below("mutants", ".patch").map(|(path, text)| (stem(path), text)).collect(),
        cases: tree.get(CASES).unwrap_or_default(),
    };
    let rows = rows(text);
    let mut problems = Vec::new();
    let mut complain = |line, message| problems.push(Problem::at(CHECK, TABLE, line, message));
    for number in 1..=PROMISES {
        let count = rows.iter().filter(|row| row.number == format!("P{number}")).count();
        if count != 1 {
            complain(1, format!("P{number} has {count} rows"));
        }
    }
    for row in &rows {
        for token in tokens(row.held_by) {
            if !names.holds(token) {
                complain(row.line, format!("`{token}` is no test, scenario, check or simulator case"));
            }
        }
        for control in row.controls.split(';').filter(|control| control.contains('`')) {
            if let Err(message) = names.control(row.number, &tokens(control)) {
                complain(row.line, message);
            }
        }
    }
    for (name, text) in &names.mutants {
        let promise = field(text, "promise");
        let named = |row: &&Row| row.number == promise && tokens(row.controls).contains(name);
        if !rows.iter().any(|row| named(&row)) {
            complain(1, format!("mutants/{name}.patch breaks {promise}, and its row does not name it"));
        }
    }
    problems
}

impl Names<'_> {
    fn holds(&self, token: &str) -> bool {
        self.tests.contains(token)
            || self.scenarios.contains(token)
            || verdict::NAMES.contains(&token)
            || image_check::NAMES.contains(&token)
            || self.simulated(token)
    }

    /// A case that the simulator stages: one that is only listed proves nothing.
    fn simulated(&self, id: &str) -> bool {
        let quoted = format!("\"{id}\"");
        id.starts_with(|first: char| first.is_ascii_digit())
            && self.cases.match_indices(&quoted).any(|(at, _)| {
                self.cases[..at].trim_end().strip_suffix('(').is_some_and(|call| call.ends_with("native"))
            })
    }

    /// A negative control: a mutant and what goes red by it, or a host test that shows the same.
    fn control(&self, promise: &str, tokens: &[&str]) -> Result<(), String> {
        let (first, reds) = tokens.split_first().ok_or("an empty control")?;
        let Some((_, text)) = self.mutants.iter().find(|(name, _)| name == first) else {
            return if self.tests.contains(first) && reds.is_empty() {
                Ok(())
            } else {
                Err(format!("`{first}` is no mutant, and no test that stands alone"))
            };
        };
        let breaks = field(text, "promise");
        if breaks != promise {
            return Err(format!("mutants/{first}.patch says that it breaks `{breaks}`, not {promise}"));
        }
        // A simulator's case says what is staged, and its check is the promise itself.
        let red = match field(text, "case") {
            "" => field(text, "check"),
            case => case,
        };
        let wanted = red.rsplit(':').next().unwrap_or(red).trim();
        if !reds.iter().any(|named| *named == red || *named == wanted) {
            return Err(format!(
                "mutants/{first}.patch has to go red by `{red}`, which the row does not say"
            ));
        }
        match reds.iter().find(|named| !self.holds(named) && **named != red) {
            Some(odd) => Err(format!("`{odd}` is nothing that could go red")),
            None => Ok(()),
        }
    }
}

fn stem(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// A line of a patch's header; empty if it has none.
fn field<'t>(patch: &'t str, name: &str) -> &'t str {
    crate::mutants::field(patch, name).unwrap_or_default()
}

/// Functions that are tests.
fn test_functions(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            found.push(rest.split(['(', '<']).next().unwrap_or(rest));
            marked = false;
        } else if !line.starts_with("#[") && !line.starts_with("//") {
            marked = false;
        }
    }
    found
}

fn rows(text: &str) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let cells: Vec<_> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if let [name, _, held_by, controls] = cells[..]
            && name.strip_prefix('P').is_some_and(|digits| digits.parse::<usize>().is_ok())
        {
            rows.push(Row { line: number + 1, number: name, held_by, controls });
        }
    }
    rows
}

/// What stands between backticks.
fn tokens(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(held_by: &str, controls: &str) -> String {
        let mut text = format!("| P1 | **One.** | {held_by} | {controls} |\n");
        for number in 2..=PROMISES {
            text.push_str(&format!("| P{number} | **More.** | | |\n"));
        }
        text
    }

    fn problems(held_by: &str, controls: &str) -> Vec<String> {
        let tree = [
            (TABLE, table(held_by, controls)),
            ("a/src/lib.rs", "#[test]\n#[should_panic]\nfn holds() {}\nfn helper() {}\n".into()),
            ("scenarios/default.toml", String::new()),
            (CASES, "native(\n \"7b\", x), native(\"20\", x), pending(\"1\", x)".into()),
            ("mutants/breaks.patch", "It.\n\ncheck: claim\npromise: P1\n\ndiff --git a b\n".into()),
        ];
        let tree: Vec<_> = tree.iter().map(|(path, text)| (*path, text.as_str())).collect();
        check(&Tree::of(&tree)).into_iter().map(|problem| problem.message).collect()
    }

    #[test]
    fn what_exists_may_be_named() {
        let none: [String; 0] = [];
        let held_by = "`holds`; scenario `default`, check `claim`, rows `7b` and `20`";
        assert_eq!(problems(held_by, "`breaks`: `claim`; `holds`"), none);
    }

    #[test]
    fn what_does_not_exist_is_found() {
        for gone in ["`helper`", "`holds_no_more`", "`defaults`", "`claims`", "row `1`", "row `8`"] {
            assert_eq!(problems(gone, "`breaks`: `claim`").len(), 1, "{gone}");
        }
        for gone in ["`broke`: `claim`", "`breaks`: `events`", "`breaks`", "`breaks`: `claim`, `clam`"] {
            assert!(!problems("", gone).is_empty(), "{gone}");
        }
    }

    #[test]
    fn a_mutant_that_no_row_names_is_found() {
        let found = problems("`holds`", "none yet");
        assert_eq!(found, ["mutants/breaks.patch breaks P1, and its row does not name it"]);
    }

    #[test]
    fn every_promise_has_one_row() {
        let twice = table("", "`breaks`: `claim`").replace("P2 ", "P3 ");
        let mutant = ("mutants/breaks.patch", "It.\n\ncheck: claim\npromise: P1\n\ndiff --git a b\n");
        let found = check(&Tree::of(&[(TABLE, &twice), mutant]));
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(check(&Tree::of(&[])).len(), 1);
    }
}
