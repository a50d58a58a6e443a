//! Checks on the event lines and on the emulator's end.

use crash_record::event::Stream;
use crash_record::names::Step;

use super::{Check, Facts};
use crate::qemu::Ended;
use crate::scenario::{AnyCpu, Owner};

/// No event line is missing or torn.
pub fn events(name: &'static str, facts: &Facts) -> Check {
    let expected = "every event line whole, in sequence";
    let log = &facts.evidence.log;
    let mut faults = log.problems.clone();
    if log.stream(Stream::Boot).next().is_none() {
        faults.push("no event from the first kernel at all".into());
    }
    Check::without_faults(name, expected, faults, format!("{} events, none missing", log.events.len()))
}

/// The run ended by itself, by the machine's rule for what the scenario expects.
pub fn ending(name: &'static str, facts: &Facts) -> Check {
    let rule = facts.ending;
    let expected = match (rule.stays, rule.exit) {
        (true, _) => "the guest stays up".to_owned(),
        (false, exit) => describe(exit.unwrap_or_default(), rule.shutdown.as_deref()),
    };
    let reason = facts.evidence.shutdowns.last().map(String::as_str);
    let found = match &facts.evidence.ended {
        Ended::Exit(code) => describe(*code, reason),
        Ended::Signal(signal) => format!("killed by signal {signal}"),
        Ended::Stopped(state) => format!("machine {state}"),
        Ended::Stayed if facts.evidence.shutdowns.is_empty() => "the guest stays up".to_owned(),
        Ended::Stayed => format!("SHUTDOWN {}", reason.unwrap_or_default()),
        Ended::Idle(time) => format!("silent for {} s: killed", time.as_secs()),
        Ended::Deadline(time) => format!("not through after {} s: killed", time.as_secs()),
    };
    Check::equal(name, expected, found)
}

fn describe(code: i32, shutdown: Option<&str>) -> String {
    match shutdown {
        Some(reason) => format!("exit status {code}, SHUTDOWN {reason}"),
        None => format!("exit status {code}, no SHUTDOWN"),
    }
}

/// The kernel complained about the command line where it had to, and nowhere else.
pub fn config(name: &'static str, facts: &Facts) -> Check {
    let found: Vec<_> =
        facts.evidence.log.all(Stream::Boot, "config").map(|event| event.text("key").to_owned()).collect();
    let expected = facts.expect.config_problems.clone().unwrap_or_default();
    Check::equal(name, list(&expected), list(&found))
}

/// A list as a person reads it.
pub fn list(items: &[String]) -> String {
    if items.is_empty() { "none".into() } else { items.join(", ") }
}

/// The nonce of this run comes back everywhere.
pub fn nonce(name: &'static str, facts: &Facts) -> Check {
    let log = &facts.evidence.log;
    let mut places = vec![(Stream::Boot, "boot")];
    if facts.capture() {
        places.extend([(Stream::Capture, "found"), (Stream::Capture, "pass")]);
    }
    let mut faults = Vec::new();
    for (stream, kind) in places {
        match log.first(stream, kind).map(|event| event.hex("nonce")) {
            Some(Some(nonce)) if nonce == facts.nonce => {}
            Some(other) => faults.push(format!("{kind} says {:016x}", other.unwrap_or_default())),
            // Whether there has to be a pass marker is the check `capture`.
            None if kind == "boot" => return facts.missing(name, "the nonce in the boot event"),
            None => {}
        }
    }
    Check::without_faults(name, &format!("{:016x}", facts.nonce), faults, format!("{:016x}", facts.nonce))
}

/// One CPU claimed the panic, the expected one, for the expected reason.
pub fn claim(name: &'static str, facts: &Facts) -> Check {
    let claims: Vec<_> = facts.evidence.log.all(Stream::Panic, "claim").collect();
    let [claim] = claims.as_slice() else {
        if claims.is_empty() {
            return facts.missing(name, "one claim");
        }
        return Check::fail(name, "one claim", format!("{} claims", claims.len()));
    };
    let mut faults = Vec::new();
    if let Some(reason) = &facts.expect.reason
        && claim.text("reason") != reason
    {
        faults.push(format!("reason {}, not {reason}", claim.text("reason")));
    }
    // Each later owner says from whom it has the panic; whoever else speaks is a second owner.
    let mut owner = claim.cpu;
    let mut stopping = false;
    for event in facts.evidence.log.stream(Stream::Panic) {
        let inherits = event.kind == "owner" && event.number("from") == Some(owner as u64);
        stopping |= event.kind == "begin" && event.text("step") == Step::Stop.name();
        if inherits {
            // It is handed over before the stop or not at all: an owner that has begun has kept it.
            if stopping && event.text("why") == "redirect" {
                faults.push(format!("CPU {} was handed what CPU {owner} goes on with", event.cpu));
            }
            owner = event.cpu;
        } else if event.cpu != owner {
            faults.push(format!("CPU {} spoke as the owner ({})", event.cpu, event.kind));
        }
    }
    match facts.expect.owner {
        Some(Owner::Cpu(expected)) if owner != expected as usize => {
            faults.push(format!("CPU {owner} owns it, not CPU {expected}"));
        }
        Some(Owner::Word(AnyCpu::Any) | Owner::Cpu(_)) | None => {}
    }
    if let Some(record) = facts.record()
        && record.owner() != Some(owner)
    {
        faults.push(format!("the record names {:?} as the owner, the events CPU {owner}", record.owner()));
    }
    let found = format!("CPU {owner}, {}", claim.text("reason"));
    Check::without_faults(name, "one claim, by the expected CPU for the expected reason", faults, found)
}

/// The first kernel left in the expected way: by the jump, or by its final action.
pub fn last_action(name: &'static str, facts: &Facts) -> Check {
    let log = &facts.evidence.log;
    let last = log.all(Stream::Panic, "final").last().map(|event| event.text("action").to_owned());
    if facts.capture() {
        let expected = "a jump, and no final action";
        return match last {
            Some(action) => Check::fail(name, expected, format!("final action {action}")),
            None if log.all(Stream::Panic, "end").any(|event| event.text("outcome") == "leaving") => {
                Check::ok(name, "left by the jump")
            }
            None => facts.missing(name, expected),
        };
    }
    match (&facts.expect.action, last) {
        (Some(expected), Some(found)) => Check::equal(name, expected.as_str(), found),
        (Some(expected), None) => facts.missing(name, expected),
        (None, _) => Check::none(name, "the scenario names no action"),
    }
}

/// The capture kernel vouches for what it found, if one was to run. Whether to believe it is the
/// check `record-vs-capture`.
pub fn capture(name: &'static str, facts: &Facts) -> Check {
    let log = &facts.evidence.log;
    if !facts.capture() {
        return match log.stream(Stream::Capture).next() {
            Some(event) => Check::fail(name, "no capture kernel", format!("a capture event: {}", event.kind)),
            None => Check::none(name, "no capture kernel in this run"),
        };
    }
    let expected = "one pass marker from the capture kernel";
    if let Some(fail) = log.first(Stream::Capture, "fail") {
        return Check::fail(name, expected, format!("fail: {}: {}", fail.text("check"), fail.text("detail")));
    }
    match log.all(Stream::Capture, "pass").count() {
        1 => Check::ok(name, "one pass marker"),
        0 => facts.missing(name, expected),
        count => Check::fail(name, expected, format!("{count} pass markers")),
    }
}
