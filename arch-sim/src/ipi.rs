//! The stop IPI: one pending per CPU, taken with interrupts on.

use hal::CpuId;
use hal::ipi::Ipi;
use hal::nmi::{SignalError, Strength};

use crate::faults::{Call, Lie, What};
use crate::oracle::Act;
use crate::platform::{Sim, call, lies};
use crate::scheduler;
use crate::world::with;

impl Ipi for Sim {
    fn send_stop(&self, target: CpuId) -> Result<Strength, SignalError> {
        scheduler::hal_call(true);
        with(|world| world.act(Act::Signal(target.index() as u8)));
        match call(Call::Ipi) {
            Some(What::Garbage) => return Err(SignalError::Busy),
            Some(_) => {}
            None => {
                with(|world| world.cpus[target.index() % crate::MAX_CPUS].ipi_pending = true);
            }
        }
        Ok(if lies(Lie::Ipi) { Strength::NonMaskable } else { Strength::Maskable })
    }
    fn send_nudge(&self, _: CpuId) -> Result<Strength, SignalError> {
        Ok(Strength::Maskable)
    }
}
