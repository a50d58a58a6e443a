//! The timer that arrives as an NMI at the CPU that armed it.

use hal::nmi::{SignalError, Strength};
use hal::timer::DeadlineTimer;

use crate::faults::{Call, Lie, What};
use crate::platform::{Sim, call, lies};
use crate::scheduler;
use crate::world::with;

fn set(after_ns: u64) {
    with(|world| {
        // A clock that is ahead of the one that deadlines are measured by: so far that ticks can tell.
        let after_ns = if world.scenario.faults.early_timer { after_ns / 2 } else { after_ns };
        world.me().timer = Some(world.now + after_ns);
    });
}

impl DeadlineTimer for Sim {
    fn arm(&self, after_ns: u64) -> Result<Strength, SignalError> {
        scheduler::hal_call(false);
        match call(Call::Arm) {
            Some(What::Garbage) => return Err(SignalError::Busy),
            Some(_) => {}
            None => set(after_ns),
        }
        Ok(Strength::NonMaskable)
    }
    fn extend(&self, after_ns: u64) {
        // A store or two, in an NMI handler: there is nothing in it to hang in.
        scheduler::hal_call(false);
        set(after_ns);
    }
    fn disarm(&self) {
        if !lies(Lie::TakenBack) {
            with(|world| world.me().timer = None);
        }
        scheduler::hal_call(false);
    }
}
