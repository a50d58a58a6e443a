//! The services of RTAS that this port calls, each with its class in its type.
//!
//! Classes by LoPAR: "RTAS Critical Regions", R1–7, for what handlers of machine checks and system resets may call
//! beside anything, and `ibm,os-term`'s own R1–3; the External Interrupt services for what bears itself. Everything
//! else is serialized. Why bearing itself does not mean bearing the others, is told in [`crash_lock::firmware`].

use super::Services;
use crash_lock::firmware::{Class, Service};

/// A service, and where its token is.
pub trait Rtas: Service {
    /// The token, if firmware has the service.
    fn token(services: &Services) -> Option<u32>;
}

macro_rules! services {
    ($($(#[$doc:meta])* $type:ident = $number:literal, $name:literal, $class:ident, $token:ident;)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug)]
            pub enum $type {}
            impl Service for $type {
                const NAME: &'static str = $name;
                const NUMBER: u32 = $number;
                const CLASS: Class = Class::$class;
            }
            impl Rtas for $type {
                fn token(services: &Services) -> Option<u32> {
                    services.$token
                }
            }
        )*
        /// Number and name of each.
        pub const ALL: &[(u32, &str)] = &[$(($number, $name)),*];
    };
}

services! {
    /// Starts a CPU. `stop-self` and this one are serialized with each other; both are with everything here.
    StartCpu = 1, "start-cpu", Serialized, start_cpu;
    /// Turns the machine off.
    PowerOff = 2, "power-off", CriticalRegionExempt, power_off;
    /// Restarts the machine.
    SystemReboot = 3, "system-reboot", CriticalRegionExempt, system_reboot;
    /// Tells the hypervisor that this system ended.
    OsTerm = 4, "ibm,os-term", CriticalRegionExempt, os_term;
    /// Routes an interrupt source.
    SetXive = 5, "ibm,set-xive", SelfReentrant, set_xive;
    /// Lets a source in.
    IntOn = 6, "ibm,int-on", SelfReentrant, int_on;
    /// Masks a source.
    IntOff = 7, "ibm,int-off", SelfReentrant, int_off;
    /// Reads from NVRAM.
    NvramFetch = 8, "nvram-fetch", CriticalRegionExempt, nvram_fetch;
    /// Writes to NVRAM.
    NvramStore = 9, "nvram-store", CriticalRegionExempt, nvram_store;
    /// What time it is.
    GetTimeOfDay = 10, "get-time-of-day", Serialized, get_time_of_day;
    /// Writes a byte to the operator's terminal.
    DisplayCharacter = 11, "display-character", CriticalRegionExempt, display_character;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_tell_services_apart() {
        for (place, (number, _)) in ALL.iter().enumerate() {
            assert_eq!(*number as usize, place + 1, "from 1, without gaps");
        }
    }

    #[test]
    fn the_interrupt_services_are_not_exempt() {
        for class in [SetXive::CLASS, IntOn::CLASS, IntOff::CLASS] {
            assert_eq!(class, Class::SelfReentrant);
        }
    }
}
