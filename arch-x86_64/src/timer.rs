//! The deadline timer: HPET timer 0, routed by an I/O APIC pin in NMI mode to the CPU that armed it.
//!
//! Source: HPET specification 1.0a, 2.3 (registers); 82093AA datasheet (delivery modes).
//!
//! By the clock of this port the shot may come early: the time-stamp counter is measured against the PIT,
//! always a little long, and on a busy host by more than a thousandth. Late by microseconds on real
//! hardware; under an emulator, when the virtual CPU runs next.

/// Femtoseconds of the main counter's tick, from the capability register's high half. The
/// specification allows 1 to 100,000,000.
pub fn period_fs(capabilities: u64) -> Option<u64> {
    let period = capabilities >> 32;
    (1..=100_000_000).contains(&period).then_some(period)
}

/// Ticks for a time, rounded up, at least one.
pub fn ticks(ns: u64, period_fs: u64) -> u64 {
    let ticks = (u128::from(ns) * 1_000_000).div_ceil(u128::from(period_fs.max(1)));
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// The pin to use: the highest that timer 0 may be routed to (its capabilities, bits 32 to 63), because
/// the low ones belong to ISA interrupts.
pub fn pin(timer_capabilities: u64) -> Option<u32> {
    let allowed = (timer_capabilities >> 32) as u32;
    (allowed != 0).then(|| 31 - allowed.leading_zeros())
}

#[cfg(mayday_metal)]
pub(crate) use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::boot::{self, Machine};
    use crate::platform::Port;
    use crate::{apic, io_apic, mmu};
    use hal::Unsupported;
    use hal::nmi::{SignalError, Strength};
    use hal::timer::DeadlineTimer;
    use spin::Once;

    const CONFIGURATION: u64 = 0x10;
    const COUNTER: u64 = 0xF0;
    const TIMER_0: u64 = 0x100;
    const COMPARATOR_0: u64 = 0x108;
    const ENABLE: u64 = 1;
    /// Timer: interrupts enabled. Edge-triggered and one-shot are zeros.
    const INTERRUPTS: u64 = 1 << 2;

    struct Hpet {
        base: u64,
        period_fs: u64,
        pin: u32,
    }

    static HPET: Once<Result<Hpet, Unsupported>> = Once::new();

    impl Hpet {
        fn read(&self, register: u64) -> u64 {
            // SAFETY: `mmu::init` mapped the register page uncached at boot.
            unsafe { mmu::direct::<u64>(self.base.wrapping_add(register)).read_volatile() }
        }
        fn write(&self, register: u64, value: u64) {
            // SAFETY: as above; the values written only concern this timer.
            unsafe { mmu::direct::<u64>(self.base.wrapping_add(register)).write_volatile(value) }
        }
    }

    impl Hpet {
        /// One shot from now on, by the route that the I/O APIC has.
        fn start(&self, after_ns: u64) {
            self.write(TIMER_0, 0);
            self.write(CONFIGURATION, ENABLE);
            let due = self.read(COUNTER).wrapping_add(ticks(after_ns, self.period_fs));
            self.write(COMPARATOR_0, due);
            self.write(TIMER_0, u64::from(self.pin) << 9 | INTERRUPTS);
        }
    }

    fn look(machine: &Machine) -> Result<Hpet, Unsupported> {
        let base = machine.hpet.map_err(|_| Unsupported::new("firmware describes no usable HPET"))?;
        let mut hpet = Hpet { base, period_fs: 0, pin: 0 };
        hpet.period_fs =
            period_fs(hpet.read(0)).ok_or(Unsupported::new("the HPET states no period that may be"))?;
        hpet.pin =
            pin(hpet.read(TIMER_0)).ok_or(Unsupported::new("the HPET's timer 0 reaches no I/O APIC pin"))?;
        Ok(hpet)
    }

    /// Finds the timer. On the boot CPU, once, after the page tables.
    pub(crate) fn find(machine: &Machine) {
        HPET.call_once(|| look(machine));
    }

    /// Whether there is a timer, or why there is none.
    pub(crate) fn present() -> Result<(), Unsupported> {
        hpet().map(|_| ())
    }

    /// The interrupt that the shot comes by, if there is a timer.
    pub(crate) fn interrupt() -> Option<u32> {
        hpet().ok().map(|hpet| hpet.pin)
    }

    fn hpet() -> Result<&'static Hpet, Unsupported> {
        match HPET.get() {
            Some(Ok(hpet)) => Ok(hpet),
            Some(Err(unsupported)) => Err(*unsupported),
            None => Err(Unsupported::new("the HPET was not looked for yet")),
        }
    }

    impl DeadlineTimer for Port {
        fn arm(&self, after_ns: u64) -> Result<Strength, SignalError> {
            let (Ok(hpet), Some(machine)) = (hpet(), boot::machine()) else {
                return Err(SignalError::Refused(-1));
            };
            hpet.write(TIMER_0, 0);
            if !io_apic::route_nmi(&machine.madt, hpet.pin, apic::id()) {
                return Err(SignalError::NoSuchCpu);
            }
            hpet.start(after_ns);
            Ok(Strength::NonMaskable)
        }

        fn extend(&self, after_ns: u64) {
            if let Ok(hpet) = hpet() {
                hpet.start(after_ns);
            }
        }

        fn disarm(&self) {
            if let (Ok(hpet), Some(machine)) = (hpet(), boot::machine()) {
                hpet.write(TIMER_0, 0);
                io_apic::mask(&machine.madt, hpet.pin);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rounded_up_in_ticks() {
        // QEMU: 10 ns.
        assert_eq!(period_fs(0x0098_9680_8086_A201), Some(10_000_000));
        assert_eq!(ticks(1_000_000_000, 10_000_000), 100_000_000);
        assert_eq!(ticks(1, 10_000_000), 1);
        assert_eq!(ticks(0, 10_000_000), 1);
        assert_eq!(ticks(u64::MAX, 1), u64::MAX);
        assert_eq!((period_fs(0), period_fs(100_000_001 << 32)), (None, None));
    }

    #[test]
    fn the_highest_pin_is_taken() {
        // q35: pins 2, 8 and 16 to 23.
        assert_eq!(pin(0x00FF_0104 << 32), Some(23));
        assert_eq!(pin(0x0000_0004 << 32), Some(2));
        assert_eq!(pin(0xFFFF_FFFF), None);
    }
}
