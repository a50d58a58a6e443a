//! Reset and power.
//!
//! Questions for the porter:
//! * Which call resets, which powers off, how long may each take before it counts as failed?
//! * Can the emulator be told an exit status? May firmware be called while another CPU was stopped inside it?

use crate::Absent;
use hal::firmware::{Firmware, FirmwareError};

impl Firmware for Absent {
    fn reboot(&self) -> FirmwareError {
        match *self {}
    }

    fn power_off(&self) -> FirmwareError {
        match *self {}
    }

    fn emulator_exit(&self, _success: bool) -> FirmwareError {
        match *self {}
    }
}
