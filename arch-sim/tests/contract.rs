//! What the HAL promises, asked of the simulated machine; and of machines that break a promise.

use arch_sim::contract::{Checked, check};
use arch_sim::faults::{Call, Faults, Lie, What};
use arch_sim::scenario::Scenario;

use hal::contract::Verdict;

fn broken(checked: &[Checked]) -> Vec<(&'static str, String)> {
    let broken = |checked: &Checked| match checked.verdict {
        Some(Verdict::Held | Verdict::Unsupported(_)) => None,
        Some(verdict) => Some((checked.name, verdict.to_string())),
        None => Some((checked.name, "was not made".into())),
    };
    checked.iter().filter_map(broken).collect()
}

#[test]
fn the_simulated_machine_keeps_every_promise() {
    let checked = check(20, |scenario| scenario);
    assert_eq!(broken(&checked), []);
    assert!(checked.iter().all(|check| check.runs >= 20), "{checked:?}");
    let kept = checked.iter().filter(|check| check.verdict == Some(Verdict::Held)).count();
    assert_eq!(kept, checked.len() - 1, "all but what a coroutine does not have");
}

/// The promises that a machine with this fault breaks, by name.
fn breaks(alter: fn(Scenario) -> Scenario) -> Vec<&'static str> {
    broken(&check(6, alter)).into_iter().map(|(name, _)| name).collect()
}

#[test]
fn a_machine_whose_nmi_is_maskable_and_says_so_keeps_every_promise() {
    let maskable = breaks(|scenario| scenario.faults(Faults { maskable_nmi: true, ..Faults::NONE }));
    assert!(maskable.is_empty(), "{maskable:?}");
}

#[test]
fn a_machine_that_never_has_its_image_is_caught() {
    let missing = breaks(|scenario| scenario.faults(Faults { no_image: true, ..Faults::NONE }));
    assert_eq!(missing, ["image-is-verified"]);
}

#[test]
fn a_machine_that_lies_is_caught_by_name() {
    let back = breaks(|scenario| scenario.faults(Faults::NONE.with(Call::Clock, 500, What::Dropped)));
    assert_eq!(back, ["clock-never-back", "clock-across-cpus"]);
    let stands = breaks(|scenario| scenario.faults(Faults { clock_stops: 1, ..Faults::NONE }));
    assert!(stands.contains(&"clock-moves"), "{stands:?}");
    let skipped = breaks(|scenario| scenario.faults(Faults::NONE.with(Call::Nmi, 0, What::Dropped)));
    assert_eq!(skipped, ["nmi-arrives-once", "nmi-after-unblock"]);
    let skipped = breaks(|scenario| scenario.faults(Faults::NONE.with(Call::Ipi, 0, What::Dropped)));
    assert_eq!(skipped, ["ipi-arrives-once"]);
    let unarmed = breaks(|scenario| scenario.faults(Faults::NONE.with(Call::Arm, 0, What::Dropped)));
    assert_eq!(unarmed, ["timer-comes-once"]);
    let early = breaks(|scenario| scenario.faults(Faults { early_timer: true, ..Faults::NONE }));
    assert_eq!(early, ["timer-comes-once", "timer-is-set-anew"]);
    let digest = breaks(|scenario| scenario.faults(Faults { bad_digest: true, ..Faults::NONE }));
    assert_eq!(digest, ["image-is-verified"]);
    let store = breaks(|scenario| scenario.faults(Faults::NONE.with(Call::Store, 0, What::Dropped)));
    assert_eq!(store, ["store-keeps"]);
}

/// The promises that were looked at and found broken: one that was not made proves nothing.
fn found(alter: fn(Scenario) -> Scenario) -> Vec<&'static str> {
    let checked = check(6, alter);
    let broken = checked.iter().filter(|checked| matches!(checked.verdict, Some(Verdict::Broken(_))));
    broken.map(|checked| checked.name).collect()
}

/// A machine that does not tell the truth about one thing, and the promise that it breaks.
macro_rules! lies {
    ($($lie:ident breaks $name:literal,)*) => {
        [$((found(|scenario| scenario.faults(Faults { lie: Some(Lie::$lie), ..Faults::NONE })), $name)),*]
    };
}

#[test]
fn every_promise_has_a_machine_that_breaks_it() {
    let lies = lies![
        Name breaks "name-fits",
        Number breaks "number-is-boot",
        Written breaks "console-takes-lines",
        Read breaks "console-does-not-wait",
        Reason breaks "reasons-are-given",
        Capture breaks "capture-is-here",
        Mask breaks "mask-stays",
        NumberOfOne breaks "number-of-each",
        Ipi breaks "ipi-is-as-strong-as-said",
        Nesting breaks "nmi-in-nmi",
        Park breaks "park-holds",
        TakenBack breaks "timer-is-taken-back",
    ];
    for (found, name) in &lies {
        assert!(found.contains(name), "{name}: {found:?}");
    }
    let mut seen: Vec<_> = lies.iter().map(|(_, name)| *name).collect();
    seen.extend(found(|scenario| {
        scenario.faults(Faults { maskable_nmi: true, lie: Some(Lie::Nmi), ..Faults::NONE })
    }));
    seen.extend(found(|scenario| scenario.faults(Faults::NONE.with(Call::Clock, 500, What::Dropped))));
    seen.extend(found(|scenario| scenario.faults(Faults::NONE.with(Call::Nmi, 0, What::Dropped))));
    seen.extend(found(|scenario| scenario.faults(Faults::NONE.with(Call::Ipi, 0, What::Dropped))));
    seen.extend(found(|scenario| scenario.faults(Faults { early_timer: true, ..Faults::NONE })));
    seen.extend(found(|scenario| scenario.faults(Faults { no_image: true, ..Faults::NONE })));
    seen.extend(found(|scenario| scenario.faults(Faults::NONE.with(Call::Store, 0, What::Dropped))));
    // A coroutine has one stack, and a run is over before a clock has stood still for long enough: mutants
    // `port-has-one-panic-stack` and `port-clock-stands-still`.
    seen.extend(["stacks-are-apart", "clock-moves"]);
    let all: Vec<_> = check(1, |scenario| scenario).into_iter().map(|check| check.name).collect();
    let unbroken = all.iter().filter(|name| !seen.contains(name));
    assert_eq!(unbroken.collect::<Vec<_>>(), Vec::<&&str>::new());
}
