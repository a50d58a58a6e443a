//! Help and error texts, as snapshots: whoever changes one sees in the review what people will read.

use std::path::Path;

use clap::{CommandFactory, Parser};

use crate::cli::{self, Cli, Command, ExperimentCommand, RunArgs, StopTrialsArgs};
use crate::error::{Exit, class_of, one_line};
use crate::experiment;
use crate::machine::Machine;
use crate::qemu::plan::{Plan, Planned};
use crate::run::{no_machine, prepare_json};
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
    insta::assert_snapshot!("help-experiment-stop", help(&["experiment", "stop"]));
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
        refused(&["qemu", "x", "--memory", "--cpus"]),
        refused(&["qemu", "x", "--repeat", "0"]),
        refused(&["qemu", "x", "--timeout", "0"]),
        refused(&["setup", "--yes", "--check"]),
        refused(&["simulate", "--schedules", "0"]),
        refused(&["simulate", "--exhaustive", "--seed", "5"]),
        refused(&["simulate", "--rows", "--schedules", "5"]),
        refused(&["simulate", "--replay", "3r1", "--schedules", "5"]),
        refused(&["experiment", "go"]),
        refused(&["experiment", "stop", "--policy", "politely"]),
        refused(&["experiment", "stop", "--trials", "0"]),
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

const SCENARIO: &str = "name = \"NAME\"\nsummary = \"s\"\ntiers = [2]\nkexec = [\"post\", \"off\"]\n\
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
        planned(|args| args.cpus = Some(-1)),
        planned(|args| args.cpus = Some(i64::MAX)),
        planned(|args| args.memory = Some(-512)),
        planned(|args| args.memory = Some(50)),
        planned(|args| args.append = Some("x".repeat(500))),
        planned(|args| args.append = Some("a=\u{1b}[31m'b'\n".into())),
        planned(|args| args.append = Some("panic.scale=2 panic.kexec=off".into())),
        planned(|args| args.append = Some("run.nonce=0".into())),
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
        scenario("steps = []", "steps = [\n  \"stop:done\",\n  \"stopp:done\",\n]"),
        scenario("steps = []", "steps = [\"stop:dne\"]"),
        scenario("steps = []", "steps = []\n[expect.off]\nsteps = [\"stop:odd\"]"),
        scenario("steps = []", "steps = []\nnotifiers = [\"log:done\"]"),
        scenario("steps = []", "steps = []\nnotifiers = [\"infrm/log:done\"]"),
        scenario("steps = []", "steps = []\nnotifiers = [\"inform/log:dne\"]"),
        scenario("steps = []", "steps = []\ncpu_states = \"prked\""),
        scenario("steps = []", "steps = []\ncpu_state = { 1 = \"asleep\" }"),
        scenario("steps = []", "steps = []\nrung = { one = \"ipi\" }"),
        scenario("steps = []", "steps = []\nrung = { 1 = \"smi\" }"),
        scenario("steps = []", "steps = []\naction = \"explode\""),
        scenario("[cpus]", "must_fail = [\"claim\"]\n[cpus]"),
        scenario("[cpus]", "must_fail = [\"clam\"]\n[cpus]"),
        scenario("[\"post\", \"off\"]", "[\"post\", \"off\", \"post\"]"),
        scenario("[cpus]", "stop = [\"nmi\", \"nmi\"]\n[cpus]"),
        scenario("[cpus]", "accels = [\"a\"]\nsuite.accels = [\"b\"]\n[cpus]"),
        scenario("steps = []", "steps = []\n[expect.pre]\nsteps = []"),
        scenario("steps = []", "steps = []\ncapture = true"),
        scenario("[cpus]", "qemu_arguments = [\"{kernle}\"]\n[cpus]"),
        scenario("steps = []", "steps = []\nowner = \"all\""),
        scenario("[cpus]", "[[input]]\nafter = \"ready\"\n[cpus]"),
        scenario("steps = []", "steps = []\ncpu_state = { 42 = \"parked\" }"),
        scenario("steps = []", "steps = []\nown_state = { 1 = \"asleep\" }"),
        scenario("steps = []", "steps = []\nrung = { 01 = \"nmi\" }"),
        scenario("steps = []", "steps = []\nowner = 99"),
        scenario("minimum = 2", "minimum = 17"),
        scenario("[cpus]", "[cpus"),
        scenario("[cpus]", "suite = { cpus = [1] }\n[cpus]"),
        scenario("[cpus]", "suite = { sample = true, cpus = [1, 1] }\n[cpus]"),
        scenario("steps = []", "steps = []\n[expect.off.pre]\nending = \"off\""),
        scenario("summary = \"s\"", "summary = \"\""),
        scenario("[cpus]", "qemu_arguments = [\n  \"-s\",\n  \" \",\n]\n[cpus]"),
        scenario("[cpus]", "[on.m]\nnot_applicable = \"\"\n[cpus]"),
        scenario("tiers = [2]", "tiers = [2, 6]"),
        scenario("tiers = [2]", "tiers = [2, 2]"),
        scenario("tiers = [2]", "tiers = [1]"),
        scenario("[\"post\", \"off\"]", "[\"post\"]"),
        scenario("[cpus]", "requires = [\"nmi\", \"nmi\"]\n[cpus]"),
        scenario("[cpus]", "requires = [\"nmy\"]\n[cpus]"),
        scenario("[cpus]", "contract = [\"a\", \"a\"]\n[cpus]"),
        scenario("name = \"s\"", "name = \"s\"\nstaging = \"native\"\nrows = [1, 999]"),
        machine("maximum = 8", "maximum = 17"),
        machine("default = 4", "default = 0"),
        machine("cpus = [1]", "cpus = [1, 9]"),
        machine("minimum_mib = 32", "minimum_mib = 65"),
        machine("step_mib = 16", "step_mib = 0"),
        machine("step_mib = 16", "step_mib = 48"),
        machine("kernel_arguments = []", "kernel_arguments = [\n  \"-kernel\",\n  \"{kernle}\",\n]"),
        machine("kernel_arguments = []", "kernel_arguments = [\"{\\\"driver\\\":1}\", \"{run}\"]"),
        machine("name = \"a\"", "name = \"a\"\narguments = [\"-smp\", \"{cpu}\"]"),
        machine("name = \"m\"", "name = \"n\""),
        machine("binary = \"q\"", ""),
        machine("exit = 33", ""),
        machine("[registers]", "[registres]"),
        machine("vectors = [0xa000, 0xb000]", "vectors = [0xa000, 0xa000]"),
        machine("cpus = [1]", "cpus = [1, 1]"),
        machine("name = \"a\"", "name = \"a\"\npatience = 0"),
        machine("name = \"f\"", "name = \"f\"\npanic_scale = 101"),
        machine("name = \"f\"", "name = \"f\"\n[[qemu.firmware]]\nname = \"f\""),
        machine("[suite]", "[debian]\nqmu = [\"q\"]\n[suite]"),
        machine("\"made up\"\n[build]", "\"\"\n[build]"),
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

