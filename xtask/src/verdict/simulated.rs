//! The verdict on a run of the simulated machine: the checks that a run of a machine is judged by, as far as there is
//! something to look at, and the promises that the simulator watches itself.

use std::collections::BTreeMap;
use std::time::Duration;

use crash_record::event::Stream;

use super::{Check, Facts, Judge, NAMES, Verdict, cpus, locks, record, rulings, steps, stream};
use crate::conformance::SIMULATOR;
use crate::explain::Bound;
use crate::machine::{Ending, Machine};
use crate::qemu::inspect::Inspection;
use crate::qemu::{Ended, Evidence};
use crate::roles::Roles;
use crate::scenario::{Expect, Stop};
use crate::simulate::answer::Seen;
use crate::symbols::Symbols;

/// The number that stands in the record of every simulated run.
const NONCE: u64 = 7;
/// Every lock of the simulated machine is called by what it guards.
const SECTION: &str = "arch_sim::lock::Section";

/// Checks that need nothing but event lines and the record.
const CHECKS: [(&str, Judge); 9] = [
    ("claim", stream::claim),
    ("steps", steps::steps),
    ("notifiers", steps::notifiers),
    ("reentries", steps::reentries),
    ("final", stream::last_action),
    ("record-intact", record::intact),
    ("cpu-states", cpus::states),
    ("locks", locks::locks),
    ("rulings", rulings::rulings),
];

const _: () = assert!(CHECKS.len() < NAMES.len());

/// An expectation that no check here looks at, if there is one.
pub fn unjudged(expect: &Expect) -> Option<&'static str> {
    // Each by name: what is added there has to be thought of here.
    let Expect {
        reason: _,
        owner: _,
        steps: _,
        notifiers: _,
        ending: _,
        capture: _,
        cpu_states: _,
        cpu_state: _,
        own_state: _,
        rung: _,
        workload: _,
        orphans: _,
        deferred: _,
        rulings: _,
        action: _,
        reentries: _,
        pre: _,
        post: _,
        off: _,
        firmware,
        stray,
        lock_price,
        config_problems,
        store,
        kept,
        store_unsupported,
        bound_ms,
    } = expect;
    let keys = [
        ("firmware", firmware.is_some()),
        ("stray", stray.is_some()),
        ("lock_price", lock_price.is_some()),
        ("config_problems", config_problems.is_some()),
        ("store", store.is_some()),
        ("kept", kept.is_some()),
        ("store_unsupported", store_unsupported.is_some()),
        ("bound_ms", bound_ms.is_some()),
    ];
    keys.iter().find(|(_, there)| *there).map(|(key, _)| *key)
}

/// Judges what was seen of a kernel that got these words.
pub fn judge(expect: &Expect, count: u32, stop: Stop, words: &str, seen: &Seen) -> Verdict {
    let mut expect = expect.clone();
    for ruling in expect.rulings.iter_mut().flatten() {
        *ruling = here(ruling);
    }
    let capture = expect.capture.unwrap_or(false);
    let stream = if capture { Stream::Capture } else { Stream::Panic };
    let machine = Machine { name: SIMULATOR.into(), ..Machine::default() };
    // A simulated CPU's place in the code is a number.
    let mut symbols = Symbols::default();
    symbols.addresses.extend([("__text_start".to_owned(), 0), ("__text_end".to_owned(), u64::MAX)]);
    let evidence = Evidence {
        log: seen.log.clone(),
        console: Vec::new(),
        ended: Ended::Exit(0),
        shutdowns: Vec::new(),
        inspections: vec![inspection(stream, &seen.record)],
        inspection_problems: Vec::new(),
        inputs: Vec::new(),
        store: None,
        stderr: String::new(),
        wall: Duration::ZERO,
    };
    let facts = Facts {
        machine: &machine,
        expect: &expect,
        contract: &[],
        must_fail: &[],
        ending: &Ending::default(),
        cpus: count,
        stop,
        // How long it may take is a promise, P3.
        bound: Bound { jump_ms: 0, end_ms: 0, reentry_ms: 0, takeover_ms: 0 },
        roles: Roles::of(words),
        derailed: Vec::new(),
        nonce: NONCE,
        symbols: &symbols,
        evidence: &evidence,
    };
    let promises = Check::without_faults("promises", "P1 to P10 kept", seen.broken.clone(), "kept");
    let problems = seen.log.problems.clone();
    let events = Check::without_faults("events", "every event line whole, in sequence", problems, "whole");
    let ending = Check::equal("ending", expect.ending.clone().unwrap_or_default(), seen.end.clone());
    let mut checks = vec![promises, events, ending];
    checks.extend(CHECKS.iter().map(|(name, check)| check(name, &facts)));
    Verdict { checks, must_fail: Vec::new() }
}

/// A decision about a lock by the name that the lock has here.
fn here(ruling: &str) -> String {
    match ruling.strip_prefix("lock/").and_then(|rest| rest.rsplit_once(':')) {
        Some((_, what)) => format!("lock/{SECTION}:{what}"),
        None => ruling.to_owned(),
    }
}

/// The record as it is when the machine has ended: nothing changes it any more.
fn inspection(stream: Stream, record: &[u8]) -> Inspection {
    Inspection {
        stream,
        record: Some(record.to_vec()),
        record_later: Some(record.to_vec()),
        outside: None,
        registers: String::new(),
        registers_later: String::new(),
        owner_at: Vec::new(),
        stacks: BTreeMap::new(),
        panic_stacks: Vec::new(),
        firmware: None,
        stored: Vec::new(),
    }
}
