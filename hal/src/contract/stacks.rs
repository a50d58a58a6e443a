//! Panic stacks. Whoever enters one does not come back.

use super::report::{Look, holds, verdict};
use super::{Rest, Verdict};
use crate::Platform;

/// Where the executing CPU's stack is just now.
#[inline(never)]
pub fn here() -> usize {
    let place = 0u8;
    core::ptr::from_ref(core::hint::black_box(&place)).addr()
}

/// Closer than this are two places of one stack, whose entry function is the same.
const ONE_STACK: usize = 2048;

/// From stack to stack: `0..=COUNT`, and the last one is the first again.
struct Walk<P: Platform> {
    contract: &'static super::Contract<P>,
    tier: u8,
    at: usize,
    origin: usize,
    number: usize,
    first: usize,
    before: usize,
    /// What a neighbour must leave alone.
    guard: u64,
}

const GUARD: u64 = 0x6d61_7964_6179_2121;

pub fn are_apart<P: Platform>(rest: &Rest<P>) -> ! {
    // From here on it is read from other stacks: this one is left as it is.
    let Rest { contract, tier, at, stack } = *rest;
    let walk = Walk { contract, tier, at, origin: stack, number: 0, first: 0, before: stack, guard: GUARD };
    contract.platform.switch(0, step, &walk)
}

fn step<P: Platform>(walk: &Walk<P>) -> ! {
    let place = here();
    let platform = walk.contract.platform;
    let look = || -> Look {
        holds(walk.guard == GUARD, "the argument of a panic stack's entry is not what was given", None)?;
        holds(place.abs_diff(walk.before) > ONE_STACK, "a panic stack is the stack in use", None)?;
        holds(place.abs_diff(walk.origin) > ONE_STACK, "a panic stack is the caller's", None)?;
        if walk.number == P::COUNT {
            let same = place.abs_diff(walk.first) <= ONE_STACK;
            holds(same, "a panic stack does not start at its top every time", None)?;
        }
        holds(!platform.mask_interrupts(), "interrupts are on after the switch to a panic stack", None)
    };
    let found = verdict(look());
    if found != Verdict::Held || walk.number >= P::COUNT {
        let Walk { contract, tier, at, origin, .. } = *walk;
        Rest { contract, tier, at, stack: origin }.ends(&found)
    }
    let number = walk.number + 1;
    let first = if walk.number == 0 { place } else { walk.first };
    let Walk { contract, tier, at, origin, .. } = *walk;
    let next = Walk { contract, tier, at, origin, number, first, before: place, guard: GUARD };
    platform.switch(number, step, &next)
}
