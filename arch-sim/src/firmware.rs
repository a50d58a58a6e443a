//! Reset and power.

use hal::Unsupported;
use hal::firmware::{Firmware, FirmwareError};

use crate::faults::{Call, Faults};
use crate::oracle::Act;
use crate::platform::{Sim, call, faults};
use crate::scheduler;
use crate::world::{End, current, with};

impl Firmware for Sim {
    fn reboot(&self) -> FirmwareError {
        scheduler::hal_call(true);
        with(|world| world.act(Act::Reboot));
        let only = faults().reboot_only_on;
        let here = only == 0 || Faults::has(only, current());
        if call(Call::Reboot).is_some() || faults().reboot_fails || !here {
            return FirmwareError::Returned(-1);
        }
        scheduler::leave(End::Rebooted)
    }
    fn power_off(&self) -> FirmwareError {
        scheduler::hal_call(true);
        with(|world| world.act(Act::PowerOff));
        if call(Call::PowerOff).is_some() || faults().power_fails {
            return FirmwareError::Returned(-1);
        }
        scheduler::leave(End::PoweredOff)
    }
    fn emulator_exit(&self, _: bool) -> FirmwareError {
        FirmwareError::Unsupported(Unsupported::new("a simulation has no emulator"))
    }
}
