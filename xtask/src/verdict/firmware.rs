//! What a test's firmware, which knows the rules, has seen: read out of the guest's memory.

use super::record::not_seen;
use super::{Check, Facts};
use crate::qemu::inspect::FirmwareState;

/// Firmware was called by its rules only, was gone on with as if nothing had happened wherever a signal came while it
/// ran, and as many CPUs are inside in the end as were to be.
pub fn firmware(name: &'static str, facts: &Facts) -> Check {
    let Some(inside) = facts.expect.firmware else {
        return Check::none(name, "the scenario does not look at it");
    };
    let expected = format!("no call that it does not bear, no register changed, {inside} CPUs inside");
    let Some(inspection) = facts.inspection() else { return not_seen(name) };
    let Some(state) = &inspection.firmware else {
        return Check::fail(name, expected, "the image has no such firmware");
    };
    let word = |at| state.word(at);
    let mut faults = Vec::new();
    if word(FirmwareState::ARMED) != 1 {
        faults.push("it was never put there".to_owned());
    }
    if word(FirmwareState::VIOLATIONS) != 0 {
        let last = word(FirmwareState::LAST_VIOLATION);
        faults.push(format!(
            "{} calls that it does not bear, the last one {:#x} beside {:#x}",
            word(FirmwareState::VIOLATIONS),
            last >> 32,
            last as u32
        ));
    }
    if word(FirmwareState::DISTURBED) != 0 {
        faults.push(format!("registers changed in {} calls", word(FirmwareState::DISTURBED)));
    }
    let whole = word(FirmwareState::UNDISTURBED);
    if whole == 0 && facts.expect.deferred == Some(true) && inside == 0 {
        faults.push("no call came to its end".to_owned());
    }
    if state.inside() != inside as usize {
        faults.push(format!("{} CPUs are inside", state.inside()));
    }
    Check::without_faults(
        name,
        &expected,
        faults,
        format!("{inside} CPUs inside, {whole} calls to their end"),
    )
}
