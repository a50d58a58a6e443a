//! Cases for tools that know JUnit's files: a suite for each machine.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::cases::{Case, Line, Outcome};
use crate::report::{printable, toned};
use crate::verdict;

/// Lines of console that a failure has.
const TAIL: usize = 60;

/// The file.
pub fn of(cases: &[Case]) -> Result<String> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for case in cases {
        let suite = suites.entry(&case.machine).or_insert_with(|| TestSuite::new(case.machine.as_str()));
        suite.add_test_case(test_case(case));
    }
    let mut report = Report::new("mayday");
    report.add_test_suites(suites.into_values());
    Ok(report.to_string()?)
}

fn test_case(case: &Case) -> TestCase {
    let status = match case.outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let red = case.run.iter().flat_map(|run| &run.checks);
            let red = red.filter(|check| check.outcome == verdict::Outcome::Fail);
            let red = red
                .map(|check| format!("{}: expected {}, found {}", check.name, check.expected, check.found));
            let mut why: Vec<_> = red.collect();
            why.extend((!case.reason.is_empty()).then(|| case.reason.clone()));
            status.set_message(printable(&why.join("; ")));
            status.set_description(format!("{}\n\nagain: {}", why.join("\n"), case.rerun));
            status
        }
        Outcome::Skipped | Outcome::NotApplicable => {
            let mut status = TestCaseStatus::skipped();
            let word = if case.outcome == Outcome::Skipped { "skipped" } else { "not applicable" };
            status.set_message(format!("{word}: {}", case.reason));
            status
        }
    };
    let mut test = TestCase::new(case.id.as_str(), status);
    test.set_classname(format!("{}.{}", case.machine, case.scenario));
    if let Some(run) = &case.run {
        test.set_time(Duration::from_millis(run.wall_ms));
        if case.outcome == Outcome::Failed {
            let lines = run.console.iter().filter_map(|line| match line {
                Line::Event(number) => run.events.get(*number).and_then(toned).map(|(_, words)| words),
                Line::Text(text) => Some(text.clone()),
                Line::Named(text, names) => Some(format!("{text}  {names}")),
            });
            let lines: Vec<_> = lines.map(|line| printable(&line)).collect();
            test.set_system_out(lines[lines.len().saturating_sub(TAIL)..].join("\n"));
        }
    }
    test
}
