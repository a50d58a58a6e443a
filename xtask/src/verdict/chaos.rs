//! What holds of a run to which something was done at a random moment.
//!
//! Nobody knows which steps such a run goes through, who owns the panic, or which action is its last. What has to
//! hold all the same is here. A line of the console may be torn where its writer was torn away from it; the record may
//! not. The names are those of the ordinary verdict where the check is the same one.

use crash_record::event::Stream;
use crash_record::layout::header;
use crash_record::names::{EntryKind, Outcome as StepOutcome, Step};

use super::{Check, Facts, Verdict, cpus, jump, record, steps, stream};
use crate::machine::Ending;
use crate::qemu::{Ended, Fate};
use crate::scenario::{AnyCpu, Expect, Owner};

type Judge = fn(&'static str, &Facts) -> Check;

/// Of checks that need what was seen while a kernel held still, the first one says whether it did.
const CHECKS: [(&str, Judge); 13] = [
    ("ending", ending),
    ("events", events),
    ("nonce", stream::nonce),
    ("claim", claim),
    ("bound", bound),
    ("capture", stream::capture),
    ("record-intact", intact),
    ("record-vs-capture", record::versus_capture),
    ("record-says", says),
    ("jump", jump::jump),
    ("cpu-count", cpus::count),
    ("parked-pc", cpus::parked_pc),
    ("heartbeats", heartbeats),
];

/// Judges a run.
pub fn judge(facts: &Facts) -> Verdict {
    let entered = facts.evidence.log.stream(Stream::Capture).next().is_some();
    let expect = Expect {
        // Where none was to be, one is a fault.
        capture: Some(entered && facts.capture()),
        owner: Some(Owner::Word(AnyCpu::Any)),
        // It may come before the others are at work.
        workload: Some(false),
        bound_ms: facts.expect.bound_ms,
        ..Expect::default()
    };
    let facts =
        Facts { expect: &expect, roles: facts.roles.clone(), derailed: facts.derailed.clone(), ..*facts };
    Verdict {
        checks: CHECKS.iter().map(|(name, check)| check(name, &facts)).collect(),
        must_fail: Vec::new(),
    }
}

/// True if something was done to the machine that may have torn a line.
fn torn_away(facts: &Facts) -> bool {
    facts.evidence.inputs.iter().any(|input| matches!(input.fate, Fate::Given | Fate::Asked(_)))
}

fn as_ruled(facts: &Facts, rule: &Ending) -> bool {
    let shutdown = facts.evidence.shutdowns.last();
    match &facts.evidence.ended {
        Ended::Exit(code) => rule.exit == Some(*code) && rule.shutdown.as_ref() == shutdown,
        Ended::Stayed => rule.stays && shutdown.is_none(),
        _ => false,
    }
}

/// The final action that was tried last. What fails too often is no longer said on the console, and stands in the
/// record all the same; on a busy host the record was read before the last one.
fn last_action(facts: &Facts) -> Option<String> {
    let record = facts.record();
    let entries = record.iter().flat_map(|record| record.entries().flatten());
    let written: Vec<_> = entries
        .filter(|entry| entry.kind == EntryKind::Step && entry.step == Some(Step::Final))
        .map(|entry| entry.text.to_owned())
        .collect();
    let said: Vec<_> = facts.evidence.log.all(Stream::Panic, "final").collect();
    match said.last() {
        Some(event) if said.len() >= written.len() => Some(event.text("action").to_owned()),
        _ => written.last().cloned(),
    }
}

/// It ended by itself, as the last thing that it said: after a jump as a capture kernel that vouches, else by its
/// final action.
fn ending(name: &'static str, facts: &Facts) -> Check {
    let action = last_action(facts);
    let (expected, rule) = match action.as_deref().filter(|_| !facts.capture()) {
        Some(action) => (action.to_owned(), facts.machine.ending.get(action)),
        None => ("a capture kernel that vouches".to_owned(), Some(facts.ending)),
    };
    let said = facts.capture() || action.is_some();
    if said && rule.is_some_and(|rule| as_ruled(facts, rule)) {
        return Check::ok(name, expected);
    }
    let ended = &facts.evidence.ended;
    let shutdown = facts.evidence.shutdowns.last().map_or("none", String::as_str);
    let expected = if said { expected } else { "a jump or a final action, and an end to it".to_owned() };
    Check::fail(name, expected, format!("{ended:?}, SHUTDOWN {shutdown}"))
}

fn events(name: &'static str, facts: &Facts) -> Check {
    let check = stream::events(name, facts);
    let problems = facts.evidence.log.problems.len();
    match check.outcome {
        super::Outcome::Fail
            if torn_away(facts) && facts.evidence.log.stream(Stream::Boot).next().is_some() =>
        {
            Check::none(name, format!("{problems} lines may have been torn"))
        }
        _ => check,
    }
}

/// The claim's line was never begun: its owner was torn away between the claim and its first word, which it says itself
/// when it enters again.
fn speechless(facts: &Facts) -> bool {
    let mut panic = facts.evidence.log.stream(Stream::Panic);
    torn_away(facts)
        && panic.next().is_some_and(|first| first.kind == "reentry" && !first.text("cause").is_empty())
}

/// Guest time from the claim to the end. Without a claim's line, only the run's own deadline bounds it.
fn bound(name: &'static str, facts: &Facts) -> Check {
    if speechless(facts) {
        Check::none(name, "nothing says when it began")
    } else if facts.evidence.log.all(Stream::Panic, "final").next().is_none()
        && !facts.capture()
        && last_action(facts).is_some()
    {
        Check::none(name, "the console was given up before the end, which is in the record only")
    } else {
        steps::bound(name, facts)
    }
}

/// One claim; where a line may be torn, at most one, and the record has it.
fn claim(name: &'static str, facts: &Facts) -> Check {
    if speechless(facts) {
        return Check::none(name, "the owner was torn away before its first word, and says so");
    }
    if facts.evidence.log.problems.is_empty() {
        return stream::claim(name, facts);
    }
    match facts.evidence.log.all(Stream::Panic, "claim").count() {
        0 | 1 => Check::none(name, "lines are torn; record-says counts the claims"),
        count => Check::fail(name, "one claim", format!("{count} claims")),
    }
}

/// It ended by its final action, and with that action the emulator is gone at once, without a SHUTDOWN to stop at.
fn leaves_nothing(facts: &Facts) -> bool {
    let rule = last_action(facts).and_then(|action| facts.machine.ending.get(&action));
    rule.is_some_and(|rule| rule.shutdown.is_none() && !rule.stays && as_ruled(facts, rule))
}

fn intact(name: &'static str, facts: &Facts) -> Check {
    match facts.inspection() {
        Some(_) => record::intact(name, facts),
        None if leaves_nothing(facts) => {
            Check::none(name, "it did not come to hold, and its final action leaves no machine to read")
        }
        None => Check::fail(name, "a kernel that holds still for its record to be read", "none did"),
    }
}

/// Who is parked stays so. Without the end of the stop there is nothing to compare with: it is settled once more when it
/// was broken off, and not a third time.
fn heartbeats(name: &'static str, facts: &Facts) -> Check {
    let unsettled = facts.record().is_some_and(|record| record.word(header::STOPPED_AT) == 0);
    if unsettled && torn_away(facts) && facts.evidence.log.all(Stream::Panic, "reentry").count() > 1 {
        return Check::none(name, "the stop was broken off, and so was what settles it");
    }
    cpus::heartbeats(name, facts)
}

/// The record says what happened: one claim with its reason, each step at most once and with its outcome, and no
/// second owner of any of it.
fn says(name: &'static str, facts: &Facts) -> Check {
    let expected = "one claim with a reason, and every step once, with an outcome";
    let Some(record) = facts.record() else { return record::not_seen(name) };
    let entries: Vec<_> = record.entries().flatten().collect();
    let mut faults = Vec::new();
    let of = |kind| entries.iter().filter(move |entry| entry.kind == kind);
    let claims = of(EntryKind::Reason).count();
    let said_again = speechless(facts) && of(EntryKind::Reentry).any(|entry| !entry.text.is_empty());
    if claims != 1 && !(claims == 0 && said_again) {
        faults.push(format!("{claims} claims"));
    }
    if entries.iter().any(|entry| entry.kind == EntryKind::Reason && entry.text.is_empty()) {
        faults.push("a claim without a reason".into());
    }
    let steps: Vec<_> = entries.iter().filter(|entry| entry.kind == EntryKind::Step).collect();
    for (place, entry) in steps.iter().enumerate() {
        let step = entry.step.map_or("none", |step| step.name());
        let next = steps.get(place + 1);
        // Torn away between its last word and the jump, a step was leaving and then failed.
        let stayed = entry.outcome == Some(StepOutcome::Leaving)
            && next
                .as_ref()
                .filter(|next| next.step == entry.step && next.outcome == Some(StepOutcome::Failed))
                .is_some();
        let others = steps.iter().enumerate().filter(|(other, _)| *other > place + usize::from(stayed));
        // The last one is a chain of actions, each of which is left for good, or fails.
        let chain = entry.step == Some(Step::Final);
        if !chain && others.filter(|(_, other)| other.step == entry.step).count() > 0 {
            faults.push(format!("`{step}` twice"));
        }
        if entry.outcome.is_none() && (next.is_some() || facts.capture()) {
            faults.push(format!("`{step}` without an outcome"));
        }
        let on = next.is_some_and(|next| !chain || next.step != entry.step);
        if entry.outcome == Some(StepOutcome::Leaving) && on && !stayed {
            faults.push(format!("`{step}` was left, and the path went on"));
        }
    }
    let found = record::steps_of(&record).join(", ");
    Check::without_faults(name, expected, faults, found)
}
