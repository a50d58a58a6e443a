//! `cargo xtask mutants`: negative controls. Each patch under `mutants/` breaks the tree in one way;
//! the scenario that it names has to go red by the check that it names. A patch that no longer
//! applies, a build error and a run that only times out prove nothing, and count as failures (unless the
//! check is the one on the run's end). A check of the linked image needs no scenario. A patch with a line `case:`
//! names a test on the host instead, or a case of the simulator.

pub mod host;
pub mod metal;
pub mod named;
pub mod sim;

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::cli::MutantArgs;
use crate::error::{Classed, Exit, class_of, environment, one_line, unexpected, usage};
use crate::machine::Machine;
use crate::qemu::kill::Leash;
use crate::report::{BOLD, DIM, GREEN, RED, paint, say};
use crate::setup;
use crate::workspace::Workspace;

/// The patches, by name.
fn patches(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.mutants();
    let entries =
        std::fs::read_dir(&folder).or_environment(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "patch"));
    paths.sort();
    Ok(paths)
}

/// What the lines of a header may say.
const KEYS: [&str; 9] = ["scenario", "machine", "check", "cpus", "accel", "stop", "case", "row", "promise"];

/// A key in a patch's header that is none. The first line is a sentence, and what has no colon behind its first word is
/// a part of one.
pub fn odd_key(text: &str) -> Option<&str> {
    let header = text.lines().take_while(|line| !line.starts_with("diff ")).skip(1);
    let keys = header.filter_map(|line| Some(line.split_once(':')?.0));
    let mut keys = keys.filter(|key| !key.contains(char::is_whitespace));
    keys.find(|key| !KEYS.contains(key))
}

/// The value of a line in a patch's header.
pub fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut header = text.lines().take_while(|line| !line.starts_with("diff "));
    header.find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// The value of the line `case:` in a patch's header.
pub fn case(text: &str) -> Option<&str> {
    field(text, "case")
}

/// Runs a child to its end, or gives it up: one that hangs proves nothing.
fn output(command: &mut Command) -> Result<std::process::Output> {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(420);
    let cannot = || "cannot run cargo".to_owned();
    let (out, err) =
        (tempfile::tempfile().or_environment(cannot)?, tempfile::tempfile().or_environment(cannot)?);
    command.stdin(Stdio::null());
    command.stdout(out.try_clone().or_environment(cannot)?).stderr(err.try_clone().or_environment(cannot)?);
    let mut leash = Leash::spawn(command, Vec::new()).or_environment(cannot)?;
    let started = std::time::Instant::now();
    let status = loop {
        if let Some(status) = leash.child().try_wait().or_environment(cannot)? {
            break status;
        }
        if started.elapsed() > PATIENCE {
            return Err(unexpected(format!("does not end in {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    };
    let text = |mut file: std::fs::File| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_end(&mut bytes)).or_environment(cannot)?;
        Ok::<_, anyhow::Error>(bytes)
    };
    Ok(std::process::Output { status, stdout: text(out)?, stderr: text(err)? })
}

/// `cargo xtask mutants`
pub fn command(workspace: &Workspace, args: &MutantArgs) -> Result<()> {
    let mutants = metal::Mutant::all(workspace)?;
    let machines = Machine::all(workspace)?;
    let mut rows = metal::rows(workspace, &mutants, &machines, args.filter.as_deref())?;
    let mut on_host = host::all(workspace, args.filter.as_deref())?;
    let mut simulated = sim::all(workspace, args.filter.as_deref())?;
    if args.metal {
        on_host.clear();
        simulated.clear();
    }
    let none = rows.is_empty() && on_host.is_empty() && simulated.is_empty();
    if let Some(filter) = args.filter.as_deref().filter(|_| none) {
        return Err(usage(format!("--filter {filter}: no mutant has that in its name; --list shows them")));
    }
    if let Some(size) = args.sample {
        let titles = simulated.iter().map(|mutant| mutant.title());
        let titles = titles.chain(on_host.iter().map(|mutant| mutant.title()));
        let titles: Vec<_> = titles.chain(rows.iter().map(metal::Row::title)).collect();
        let chosen = sample(&titles, size as usize, today());
        simulated.retain(|mutant| chosen.contains(&mutant.title()));
        on_host.retain(|mutant| chosen.contains(&mutant.title()));
        rows.retain(|row| chosen.contains(&row.title()));
    }
    if args.list {
        for mutant in &simulated {
            let words = format!("{:<36} {:<18}", mutant.title(), mutant.check);
            say!("{words} {}", paint(DIM, &mutant.why));
        }
        for mutant in &on_host {
            let words = format!("{:<36} {:<18}", mutant.title(), mutant.case.test());
            say!("{words} {}", paint(DIM, &mutant.why));
        }
        for row in &rows {
            let (check, why) = row.words();
            say!("{:<36} {check:<18} {}", row.title(), paint(DIM, why));
        }
        return Ok(());
    }
    let _alone = alone(workspace)?;
    let used = |machine: &&Machine| rows.iter().any(|row| row.machine().name == machine.name);
    setup::ensure_all(&machines.iter().filter(used).collect::<Vec<_>>())?;
    let mut bad = sim::try_all(workspace, &simulated, if args.seeds { 10 } else { 1 })?;
    bad.extend(host::try_all(workspace, &on_host)?);
    bad.extend(metal::try_all(workspace, &rows)?);
    let all = rows.len() + on_host.len() + simulated.len();
    let good = all - bad.len();
    say!("\n{}: {good} of {all} mutants went red as named", paint(BOLD, "Result"));
    if bad.is_empty() { Ok(()) } else { Err(unexpected(format!("these did not: {}", bad.join(", ")))) }
}

/// The scratch trees belong to one process at a time: another one would build what this one has patched. Released when
/// dropped, and by the system when the process is gone.
fn alone(workspace: &Workspace) -> Result<File> {
    let path = workspace.root().join("target/mutants.lock");
    let cannot = || format!("cannot lock {}", path.display());
    std::fs::create_dir_all(workspace.root().join("target")).or_environment(cannot)?;
    let file = File::create(&path).or_environment(cannot)?;
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        say!("waiting for the mutants that another process tries in this tree");
    }
    file.lock().or_environment(cannot)?;
    Ok(file)
}

/// Says what came of a mutant, and adds to `bad` one that was not noticed. Only a broken environment stops everything.
fn note(title: String, seen: Result<String>, bad: &mut Vec<String>) -> Result<()> {
    match seen {
        Ok(seen) => say!("{} {title}: {seen}", paint(GREEN, "ok")),
        Err(error) if class_of(&error) == Exit::Environment => return Err(error),
        Err(error) => {
            say!("{} {title}: {}", paint(RED, "FAIL"), one_line(&error));
            bad.push(title);
        }
    }
    Ok(())
}

/// Days since 1970: what a sample rotates by.
fn today() -> usize {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs() / 86_400) as usize
}

/// `size` of the titles: the next ones every day.
fn sample(titles: &[String], size: usize, day: usize) -> std::collections::BTreeSet<String> {
    let start = (day * size).checked_rem(titles.len()).unwrap_or(0);
    titles.iter().cycle().skip(start).take(size.min(titles.len())).cloned().collect()
}

/// Copies the sources: everything but what is built, recorded or version control's own.
fn fresh_copy(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        std::fs::remove_dir_all(to).or_environment(|| format!("cannot empty {}", to.display()))?;
    }
    copy(from, to, &["target", "out", ".git"])
        .or_environment(|| format!("cannot copy the tree to {}", to.display()))
}

