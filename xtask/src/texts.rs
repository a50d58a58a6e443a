//! Help and error texts, as snapshots: whoever changes one sees in the review what people will read.

use std::path::Path;

use clap::CommandFactory;

use crate::cli::{self, Cli, RunArgs};
use crate::error::{class_of, one_line};
use crate::machine::Machine;
use crate::qemu::plan::{Plan, Planned};
use crate::run::no_machine;
use crate::scenario::{Kexec, Scenario};
use crate::verdict::tests::fixture::MACHINE;
use crate::workspace::Workspace;

fn help(path: &[&str]) -> String {
    let mut command = cli::command(&["beta".into(), "alpha".into()]).term_width(100);
    command.build();
    let found = path.iter().fold(&mut command, |command, name| command.find_subcommand_mut(name).unwrap());
    found.render_long_help().to_string()
}

#[test]
fn help_texts() {
    insta::assert_snapshot!("help", help(&[]));
    let mut command = Cli::command();
    for name in command.get_subcommands_mut().map(|command| command.get_name().to_owned()).collect::<Vec<_>>()
    {
        insta::assert_snapshot!(format!("help-{name}"), help(&[&name]));
    }
}

/// The error of a command line that clap itself refuses.
fn refused(arguments: &[&str]) -> String {
    let command = Cli::command().term_width(100);
    let words = ["xtask"].iter().chain(arguments);
    let error = command.try_get_matches_from(words).unwrap_err();
    format!("$ cargo xtask {}\n[exit {}]\n{error}\n", arguments.join(" "), error.exit_code())
}

#[test]
fn refused_command_lines() {
    let all = [
        refused(&["qeum", "x"]),
        refused(&["qemu", "x", "--kexec", "maybe"]),
        refused(&["qemu", "x", "--stop", "politely"]),
        refused(&["qemu", "x", "--cpus", "many"]),
        refused(&["qemu", "x", "--repeat", "0"]),
        refused(&["qemu", "x", "--timeout", "0"]),
        refused(&["setup", "--yes", "--check"]),
    ];
    insta::assert_snapshot!(all.concat());
}

fn shown<T>(result: anyhow::Result<T>) -> String {
    match result {
        Ok(_) => "accepted\n".to_owned(),
        Err(error) => format!("[exit {}] error: {}\n", class_of(&error) as u8, one_line(&error)),
    }
}

/// A workspace with one machine and three scenarios.
fn made_up() -> (tempfile::TempDir, Workspace) {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
    for folder in ["machines", "scenarios"] {
        std::fs::create_dir(root.path().join(folder)).unwrap();
    }
    write("machines/m.toml", MACHINE);
    for name in ["default", "null-read", "null-write"] {
        write(&format!("scenarios/{name}.toml"), &SCENARIO.replace("NAME", name));
    }
    let workspace = Workspace::at(root.path());
    (root, workspace)
}

const SCENARIO: &str = "name = \"NAME\"\nsummary = \"\"\nkexec = [\"post\", \"off\"]\n\
    [cpus]\nminimum = 2\nreason = \"a secondary is to panic\"\n[expect]\nending = \"capture\"\nsteps = []\n";

#[test]
fn names_that_do_not_exist() {
    let (_root, workspace) = made_up();
    let all = [
        shown::<()>(Err(no_machine(&workspace).unwrap())),
        shown(Machine::load(&workspace, "x86")),
        shown(Machine::load(&workspace, "../m")),
        shown(Scenario::load(&workspace, "null")),
        shown(Scenario::load(&workspace, "")),
        shown(Scenario::default(&workspace)),
    ];
    insta::assert_snapshot!(all.concat());
}

fn planned(change: impl FnOnce(&mut RunArgs)) -> String {
    let (_root, workspace) = made_up();
    let mut args = RunArgs { accel: "auto".into(), ..RunArgs::default() };
    change(&mut args);
    let machine = Machine::load(&workspace, "m").unwrap();
    match Plan::make(machine, Scenario::load(&workspace, "default").unwrap(), &args) {
        Ok(Planned::NotApplicable(reason)) => format!("[exit 0] n/a: {reason}\n"),
        Ok(Planned::Run(plan)) => format!("runs: {}\n", plan.rerun()),
        Err(error) => shown::<()>(Err(error)),
    }
}

#[test]
fn values_that_do_not_fit() {
    let all = [
        planned(|_| {}),
        planned(|args| args.append = Some("a='b c'".into())),
        planned(|args| args.cpus = Some(0)),
        planned(|args| args.cpus = Some(9)),
        planned(|args| args.cpus = Some(1)),
        planned(|args| args.memory = Some(16)),
        planned(|args| args.memory = Some(1 << 20)),
        planned(|args| args.accel = "warp".into()),
        planned(|args| args.firmware = Some("bios".into())),
        planned(|args| args.kexec = Some(Kexec::Pre)),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn malformed_files() {
    let scenario = |from: &str, to: &str| {
        let text = SCENARIO.replace("NAME", "s").replace(from, to);
        shown(Scenario::parse(&text, Path::new("scenarios/s.toml")))
    };
    let machine = |from: &str, to: &str| {
        shown(Machine::parse(&MACHINE.replace(from, to), Path::new("machines/m.toml")))
    };
    let all = [
        scenario("", ""),
        scenario("minimum = 2", "minimum = two"),
        scenario("minimum", "minimal"),
        scenario("name = \"s\"", "name = \"t\""),
        scenario("[\"post\", \"off\"]", "[\"perhaps\"]"),
        scenario("[\"post\", \"off\"]", "[]"),
        scenario("ending = \"capture\"", ""),
        scenario("steps = []", "steps = [\"stop\"]"),
        scenario("steps = []", "steps = []\nowner = \"all\""),
        scenario("[cpus]", "[[input]]\nafter = \"ready\"\n[cpus]"),
        scenario("[cpus]", "[cpus"),
        machine("default = 4", "default = 0"),
        machine("cpus = [1]", "cpus = [1, 9]"),
        machine("minimum_mib = 32", "minimum_mib = 65"),
        machine("name = \"m\"", "name = \"n\""),
        machine("binary = \"q\"", ""),
        machine("exit = 33", ""),
        machine("[registers]", "[registres]"),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn an_ending_that_the_machine_does_not_have() {
    let machine = Machine::parse(MACHINE, Path::new("m.toml")).unwrap();
    let text = SCENARIO.replace("NAME", "s").replace("\"capture\"", "\"explosion\"");
    let scenario = Scenario::parse(&text, Path::new("scenarios/s.toml")).unwrap();
    let args = RunArgs { accel: "auto".into(), ..RunArgs::default() };
    insta::assert_snapshot!(shown(Plan::make(machine, scenario, &args)));
}
