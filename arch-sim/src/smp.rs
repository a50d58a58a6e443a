//! The set of CPUs. They are all there from the start; a scenario says which come up late.

use hal::CpuId;
use hal::smp::{Secondaries, StartError};

use crate::MAX_CPUS;
use crate::platform::Sim;
use crate::world::with;

impl Secondaries for Sim {
    fn count(&self) -> usize {
        with(|world| world.count).unwrap_or(MAX_CPUS)
    }
    fn start(&self, cpu: CpuId) -> Result<(), StartError> {
        if cpu.index() < self.count() { Ok(()) } else { Err(StartError::NoSuchCpu) }
    }
}
