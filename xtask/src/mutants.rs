//! `cargo xtask mutants`: negative controls. Each patch under `mutants/` breaks the tree in one way;
//! the scenario that it names has to go red by the check that it names. A patch that no longer
//! applies, a build error and a run that only times out prove nothing, and count as failures (unless the
//! check is the one on the run's end). A check of the linked image needs no scenario. A patch with a line `case:`
//! names a test on the host instead, or a case of the simulator.

pub mod host;
pub mod sim;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::cli::{MutantArgs, RunArgs};
use crate::error::{Classed, Exit, class_of, environment, one_line, unexpected, usage};
use crate::machine::Machine;
use crate::qemu::Unobserved;
use crate::qemu::kill::Leash;
use crate::qemu::plan::{Plan, Planned};
use crate::report::{self, BOLD, DIM, GREEN, RED, paint, say};
use crate::run::{self, RunResult};
use crate::scenario::Scenario;
use crate::verdict;
use crate::workspace::Workspace;
use crate::{build, image_check, setup};

/// The header of a patch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mutant {
    name: String,
    /// What is broken.
    why: String,
    /// `None`: the image is looked at, and not run.
    scenario: Option<String>,
    /// Machine names; empty for all.
    machines: Vec<String>,
    /// CPUs, where it is not the machine's default.
    cpus: Option<i64>,
    /// Accelerator, where it is not the one that works.
    accel: Option<String>,
    check: String,
    patch: PathBuf,
}

impl Mutant {
    fn parse(name: &str, patch: &Path, shown: &Path, text: &str) -> Result<Self> {
        let header: Vec<_> = text.lines().take_while(|line| !line.starts_with("diff ")).collect();
        let value = |key: &str| {
            let found = header.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            found
                .map(|value| value.trim().to_owned())
                .filter(|value| !value.is_empty())
                .ok_or_else(|| usage(format!("{}: its header has no line `{key}: …`", shown.display())))
        };
        let check = value("check")?;
        let of_the_image = image_check::NAMES.contains(&check.as_str());
        if !of_the_image && !verdict::NAMES.contains(&check.as_str()) {
            let line = header.iter().position(|line| line.starts_with("check:")).map_or(0, |line| line + 1);
            return Err(usage(format!(
                "{}:{line}: no check `{check}`. There are: {}",
                shown.display(),
                [&verdict::NAMES[..], &image_check::NAMES[..]].concat().join(", ")
            )));
        }
        let cpus = value("cpus").ok().map(|cpus| {
            let shown = shown.display();
            cpus.parse().map_err(|_| usage(format!("{shown}: `cpus: {cpus}` is not a number")))
        });
        let machine = value("machine")?;
        let machines = match machine.as_str() {
            "all" => Vec::new(),
            list => list.split(',').map(|name| name.trim().to_owned()).collect(),
        };
        Ok(Mutant {
            name: name.to_owned(),
            why: header.first().map(|line| line.trim().to_owned()).unwrap_or_default(),
            scenario: if of_the_image { None } else { Some(value("scenario")?) },
            machines,
            cpus: cpus.transpose()?,
            accel: value("accel").ok(),
            check,
            patch: patch.to_path_buf(),
        })
    }

    fn all(workspace: &Workspace) -> Result<Vec<Self>> {
        let paths = patches(workspace)?;
        let read = |path: &PathBuf| {
            let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let shown = workspace.relative(path);
            let text = crate::data::text(path, shown)?;
            match case(&text) {
                Some(_) => Ok(None),
                None => Self::parse(&name, path, shown, &text).map(Some),
            }
        };
        paths.iter().map(read).filter_map(Result::transpose).collect()
    }
}

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
    let mut leash = Leash::spawn(command, None).or_environment(cannot)?;
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

/// A mutant on a machine.
struct Row<'r> {
    mutant: &'r Mutant,
    machine: &'r Machine,
}

impl Row<'_> {
    fn title(&self) -> String {
        format!("{}/{}", self.machine.name, self.mutant.name)
    }
}

