//! Which scenarios a mutant is said to turn red, and which none is.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;

use super::metal;
use crate::machine::Machine;
use crate::report::{BOLD, YELLOW, paint};
use crate::workspace::Workspace;

/// What the headers of the mutants name: machine and scenario. It is a claim: that the scenario goes red there is seen
/// by `cargo xtask mutants --metal`.
#[derive(Default)]
pub struct Named(BTreeSet<(String, String)>);

/// Scenarios on the machines where they ran, and those of them that no mutant names.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// How many are named.
    pub named: usize,
    /// Machine and scenario of those that are not, in this order.
    pub unnamed: Vec<(String, String)>,
}

impl Named {
    /// Reads the headers.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        let (mutants, machines) = (metal::Mutant::all(workspace)?, Machine::all(workspace)?);
        let rows = metal::rows(workspace, &mutants, &machines, None)?;
        let pair = |row: &metal::Row| Some((row.machine().name.clone(), row.scenario()?.to_owned()));
        Ok(Named(rows.iter().filter_map(pair).collect()))
    }

    /// Of some rows, machine and scenario each. Scenarios that must fail are left out: they are what goes red.
    pub fn coverage<'r>(&self, rows: impl Iterator<Item = (&'r str, &'r str)>) -> Coverage {
        let own = rows.filter(|(_, scenario)| !scenario.contains('/'));
        let all: BTreeSet<_> = own.map(|(machine, scenario)| (machine.into(), scenario.into())).collect();
        let unnamed: Vec<_> = all.difference(&self.0).cloned().collect();
        Coverage { named: all.len() - unnamed.len(), unnamed }
    }
}

impl Coverage {
    /// For people, without an end of line; nothing if there was no scenario.
    pub fn words(&self) -> Option<String> {
        let all = self.named + self.unnamed.len();
        let title = paint(BOLD, "Mutants");
        let names = self.unnamed.iter().map(|(machine, scenario)| format!("{machine}/{scenario}"));
        let names = names.collect::<Vec<_>>().join(", ");
        match self.unnamed.len() {
            _ if all == 0 => None,
            0 => Some(format!(
                "{title}: a header in mutants/ names each of these scenarios on its machine, {all} pairs"
            )),
            many => {
                let many = paint(YELLOW, many);
                Some(format!(
                    "{title}: no header in mutants/ names {many} of {all} pairs of machine and scenario, so nothing has turned them red: {names}"
                ))
            }
        }
    }
}

#[cfg(test)]
impl Named {
    /// Made-up claims.
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Named(pairs.iter().map(|(machine, scenario)| ((*machine).into(), (*scenario).into())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn what_no_header_names_is_listed_once_for_each_machine() {
        let named = Named::of(&[("m", "alpha"), ("n", "gamma")]);
        let rows = [("m", "alpha"), ("n", "beta"), ("n", "alpha"), ("n", "beta"), ("m", "negative/odd")];
        let coverage = named.coverage(rows.into_iter());
        let pair = |machine: &str, scenario: &str| (machine.to_owned(), scenario.to_owned());
        assert_eq!(coverage, Coverage { named: 1, unnamed: vec![pair("n", "alpha"), pair("n", "beta")] });
        let words = |rows: &[(&'static str, &'static str)]| {
            let words = named.coverage(rows.iter().copied()).words()?;
            Some(anstream::adapter::strip_str(&words).to_string())
        };
        let some = words(&rows).unwrap();
        assert!(some.starts_with("Mutants: no header in mutants/ names 2 of 3 pairs"), "{some}");
        assert!(some.ends_with(": n/alpha, n/beta"), "{some}");
        let none = words(&rows[..1]).unwrap();
        assert!(none.ends_with("names each of these scenarios on its machine, 1 pairs"), "{none}");
        assert_eq!(words(&rows[4..]), None);
    }

    #[test]
    fn a_patch_without_its_header_takes_its_scenario_from_the_list() {
        let root = tempfile::tempdir().unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in ["machines", "scenarios", "mutants"] {
            super::super::copy(&tree.join(folder), &root.path().join(folder), &[]).unwrap();
        }
        let workspace = Workspace::at(root.path());
        let at = |named: &Named, scenario: &str| {
            let machines = Machine::all(&workspace).unwrap();
            let rows = machines.iter().map(|machine| (machine.name.as_str(), scenario));
            named.coverage(rows).named
        };
        assert!(at(&Named::read(&workspace).unwrap(), "default") > 0);
        for entry in std::fs::read_dir(root.path().join("mutants")).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert_eq!(at(&Named::read(&workspace).unwrap(), "default"), 0);
    }
}
