//! This machine, as locks see it that know their holder.
//!
//! Questions for the porter:
//! * Can code that holds a lock be moved to another CPU? Then `Pin` keeps it where it is.
//! * How long is [`Kernel::PATIENCE`] in time? The owner waits that often for a CPU that may still run.
//!
//! Answers:
//! * `arch-x86_64/src/lock.rs`: `domain`, `pin`, `current`, `relax`
//! * `arch-ppc64/src/lock.rs`: `domain`, `pin`, `current`, `relax`

use crate::platform::Port;
use crash_lock::{Domain, Kernel};
use hal::CpuId;

static DOMAIN: Domain = Domain::new();

/// Which CPU holds what; the kernel hands it to the panic sequence.
pub const fn domain() -> &'static Domain {
    &DOMAIN
}

impl Kernel for Port {
    type Pin = ();

    const PATIENCE: u32 = 100_000;

    fn pin() {}

    /// There is one.
    fn current() -> CpuId {
        CpuId::BOOT
    }

    fn domain() -> &'static Domain {
        &DOMAIN
    }

    fn relax() {
        core::hint::spin_loop();
    }
}
