//! Checks on the crash record that the runner read out of the guest's memory.

use crash_record::event::Stream;
use crash_record::names::{CpuState, EntryKind};
use crash_record::view::RecordView;

use super::{Check, Facts};

/// The runner read a record out of the guest's memory while the guest held still; its header, entries
/// and slots hold, and none of it changes any more.
pub fn intact(name: &'static str, facts: &Facts) -> Check {
    let expected = "a whole record of this run, read while the guest holds still";
    if !facts.evidence.inspection_problems.is_empty() {
        return Check::fail(name, expected, facts.evidence.inspection_problems.join("; "));
    }
    let Some(inspection) = facts.inspection() else { return facts.missing(name, expected) };
    let Some(bytes) = inspection.record.as_deref() else {
        return Check::fail(name, expected, "the image has no symbol for the record");
    };
    let view = match RecordView::parse(bytes) {
        Ok(view) => view,
        Err(error) => return Check::fail(name, expected, error.to_string()),
    };
    let mut faults = Vec::new();
    if view.nonce() != facts.nonce {
        faults.push(format!("its nonce is {:016x}, not {:016x}", view.nonce(), facts.nonce));
    }
    let mut entries = 0;
    for entry in view.entries() {
        entries += 1;
        faults.extend(entry.err().map(|error| error.to_string()));
    }
    if entries == 0 {
        faults.push("no entries".into());
    }
    faults.extend(view.slots().filter_map(|slot| slot.saved().err()).map(|error| error.to_string()));
    let later = inspection.record_later.as_deref().map(RecordView::parse);
    if !matches!(later, Some(Ok(later)) if later.digest() == view.digest()) {
        faults.push("it changed while the guest held still".into());
    }
    Check::without_faults(name, expected, faults, format!("{entries} entries, digest {:08x}", view.digest()))
}

/// What the capture kernel claims is what the runner read.
pub fn versus_capture(name: &'static str, facts: &Facts) -> Check {
    if !facts.capture() {
        return Check::none(name, "no capture kernel in this run");
    }
    let Some(pass) = facts.evidence.log.first(Stream::Capture, "pass") else {
        return Check::none(name, "no pass marker");
    };
    let Some(record) = facts.record() else { return not_seen(name) };
    let parked = record.slots().filter(|slot| slot.owner_state() == Some(CpuState::Parked)).count();
    let pairs = [
        ("nonce", format!("{:016x}", record.nonce())),
        ("crc", format!("{:08x}", record.digest())),
        ("cpus", record.cpus().to_string()),
        ("parked", parked.to_string()),
        ("rulings", record.entries().flatten().filter(|entry| entry.ruling().is_some()).count().to_string()),
        ("steps", steps_of(&record).join(",")),
    ];
    let faults = pairs
        .iter()
        .filter(|(key, own)| pass.field(key) != Some(own))
        .map(|(key, own)| format!("{key}: claimed {}, read {own}", pass.field(key).unwrap_or("nothing")))
        .collect();
    Check::without_faults(name, "the pass marker says what the runner read", faults, "the same in every part")
}

/// The claim and the steps in the record, as `name:outcome`.
pub fn steps_of(record: &RecordView) -> Vec<String> {
    record
        .entries()
        .flatten()
        .filter(|entry| matches!(entry.kind, EntryKind::Step | EntryKind::Reason))
        .map(|entry| {
            let step = entry.step.map_or("none", |step| step.name());
            format!("{step}:{}", entry.outcome.map_or("none", |outcome| outcome.name()))
        })
        .collect()
}

/// `record-intact` is red already.
pub fn not_seen(name: &'static str) -> Check {
    Check::none(name, "the runner did not get to see it")
}
