//! Secondaries.
//!
//! Questions for the porter:
//! * Where does firmware list the CPUs, and which of them are usable?
//! * How is one started, in which mode does it begin, and how long may it take to answer?
//!
//! Answers:
//! * `arch-x86_64/src/smp.rs`: `count`, `start`, `mayday_secondary`
//! * `arch-ppc64/src/smp.rs`: `count`, `start`, `mayday_secondary`

use crate::Port;
use hal::CpuId;
use hal::smp::{Secondaries, StartError};

impl Secondaries for Port {
    /// The boot CPU alone: the skeleton does not ask firmware.
    fn count(&self) -> usize {
        1
    }

    fn start(&self, _cpu: CpuId) -> Result<(), StartError> {
        Err(StartError::NoSuchCpu)
    }
}