/// `cargo xtask mutants`
pub fn command(workspace: &Workspace, args: &MutantArgs) -> Result<()> {
    let mutants = Mutant::all(workspace)?;
    let machines = Machine::names(workspace)?
        .iter()
        .map(|name| Machine::load(workspace, name))
        .collect::<Result<Vec<_>>>()?;
    let mut rows = rows(&mutants, &machines, args.filter.as_deref())?;
    let mut on_host = host::all(workspace, args.filter.as_deref())?;
    let mut simulated = sim::all(workspace, args.filter.as_deref())?;
    let none = rows.is_empty() && on_host.is_empty() && simulated.is_empty();
    if let Some(filter) = args.filter.as_deref().filter(|_| none) {
        return Err(usage(format!("--filter {filter}: no mutant has that in its name; --list shows them")));
    }
    if let Some(size) = args.sample {
        let titles = simulated.iter().map(|mutant| mutant.title());
        let titles = titles.chain(on_host.iter().map(|mutant| mutant.title()));
        let titles: Vec<_> = titles.chain(rows.iter().map(Row::title)).collect();
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
            let words = format!("{:<36} {:<18}", row.title(), row.mutant.check);
            say!("{words} {}", paint(DIM, &row.mutant.why));
        }
        return Ok(());
    }
    let used = |machine: &&Machine| rows.iter().any(|row| row.machine.name == machine.name);
    setup::ensure_all(&machines.iter().filter(used).collect::<Vec<_>>())?;
    let mut controls = BTreeMap::new();
    let mut bad = sim::try_all(workspace, &simulated, if args.seeds { 10 } else { 1 })?;
    bad.extend(host::try_all(workspace, &on_host)?);
    for row in &rows {
        let title = row.title();
        let key = (row.machine.name.as_str(), row.mutant.scenario.as_deref(), row.mutant.cpus);
        let green = match controls.get(&key) {
            Some(&green) => green,
            None => *controls.entry(key).or_insert(control(workspace, row)?),
        };
        say!("{} {title}: {}", paint(BOLD, "--"), row.mutant.why);
        let seen =
            if green { attempt(workspace, row) } else { Err(unexpected("red without the patch, too")) };
        match seen {
            Ok(seen) => say!("{} {title}: {seen}", paint(GREEN, "ok")),
            Err(error) if class_of(&error) == Exit::Environment => return Err(error),
            Err(error) => {
                say!("{} {title}: {}", paint(RED, "FAIL"), one_line(&error));
                bad.push(title);
            }
        }
    }
    let all = rows.len() + on_host.len() + simulated.len();
    let good = all - bad.len();
    say!("\n{}: {good} of {all} mutants went red as named", paint(BOLD, "Result"));
    if bad.is_empty() { Ok(()) } else { Err(unexpected(format!("these did not: {}", bad.join(", ")))) }
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

fn rows<'r>(mutants: &'r [Mutant], machines: &'r [Machine], filter: Option<&str>) -> Result<Vec<Row<'r>>> {
    let mut rows = Vec::new();
    for mutant in mutants {
        if let Some(odd) =
            mutant.machines.iter().find(|name| !machines.iter().any(|machine| machine.name == **name))
        {
            return Err(usage(format!("mutants/{}.patch: no machine `{odd}`", mutant.name)));
        }
        let meant =
            |machine: &&Machine| mutant.machines.is_empty() || mutant.machines.contains(&machine.name);
        rows.extend(machines.iter().filter(meant).map(|machine| Row { mutant, machine }));
    }
    if let Some(filter) = filter {
        rows.retain(|row| row.title().contains(filter));
    }
    Ok(rows)
}

/// Whether the unbroken tree is green; if not, a red mutant says nothing about its patch.
fn control(workspace: &Workspace, row: &Row) -> Result<bool> {
    let scenario = row.mutant.scenario.as_deref();
    let name = format!("{}/{}", row.machine.name, scenario.unwrap_or("image"));
    say!("{} control: {name}, nothing broken", paint(BOLD, "--"));
    let result = build::kernel(workspace, row.machine).and_then(|kernel| match scenario {
        Some(scenario) => {
            let plan = plan(workspace, row.mutant, scenario, row.machine)?;
            run::run(workspace, &plan, &kernel, false, &mut Unobserved).map(Some)
        }
        None => image_check::run(row.machine, &kernel).map(|()| None),
    });
    match result {
        Ok(None) => Ok(true),
        Ok(Some(result)) => {
            say!("{}", report::one_line(&result));
            if !result.verdict.passed() {
                say!("{}", report::console_tail(&result).trim_end());
            }
            Ok(result.verdict.passed())
        }
        Err(error) if class_of(&error) == Exit::Environment => Err(error),
        Err(error) => {
            say!("{} control: {name}: {}", paint(RED, "FAIL"), one_line(&error));
            Ok(false)
        }
    }
}

fn plan(workspace: &Workspace, mutant: &Mutant, scenario: &str, machine: &Machine) -> Result<Plan> {
    let scenario = Scenario::load(workspace, scenario)?;
    let accel = mutant.accel.clone().unwrap_or_else(|| "auto".into());
    let args = RunArgs { accel, cpus: mutant.cpus, ..RunArgs::default() };
    match Plan::make(machine.clone(), scenario, &args)? {
        Planned::Run(plan) => Ok(*plan),
        Planned::NotApplicable(reason) => Err(unexpected(format!("n/a: {reason}"))),
    }
}

