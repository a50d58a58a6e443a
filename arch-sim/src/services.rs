//! Firmware services, and a firmware that keeps to PAPR: one caller at a time unless the class of the service
//! allows more, each with an argument block of its own. As real firmware does, it bears a service that is
//! re-entrant against itself only beside itself: beside another one its state is corrupted, and whoever is inside
//! then never comes out.
//!
//! The calls are made through [`crash_lock::firmware`], as a port makes them; what firmware bears is written down
//! here once more, and judged by what really is inside.

use crash_lock::firmware::{Block, Class, Firmware, Forbidden, Service};

use crate::faults::{Call, What};
use crate::lock::Which;
use crate::platform::{Sim, call};
use crate::scheduler;
use crate::world::{machine, with};

/// Firmware's lock, and its markers.
pub type Services = Firmware<Sim>;

/// What kind of firmware a machine has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Kind {
    /// One that bears everything: interrupt sources are masked without it.
    Plain,
    /// RTAS: masking a source takes two calls, reset and power are exempt.
    Rtas,
    /// The same, and exempt services are exempt nowhere.
    Strict,
    /// Runtime services: reset is a call like any other, power is turned off past firmware.
    Runtime,
}

macro_rules! services {
    ($($(#[$doc:meta])* $type:ident = $number:literal, $name:literal, $class:ident;)*) => {
        /// A service.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Id { $($(#[$doc])* $type = $number,)* }

        impl Id {
            /// All.
            pub const ALL: &[Id] = &[$(Id::$type),*];

            /// What it bears.
            pub const fn class(self) -> Class {
                match self { $(Id::$type => Class::$class,)* }
            }
        }

        /// Number and name of each.
        pub const NAMES: &[(u32, &str)] = &[$(($number, $name)),*];

        mod types {
            use super::*;
            $(
                pub enum $type {}
                impl Service for $type {
                    const NAME: &'static str = $name;
                    const NUMBER: u32 = $number;
                    const CLASS: Class = Class::$class;
                }
            )*
        }

        /// Calls a service, from work that has nothing to do with a panic.
        pub fn work(id: Id) {
            let services = machine().services();
            with(|world| world.asks(Which::Firmware));
            match id { $(Id::$type => services.call::<types::$type, _>(|block| inside(id, block)),)* }
        }

        /// Calls a service by the rules of the panic path.
        pub fn on_the_panic_path(id: Id) -> Result<(), Forbidden> {
            let services = machine().services();
            with(|world| world.asks(Which::Firmware));
            let result = match id {
                $(Id::$type => services.call_by_owner::<types::$type, _>(|block| inside(id, block)),)*
            };
            if result.is_err() {
                with(|world| world.refused(Which::Firmware));
            }
            result
        }
    };
}

services! {
    /// Takes long, and keeps state between its calls.
    ConfigureConnector = 1, "ibm,configure-connector", Serialized;
    /// Masks a source.
    IntOff = 2, "ibm,int-off", SelfReentrant;
    /// Routes a source.
    SetXive = 3, "ibm,set-xive", SelfReentrant;
    /// Writes what outlives a reset.
    NvramStore = 4, "nvram-store", CriticalRegionExempt;
    /// Restarts the machine.
    SystemReboot = 5, "system-reboot", CriticalRegionExempt;
    /// Turns it off.
    PowerOff = 6, "power-off", CriticalRegionExempt;
    /// Asks for nothing of anybody.
    NmiInterlock = 7, "ibm,nmi-interlock", Unserialized;
    /// Restarts the machine, by a runtime service.
    ResetSystem = 8, "reset-system", Serialized;
}

/// Points inside a call, at each of which something may happen.
const DWELL: u32 = 2;

/// What a service does: it takes its time.
fn inside(id: Id, block: Block) {
    with(|world| world.firmware_begins(id, block));
    for _ in 0..DWELL {
        scheduler::hal_call(true);
        if with(|world| world.oracle.firmware.corrupt) == Some(true) {
            scheduler::hang();
        }
    }
    if matches!(call(Call::Service), Some(What::Garbage)) {
        // Busy, for a while.
        scheduler::relax();
    }
    with(|world| world.firmware_ends(id));
}

/// Masks interrupt sources, as this machine's firmware wants it. Sources that could not be masked.
pub fn mask(kind: Kind, sources: u32) -> u32 {
    if !matches!(kind, Kind::Rtas | Kind::Strict) {
        return 0;
    }
    (0..sources)
        .filter(|_| on_the_panic_path(Id::IntOff).is_err() | on_the_panic_path(Id::SetXive).is_err())
        .count() as u32
}
