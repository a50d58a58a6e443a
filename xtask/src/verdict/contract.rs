//! What holds of a run in which nobody panics: the kernel checks what the HAL promises, one promise after the other.

use crash_record::event::Stream;

use super::{Check, Facts, Verdict, stream};
use crate::events::Event;
use crate::machine::Capability;

type Judge = fn(&'static str, &Facts) -> Check;

const CHECKS: [(&str, Judge); 5] = [
    ("events", stream::events),
    ("ending", stream::ending),
    ("config", stream::config),
    ("nonce", stream::nonce),
    ("contract", contract),
];

/// Judges a run.
pub fn judge(facts: &Facts) -> Verdict {
    Verdict {
        must_fail: facts.must_fail.to_vec(),
        checks: CHECKS.iter().map(|(name, check)| check(name, facts)).collect(),
    }
}

/// One promise that a kernel looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    /// The check's name.
    pub name: String,
    /// Whether the promise is kept.
    pub held: bool,
    /// Whether the machine says that it lacks what the promise is about.
    pub unsupported: bool,
    /// What was found, in words.
    pub found: String,
}

/// What the kernel says of each promise among its events, in its order.
pub fn looked<'e>(events: impl IntoIterator<Item = &'e Event>) -> Vec<Looked> {
    let checks = |event: &&Event| event.stream == Stream::Boot && event.kind == "check";
    let read = |event: &Event| Looked {
        name: event.text("name").to_owned(),
        held: event.text("outcome") == "held",
        unsupported: event.text("outcome") == "unsupported",
        found: event.text("found").to_owned(),
    };
    events.into_iter().filter(checks).map(read).collect()
}

/// The promises that the scenario names were looked at, all of them and no others, and are kept, or about something
/// that this machine lacks; and it lacks what its file says, no more and no less.
pub fn contract(name: &'static str, facts: &Facts) -> Check {
    let wanted = facts.contract;
    if wanted.is_empty() {
        return Check::none(name, "the scenario is about a panic");
    }
    let expected = format!("{} promises kept, or about what the machine lacks", wanted.len());
    let looked = looked(&facts.evidence.log.events);
    if looked.is_empty() {
        return facts.missing(name, &expected);
    }
    let mut faults: Vec<_> = looked
        .iter()
        .filter(|one| !one.held && !one.unsupported)
        .map(|one| format!("{}: {}", one.name, one.found))
        .collect();
    let names: Vec<_> = looked.iter().map(|one| one.name.as_str()).collect();
    let unseen = wanted.iter().filter(|wanted| !names.contains(&wanted.as_str()));
    faults.extend(unseen.map(|name| format!("{name}: was not looked at")));
    let odd = names.iter().filter(|name| !wanted.iter().any(|wanted| wanted == *name));
    faults.extend(odd.map(|name| format!("{name}: the scenario does not know it")));
    if facts.evidence.log.first(Stream::Boot, "checked").is_none() {
        faults.push("the checks did not come to an end".into());
    }
    let file = format!("machines/{}.toml", facts.machine.name);
    let said = |word: &str| {
        let mut lacks = facts.evidence.log.all(Stream::Boot, "lacks");
        lacks.find(|event| event.text("what") == word).map(|event| event.text("why").to_owned())
    };
    for capability in Capability::ALL {
        let (word, in_file) = (capability.name(), facts.machine.lacks.contains_key(&capability));
        // The device behind it is only there where a scenario asks for it.
        if capability == Capability::Store && !in_file && facts.evidence.store.is_none() {
            continue;
        }
        match (in_file, said(word)) {
            (true, None) => faults.push(format!("{word}: {file} lacks it, and the kernel has it")),
            (false, Some(_)) => {
                faults.push(format!("{word}: the kernel lacks it, and {file} does not say so"))
            }
            (true, Some(why)) if facts.machine.lacks.get(&capability) != Some(&why) => {
                faults.push(format!("{word}: the kernel says `{why}`, and {file} something else"));
            }
            _ => {}
        }
    }
    let asked = facts.evidence.log.first(Stream::Boot, "contract").and_then(|event| event.number("cpus"));
    // Below tier 2 one CPU is asked, whatever the machine has.
    if asked != Some(1) && asked != Some(facts.cpus.into()) {
        let asked = asked.map_or_else(|| "none".to_owned(), |asked| asked.to_string());
        faults.push(format!("CPUs that were asked: {asked}, not {}", facts.cpus));
    }
    let held = looked.iter().filter(|one| one.held).count();
    let good = match looked.len() - held {
        0 => format!("{held} kept"),
        lacking => format!("{held} kept, {lacking} about what the machine lacks"),
    };
    Check::without_faults(name, &expected, faults, good)
}
