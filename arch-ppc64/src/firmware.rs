//! Reset and power, through RTAS.

#![cfg(mayday_metal)]

use crate::clock::{ticks_in_us, wait};
use crate::rtas::service::{GetTimeOfDay, IntOff, OsTerm, PowerOff, Rtas, SetXive, SystemReboot};
use crate::rtas::{self, RtasError, shim};
use crate::{boot, xics};
use hal::Unsupported;
use hal::firmware::{Firmware, FirmwareError};
use hal::testload::{FirmwareService, FirmwareTest};

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

/// Puts a firmware in front of RTAS that takes its time and knows who is inside, for tests.
pub fn arm(test: &FirmwareTest) -> Result<(), Unsupported> {
    let services = rtas::services().ok_or(Unsupported::new("firmware has no RTAS"))?;
    let machine = boot::machine().ok_or(Unsupported::new("the device tree was not read yet"))?;
    let token = match test.slow {
        Some(FirmwareService::Clock) => GetTimeOfDay::token(services),
        Some(FirmwareService::Mask) => IntOff::token(services),
        Some(FirmwareService::Route) => SetXive::token(services),
        None => Some(0),
    };
    let token = token.ok_or(Unsupported::new("RTAS lacks that service"))?;
    let own = machine.cpus().iter().enumerate().filter(|(cpu, _)| test.cpus & 1 << *cpu != 0);
    let cpus = own.fold(0, |cpus, (_, hardware_id)| cpus | 1 << (*hardware_id & 15));
    shim::arm(services, token, test.us.map_or(u64::MAX, ticks_in_us), cpus);
    Ok(())
}

/// Calls a service, for tests: by the rules of the panic path on its owner. The reason, where it is not called.
pub fn call(service: FirmwareService) -> Result<(), &'static str> {
    let done = match service {
        FirmwareService::Clock => rtas::call::<GetTimeOfDay>(&[], &mut [0; 7]),
        FirmwareService::Mask => rtas::call::<IntOff>(&[xics::NOBODYS_SOURCE], &mut []),
        FirmwareService::Route => rtas::call::<SetXive>(&[xics::NOBODYS_SOURCE, 0, xics::MASKED], &mut []),
    };
    match done {
        Ok(()) => Ok(()),
        Err(RtasError::NotAvailable) => Err("RTAS lacks this service"),
        Err(RtasError::Status(_)) => Err("the service failed"),
        Err(RtasError::Forbidden(_)) => Err("RTAS may not be called now: its rules forbid it"),
    }
}

/// Whether a CPU is in the middle of a service that takes its time.
pub fn dwelling() -> bool {
    shim::dwelling()
}

/// Takes the lock in front of RTAS and never gives it back, for tests.
pub fn hold() {
    rtas::hold();
}
