//! What a lock costs that nobody else wants, as the kernel measured it at boot.

use crash_record::event::Stream;

use super::{Check, Facts};

/// A lock and an unlock of the lock that knows its holder take no longer than the scenario allows. Where the guest's
/// clock counts instructions, so does this.
pub fn lock_price(name: &'static str, facts: &Facts) -> Check {
    let Some(most) = facts.expect.lock_price else {
        return Check::none(name, "the scenario sets no price");
    };
    let expected = format!("at most {most} ns");
    let Some(bench) = facts.evidence.log.first(Stream::Boot, "bench") else {
        return facts.missing(name, &expected);
    };
    let numbers = ["rounds", "empty", "plain", "crash"].map(|key| bench.number(key));
    let [Some(rounds @ 1..), Some(empty), Some(plain), Some(crash)] = numbers else {
        return Check::fail(name, expected, "figures that are none");
    };
    let [plain, crash] = [plain, crash].map(|all| (all.saturating_sub(empty) + rounds / 2) / rounds);
    let found = format!("{crash} ns for a lock and an unlock, {plain} ns for those of an ordinary lock");
    if crash <= most && crash > 0 { Check::ok(name, found) } else { Check::fail(name, expected, found) }
}
