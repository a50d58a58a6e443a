//! Reset and power off, through what ACPI names, and QEMU's exit device.
//!
//! Source: ACPI 6.5 §4.8.3.6 (reset register), §4.8.3.2.1 (PM1 control); ICH9 datasheet 13.7.5
//! (port 0xCF9).

use crate::boot;
use crate::platform::{PORT, Port};
use hal::Unsupported;
use hal::clock::Clock;
use hal::firmware::{Firmware, FirmwareError};
use hal::testload::{FirmwareService, FirmwareTest};
use x86_64::instructions::port::Port as IoPort;

/// SLP_EN in a PM1 control register; SLP_TYP is bits 10-12.
const SLEEP_ENABLE: u16 = 1 << 13;
/// How long each attempt has, in nanoseconds: a reset takes effect within microseconds, or when a busy
/// emulator gets to it. All attempts together have to stay below the second that a final action has.
const ATTEMPT_NS: u64 = 250_000_000;
/// Bound on the same wait if the clock does not run.
const ATTEMPT_POLLS: u32 = 5_000_000;

fn out(port: u16, value: u8) {
    // SAFETY: the reset and exit ports end this kernel's life; that is what the caller wants.
    unsafe { IoPort::new(port).write(value) };
}

fn wait() {
    let end = PORT.now_ns().saturating_add(ATTEMPT_NS);
    for _ in 0..ATTEMPT_POLLS {
        if PORT.now_ns() >= end {
            return;
        }
        core::hint::spin_loop();
    }
}

impl Firmware for Port {
    /// The FADT's reset register, port 0xCF9, the keyboard controller; each has 250 ms.
    /// `Returned` carries how many were tried.
    fn reboot(&self) -> FirmwareError {
        let mut tried = 0;
        if let Some(reset) = boot::machine().and_then(|machine| machine.fadt.ok()?.reset) {
            out(reset.port, reset.value);
            wait();
            tried += 1;
        }
        out(0xCF9, 0x02);
        out(0xCF9, 0x0E);
        wait();
        out(0x64, 0xFE);
        wait();
        FirmwareError::Returned(tried + 2)
    }

    /// SLP_TYP of `\_S5_` and SLP_EN to PM1a control. `Returned` carries the value written.
    fn power_off(&self) -> FirmwareError {
        let Some(machine) = boot::machine() else {
            return FirmwareError::Unsupported(Unsupported::new("the machine's tables were not read"));
        };
        let Some(port) = machine.fadt.ok().and_then(|fadt| fadt.pm1a_control) else {
            return FirmwareError::Unsupported(Unsupported::new("the FADT names no PM1a control port"));
        };
        let Ok(sleep_type) = machine.soft_off else {
            return FirmwareError::Unsupported(Unsupported::new("the DSDT has no readable _S5_ package"));
        };
        let value = u16::from(sleep_type) << 10 | SLEEP_ENABLE;
        // SAFETY: as in `out`.
        unsafe { IoPort::new(port).write(value) };
        wait();
        FirmwareError::Returned(i64::from(value))
    }

    /// QEMU's `isa-debug-exit` at port 0xF4: exit status 33 for success, 35 for failure.
    fn emulator_exit(&self, success: bool) -> FirmwareError {
        let value = if success { 0x10 } else { 0x11 };
        // SAFETY: as in `out`; without the device nothing answers at this port.
        unsafe { IoPort::<u32>::new(0xF4).write(value) };
        wait();
        FirmwareError::Returned(i64::from(value))
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

const NONE: Unsupported = Unsupported::new("firmware is not called under a lock here");
