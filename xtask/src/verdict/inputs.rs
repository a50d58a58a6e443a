//! What the runner was to do to the guest.

use super::{Check, Facts};
use crate::qemu::Fate;

/// Every input of the scenario was given, and the emulator did not object: what is said to have been survived has
/// happened.
pub fn inputs(name: &'static str, facts: &Facts) -> Check {
    let inputs = &facts.evidence.inputs;
    if inputs.is_empty() {
        return Check::none(name, "the scenario has none");
    }
    let expected = "every input given when its event came";
    // What waits for a kernel that is not to run does not have its turn.
    let meant = |after: &str| facts.capture() || !after.starts_with("capture/");
    let mut faults = Vec::new();
    for input in inputs.iter().filter(|input| meant(&input.after)) {
        match &input.fate {
            Fate::Waits if facts.given_up() => return facts.missing(name, expected),
            Fate::Waits => faults.push(format!("`{}` did not come", input.after)),
            Fate::Refused(why) => faults.push(format!("after `{}` the emulator refused: {why}", input.after)),
            Fate::TooLate => faults.push(format!("`{}` came too late for it", input.after)),
            Fate::Given | Fate::Asked(_) => {}
        }
    }
    let given = inputs.iter().filter(|input| input.fate != Fate::Waits).count();
    Check::without_faults(name, expected, faults, format!("{given} given"))
}
