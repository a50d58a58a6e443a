//! Mutants that a host test has to notice, in place of a run under the emulator.
//!
//! `case: host:PACKAGE:TEST` names a test by the end of its path; `case: loom:PACKAGE:TEST` one that explores
//! every interleaving and memory ordering, in a build of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{apply, fresh_copy};
use crate::error::{Classed, unexpected, usage};
use crate::qemu::kill::Leash;
use crate::report::{BOLD, paint, say};
use crate::workspace::Workspace;

/// How long a test may take, with what it takes to build it: one that only hangs proves nothing.
const PATIENCE: Duration = Duration::from_secs(420);

/// A test on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostCase {
    loom: bool,
    package: String,
    test: String,
}

/// A mutant that a test on the host notices.
pub struct HostMutant {
    name: String,
    /// What is broken.
    pub why: String,
    /// Who notices.
    pub case: HostCase,
    /// The patch.
    pub patch: PathBuf,
}

impl HostMutant {
    /// Name in lists and filters.
    pub fn title(&self) -> String {
        format!("{}/{}", if self.case.loom { "loom" } else { "host" }, self.name)
    }
}

/// Every mutant for the host that has `filter` in its name.
pub fn all(workspace: &Workspace, filter: Option<&str>) -> Result<Vec<HostMutant>> {
    let mut all = Vec::new();
    for patch in super::patches(workspace)? {
        let shown = workspace.relative(&patch);
        let text = crate::data::text(&patch, shown)?;
        let Some(case) = super::case(&text).and_then(HostCase::parse) else { continue };
        let case = case.map_err(|wrong| usage(format!("{}: {wrong}", shown.display())))?;
        let name = patch.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let why = text.lines().next().unwrap_or_default().trim().to_owned();
        let mutant = HostMutant { name, why, case, patch };
        if filter.is_none_or(|filter| mutant.title().contains(filter)) {
            all.push(mutant);
        }
    }
    Ok(all)
}

/// Tries them all. Returns those that were not noticed.
pub fn try_all(workspace: &Workspace, mutants: &[HostMutant]) -> Result<Vec<String>> {
    let mut bad = Vec::new();
    for mutant in mutants {
        let title = mutant.title();
        say!("{} {title}: {}", paint(BOLD, "--"), mutant.why);
        let control = mutant.case.control(workspace);
        let seen = control.and_then(|()| mutant.case.attempt(workspace, &mutant.patch));
        super::note(title, seen, &mut bad)?;
    }
    Ok(bad)
}

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    Passed,
    Failed,
    /// The program that runs the tests died in the middle of this one.
    Died,
}

impl HostCase {
    /// The case in a header line's value, if it is one for the host. The inner error is what is wrong with it.
    pub fn parse(case: &str) -> Option<Result<HostCase, String>> {
        let (kind, rest) = case.split_once(':')?;
        let loom = match kind {
            "host" => false,
            "loom" => true,
            _ => return None,
        };
        let parts: Vec<_> = rest.split(':').collect();
        Some(match parts[..] {
            [package, test] if !package.is_empty() && !test.is_empty() => {
                Ok(HostCase { loom, package: package.to_owned(), test: test.to_owned() })
            }
            _ => Err(format!("`case: {case}` is not `{kind}:PACKAGE:TEST`")),
        })
    }

    /// The test.
    pub fn test(&self) -> &str {
        &self.test
    }

    /// Green in the tree as it is?
    pub fn control(&self, workspace: &Workspace) -> Result<()> {
        match self.run(workspace.root(), &targets(workspace).join("control"))? {
            Ended::Passed => Ok(()),
            _ => Err(unexpected(format!("`{}` is red without the patch, too", self.test))),
        }
    }

    /// Breaks a copy of the tree and runs the test there. Ok: what was seen; the mutant is caught.
    pub fn attempt(&self, workspace: &Workspace, patch: &Path) -> Result<String> {
        let tree = workspace.root().join("target/mutants/tree");
        fresh_copy(workspace.root(), &tree)?;
        apply(&tree, patch)?;
        match self.run(&tree, &targets(workspace))? {
            Ended::Passed => Err(unexpected(format!("survived: `{}` is green", self.test))),
            Ended::Failed => Ok(format!("red by `{}`", self.test)),
            Ended::Died => Ok(format!("red by `{}`, which died of it", self.test)),
        }
    }

    fn run(&self, tree: &Path, targets: &Path) -> Result<Ended> {
        // The build first and on its own: a patch that does not build proves nothing.
        let built = self.cargo(tree, targets, &["--no-run"])?;
        if !built.0 {
            return Err(unexpected(format!("does not build: {}", last_line(&built.1))));
        }
        let (passed, output) = self.cargo(tree, targets, &["--", "--test-threads=1", &self.test])?;
        self.judge(passed, &output).map_err(unexpected)
    }

