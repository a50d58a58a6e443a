//! Secondaries: counted, and not started yet.

#![cfg(mayday_metal)]

use crate::{Port, boot};
use hal::CpuId;
use hal::smp::{Secondaries, StartError};

/// SBI's "not supported", which is what this port is.
const NOT_SUPPORTED: i64 = -2;

impl Secondaries for Port {
    fn count(&self) -> usize {
        boot::machine().map_or(1, |machine| machine.harts().len())
    }

    /// `Refused(-2)`: this port does not know how.
    fn start(&self, cpu: CpuId) -> Result<(), StartError> {
        if cpu.index() < self.count() {
            Err(StartError::Refused(NOT_SUPPORTED))
        } else {
            Err(StartError::NoSuchCpu)
        }
    }
}
