//! `cargo xtask tidy`: what the compiler cannot check.
//!
//! Every rule is a function from the tree to problems, tried in its tests on a tree that breaks it.

mod data_files;
mod dependencies;
mod generated;
mod guide;
mod promises;
mod rules;
mod source;
mod tree;

use std::process::Command;

use anyhow::Result;

use crate::build;
use crate::cli::TidyArgs;
use crate::error::{Classed, one_line, unexpected};
use crate::machine::Machine;
use crate::qemu::kill;
use crate::toolchain::{self, Kit};
use crate::workspace::Workspace;
use tree::{Problem, Tree};

/// How a check by another program ended.
enum Outcome {
    Fine,
    Failed(String),
    Skipped(String),
}

/// `cargo xtask tidy`
pub fn run(workspace: &Workspace, arguments: &TidyArgs) -> Result<()> {
    let tree = Tree::read(workspace.root())?;
    let (machines, scenarios, mut problems) = data_files::check(&tree);
    problems.extend(dependencies::check(workspace)?);
    let names: Vec<String> = machines.iter().map(|machine| machine.name.clone()).collect();
    problems.extend(rules::check(&tree, &names));
    problems.extend(promises::check(&tree));
    problems.extend(guide::check(&tree));
    if problems.iter().all(|problem| problem.check != "machine-file" && problem.check != "scenario-file") {
        let parts = generated::parts(workspace, &machines, &scenarios)?;
        let (rewritten, outdated) = generated::outdated(&tree, &parts);
        problems.extend(outdated);
        if arguments.fix {
            for (path, text) in rewritten {
                std::fs::write(workspace.root().join(&path), text)
                    .or_environment(|| format!("cannot write {path}"))?;
                problems.retain(|problem| problem.place != path || !problem.message.contains("--fix"));
                println!("tidy: rewrote {path}");
            }
        }
    }
    problems.sort();
    for Problem { check, place, message } in &problems {
        println!("tidy: {place}: {check}: {message}");
    }
    let mut failed = problems.len();
    if !arguments.quick {
        for (name, outcome) in tools(workspace, &machines, arguments.fix) {
            match outcome {
                Outcome::Fine => println!("tidy: {name}: ok"),
                Outcome::Skipped(why) => println!("tidy: {name}: skipped: {why}"),
                Outcome::Failed(why) => {
                    println!("tidy: {name}: {why}");
                    failed += 1;
                }
            }
        }
    }
    if failed == 0 {
        println!("tidy: {} files, no problem", tree.files().count());
        return Ok(());
    }
    Err(unexpected(format!("tidy found {failed} problem{}", if failed == 1 { "" } else { "s" })))
}

/// The checks that other programs do. One that is not installed is skipped by name.
fn tools(workspace: &Workspace, machines: &[Machine], fix: bool) -> Vec<(String, Outcome)> {
    let format: &[&str] = if fix { &["fmt", "--all"] } else { &["fmt", "--all", "--check"] };
    let clippy = ["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"];
    let mut outcomes = vec![
        ("rustfmt".to_owned(), cargo(workspace, "rustfmt", format)),
        ("clippy on the host".to_owned(), cargo(workspace, "clippy-driver", &clippy)),
    ];
    for machine in machines {
        let outcome = match Kit::find() {
            None => Outcome::Skipped("no library source here; `cargo xtask setup` installs it".into()),
            Some(kit) if !beside(&kit.toolchain, "clippy-driver") => {
                Outcome::Skipped("clippy is not installed (rustup component add clippy)".into())
            }
            Some(_) => match build::lint(workspace, machine) {
                Ok(()) => Outcome::Fine,
                Err(error) => Outcome::Failed(one_line(&error)),
            },
        };
        outcomes.push((format!("clippy for {}", machine.name), outcome));
    }
    outcomes
}

/// Runs a cargo subcommand of the toolchain that runs this program, if the component it needs is installed.
fn cargo(workspace: &Workspace, component: &str, arguments: &[&str]) -> Outcome {
    let Some(toolchain) = toolchain::candidates().into_iter().next() else {
        return Outcome::Skipped("no toolchain found".into());
    };
    if !beside(&toolchain, component) {
        let package = component.trim_end_matches("-driver");
        return Outcome::Skipped(format!("{package} is not installed (rustup component add {package})"));
    }
    let mut command = Command::new(&toolchain.cargo);
    command.current_dir(workspace.root()).args(arguments);
    toolchain::clean(&mut command).env("RUSTC", &toolchain.rustc);
    // cargo finds `cargo-fmt` and `cargo-clippy` on PATH: those of another toolchain must not be first.
    if let Some(path) = toolchain.search_path() {
        command.env("PATH", path);
    }
    match kill::status(&mut command) {
        Ok(status) if status.success() => Outcome::Fine,
        Ok(status) => Outcome::Failed(format!("`cargo {}` fails, {status}", arguments.join(" "))),
        Err(error) => Outcome::Failed(format!("cannot run cargo: {error}")),
    }
}

fn beside(toolchain: &toolchain::Toolchain, program: &str) -> bool {
    toolchain.rustc.with_file_name(program).is_file()
}
