//! The summary after a run.

use std::fmt::Write;

use crash_record::event::Stream;

use super::live::outcome_style;
use super::{BOLD, DIM, GREEN, RED, nanoseconds, paint, printable};
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
        let _ = writeln!(out, "  panic on CPU {}: {}", claim.cpu, printable(claim.text("reason")));
    }
    steps(&mut out, result);
    cpus(&mut out, result);
    rulings(&mut out, result);
    checks(&mut out, result);
    for name in result.verdict.survivors() {
        let _ = writeln!(out, "    {} {name}: has to be red in this run", paint(RED, "FAIL"));
    }
    if !result.verdict.passed() {
        emulator(&mut out, result);
    }
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
            paint(DIM, printable(end.text("detail")))
        );
    }
}

fn cpus(out: &mut String, result: &RunResult) {
    let log = &result.evidence.log;
    let Some(claim) = log.first(Stream::Panic, "claim") else { return };
    let _ = writeln!(out, "  {}", paint(BOLD, "CPUs"));
    // Whoever speaks last owns the panic: it may have been handed over.
    let owner = log.stream(Stream::Panic).last().map_or(claim.cpu, |event| event.cpu);
    let _ = writeln!(out, "    CPU {owner:<3} owner");
    for event in log.all(Stream::Panic, "stopped") {
        let (state, rung) = (event.text("state"), event.text("rung"));
        let style = if state == "missing" { RED } else { anstyle::Style::new() };
        let how = match (rung, event.number("ns")) {
            ("none", _) => String::new(),
            (rung, Some(ns)) if ns > 0 => format!("by {rung} after {}", nanoseconds(ns)),
            (rung, _) => format!("by {rung}"),
        };
        let held = log.all(Stream::Panic, "held").find(|held| held.text("who") == event.text("who"));
        let held = held.map_or_else(String::new, |held| match (held.text("deferred"), held.text("orphan")) {
            ("1", "none") => {
                format!("; finished its critical section in {}", nanoseconds(held.number("ns").unwrap_or(0)))
            }
            (_, orphan) => format!("; {} locks stay held: {orphan}", held.text("now")),
        });
        let _ = writeln!(
            out,
            "    CPU {:<3} {} {how}{held}",
            event.text("who"),
            paint(style, format_args!("{state:<12}"))
        );
    }
}

fn rulings(out: &mut String, result: &RunResult) {
    let panic = result.evidence.log.stream(Stream::Panic);
    let mut rulings = panic.filter(|event| matches!(event.kind.as_str(), "lock" | "firmware")).peekable();
    if rulings.peek().is_some() {
        let _ = writeln!(out, "  {}", paint(BOLD, "locks and firmware"));
    }
    for event in rulings {
        let who = match event.text("who") {
            "none" => String::new(),
            who => format!(" CPU {who}"),
        };
        let beside = match event.text("beside") {
            "none" => String::new(),
            service => format!(" in {service}"),
        };
        let _ = writeln!(
            out,
            "    {:<8} {} {}{}",
            event.kind,
            paint(outcome_style(event.text("outcome")), format_args!("{:<9}", event.text("outcome"))),
            printable(event.text("name")),
            paint(DIM, printable(&format!("  {}{who}{beside}", event.text("ruling"))))
        );
    }
}

fn checks(out: &mut String, result: &RunResult) {
    let _ = writeln!(out, "  {}", paint(BOLD, "checks"));
    for check in &result.verdict.checks {
        let (expected, found) = (printable(&check.expected), printable(&check.found));
        let _ = match check.outcome {
            Outcome::Ok => writeln!(out, "    {} {:<18} {}", paint(GREEN, "ok  "), check.name, found),
            Outcome::NotApplicable => {
                writeln!(out, "    {}", paint(DIM, format_args!("n/a  {:<18} {}", check.name, found)))
            }
            Outcome::Fail => writeln!(
                out,
                "    {} {:<18} expected: {}\n         {:<18} found:    {}",
                paint(RED, "FAIL"),
                check.name,
                expected,
                "",
                found
            ),
        };
    }
}

/// What the emulator complained of.
fn emulator(out: &mut String, result: &RunResult) {
    for line in result.evidence.stderr.lines().filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(out, "    {} {}", paint(RED, "emulator:"), printable(line));
    }
}

/// The verdict in one line.
pub fn one_line(result: &RunResult) -> String {
    let title = result.plan.title();
    let seconds = result.evidence.wall.as_secs_f64();
    let verdict = &result.verdict;
    if verdict.passed() {
        let red = if verdict.must_fail.is_empty() {
            String::new()
        } else {
            format!(": red, as it must be: {}", verdict.must_fail.join(", "))
        };
        return format!("{} {title} ({seconds:.1} s){red}", paint(GREEN, "ok"));
    }
    let red = verdict.unexpected().map(|check| check.name.to_owned());
    let green = verdict.survivors().map(|name| format!("{name} is not red"));
    format!(
        "{} {title} ({seconds:.1} s): {}",
        paint(RED, "FAIL"),
        red.chain(green).collect::<Vec<_>>().join(", ")
    )
}

/// What a failure in a long list of runs shows: how far it got, the end of its console, and how to
/// see it again.
pub fn console_tail(result: &RunResult, again: &str) -> String {
    let mut out = String::new();
    for name in result.verdict.survivors() {
        let _ = writeln!(out, "    {name}: has to be red in this run, and is not");
    }
    for check in result.verdict.red() {
        let (expected, found) = (printable(&check.expected), printable(&check.found));
        let _ = writeln!(out, "    {}: expected {expected}, found {found}", check.name);
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
        let _ = writeln!(out, "{}", paint(DIM, format_args!("    | {}", printable(line))));
    }
    emulator(&mut out, result);
    let _ = writeln!(out, "    again: {again}");
    let _ = writeln!(out, "    files: {}", result.folder_shown.display());
    out
}
