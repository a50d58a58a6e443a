//! What CPUs held when they were stopped.

use crash_record::layout::slot;
use crash_record::names::Orphan;
use crash_record::view::CpuSlot;

use super::record::not_seen;
use super::{Check, Facts};
use crate::scenario::Stop;

/// Whoever stopped with a lock held says why, and the policy allows that; whoever was deferred kept what it did when
/// the signal came.
pub fn locks(name: &'static str, facts: &Facts) -> Check {
    let Some(record) = facts.record() else { return not_seen(name) };
    let (mut deferred, mut orphaned) = (0, 0);
    let mut faults = Vec::new();
    for slot in record.slots() {
        let others = Some(slot.cpu) != record.owner();
        deferred += u32::from(others && slot.word(slot::DEFERRED_AT) != 0);
        orphaned += u32::from(others && slot.word(slot::HELD_LAST) != 0);
        faults.extend(wrong(facts, &slot, others).map(|fault| format!("CPU {}: {fault}", slot.cpu)));
    }
    match facts.expect.orphans.as_deref() {
        Some("none") if orphaned != 0 => faults.push(format!("{orphaned} CPUs stopped with a lock held")),
        Some(reason) if reason != "none" && orphaned == 0 => {
            faults.push(format!("no CPU stopped with a lock held, for {reason} or else"));
        }
        _ => {}
    }
    match facts.expect.deferred {
        Some(true) if deferred == 0 => faults.push("no CPU was deferred".to_owned()),
        Some(false) if deferred != 0 => faults.push(format!("{deferred} CPUs were deferred")),
        _ => {}
    }
    let expected = "every lock that stayed held with its reason, every first signal kept";
    Check::without_faults(name, expected, faults, format!("{deferred} deferred, {orphaned} orphaned"))
}

fn wrong(facts: &Facts, slot: &CpuSlot, others: bool) -> Option<String> {
    let Some(orphan) = slot.orphan() else {
        return Some("an unknown reason to stop with a lock held".into());
    };
    let (held, since) = (slot.word(slot::HELD_LAST), slot.word(slot::DEFERRED_AT));
    if (held == 0) != (orphan == Orphan::None) {
        return Some(format!("{held} locks held, reason {orphan}"));
    }
    if orphan == Orphan::Policy && facts.stop == Stop::Deferred {
        return Some("stopped inside a critical section by a policy that defers".into());
    }
    if let Some(reason) = &facts.expect.orphans
        && others
        && orphan != Orphan::None
        && orphan.name() != reason
    {
        return Some(format!("stopped with {held} locks held, reason {orphan}, not {reason}"));
    }
    if since == 0 {
        return None;
    }
    if facts.stop != Stop::Deferred {
        return Some("deferred by a policy that does not defer".into());
    }
    let first = match slot.first() {
        Ok(Some(first)) => first,
        Ok(None) => return Some("deferred, and nothing of its first signal is kept".into()),
        Err(error) => return Some(error.to_string()),
    };
    let wanted = slot.cpu as u64 ^ facts.nonce;
    let works = facts.symbols.range("workload").is_some_and(|range| range.contains(&first.pc));
    if works && first.witness != wanted {
        return Some(format!("at its first signal {:016x}, not {wanted:016x}", first.witness));
    }
    if !facts.symbols.range("text").is_some_and(|range| range.contains(&first.pc)) {
        return Some(format!("at its first signal it was at {:#x}, which is no code", first.pc));
    }
    None
}
