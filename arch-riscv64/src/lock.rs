//! This machine, as locks see it that know their holder.

#![cfg(mayday_metal)]

use crate::platform::{PORT, Port};
use crash_lock::{Domain, Kernel};
use hal::CpuId;
use hal::cpu::Cpu;

/// Which CPU holds what.
static DOMAIN: Domain = Domain::new();

/// Which CPU holds what; the kernel hands it to the panic sequence.
pub const fn domain() -> &'static Domain {
    &DOMAIN
}

impl Kernel for Port {
    /// Nothing moves code between CPUs here.
    type Pin = ();

    /// A tenth of a second on the emulator, less on hardware.
    const PATIENCE: u32 = 100_000;

    #[inline]
    fn pin() {}

    #[inline]
    fn current() -> CpuId {
        PORT.current()
    }

    #[inline]
    fn domain() -> &'static Domain {
        &DOMAIN
    }

    fn relax() {
        PORT.relax();
    }
}
