//! Time: moves only when somebody waits and the scheduler says so.

use hal::clock::Clock;

use crate::faults::{Call, What};
use crate::platform::{Sim, call};
use crate::world::with;
use crate::{bench, scheduler};

impl Clock for Sim {
    /// A tenth of a tick: several polls between two ticks are possible, since a wait also ends when
    /// something changed.
    const LEAST_ITERATION_NS: u64 = crate::world::TICK_NS / 10;

    fn now_ns(&self) -> u64 {
        // A reading commutes with everything but the passing of time.
        let shared = with(|world| world.ticks_left > 0 || world.leaps_left > 0) == Some(true);
        scheduler::hal_call(shared);
        bench::count();
        let wrong = call(Call::Clock);
        with(|world| match wrong {
            // A jump ahead for one reading, or back to where it was at the start.
            Some(What::Garbage) => world.shown + 3_600_000_000_000,
            Some(_) => 1_000,
            None => world.shown,
        })
        .unwrap_or(0)
    }
}