    /// What the output says about this test, and no other.
    fn judge(&self, passed: bool, output: &str) -> Result<Ended, String> {
        let named = |line: &str, ending: &str| {
            let path = line.strip_prefix("test ").and_then(|rest| rest.split(" ... ").next());
            path.is_some_and(|path| self.is(path)) && line.trim_end().ends_with(ending)
        };
        let lines = || output.lines();
        let begun = lines().any(|line| named(line, ""));
        match (passed, begun) {
            (_, false) => Err(format!("no test `{}` in {}", self.test, self.package)),
            (true, true) if lines().any(|line| named(line, "ok")) => Ok(Ended::Passed),
            (true, true) => Err(format!("`{}` did not run", self.test)),
            // With output of its own in between, the word for the end stands on a line of its own.
            (false, true) if lines().any(|line| line.trim().starts_with("test result: FAILED")) => {
                Ok(Ended::Failed)
            }
            (false, true) => Ok(Ended::Died),
        }
    }

    fn is(&self, path: &str) -> bool {
        let path = path.split(" - ").next().unwrap_or(path).trim();
        path == self.test || path.strip_suffix(&self.test).is_some_and(|rest| rest.ends_with("::"))
    }

    fn cargo(&self, tree: &Path, targets: &Path, more: &[&str]) -> Result<(bool, String)> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = targets.join("output");
        let cannot = || format!("cannot run {}", PathBuf::from(&cargo).display());
        std::fs::create_dir_all(targets).or_environment(cannot)?;
        let file = std::fs::File::create(&output).or_environment(cannot)?;
        let mut command = Command::new(&cargo);
        command.current_dir(tree).args(["test", "--package", &self.package]);
        if self.loom {
            command.args(["--all-features", "--test", "loom", "--release"]).env("RUSTFLAGS", "--cfg loom");
            command.arg("--target-dir").arg(targets.join("loom"));
        } else {
            command.arg("--target-dir").arg(targets.join("host"));
        }
        command.args(more).stdin(Stdio::null()).stderr(file.try_clone().or_environment(cannot)?).stdout(file);
        let mut leash = Leash::spawn(&mut command, Vec::new()).or_environment(cannot)?;
        let started = Instant::now();
        let status = loop {
            if let Some(status) = leash.child().try_wait().or_environment(cannot)? {
                break status;
            }
            if started.elapsed() > PATIENCE {
                return Err(unexpected(format!("`{}` does not end in {} s", self.test, PATIENCE.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let text = std::fs::read(&output).or_environment(cannot)?;
        Ok((status.success(), String::from_utf8_lossy(&text).into_owned()))
    }
}

/// Where these tests are built: apart from what a person builds, and mutants apart from their control. Cargo tells
/// two copies of a workspace by the age of their files alone, and would take a mutant's program for the control's.
fn targets(workspace: &Workspace) -> PathBuf {
    workspace.root().join("target/mutants")
}

fn last_line(text: &str) -> &str {
    let errors = text.lines().filter(|line| line.starts_with("error"));
    errors.clone().next().or(text.lines().last()).unwrap_or("no output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> HostCase {
        HostCase::parse("host:some:it_holds").unwrap().unwrap()
    }

    #[test]
    fn cases_are_read() {
        let loom = HostCase::parse("loom:some:it_holds").unwrap().unwrap();
        assert_eq!(loom, HostCase { loom: true, ..case() });
        assert!(HostCase::parse("sim:7b").is_none());
        assert!(HostCase::parse("nothing").is_none());
        for wrong in ["host:", "host:some", "host:some:", "host::it", "host:a:b:c"] {
            assert!(HostCase::parse(wrong).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_test_itself_counts() {
        let judge = |passed, output| case().judge(passed, output);
        assert_eq!(judge(true, "test a::it_holds ... ok\n"), Ok(Ended::Passed));
        assert_eq!(judge(true, "test it_holds - should panic ... ok\n"), Ok(Ended::Passed));
        assert!(judge(true, "test it_holds_too ... ok\n").is_err(), "another one");
        assert!(judge(true, "test it_holds ... ignored\n").is_err());
        assert!(judge(false, "test other ... FAILED\ntest result: FAILED.").is_err(), "not run at all");
        assert_eq!(judge(false, "test it_holds ... FAILED\ntest result: FAILED."), Ok(Ended::Failed));
        assert_eq!(judge(false, "test it_holds ... error: signal: 11"), Ok(Ended::Died));
    }
}