/// A scenario file beside a machine `m` and the scenario `null-read`.
fn among_files(change: impl Fn(String) -> Vec<u8>) -> String {
    let (root, workspace) = made_up();
    let text = SCENARIO.replace("NAME", "null-write");
    std::fs::write(root.path().join("scenarios/null-write.toml"), change(text)).unwrap();
    shown(Scenario::all(&workspace))
}

#[test]
fn files_that_do_not_fit_together() {
    let replaced = |from: &str, to: &str| among_files(|text| text.replacen(from, to, 1).into_bytes());
    let summary = "summary = \"s\"\n";
    let all = [
        among_files(String::into_bytes),
        among_files(|text| format!("{text}[on.x86]\n").into_bytes()),
        replaced(summary, &format!("{summary}accels = [\"warp\"]\n")),
        replaced(summary, &format!("{summary}firmwares = [\"warp\"]\n")),
        replaced("\"capture\"", "\"explosion\""),
        replaced("steps = []", "steps = []\n[expect.off]\nending = \"explosion\""),
        replaced("minimum = 2", "minimum = 12"),
        replaced("[cpus]", "suite = { sample = true, cpus = [2] }\n[cpus]"),
        among_files(|text| [text.as_bytes(), b"# \xff\n"].concat()),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn runs_that_must_fail() {
    let (root, workspace) = made_up();
    std::fs::create_dir(root.path().join("scenarios/negative")).unwrap();
    let shown_as = |name: &str, checks: &str| {
        let text = SCENARIO.replace("NAME", name).replace("tiers = [2]", &format!("must_fail = [{checks}]"));
        let path = root.path().join(format!("scenarios/negative/{name}.toml"));
        std::fs::write(&path, text).unwrap();
        let result = shown(Scenario::negative(&workspace));
        std::fs::remove_file(path).unwrap();
        result
    };
    let all = [
        shown_as("wrong", "\"claim\""),
        shown_as("wrong", ""),
        shown_as("wrong", "\"claim\", \"claim\""),
        shown_as("null-read", "\"claim\""),
        shown(Scenario::load(&workspace, "negative/odd")),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn two_defaults() {
    let (root, workspace) = made_up();
    let marked = |mark: &str| {
        for name in ["default", "null-write"] {
            let text = SCENARIO.replace("NAME", name).replace("kexec", &format!("{mark} = true\nkexec"));
            std::fs::write(root.path().join(format!("scenarios/{name}.toml")), text).unwrap();
        }
    };
    marked("default");
    let two = shown(Scenario::default(&workspace));
    marked("trials");
    insta::assert_snapshot!(two + &shown(Scenario::of_trials(&workspace)));
}

/// What `experiment stop` says before anything runs.
fn trials(change: impl FnOnce(&mut StopTrialsArgs)) -> String {
    let (root, workspace) = made_up();
    let text = SCENARIO.replace("NAME", "null-write").replace("kexec", "trials = true\nkexec");
    std::fs::write(root.path().join("scenarios/null-write.toml"), text).unwrap();
    let words = ["xtask", "experiment", "stop"];
    let Command::Experiment(ExperimentCommand::Stop(mut args)) = Cli::parse_from(words).command else {
        panic!("{words:?}")
    };
    change(&mut args);
    shown(experiment::command(&workspace, &ExperimentCommand::Stop(args)))
}

#[test]
fn trials_that_cannot_be_run() {
    let (_root, workspace) = made_up();
    let all = [
        shown(Scenario::of_trials(&workspace)),
        trials(|args| args.arch = Some("n".into())),
        trials(|args| args.cpus = Some(1)),
        trials(|args| args.accel = "warp".into()),
        trials(|args| args.resume = true),
        trials(|_| {}),
    ];
    insta::assert_snapshot!(all.concat());
}

#[test]
fn data_is_written_to_a_file_or_refused_before_the_run() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("verdict.json");
    prepare_json(Some(&file)).unwrap();
    assert!(file.is_file());
    prepare_json(None).unwrap();
    let error = prepare_json(Some(Path::new("-"))).unwrap_err();
    assert_eq!(class_of(&error), Exit::Usage, "{error}");
    let error = prepare_json(Some(&root.path().join("no/folder.json"))).unwrap_err();
    assert_eq!(class_of(&error), Exit::Environment, "{error}");
}
