//! Checks on what the panic path did, in which order, and how long it took in guest time.

use crash_record::event::Stream;

use super::record::steps_of;
use super::stream::list;
use super::{Check, Facts};
use crate::explain::Bound;

/// The steps after the claim, in order, each with its outcome: in the events, and in the record.
pub fn steps(name: &'static str, facts: &Facts) -> Check {
    let expected = facts.expect.steps.clone().unwrap_or_default();
    let log = &facts.evidence.log;
    let mut found = Vec::new();
    for event in log.all(Stream::Panic, "end") {
        found.push(format!("{}:{}", event.text("step"), event.text("outcome")));
    }
    if found != expected {
        if facts.given_up() && expected.starts_with(&found) {
            return Check::none(name, format!("given up after {}", list(&found)));
        }
        return Check::fail(name, list(&expected), difference(&expected, &found));
    }
    // While the panicking kernel itself holds, later steps are not in the record yet.
    if let Some(recorded) = facts.record().map(|record| steps_of(&record)) {
        // Of the final actions there are events, too, and no end. Where there is to be a jump they are another check's.
        let last = log.all(Stream::Panic, "final").filter(|_| !facts.capture());
        let last = last.map(|_| "final:leaving".to_owned());
        let whole = std::iter::once("claim:done".to_owned()).chain(found.iter().cloned()).chain(last);
        let whole: Vec<_> = whole.collect();
        if !whole.starts_with(&recorded) || (facts.capture() && recorded != whole) {
            return Check::fail(name, list(&whole), format!("in the record: {}", list(&recorded)));
        }
    }
    Check::ok(name, list(&found))
}

/// The found list, and where it leaves the expected one.
fn difference(expected: &[String], found: &[String]) -> String {
    let place = expected.iter().zip(found).take_while(|(expected, found)| expected == found).count();
    let at = |items: &[String]| items.get(place).map_or("the end".to_owned(), |item| format!("`{item}`"));
    format!("{} (number {} is {}, not {})", list(found), place + 1, at(found), at(expected))
}

/// The notifiers, in order, each with its outcome.
pub fn notifiers(name: &'static str, facts: &Facts) -> Check {
    let Some(expected) = &facts.expect.notifiers else {
        return Check::none(name, "the scenario names none");
    };
    let found: Vec<_> = facts
        .evidence
        .log
        .all(Stream::Panic, "notifier")
        .map(|event| format!("{}/{}:{}", event.text("class"), event.text("name"), event.text("outcome")))
        .collect();
    if found == *expected {
        Check::ok(name, list(&found))
    } else if facts.given_up() && expected.starts_with(&found) {
        Check::none(name, format!("given up after {}", list(&found)))
    } else {
        Check::fail(name, list(expected), difference(expected, &found))
    }
}

/// The owner entered again as often as expected.
pub fn reentries(name: &'static str, facts: &Facts) -> Check {
    let found = facts.evidence.log.all(Stream::Panic, "reentry").count();
    let expected = facts.expect.reentries.unwrap_or(0) as usize;
    if facts.given_up() && found < expected {
        return Check::none(name, "the run was given up before");
    }
    Check::equal(name, expected.to_string(), found.to_string())
}

/// The path took less guest time than it may: what `cargo xtask explain` says for this command line, with the
/// re-entries and the change of the owner that there were.
pub fn bound(name: &'static str, facts: &Facts) -> Check {
    let log = &facts.evidence.log;
    let Some(claim) = log.first(Stream::Panic, "claim") else { return facts.missing(name, "a claim") };
    let out = log.stream(Stream::Panic).find(|event| {
        matches!(event.kind.as_str(), "final" | "hold")
            || (event.kind == "end" && event.text("outcome") == "leaving")
    });
    let Some(out) = out else { return facts.missing(name, "the jump or a final action") };
    let scale = claim.number("scale").unwrap_or(1);
    let Bound { jump_ms, end_ms, reentry_ms, takeover_ms } = facts.bound;
    let before = |kind| log.all(Stream::Panic, kind).filter(|event| event.at_ns <= out.at_ns);
    let reentries = before("reentry").count() as u64;
    let takeovers = before("owner").filter(|event| event.text("why") == "takeover").count() as u64;
    let digest_ns = log.first(Stream::Boot, "image").and_then(|image| image.number("digest")).unwrap_or(0);
    let verify_us = 4 * scale * digest_ns.div_ceil(1_000);
    let undisturbed = if out.kind == "end" { jump_ms } else { end_ms };
    let explained = undisturbed + reentries * reentry_ms + takeovers * takeover_ms;
    let most_us = match facts.expect.bound_ms {
        Some(own) => (own * scale * 1_000).min(explained * 1_000 + verify_us),
        None => explained * 1_000 + verify_us,
    };
    let took = out.at_ns.saturating_sub(claim.at_ns) / 1_000;
    let found = format!("{}.{:03} ms from claim to {}", took / 1000, took % 1000, out.kind);
    if took <= most_us {
        Check::ok(name, format!("{found}, of at most {} ms", most_us / 1_000))
    } else {
        let why = format!("at most {} ms ({reentries} re-entries)", most_us / 1_000);
        Check::fail(name, why, found)
    }
}
