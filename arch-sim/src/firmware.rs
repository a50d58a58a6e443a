//! Reset and power.

use hal::Unsupported;
use hal::firmware::{Firmware, FirmwareError};

use crate::faults::{Call, Faults};
use crate::oracle::Act;
use crate::platform::{Sim, call, faults};
use crate::services::{Id, Kind, on_the_panic_path};
use crate::world::{End, current, with};
use crate::{bench, scheduler};

/// What firmware says to a service that does not come back where it works.
const REFUSED: FirmwareError = FirmwareError::Returned(-2);

impl Firmware for Sim {
    fn reboot(&self) -> FirmwareError {
        bench::firmware();
        scheduler::hal_call(true);
        with(|world| world.act(Act::Reboot));
        let service = match with(|world| world.scenario.firmware) {
            Some(Kind::Rtas | Kind::Strict) => Some(Id::SystemReboot),
            Some(Kind::Runtime) => Some(Id::ResetSystem),
            Some(Kind::Plain) | None => None,
        };
        if service.is_some_and(|service| on_the_panic_path(service).is_err()) {
            with(|world| world.oracle.firmware.refused = true);
            return REFUSED;
        }
        let only = faults().reboot_only_on;
        let here = only == 0 || Faults::has(only, current());
        if call(Call::Reboot).is_some() || faults().reboot_fails || !here {
            return FirmwareError::Returned(-1);
        }
        scheduler::leave(End::Rebooted)
    }
    fn power_off(&self) -> FirmwareError {
        bench::firmware();
        scheduler::hal_call(true);
        with(|world| world.act(Act::PowerOff));
        let rtas = matches!(with(|world| world.scenario.firmware), Some(Kind::Rtas | Kind::Strict));
        if rtas && on_the_panic_path(Id::PowerOff).is_err() {
            with(|world| world.oracle.firmware.refused = true);
            return REFUSED;
        }
        if call(Call::PowerOff).is_some() || faults().power_fails {
            return FirmwareError::Returned(-1);
        }
        scheduler::leave(End::PoweredOff)
    }
    fn emulator_exit(&self, _: bool) -> FirmwareError {
        FirmwareError::Unsupported(Unsupported::new("a simulation has no emulator"))
    }
}
