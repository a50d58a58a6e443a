//! The emergency console.
//!
//! Questions for the porter:
//! * Which device takes bytes when nothing else works, and how long may one byte take at most?
//! * Does the terminal want `\r` before `\n`? Is there input, and does it interrupt?
//!
//! Answers:
//! * `arch-x86_64/src/console.rs`: `write`, `read`, `through_firmware`, `raise_receive_interrupt`, `enable_receive_interrupt`
//! * `arch-ppc64/src/console.rs`: `write`, `read`, `through_firmware`, `raise_receive_interrupt`, `enable_receive_interrupt`

use crate::Port;
use hal::Unsupported;
use hal::console::EmergencyConsole;

impl EmergencyConsole for Port {
    /// Takes no byte, and says so by its count.
    fn write(&self, _bytes: &[u8]) -> usize {
        0
    }

    fn read(&self) -> Option<u8> {
        None
    }
}

/// From here on the emergency console goes through the machine's firmware, for tests of what firmware bears.
pub fn through_firmware() -> Result<(), Unsupported> {
    Err(Unsupported::new("this port's firmware has no console"))
}

/// Lets the console's device ask for an interrupt when a byte is typed, and changes nothing about whether anybody
/// gets it: so that a kernel can find out what the one before it has left unmasked.
pub fn raise_receive_interrupt() {}

/// Lets a typed byte interrupt the boot CPU.
pub fn enable_receive_interrupt() -> Result<(), Unsupported> {
    Err(Unsupported::new("this port has no console input"))
}
