//! Reset and power, through the machine's firmware.

use crate::Unsupported;

/// A firmware call that came back although it should not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirmwareError {
    /// This machine has no such service.
    Unsupported(Unsupported),
    /// The service returned; the value is the port's own status code.
    Returned(i64),
}

/// What the final action asks of firmware. Each call either ends this kernel's life or says why not;
/// the sequence then tries the next link of its chain, and stops the CPU as the last one.
pub trait Firmware {
    /// Restarts the machine.
    ///
    /// # Before
    /// Interrupts masked. Others stopped, or named as missing.
    ///
    /// # After
    /// Returns only when it failed, within the port's stated bound.
    fn reboot(&self) -> FirmwareError;

    /// Turns the machine off. Before and after as [`Firmware::reboot`].
    fn power_off(&self) -> FirmwareError;

    /// Ends an emulated run with a status that the emulator reports to its parent, where the
    /// machine has such a device (x86: `isa-debug-exit`). Before and after as [`Firmware::reboot`].
    fn emulator_exit(&self, success: bool) -> FirmwareError;
}
