//! Reset and power, through SBI, and the exit device of QEMU's `virt`.
//!
//! Source: SBI, "System Reset Extension"; QEMU, `hw/misc/sifive_test.c`.

/// What ends an emulated run with an exit status, written to the exit device: a status of its own for success too, so
/// that no other way to end looks like it.
pub const fn exit_word(success: bool) -> u32 {
    /// "Failed", with a status in the upper half.
    const FAIL: u32 = 0x3333;
    let status = if success { 33 } else { 35 };
    status << 16 | FAIL
}

#[cfg(mayday_metal)]
mod metal {
    use super::exit_word;
    use crate::boot;
    use crate::clock::wait;
    use crate::sbi::{self, Extension};
    use hal::Unsupported;
    use hal::firmware::{Firmware, FirmwareError};
    use hal::testload::{FirmwareService, FirmwareTest};

    /// SBI firmware.
    #[derive(Clone, Copy, Debug)]
    pub struct SbiFirmware;

    /// Types of a system reset.
    const SHUTDOWN: u64 = 0;
    const COLD_REBOOT: u64 = 1;

    /// How long a call that said yes may take to have its effect, in nanoseconds.
    const LINGER_NS: u64 = 500_000_000;

    fn reset(kind: u64) -> FirmwareError {
        if !sbi::has(Extension::SYSTEM_RESET) {
            return FirmwareError::Unsupported(Unsupported::new("firmware has no system reset extension"));
        }
        // The reason is "none": some firmware makes another device state of "system failure" than of a plain end.
        // SAFETY: ends this kernel's life; that is what the caller wants.
        let answer = unsafe { sbi::call(Extension::SYSTEM_RESET, 0, [kind, 0, 0]) };
        if answer.error == 0 {
            wait(LINGER_NS, || false);
        }
        FirmwareError::Returned(answer.error)
    }

    impl Firmware for SbiFirmware {
        /// A cold reboot. Bound: 500 ms after the call returns. `Returned` carries SBI's error.
        fn reboot(&self) -> FirmwareError {
            reset(COLD_REBOOT)
        }

        /// A shutdown. Bound and value as of [`Firmware::reboot`].
        fn power_off(&self) -> FirmwareError {
            reset(SHUTDOWN)
        }

        /// The exit device of QEMU's `virt`: exit status 33 for success, 35 for failure. `Returned` carries the word
        /// that was written.
        fn emulator_exit(&self, success: bool) -> FirmwareError {
            let Some(device) = boot::machine().and_then(|machine| machine.exit_device) else {
                return FirmwareError::Unsupported(Unsupported::new("the device tree names no exit device"));
            };
            let word = exit_word(success);
            // SAFETY: the device's register, mapped or untranslated; the device has no access to memory.
            unsafe { (device as *mut u32).write_volatile(word) };
            wait(LINGER_NS, || false);
            FirmwareError::Returned(i64::from(word))
        }
    }

    /// Puts a firmware in front of the machine's own that takes its time and knows who is inside, for tests.
    pub fn arm(_test: &FirmwareTest) -> Result<(), Unsupported> {
        Err(NONE)
    }

    /// Calls a service, for tests: by the rules of the panic path on its owner. The reason, where it is not called.
    pub fn call(_service: FirmwareService) -> Result<(), &'static str> {
        Err(NONE.reason)
    }

    /// Whether a CPU is in the middle of a service that takes its time.
    pub fn dwelling() -> bool {
        false
    }

    /// Takes the lock in front of firmware and never gives it back, for tests.
    pub fn hold() {}

    const NONE: Unsupported =
        Unsupported::new("SBI may be called by all CPUs at once: there is no lock before it");
}

#[cfg(mayday_metal)]
pub use metal::{SbiFirmware, arm, call, dwelling, hold};

#[cfg(test)]
mod tests {
    use super::exit_word;

    #[test]
    fn the_status_is_in_the_upper_half() {
        assert_eq!((exit_word(true), exit_word(false)), (0x21_3333, 0x23_3333));
    }
}
