//! What is tested on the host: the workspace's tests, the models of memory orderings, and once more the tests, as
//! another machine's word size and byte order would have them.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::error::{Classed, unexpected};
use crate::machine::Machine;
use crate::qemu::kill;
use crate::toolchain;
use crate::workspace::Workspace;

/// `cargo test` for the whole workspace.
pub fn tests(workspace: &Workspace) -> Result<()> {
    run(cargo(workspace).args(["test", "--quiet", "--workspace"]), "a host test fails")
}

/// The models of memory orderings, in a build of their own.
pub fn models(workspace: &Workspace) -> Result<()> {
    let mut command = cargo(workspace);
    command
        .args(["test", "--quiet", "--release"])
        .args(["--package", "core-panic", "--package", "crash-lock", "--package", "crash-record"])
        .args(["--all-features", "--test", "loom", "--target-dir"])
        .arg(workspace.root().join("target/loom"))
        .env("RUSTFLAGS", "--cfg loom");
    run(&mut command, "a model of memory orderings fails")
}

/// Names under which a browser may be found that can be driven.
const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];
/// Says where it is, if it has another name.
const BROWSER: &str = "MAYDAY_CHROMIUM";

/// The browser for tests of the report's page.
pub fn browser() -> Option<PathBuf> {
    match std::env::var_os(BROWSER) {
        Some(named) if !named.is_empty() => Some(named.into()),
        _ => BROWSERS.iter().find_map(toolchain::on_path),
    }
}

/// Why the page cannot be tested, if it cannot. Nothing is installed for it.
pub fn no_browser() -> Option<String> {
    let names = BROWSERS.join(", ");
    browser().is_none().then(|| format!("none of {names} is here, and {BROWSER} names none"))
}

/// The report's page in a browser: tests that are left out otherwise.
pub fn page(workspace: &Workspace) -> Result<()> {
    let only = ["test", "--quiet", "--package", "xtask", "--bins", "--", "--ignored", "in_a_browser"];
    run(cargo(workspace).args(only), "the report's page does not do in a browser what it should")
}

/// The stage that runs the tests as a program of this machine's kind.
pub fn title(machine: &Machine) -> String {
    format!("{}/host-tests", machine.name)
}

/// Of these machines the ones whose kind of programs runs here; what is missing for the others goes to
/// `skipped`. Nothing is installed for it here: `cargo xtask setup --host-tests` does.
pub fn emulated<'m>(machines: &[&'m Machine], skipped: &mut Vec<String>) -> Result<Vec<&'m Machine>> {
    let mut here = Vec::new();
    for machine in machines {
        let Some(settings) = &machine.host_tests else { continue };
        match toolchain::lacks(settings)? {
            None => here.push(*machine),
            Some(lack) => skipped.push(format!("{}: {lack}", title(machine))),
        }
    }
    Ok(here)
}

/// The tests of what does not need this host's own instruction set, as programs of that machine's kind.
pub fn tests_as(workspace: &Workspace, machine: &Machine) -> Result<()> {
    let Some(settings) = &machine.host_tests else { return Ok(()) };
    let variable = |what: &str| {
        format!("CARGO_TARGET_{}_{what}", settings.target.replace('-', "_").to_ascii_uppercase())
    };
    let mut command = cargo(workspace);
    command.args(["test", "--quiet", "--workspace", "--lib", "--bins", "--tests"]);
    for package in &settings.exclude {
        command.args(["--exclude", package]);
    }
    command
        .args(["--target", &settings.target, "--target-dir"])
        .arg(workspace.root().join("target/emulated"))
        .env(variable("LINKER"), &settings.linker)
        .env(variable("RUNNER"), settings.runner.join(" "));
    run(&mut command, "a test fails on that kind of machine")
}

fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace.root());
    command
}

fn run(command: &mut Command, failure: &str) -> Result<()> {
    let status =
        kill::status(command).or_environment(|| format!("cannot run {}", command.get_program().display()))?;
    if status.success() { Ok(()) } else { Err(unexpected(failure)) }
}
