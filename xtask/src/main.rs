//! `cargo xtask`: builds, runs and checks Mayday. This file only dispatches.

#[cfg(not(target_os = "linux"))]
compile_error!(
    "cargo xtask runs on Linux: what it starts has to end with it, and only Linux has a signal for that"
);

mod build;
mod cases;
mod cli;
mod conformance;
mod data;
mod error;
mod events;
mod experiment;
mod explain;
mod image_check;
mod machine;
mod matrix;
mod mutants;
mod new_arch;
mod page;
mod qemu;
mod random;
mod report;
mod roles;
mod run;
mod scenario;
mod setup;
mod simulate;
mod store;
mod suite;
mod symbols;
#[cfg(test)]
mod texts;
mod tidy;
mod toolchain;
mod verdict;
mod workspace;

use std::process::ExitCode;

use clap::FromArgMatches;

use cli::{Cli, Command};
use workspace::Workspace;

fn main() -> ExitCode {
    let workspace = Workspace::find();
    let machines = workspace.as_ref().ok().and_then(|workspace| machine::Machine::names(workspace).ok());
    let matches = cli::command(&machines.unwrap_or_default()).get_matches();
    let result = Cli::from_arg_matches(&matches)
        .map_err(|error| error.exit())
        .and_then(|cli| workspace.and_then(|workspace| dispatch(&workspace, &cli.command)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let style = report::RED;
            anstream::eprintln!("{style}error{style:#}: {}", error::one_line(&error));
            ExitCode::from(error::class_of(&error) as u8)
        }
    }
}

fn dispatch(workspace: &Workspace, command: &Command) -> anyhow::Result<()> {
    qemu::kill::on_interrupt()?;
    match command {
        Command::Qemu(args) => run::command(workspace, args),
        Command::Test(args) => suite::command(workspace, args),
        Command::Matrix(args) => matrix::command(workspace, args),
        Command::Setup(args) => setup::run(workspace, args),
        Command::Build(args) => {
            let machine = machine::Machine::load(workspace, &args.machine)?;
            setup::ensure_build(&machine)?;
            let image = build::kernel(workspace, &machine)?;
            image_check::run(&machine, &image)?;
            println!("{}", image.display());
            Ok(())
        }
        Command::Explain(args) => explain::command(workspace, args),
        Command::Tidy(args) => tidy::run(workspace, args),
        Command::Simulate(args) => simulate::command(workspace, args),
        Command::Experiment(command) => experiment::command(workspace, command),
        Command::NewArch(args) => new_arch::command(workspace, args),
        Command::Conformance(args) => conformance::command(workspace, args),
        Command::Report(args) => page::command(workspace, args),
        Command::Mutants(args) => mutants::command(workspace, args),
    }
}
