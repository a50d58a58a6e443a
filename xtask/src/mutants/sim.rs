//! Mutants that the simulator has to notice: `case: sim:ROW`, or `case: sim:any` for scenarios of every kind.
//!
//! The header also names the `row`, the `promise`, and by `check` what has to break: a promise that the
//! simulator's oracle watches, or `row`, what the case wants beyond the promises. One scratch copy and one
//! target directory serve them all, and a file keeps its time where it does not change: a mutant costs the
//! build of what it breaks.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::apply;
use crate::error::{Classed, unexpected, usage};
use crate::report::{BOLD, paint, say};
use crate::simulate::simulator;
use crate::workspace::Workspace;

/// Schedules within which a mutant has to be noticed.
const SCHEDULES: u32 = 20_000;
/// Schedules in which the tree as it is has to be green.
const CONTROL_SCHEDULES: u32 = 2_000;

/// A mutant that a case of the simulator notices.
pub struct SimMutant {
    name: String,
    /// What is broken.
    pub why: String,
    case: String,
    /// What has to break.
    pub check: String,
    patch: PathBuf,
}

impl SimMutant {
    /// Name in lists and filters.
    pub fn title(&self) -> String {
        format!("sim/{}", self.name)
    }

    fn arguments(&self) -> Vec<&str> {
        if self.case == "any" { Vec::new() } else { vec!["--row", &self.case] }
    }
}

/// What is wrong with the header of a mutant with `case: sim:…`.
pub fn wrong(case: &str, field: impl Fn(&str) -> String) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in ["row", "promise", "check"] {
        if field(name).is_empty() {
            wrong.push(format!("has no `{name}:` line"));
        }
    }
    let row = field("row");
    let digits = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
    if !row.is_empty() && !(1..=48).contains(&row.parse().unwrap_or(0)) {
        wrong.push(format!("`row: {row}` is no row of the list of failure modes"));
    } else if case != "any" && digits(case) != row {
        wrong.push(format!("`case: sim:{case}` is not of row {row}"));
    }
    let check = field("check");
    if !check.is_empty() && check != "row" && check != field("promise") {
        wrong.push(format!("`check: {check}` is neither `row` nor the promise"));
    }
    wrong
}

/// Every mutant for the simulator that has `filter` in its name.
pub fn all(workspace: &Workspace, filter: Option<&str>) -> Result<Vec<SimMutant>> {
    let mut all = Vec::new();
    for patch in super::patches(workspace)? {
        let shown = workspace.relative(&patch);
        let text = crate::data::text(&patch, shown)?;
        let Some(case) = super::case(&text).and_then(|case| case.strip_prefix("sim:")) else { continue };
        let field = |name: &str| super::field(&text, name).unwrap_or_default().to_owned();
        if let Some(wrong) = wrong(case, field).first() {
            return Err(usage(format!("{}: {wrong}", shown.display())));
        }
        let name = patch.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let why = text.lines().next().unwrap_or_default().trim().to_owned();
        let mutant = SimMutant { name, why, case: case.to_owned(), check: field("check"), patch };
        if filter.is_none_or(|filter| mutant.title().contains(filter)) {
            all.push(mutant);
        }
    }
    Ok(all)
}

/// Tries them all. Returns those that were not noticed. `hunts`: how many hunts the printed number of
/// schedules is the median of.
pub fn try_all(workspace: &Workspace, mutants: &[SimMutant], hunts: u32) -> Result<Vec<String>> {
    let mut bad = Vec::new();
    let mut green = std::collections::BTreeMap::new();
    let scratch = Scratch { root: workspace.root().join("target/mutants/sim") };
    if !mutants.is_empty() {
        scratch.sync(workspace.root())?;
        scratch.build()?;
    }
    for mutant in mutants {
        if !green.contains_key(&mutant.case) {
            green.insert(&mutant.case, scratch.control(mutant)?);
        }
    }
    for mutant in mutants {
        let title = mutant.title();
        say!("{} {title}: {}", paint(BOLD, "--"), mutant.why);
        let started = Instant::now();
        let seen = match green.get(&mutant.case) {
            Some(true) => scratch.attempt(workspace, mutant, hunts),
            _ => Err(unexpected(format!("case {} is red without the patch, too", mutant.case))),
        };
        let seen = seen.map(|seen| format!("{seen}, {} s", started.elapsed().as_secs()));
        super::note(title, seen, &mut bad)?;
    }
    Ok(bad)
}

