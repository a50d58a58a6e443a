//! What the panicking kernel left behind for the one after it.

use crash_record::event::Stream;

use super::{Check, Facts};

/// The capture kernel, with interrupts on and a byte typed on the console of the first, got as many interrupts that it
/// did not ask for as it was to get.
pub fn stray(name: &'static str, facts: &Facts) -> Check {
    let Some(expected) = facts.expect.stray else {
        return Check::none(name, "the scenario does not count them");
    };
    if !facts.capture() {
        return Check::none(name, "no capture kernel in this run");
    }
    let expected = format!("{expected} stray interrupts");
    let Some(event) = facts.evidence.log.first(Stream::Capture, "stray") else {
        return facts.missing(name, &expected);
    };
    if event.text("heard") != "true" {
        return Check::fail(name, "a typed byte that arrives", "the capture kernel saw none");
    }
    Check::equal(name, expected, format!("{} stray interrupts", event.text("count")))
}
