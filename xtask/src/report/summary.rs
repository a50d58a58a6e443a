//! The summary after a run.

use std::fmt::Write;

use crash_record::event::Stream;

use super::live::outcome_style;
use super::{BOLD, DIM, GREEN, RED, nanoseconds, paint};
use crate::run::RunResult;
use crate::verdict::Outcome;

/// Lines of console that a failure shows.
const TAIL: usize = 30;

/// The whole summary of one run.
pub fn summary(result: &RunResult) -> String {
    let mut out = String::new();
    let log = &result.evidence.log;
    let _ = writeln!(out, "\n{} {}", paint(BOLD, "Summary"), result.plan.title());
    if let Some(claim) = log.first(Stream::Panic, "claim") {
        let _ = writeln!(out, "  panic on CPU {}: {}", claim.cpu, claim.text("reason"));
    }
    steps(&mut out, result);
    cpus(&mut out, result);
    checks(&mut out, result);
    let _ = writeln!(out, "  {} {}", paint(BOLD, "files "), result.folder_shown.display());
    let _ = writeln!(out, "  {} {}", paint(BOLD, "again "), result.plan.rerun());
    let _ = writeln!(out, "  {} {}", paint(BOLD, "qemu  "), paint(DIM, &result.paste_line));
    let _ = writeln!(out, "{}", one_line(result));
    out
}

fn steps(out: &mut String, result: &RunResult) {
    let mut ends = result.evidence.log.all(Stream::Panic, "end").peekable();
    if ends.peek().is_some() {
        let _ = writeln!(out, "  {}", paint(BOLD, "steps"));
    }
    for end in ends {
        let outcome = end.text("outcome");
        let style = outcome_style(outcome);
        let took = end.number("ns").map(nanoseconds).unwrap_or_default();
        let _ = writeln!(
            out,
            "    {:<12} {} {took:>8}  {}",
            end.text("step"),
            paint(style, format_args!("{outcome:<9}")),
            paint(DIM, end.text("detail"))
        );
    }
}

fn cpus(out: &mut String, result: &RunResult) {
    let mut stopped = result.evidence.log.all(Stream::Panic, "stopped").peekable();
    if stopped.peek().is_some() {
        let _ = writeln!(out, "  {}", paint(BOLD, "CPUs"));
    }
    for event in stopped {
        let (state, rung) = (event.text("state"), event.text("rung"));
        let style = if state == "missing" { RED } else { anstyle::Style::new() };
        let how = match (rung, event.number("ns")) {
            ("none", _) => String::new(),
            (rung, Some(ns)) if ns > 0 => format!("by {rung} after {}", nanoseconds(ns)),
            (rung, _) => format!("by {rung}"),
        };
        let _ = writeln!(
            out,
            "    CPU {:<3} {} {how}",
            event.text("who"),
            paint(style, format_args!("{state:<12}"))
        );
    }
}

fn checks(out: &mut String, result: &RunResult) {
    let _ = writeln!(out, "  {}", paint(BOLD, "checks"));
    for check in &result.verdict.checks {
        let _ = match check.outcome {
            Outcome::Ok => writeln!(out, "    {} {:<18} {}", paint(GREEN, "ok  "), check.name, check.found),
            Outcome::NotApplicable => {
                writeln!(out, "    {}", paint(DIM, format_args!("n/a  {:<18} {}", check.name, check.found)))
            }
            Outcome::Fail => writeln!(
                out,
                "    {} {:<18} expected: {}\n         {:<18} found:    {}",
                paint(RED, "FAIL"),
                check.name,
                check.expected,
                "",
                check.found
            ),
        };
    }
}

/// The verdict in one line.
pub fn one_line(result: &RunResult) -> String {
    let title = result.plan.title();
    let seconds = result.evidence.wall.as_secs_f64();
    if result.verdict.passed() {
        return format!("{} {title} ({seconds:.1} s)", paint(GREEN, "ok"));
    }
    let red: Vec<_> = result.verdict.red().map(|check| check.name).collect();
    format!("{} {title} ({seconds:.1} s): {}", paint(RED, "FAIL"), red.join(", "))
}

/// What a failure in a long list of runs shows: how far it got, the end of its console, and how to
/// see it again.
pub fn console_tail(result: &RunResult) -> String {
    let mut out = String::new();
    for check in result.verdict.red() {
        let _ = writeln!(out, "    {}: expected {}, found {}", check.name, check.expected, check.found);
    }
    let reached = result.evidence.log.events.last();
    let reached = reached.map_or("no event at all".to_owned(), |event| {
        let subject =
            ["step", "name", "who"].into_iter().find_map(|key| event.field(key)).unwrap_or_default();
        format!("{} {} {subject}", event.stream.name(), event.kind)
    });
    let _ = writeln!(out, "    reached: {}", reached.trim_end());
    let console = &result.evidence.console;
    for line in &console[console.len().saturating_sub(TAIL)..] {
        let _ = writeln!(out, "{}", paint(DIM, format_args!("    | {line}")));
    }
    if !result.evidence.stderr.trim().is_empty() {
        let _ = writeln!(out, "    emulator: {}", result.evidence.stderr.trim());
    }
    let _ = writeln!(out, "    again: {}", result.plan.rerun());
    let _ = writeln!(out, "    files: {}", result.folder_shown.display());
    out
}
