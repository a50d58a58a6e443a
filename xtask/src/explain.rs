//! `cargo xtask explain`: the order of steps and how long they may take, asked of the kernel itself.
//!
//! The runner shares no code with the kernel. What it wants to know about the order it gets from the
//! kernel's host build, a child process that reads a command line as the guest would. The verdict gets
//! its bound from there too, and the documents their tables: one source for all three.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use anyhow::Result;
use serde::Deserialize;

use crate::cli::ExplainArgs;
use crate::error::{Classed, environment, unexpected, usage};
use crate::machine::Machine;
use crate::qemu::plan::Plan;
use crate::scenario::value_name;
use crate::workspace::Workspace;

/// The package whose host build explains.
const KERNEL: &str = "kernel";

/// The most guest time, ms, that a run may take from its claim on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// To the jump, if nothing is abandoned.
    pub jump_ms: u64,
    /// To the final action, if nothing is abandoned.
    pub end_ms: u64,
    /// For each re-entry on top.
    pub reentry_ms: u64,
    /// For an owner that dies, on top.
    pub takeover_ms: u64,
}

/// What the kernel says of a run before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// How long it may take.
    pub bound: Bound,
    /// Steps that have a budget, and that, ms at scale 1: all notifiers of a step together.
    pub budgets: Vec<(String, u64)>,
}

/// `cargo xtask explain`
pub fn command(workspace: &Workspace, args: &ExplainArgs) -> Result<()> {
    let machine = args.machine.as_deref().map(|name| Machine::load(workspace, name)).transpose()?;
    let cpus = args.cpus.unwrap_or(machine.as_ref().map_or(4, |machine| machine.cpus.default));
    if let Some(machine) = machine.as_ref().filter(|machine| cpus > machine.cpus.maximum) {
        let (name, most) = (&machine.name, machine.cpus.maximum);
        return Err(usage(format!("--cpus {cpus}: {name} runs with 1 to {most} CPUs")));
    }
    let given = [
        ("panic.kexec", "--kexec", args.kexec.is_some()),
        ("panic.stop", "--stop", args.stop.is_some()),
        ("panic.scale", "--scale", args.scale.is_some()),
    ];
    let appended = args.append.iter().flat_map(|text| text.split_ascii_whitespace());
    for key in appended.filter_map(|word| Some(word.split_once('=')?.0)) {
        if let Some((_, option, _)) = given.iter().find(|(own, _, given)| *given && *own == key) {
            return Err(usage(format!("--append {key}=…: {option} says it already")));
        }
    }
    let mut words = Vec::new();
    let scale = args.scale.or(machine.and_then(|machine| Some(machine.qemu.accel.first()?.panic_scale)));
    words.extend(args.kexec.map(|kexec| format!("panic.kexec={}", value_name(kexec))));
    words.extend(args.stop.map(|stop| format!("panic.stop={}", value_name(stop))));
    words.extend(scale.map(|scale| format!("panic.scale={scale}")));
    words.extend(args.append.iter().flat_map(|text| text.split_ascii_whitespace()).map(str::to_owned));
    let digest_ms = args.digest.to_string();
    match ask(workspace, &[&["text", &cpus.to_string(), &digest_ms], &as_strs(&words)[..]].concat())? {
        Ok(text) => {
            print!("{text}");
            Ok(())
        }
        Err(complaint) => Err(usage(complaint)),
    }
}

/// A part of a document: `order`, `bounds`.
pub fn part(workspace: &Workspace, format: &str) -> Result<String> {
    let text = ask(workspace, &[format, "1", "0"])?.map_err(unexpected)?;
    Ok(text.trim_end().to_owned())
}

/// The bound of a run, and its budgets. A scenario may ask for a smaller scale than its accelerator needs, so as not to take minutes;
/// the clock goes on there while a virtual CPU stands still, so what may be asked of it is what its own scale says.
pub fn of_run(workspace: &Workspace, plan: &Plan) -> Result<Explained> {
    let mut line = plan.command_line(1);
    if scale(&line) < plan.accel.panic_scale {
        line = format!("{line} panic.scale={}", plan.accel.panic_scale);
    }
    let cpus = plan.cpus.to_string();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let text = ask(workspace, &[&["numbers", &cpus, "0"], &words[..]].concat())?.map_err(unexpected)?;
    numbers(&text).ok_or_else(|| unexpected(format!("the kernel explains itself as `{}`", text.trim())))
}