fn copy(from: &Path, to: &Path, except: &[&str]) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if except.iter().any(|except| name == *except) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&entry.path(), &to.join(&name), &[])?;
        } else if kind.is_file() {
            std::fs::copy(entry.path(), to.join(&name))?;
        }
    }
    Ok(())
}

fn apply(tree: &Path, patch: &Path) -> Result<()> {
    let patch = std::path::absolute(patch).or_environment(|| "cannot tell the current directory".into())?;
    // The scratch tree lies inside a repository; without the ceiling git would look for the files
    // of the patch at that repository's root, find none of them below here, and report success.
    let output = Command::new("git")
        .current_dir(tree)
        .env("GIT_CEILING_DIRECTORIES", tree.parent().unwrap_or(tree))
        .args(["apply", "--whitespace=nowarn"])
        .arg(&patch)
        .stdin(Stdio::null())
        .output()
        .or_environment(|| "cannot run git, which applies the patches".into())?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(_) => {
            Err(unexpected(format!("the patch no longer applies: {}", why.trim().replace('\n', "; "))))
        }
        None => Err(environment("git was killed")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_rotate_through_everything() {
        let titles: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        let seen: std::collections::BTreeSet<_> = (0..4).flat_map(|day| sample(&titles, 2, day)).collect();
        assert_eq!(seen.len(), 7);
        assert_eq!(sample(&titles, 20, 3).len(), 7);
        assert!(sample(&[], 2, 1).is_empty());
    }

    #[test]
    fn every_mutant_of_the_tree_has_a_whole_header_and_applies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let workspace = Workspace::at(&root);
        let scratch = tempfile::tempdir().unwrap();
        for mutant in metal::Mutant::all(&workspace).unwrap() {
            for scenario in &mutant.scenarios {
                crate::scenario::Scenario::load(&workspace, scenario).unwrap();
            }
            let tree = scratch.path().join(&mutant.name);
            fresh_copy(&root, &tree).unwrap();
            apply(&tree, &mutant.patch).unwrap_or_else(|error| panic!("{}: {error}", mutant.name));
        }
        for mutant in host::all(&workspace, None).unwrap() {
            let tree = scratch.path().join(mutant.title().replace('/', "-"));
            fresh_copy(&root, &tree).unwrap();
            apply(&tree, &mutant.patch).unwrap_or_else(|error| panic!("{}: {error}", mutant.title()));
        }
    }

    #[test]
    fn a_patch_that_does_not_apply_is_an_error_also_inside_a_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        std::fs::create_dir_all(&root).unwrap();
        let scratch = tempfile::tempdir_in(root).unwrap();
        let tree = scratch.path().join("tree");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("x"), "other\n").unwrap();
        let patch = scratch.path().join("it.patch");
        std::fs::write(&patch, "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-one\n+two\n").unwrap();
        assert!(one_line(&apply(&tree, &patch).unwrap_err()).starts_with("the patch no longer applies"));
        std::fs::write(tree.join("x"), "one\n").unwrap();
        apply(&tree, &patch).unwrap();
        assert_eq!(std::fs::read_to_string(tree.join("x")).unwrap(), "two\n");
    }
}