struct Scratch {
    root: PathBuf,
}

impl Scratch {
    fn tree(&self) -> PathBuf {
        self.root.join("tree")
    }

    /// Makes the copy equal to the tree at `from`, and touches only what differs.
    fn sync(&self, from: &Path) -> Result<()> {
        sync(from, &self.tree(), &["target", "out", ".git"])
            .or_environment(|| format!("cannot copy the tree to {}", self.tree().display()))
    }

    fn run(&self, build: bool, arguments: &[&str]) -> Result<std::process::Output> {
        let target = self.root.join("target");
        let mut command = simulator(&self.tree(), Some(&target), build);
        command.args(arguments);
        super::output(&mut command)
    }

    fn build(&self) -> Result<()> {
        let output = self.run(true, &[])?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let why = text.lines().find(|line| line.starts_with("error")).unwrap_or("no output");
        Err(unexpected(format!("does not build: {why}")))
    }

    fn control(&self, mutant: &SimMutant) -> Result<bool> {
        let schedules = CONTROL_SCHEDULES.to_string();
        let mut arguments = mutant.arguments();
        arguments.extend(["--schedules", &schedules]);
        Ok(self.run(false, &arguments)?.status.code() == Some(0))
    }

    /// Breaks the copy, builds, hunts. Ok: what was seen; the mutant is caught.
    fn attempt(&self, workspace: &Workspace, mutant: &SimMutant, hunts: u32) -> Result<String> {
        self.sync(workspace.root())?;
        apply(&self.tree(), &mutant.patch)?;
        self.build()?;
        let (schedules, hunts) = (SCHEDULES.to_string(), hunts.to_string());
        let mut arguments = mutant.arguments();
        arguments.extend(["--schedules", &schedules, "--expect", &mutant.check, "--median", &hunts]);
        let output = self.run(false, &arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(format!("case {}: {text}", mutant.case)),
            Some(1) => Err(unexpected(format!("survived: {text}"))),
            _ => {
                let why = String::from_utf8_lossy(&output.stderr);
                Err(unexpected(format!("the simulator failed: {}", why.lines().last().unwrap_or_default())))
            }
        }
    }
}

fn sync(from: &Path, to: &Path, except: &[&str]) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    let mut wanted = std::collections::BTreeSet::new();
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if except.iter().any(|except| name == *except) {
            continue;
        }
        let (source, copy) = (entry.path(), to.join(&name));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            sync(&source, &copy, &[])?;
        } else if kind.is_file() {
            let text = std::fs::read(&source)?;
            if std::fs::read(&copy).ok().as_ref() != Some(&text) {
                std::fs::write(&copy, text)?;
            }
        }
        wanted.insert(name);
    }
    for entry in std::fs::read_dir(to)? {
        let entry = entry?;
        if !wanted.contains(&entry.file_name()) {
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else {
                std::fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_row_promise_and_check() {
        let field = |name: &str| {
            let value = match name {
                "row" => "28",
                "promise" => "P3",
                _ => "row",
            };
            value.to_owned()
        };
        assert!(wrong("28b", field).is_empty());
        assert!(wrong("any", field).is_empty());
        assert_eq!(wrong("27", field), ["`case: sim:27` is not of row 28"]);
        assert_eq!(wrong("28", |_| String::new()).len(), 4, "row, promise, check; no row at all");
        let other = |name: &str| if name == "check" { "P1".into() } else { field(name) };
        assert_eq!(wrong("28", other), ["`check: P1` is neither `row` nor the promise"]);
    }

    #[test]
    fn a_copy_follows_and_keeps_what_is_the_same() {
        let scratch = tempfile::tempdir().unwrap();
        let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
        let write = |path: &str, text: &str| {
            let path = from.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/same", "1");
        write("b", "2");
        write("target/x", "3");
        sync(&from, &to, &["target"]).unwrap();
        let time = || std::fs::metadata(to.join("a/same")).unwrap().modified().unwrap();
        let before = time();
        std::fs::write(to.join("b"), "broken").unwrap();
        std::fs::write(to.join("new"), "broken").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        sync(&from, &to, &["target"]).unwrap();
        assert_eq!(std::fs::read_to_string(to.join("b")).unwrap(), "2");
        assert!(!to.join("new").exists() && !to.join("target").exists());
        assert_eq!(time(), before);
    }
}