/// Breaks, builds, runs. Ok: what was seen; the mutant is caught.
fn attempt(workspace: &Workspace, row: &Row) -> Result<String> {
    let Row { mutant, machine } = row;
    let scratch_root = workspace.root().join("target/mutants");
    let tree = scratch_root.join("tree");
    fresh_copy(workspace.root(), &tree)?;
    apply(&tree, &mutant.patch)?;
    let scratch = Workspace::at(&tree);
    let kernel = build::kernel_in(&scratch, machine, &scratch_root.join("metal"))?;
    let Some(scenario) = &mutant.scenario else {
        let findings = image_check::all(machine, &kernel)?;
        if findings.iter().any(|finding| finding.check == mutant.check) {
            return Ok(format!("red by `{}`", mutant.check));
        }
        let others: Vec<_> = findings.iter().map(ToString::to_string).collect();
        return Err(unexpected(match others.as_slice() {
            [] => "survived: the image is as it should be".into(),
            others => format!("`{}` is not red; red are: {}", mutant.check, others.join("; ")),
        }));
    };
    // The scenario comes from the unbroken tree, the run's folder goes there too.
    let plan = plan(workspace, mutant, scenario, machine)?;
    let result = run::run(workspace, &plan, &kernel, false, &mut Unobserved)?;
    caught(mutant, &result)
}

/// A run that was given up counts too: a check that only lacks its evidence then is not red, so one
/// that is red has seen the fault itself.
fn caught(mutant: &Mutant, result: &RunResult) -> Result<String> {
    let red: Vec<_> = result.verdict.red().map(|check| check.name).collect();
    let folder = result.folder_shown.display();
    if red.is_empty() {
        return Err(unexpected(format!("survived: every check is green ({folder})")));
    }
    if !red.contains(&mutant.check.as_str()) {
        let red = red.join(", ");
        return Err(unexpected(format!("`{}` is not red; red are: {red} ({folder})", mutant.check)));
    }
    let others: Vec<_> = red.iter().filter(|name| **name != mutant.check).copied().collect();
    let also = if others.is_empty() { String::new() } else { format!(" (also {})", others.join(", ")) };
    Ok(format!("red by `{}`{also}", mutant.check))
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

    const HEADER: &str =
        "It breaks.\n\nscenario: some\nmachine: one, two\ncheck: steps\n\ndiff --git a/x b/x\n";

    fn parse(text: &str) -> Result<Mutant> {
        Mutant::parse("it", Path::new("/r/mutants/it.patch"), Path::new("mutants/it.patch"), text)
    }

    #[test]
    fn samples_rotate_through_everything() {
        let titles: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        let seen: std::collections::BTreeSet<_> = (0..4).flat_map(|day| sample(&titles, 2, day)).collect();
        assert_eq!(seen.len(), 7);
        assert_eq!(sample(&titles, 20, 3).len(), 7);
        assert!(sample(&[], 2, 1).is_empty());
    }

    #[test]
    fn a_header_is_read() {
        let mutant = parse(HEADER).unwrap();
        assert_eq!(mutant.why, "It breaks.");
        assert_eq!((mutant.scenario.as_deref(), mutant.check.as_str()), (Some("some"), "steps"));
        assert_eq!(mutant.machines, ["one", "two"]);
        assert_eq!(mutant.cpus, None);
        assert_eq!(parse(&HEADER.replace("machine:", "cpus: 1\nmachine:")).unwrap().cpus, Some(1));
        assert!(parse(&HEADER.replace("machine:", "cpus: one\nmachine:")).is_err());
        assert!(parse(&HEADER.replace("one, two", "all")).unwrap().machines.is_empty());
    }

    #[test]
    fn a_wrong_header_names_its_place() {
        let error = parse(&HEADER.replace("check: steps", "check: stpes")).unwrap_err();
        assert!(one_line(&error).starts_with("mutants/it.patch:5: no check `stpes`. There are: "), "{error}");
        let error = parse(&HEADER.replace("scenario: some", "")).unwrap_err();
        assert_eq!(one_line(&error), "mutants/it.patch: its header has no line `scenario: …`");
    }

    #[test]
    fn every_mutant_of_the_tree_has_a_whole_header_and_applies() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let workspace = Workspace::at(&root);
        let scratch = tempfile::tempdir().unwrap();
        for mutant in Mutant::all(&workspace).unwrap() {
            if let Some(scenario) = &mutant.scenario {
                Scenario::load(&workspace, scenario).unwrap();
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
