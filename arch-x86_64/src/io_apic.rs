//! I/O APICs: one route for the serial port, and masking all entries before the jump.
//!
//! Source: Intel 82093AA datasheet.

use crate::acpi::IsaRoute;

/// Bit 16 of a redirection entry.
pub const MASKED: u32 = 1 << 16;

/// Delivery mode NMI of a redirection entry; its vector does not matter.
pub const DELIVER_NMI: u32 = 0b100 << 8;

/// A redirection entry `(low, high)`: fixed delivery of `vector` to the one CPU `apic_id`. `None` if
/// the id does not fit the eight bits of its field.
pub fn redirection(route: IsaRoute, vector: u8, apic_id: u32) -> Option<(u32, u32)> {
    let destination = u32::from(u8::try_from(apic_id).ok()?) << 24;
    let low = u32::from(vector) | u32::from(route.active_low) << 13 | u32::from(route.level) << 15;
    Some((low, destination))
}

#[cfg(mayday_metal)]
pub(crate) use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::acpi::{IoApic, Madt};
    use crate::mmu;
    use hal::Unsupported;

    fn select(io_apic: &IoApic, index: u32) -> *mut u32 {
        // SAFETY: `mmu::init` mapped this page uncached at boot. Whoever takes over an index left by an
        // interrupted access writes its own first, as every access here does.
        unsafe { mmu::direct::<u32>(u64::from(io_apic.address)).write_volatile(index) };
        mmu::direct::<u32>(u64::from(io_apic.address) + 0x10)
    }

    fn read(io_apic: &IoApic, index: u32) -> u32 {
        // SAFETY: the data window of a mapped I/O APIC.
        unsafe { select(io_apic, index).read_volatile() }
    }

    fn write(io_apic: &IoApic, index: u32, value: u32) {
        // SAFETY: as above; what is written only steers interrupts.
        unsafe { select(io_apic, index).write_volatile(value) }
    }

    fn pins(io_apic: &IoApic) -> u32 {
        (read(io_apic, 1) >> 16 & 0xFF) + 1
    }

    /// Routes an ISA interrupt to one CPU and unmasks it.
    pub(crate) fn route(madt: &Madt, route: IsaRoute, vector: u8, apic_id: u32) -> Result<(), Unsupported> {
        let Some((low, high)) = redirection(route, vector, apic_id) else {
            return Err(Unsupported::new("the boot CPU's APIC id does not fit an I/O APIC entry"));
        };
        for io_apic in madt.io_apics() {
            let Some(pin) = route.gsi.checked_sub(io_apic.first_gsi).filter(|pin| *pin < pins(io_apic))
            else {
                continue;
            };
            write(io_apic, 0x10 + 2 * pin, MASKED);
            write(io_apic, 0x11 + 2 * pin, high);
            write(io_apic, 0x10 + 2 * pin, low);
            return Ok(());
        }
        Err(Unsupported::new("no I/O APIC serves the serial port's interrupt"))
    }

    /// Delivers `gsi` as an NMI to one CPU, edge-triggered. False if no I/O APIC has that pin or the id
    /// does not fit its field.
    pub(crate) fn route_nmi(madt: &Madt, gsi: u32, apic_id: u32) -> bool {
        let Some((_, high)) = redirection(IsaRoute { gsi, active_low: false, level: false }, 0, apic_id)
        else {
            return false;
        };
        set(madt, gsi, DELIVER_NMI, Some(high))
    }

    /// Masks one pin.
    pub(crate) fn mask(madt: &Madt, gsi: u32) {
        set(madt, gsi, MASKED, None);
    }

    fn set(madt: &Madt, gsi: u32, low: u32, high: Option<u32>) -> bool {
        for io_apic in madt.io_apics() {
            let Some(pin) = gsi.checked_sub(io_apic.first_gsi).filter(|pin| *pin < pins(io_apic)) else {
                continue;
            };
            if let Some(high) = high {
                write(io_apic, 0x11 + 2 * pin, high);
            }
            write(io_apic, 0x10 + 2 * pin, low);
            return true;
        }
        false
    }

    /// Masks every entry of every I/O APIC but that of `kept`. Returns how many were unmasked and how many
    /// stayed so.
    pub(crate) fn mask_all(madt: &Madt, kept: Option<u32>) -> (u32, u32) {
        let (mut masked, mut refused) = (0, 0);
        for io_apic in madt.io_apics() {
            for pin in 0..pins(io_apic) {
                let low = read(io_apic, 0x10 + 2 * pin);
                if low & MASKED != 0 || kept == Some(io_apic.first_gsi.wrapping_add(pin)) {
                    continue;
                }
                write(io_apic, 0x10 + 2 * pin, low | MASKED);
                if read(io_apic, 0x10 + 2 * pin) & MASKED != 0 {
                    masked = u32::saturating_add(masked, 1);
                } else {
                    refused = u32::saturating_add(refused, 1);
                }
            }
        }
        (masked, refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_carry_polarity_trigger_and_destination() {
        let edge = IsaRoute { gsi: 4, active_low: false, level: false };
        assert_eq!(redirection(edge, 0x50, 2), Some((0x50, 2 << 24)));
        let level = IsaRoute { gsi: 4, active_low: true, level: true };
        assert_eq!(redirection(level, 0x50, 0), Some((0xA050, 0)));
        assert_eq!(redirection(edge, 0x50, 256), None);
    }
}
