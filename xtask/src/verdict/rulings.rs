//! What the panic path decided about locks that were held, and calls into firmware that others were in the way of.

use crash_record::event::Stream;
use crash_record::names::EntryKind;

use super::stream::list;
use super::{Check, Facts};

/// The decisions, in order, each with its reason and with who was in the way: as expected, and the same in the events
/// and in the record.
pub fn rulings(name: &'static str, facts: &Facts) -> Check {
    let log = &facts.evidence.log;
    let kinds = [EntryKind::Lock.name(), EntryKind::Firmware.name()];
    let mut said: Vec<[String; 2]> = Vec::new();
    for event in log.stream(Stream::Panic).filter(|event| kinds.contains(&event.kind.as_str())) {
        let what = format!("{}/{}:{}", event.kind, event.text("name"), event.text("ruling"));
        said.push([what, event.text("who").to_owned()]);
    }
    let expected = facts.expect.rulings.clone().unwrap_or_default();
    let found: Vec<_> = said.iter().map(|[what, _]| what.clone()).collect();
    if facts.given_up() && found.len() < expected.len() && expected.starts_with(&found) {
        return Check::none(name, "the run was given up before");
    }
    // Where the command line gives CPUs their roles, these say who is in the way: the check `roles`.
    let by_role = facts.expect.rulings.is_none() && !facts.roles.of.is_empty();
    if found != expected && !by_role {
        return Check::fail(name, list(&expected), list(&found));
    }
    if let Some(record) = facts.record() {
        let mut recorded = Vec::new();
        for entry in record.entries().flatten() {
            let Some((ruling, who)) = entry.ruling() else { continue };
            let text = entry.text.split(" beside ").next().unwrap_or_default();
            let who = who.map_or("none".to_owned(), |cpu| cpu.to_string());
            recorded.push([format!("{}/{text}:{ruling}", entry.kind), who]);
        }
        // While the panicking kernel itself holds, what comes later is in neither.
        if recorded != said {
            let shown = |all: &[[String; 2]]| {
                list(&all.iter().map(|[what, who]| format!("{what} (CPU {who})")).collect::<Vec<_>>())
            };
            return Check::fail(name, shown(&said), format!("in the record: {}", shown(&recorded)));
        }
    }
    Check::ok(name, list(&found))
}
