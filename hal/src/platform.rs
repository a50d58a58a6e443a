//! The composite that `core-panic` is generic over.

use crate::Unsupported;
use crate::clock::Clock;
use crate::console::EmergencyConsole;
use crate::cpu::Cpu;
use crate::firmware::Firmware;
use crate::ipi::Ipi;
use crate::kexec::Kexec;
use crate::nmi::Nmi;
use crate::registers::{Registers, Snapshot};
use crate::stack::PanicStacks;
use crate::store::Store;
use crate::timer::DeadlineTimer;

/// A machine as the panic path sees it.
///
/// What every machine has is a supertrait or a plain accessor. What a machine may lack is reached
/// through a `Result`: a port that has no NMI returns [`Unsupported`] from [`Platform::nmi`], and
/// the stop ladder records that the rung does not exist.
///
/// A platform value is a handle: cheap to hold, the same on every CPU.
pub trait Platform: Cpu + Clock + EmergencyConsole + PanicStacks + Sized + Sync + 'static {
    /// The register set that traps of this machine save.
    type Registers: Registers;
    /// Maskable inter-processor interrupts.
    type Ipi: Ipi;
    /// Non-maskable inter-processor interrupts.
    type Nmi: Nmi;
    /// The jump into a crash image.
    type Kexec: Kexec;
    /// Reset and power through the machine's firmware.
    type Firmware: Firmware;
    /// A timer that arrives as an NMI.
    type Timer: DeadlineTimer;
    /// Storage that outlives the kernel.
    type Store: Store;

    /// Short machine name as in the folder `arch-NAME`, at most 16 bytes of ASCII.
    fn name(&self) -> &'static str;

    /// The registers of the caller, as a trap here would have saved them: for a panic that no trap
    /// brought about. `pc` is in the caller, callee-saved registers are exact, the others may hold
    /// what the call left in them.
    fn capture(&self) -> Snapshot<Self::Registers>;

    /// The maskable IPI, or why there is none.
    fn ipi(&self) -> Result<&Self::Ipi, Unsupported>;
    /// The NMI, or why there is none.
    fn nmi(&self) -> Result<&Self::Nmi, Unsupported>;
    /// The crash image and the jump into it, or why there is none. A machine that *could* kexec but
    /// was given no image is `Ok`: the absence of an image is [`crate::kexec::KexecError::NoImage`].
    fn kexec(&self) -> Result<&Self::Kexec, Unsupported>;
    /// The timer that arrives as an NMI, or why there is none.
    fn timer(&self) -> Result<&Self::Timer, Unsupported>;
    /// Reset and power, or why there is none.
    fn firmware(&self) -> Result<&Self::Firmware, Unsupported>;
    /// Storage that outlives the kernel, or why there is none.
    fn store(&self) -> Result<&Self::Store, Unsupported>;
}