/// The scale that a command line ends up with.
fn scale(line: &str) -> u32 {
    let mut said =
        line.split_ascii_whitespace().filter_map(|word| word.strip_prefix("panic.scale=")?.parse().ok());
    said.next_back().unwrap_or(1)
}

fn numbers(text: &str) -> Option<Explained> {
    let words = || text.split_ascii_whitespace().filter_map(|word| word.split_once('='));
    let of = |key: &str| words().find(|word| word.0 == key)?.1.parse().ok();
    let budgets = words().filter_map(|(key, value)| Some((key.strip_prefix("budget:")?, value)));
    Some(Explained {
        bound: Bound {
            jump_ms: of("jump_ms")?,
            end_ms: of("end_ms")?,
            reentry_ms: of("reentry_ms")?,
            takeover_ms: of("takeover_ms")?,
        },
        budgets: budgets
            .map(|(step, ms)| Some((step.to_owned(), ms.parse().ok()?)))
            .collect::<Option<_>>()?,
    })
}

fn as_strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Asks the kernel's host build. The inner error is its complaint about what it was asked.
fn ask(workspace: &Workspace, words: &[&str]) -> Result<Result<String, String>> {
    let program = program(workspace)?;
    let output = Command::new(&program)
        .arg("explain")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .or_environment(|| format!("cannot run {}", program.display()))?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(Ok(text(&output.stdout)));
    }
    Ok(Err(text(&output.stderr).lines().next().unwrap_or("it fails and says nothing").to_owned()))
}

/// The host build, made once for each tree that this process looks at.
fn program(workspace: &Workspace) -> Result<PathBuf> {
    static BUILT: Mutex<Vec<(PathBuf, PathBuf)>> = Mutex::new(Vec::new());
    let mut built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((_, program)) = built.iter().find(|(root, _)| root == workspace.root()) {
        return Ok(program.clone());
    }
    let program = build(workspace.root())?;
    built.push((workspace.root().to_path_buf(), program.clone()));
    Ok(program)
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

fn build(root: &Path) -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .current_dir(root)
        .args(["build", "--quiet", "--package", KERNEL, "--message-format", "json-render-diagnostics"])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .or_environment(|| format!("cannot run {}", cargo.display()))?;
    if !output.status.success() {
        return Err(unexpected("the kernel's host build fails, and it is what explains the order"));
    }
    executable(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| environment("cargo does not say where it left the kernel's host build"))
}

/// The kernel's program in cargo's messages.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.target.as_ref().is_some_and(|target| target.name == KERNEL))
        .find_map(|message| message.executable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Kexec;

    #[test]
    fn what_an_option_says_is_not_said_again() {
        let workspace = Workspace::at(Path::new("/"));
        let refused = |append: &str| {
            let args = ExplainArgs {
                append: Some(append.into()),
                kexec: Some(Kexec::Off),
                ..ExplainArgs::default()
            };
            command(&workspace, &args).unwrap_err().to_string()
        };
        assert_eq!(
            refused("panic.stop=nmi panic.kexec=pre"),
            "--append panic.kexec=…: --kexec says it already"
        );
    }

    #[test]
    fn numbers_are_read_and_missing_ones_noticed() {
        let text =
            "jump_ms=1 jump_total_ms=2 end_ms=3 end_total_ms=4 reentry_ms=5 takeover_ms=6\nbudget:stop=7\n";
        let bound = Bound { jump_ms: 1, end_ms: 3, reentry_ms: 5, takeover_ms: 6 };
        assert_eq!(numbers(text), Some(Explained { bound, budgets: vec![("stop".into(), 7)] }));
        assert_eq!(numbers(&text.replace("stop=7", "stop=long")), None);
        assert_eq!(numbers(&text.replace("reentry_ms", "x")), None);
        assert_eq!(numbers(&text.replace("=6", "=six")), None);
    }

    #[test]
    fn what_is_said_last_is_the_scale() {
        let scales =
            ["", "panic.scale=10 x", "panic.scale=10 panic.scale=2", "panic.scale=5 panic.scale=many"]
                .map(scale);
        assert_eq!(scales, [1, 10, 2, 5]);
    }

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"hal"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"kernel"},"executable":"/x/kernel"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some(PathBuf::from("/x/kernel")));
        assert_eq!(executable(""), None);
    }
}
