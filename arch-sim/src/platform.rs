//! The composite: what this machine has, under what the scenario takes away.

use hal::registers::Snapshot;
use hal::{Platform, Unsupported};

use crate::faults::{Call, Faults, Lie, What};
use crate::registers::{Regs, snapshot};
use crate::world::with;
use crate::{scheduler, trap};

/// The simulated machine: a handle; the machine itself belongs to the world that runs.
pub struct Sim;

/// The simulated machine.
pub static SIM: Sim = Sim;

/// What is wrong with this machine.
pub(crate) fn faults() -> Faults {
    with(|world| world.scenario.faults).unwrap_or_default()
}

/// Whether this machine lies about that.
pub(crate) fn lies(about: Lie) -> bool {
    faults().lie == Some(about)
}

/// A call is made: what goes wrong in it that its caller has to answer for. What hangs or faults does
/// not come back.
pub(crate) fn call(call: Call) -> Option<What> {
    match with(|world| world.call(call)).flatten()? {
        What::Hang => scheduler::hang(),
        what @ (What::Garbage | What::Dropped) => Some(what),
        what => trap::fault(what),
    }
}

fn unless(missing: bool, reason: &'static str) -> Result<&'static Sim, Unsupported> {
    if missing { Err(Unsupported::new(reason)) } else { Ok(&SIM) }
}

impl Platform for Sim {
    type Registers = Regs;
    type Ipi = Sim;
    type Nmi = Sim;
    type Kexec = Sim;
    type Firmware = Sim;
    type Timer = Sim;
    type Store = Sim;

    fn name(&self) -> &'static str {
        if lies(Lie::Name) { "simulated machine" } else { "sim" }
    }
    fn capture(&self) -> Snapshot<Regs> {
        let mut snapshot = snapshot();
        if lies(Lie::Capture) {
            snapshot.interrupted = Some((1, 1));
        }
        with(|world| world.oracle.witness(world.current, snapshot.registers.number()));
        snapshot
    }
    fn ipi(&self) -> Result<&Sim, Unsupported> {
        Ok(self)
    }
    fn nmi(&self) -> Result<&Sim, Unsupported> {
        unless(faults().no_nmi, "the scenario has no NMI")
    }
    fn kexec(&self) -> Result<&Sim, Unsupported> {
        Ok(self)
    }
    fn timer(&self) -> Result<&Sim, Unsupported> {
        unless(faults().no_timer || faults().no_nmi, "the scenario has no timer")
    }
    fn firmware(&self) -> Result<&Sim, Unsupported> {
        if lies(Lie::Reason) {
            return Err(Unsupported::new("the scenario\nhas no firmware"));
        }
        unless(faults().no_firmware, "the scenario has no firmware")
    }
    fn store(&self) -> Result<&Sim, Unsupported> {
        unless(faults().no_firmware, "the scenario has no firmware")
    }
}
