//! Reset and power, through RTAS.

#![cfg(mayday_metal)]

use crate::clock::wait;
use crate::rtas::service::{OsTerm, PowerOff, Rtas, SystemReboot};
use crate::rtas::{self, RtasError};
use hal::Unsupported;
use hal::firmware::{Firmware, FirmwareError};

/// How long a service that reported success may take until the machine is gone: 10 s. Hypervisors act
/// on the request while the caller goes on.
const LINGER_NS: u64 = 10_000_000_000;

/// RTAS as the way to reset and power.
#[derive(Clone, Copy, Debug)]
pub struct RtasFirmware;

/// What `ibm,os-term` reports to the hypervisor. Static: firmware gets its address.
static TERMINATION: [u8; 20] = *b"mayday test failed\0\0";

fn leave<S: Rtas>(arguments: &[u32]) -> FirmwareError {
    if rtas::services().is_none() {
        return FirmwareError::Unsupported(Unsupported::new("firmware has no RTAS"));
    }
    match rtas::call::<S>(arguments, &mut []) {
        Ok(()) => {
            wait(LINGER_NS, || false);
            FirmwareError::Returned(0)
        }
        Err(RtasError::NotAvailable) => {
            FirmwareError::Unsupported(Unsupported::new("RTAS lacks this service"))
        }
        Err(RtasError::Forbidden(_)) => {
            FirmwareError::Unsupported(Unsupported::new("RTAS may not be called now: its rules forbid it"))
        }
        Err(RtasError::Status(status)) => FirmwareError::Returned(i64::from(status)),
    }
}

impl Firmware for RtasFirmware {
    /// `system-reboot`. Bound: 10 s after the service returns.
    fn reboot(&self) -> FirmwareError {
        leave::<SystemReboot>(&[])
    }

    /// `power-off` with no power-on mask. Bound: 10 s after the service returns.
    fn power_off(&self) -> FirmwareError {
        leave::<PowerOff>(&[u32::MAX, u32::MAX])
    }

    /// There is no exit device: success is `power-off`, failure `ibm,os-term`, which the emulator
    /// reports as a guest panic.
    fn emulator_exit(&self, success: bool) -> FirmwareError {
        if success {
            return self.power_off();
        }
        leave::<OsTerm>(&[(&raw const TERMINATION) as u64 as u32])
    }
}
