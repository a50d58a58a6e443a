//! The rows of the matrix as tests, for `cargo test` and for `cargo nextest` with its partitions, archives and JUnit.
//!
//! They boot machines, so each is ignored unless it is asked for: `cargo test -p xtask --test matrix -- --ignored deaf`.
//! A row is run by `cargo xtask matrix`, as everywhere else.

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Failed, Trial, run};

/// A filter that leaves few rows, on every machine.
const FEW: &str = "scenario=default,deaf,secondary & cpus=1,2 & accel=tcg";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if !(arguments.ignored || arguments.include_ignored || arguments.list) {
        println!("every row of the matrix is left out: --ignored NAME asks for it");
        return ExitCode::SUCCESS;
    }
    let rows = match output(&["matrix", "--list"]) {
        Ok(rows) => rows,
        Err(error) => {
            eprintln!("{}", error.message().unwrap_or("the rows cannot be listed"));
            return ExitCode::from(101);
        }
    };
    // What has no meaning or cannot be run is listed with a space behind its mark.
    let rows = rows.lines().filter(|line| !line.contains(' ')).map(str::to_owned);
    let mut trials: Vec<_> = rows
        .map(|row| Trial::test(row.clone(), move || output(&["matrix", "--filter", &row]).map(drop)))
        .collect();
    trials.push(Trial::test("shards-together-are-the-whole", shards));
    let trials = trials.into_iter().map(|trial| trial.with_ignored_flag(true)).collect();
    run(&arguments, trials).exit_code()
}

/// Three parts, put together, are what a run gives that was not divided.
fn shards() -> Result<(), Failed> {
    let scratch = tempfile::tempdir()?;
    let folder = |name: &str| scratch.path().join(name).display().to_string();
    output(&["matrix", "--filter", FEW, "--report", &folder("whole")])?;
    let parts = ["1/3", "2/3", "3/3"].map(|shard| (shard, folder(&shard.replace('/', "-of-"))));
    for (shard, part) in &parts {
        output(&["matrix", "--filter", FEW, "--shard", shard, "--report", part])?;
    }
    let [(_, first), (_, second), (_, third)] = &parts;
    let (together, whole) = (folder("together"), folder("whole"));
    let words = ["report", first, second, third, "--out", &together, "--equals", &whole];
    output(&words)?;
    // A part that is missing is noticed.
    let words = ["report", first, second, "--out", &together, "--equals", &whole];
    match output(&words) {
        Ok(_) => Err("two parts of three pass for the whole".into()),
        Err(_) => Ok(()),
    }
}

/// What `cargo xtask` says, if it is content.
fn output(words: &[&str]) -> Result<String, Failed> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(words).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let output = command.output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{} {}\n{}", words.join(" "), text(&output.stdout), text(&output.stderr)).into())
}
