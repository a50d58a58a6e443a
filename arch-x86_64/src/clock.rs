//! The time-stamp counter, calibrated against the PIT.
//!
//! Source: SDM volume 3, 18.17 (time-stamp counter); Intel 8254 datasheet; port 0x61 as in the PC/AT.

/// Frequency assumed before calibration, in Hz: above every real one, so that calibrating can only
/// move the clock forward.
pub const ASSUMED_HZ: u64 = 8_000_000_000;

/// Nanoseconds per tick, as a fixed-point number with 32 fraction bits. 0 for a frequency of 0.
pub const fn scale(hz: u64) -> u64 {
    if hz == 0 { 0 } else { ((1_000_000_000u128 << 32) / hz as u128) as u64 }
}

/// `ticks` in nanoseconds.
pub const fn nanoseconds(ticks: u64, scale: u64) -> u64 {
    ((ticks as u128 * scale as u128) >> 32) as u64
}

/// Frequency of the PIT, Hz.
pub const PIT_HZ: u64 = 1_193_182;
/// PIT periods that a measurement takes at least: 4 ms.
pub const PERIODS: u16 = 4773;
/// Measurements, at most. Each is cut to the wrong length by whatever stops this CPU inside one of its two looks, so many
/// short ones are better than a few long ones; the smallest result is the best.
pub const ROUNDS: u32 = 16;
/// Results, the smallest one included, that have to be [`alike`] for it to be believed before all measurements are made.
pub const ALIKE: usize = 3;
/// Looks at the PIT in one measurement, at most. Three port accesses take more than half a microsecond on a machine,
/// and a few instructions, nanoseconds each, where an emulator counts those.
pub const LOOKS_MAX: u32 = 2_000_000;

/// The PIT's count, and the time-stamp counter right before and after it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// The counter before.
    pub before: u64,
    /// The counter after.
    pub after: u64,
    /// The PIT's count.
    pub count: u16,
}

impl Look {
    /// The frequency of the time-stamp counter, Hz, if the later look is at least [`PERIODS`] later. A CPU that stood
    /// still inside a look, or for so long between them that the count went round, makes it too high, never too low;
    /// that it stood still between them otherwise changes nothing.
    pub fn until(&self, later: &Look) -> Option<u64> {
        // It counts down.
        let periods = self.count.wrapping_sub(later.count);
        if periods < PERIODS {
            return None;
        }
        let ticks = later.after.checked_sub(self.before)?;
        u64::try_from(u128::from(ticks) * u128::from(PIT_HZ) / u128::from(periods)).ok()
    }
}

/// Whether a frequency is the smallest one but for what a look takes: a few µs of more than 4 ms. What spoils a
/// measurement takes any time, so spoilt ones are not alike.
pub fn alike(hz: u64, smallest: u64) -> bool {
    hz - smallest.min(hz) <= smallest / 2_000
}

/// The smallest of some results, if enough of them are like it.
pub fn settled(results: &[u64]) -> Option<u64> {
    let smallest = results.iter().copied().min()?;
    (results.iter().filter(|hz| alike(**hz, smallest)).count() >= ALIKE).then_some(smallest)
}

/// `None` for what is no CPU's frequency: outside 100 MHz to 8 GHz.
pub fn plausible(hz: u64) -> Option<u64> {
    Some(hz).filter(|hz| (100_000_000..=ASSUMED_HZ).contains(hz))
}

#[cfg(mayday_metal)]
pub(crate) use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::platform::Port;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use x86_64::instructions::port::Port as IoPort;

    static ORIGIN: AtomicU64 = AtomicU64::new(0);
    static SCALE: AtomicU64 = AtomicU64::new(scale(ASSUMED_HZ));

    fn ticks() -> u64 {
        // SAFETY: RDTSC exists on every x86_64 and CR4.TSD is clear.
        unsafe { core::arch::x86_64::_rdtsc() }
    }

    /// Starts counting now.
    pub(crate) fn start() {
        ORIGIN.store(ticks(), Relaxed);
    }

    /// The PIT's channel 2, counting down from 65536 over and over.
    struct Pit {
        command: IoPort<u8>,
        channel: IoPort<u8>,
    }

    impl Pit {
        fn start() -> Pit {
            let mut gate = IoPort::<u8>::new(0x61);
            let mut pit = Pit { command: IoPort::new(0x43), channel: IoPort::new(0x42) };
            // SAFETY: channel 2 drives nothing but the speaker, which stays off (bit 1).
            unsafe {
                let speaker = gate.read() & !0b11;
                gate.write(speaker);
                pit.command.write(0b1011_0100);
                pit.channel.write(0);
                pit.channel.write(0);
                gate.write(speaker | 1);
            }
            pit
        }

        fn look(&mut self) -> Look {
            let before = ticks();
            // SAFETY: latches the count of channel 2.
            unsafe { self.command.write(0b1000_0000) };
            let after = ticks();
            // SAFETY: reads what was latched, low byte first.
            let count = unsafe { [self.channel.read(), self.channel.read()] };
            Look { before, after, count: u16::from_le_bytes(count) }
        }
    }

    /// Calibrates. The error says why the clock goes on with its estimate.
    pub(crate) fn calibrate() -> Result<u64, &'static str> {
        let mut pit = Pit::start();
        let mut results = [u64::MAX; ROUNDS as usize];
        for round in 0..results.len() {
            let first = pit.look();
            let hz = (0..LOOKS_MAX).find_map(|_| first.until(&pit.look()));
            if let Some(result) = results.get_mut(round) {
                *result = hz.ok_or("the PIT does not count")?;
            }
            if results.get(..=round).and_then(settled).is_some() {
                break;
            }
        }
        let best = results.iter().copied().min().unwrap_or(u64::MAX);
        let hz = plausible(best).ok_or("the PIT gives an impossible TSC frequency")?;
        SCALE.store(scale(hz), Relaxed);
        Ok(hz)
    }

    impl hal::clock::Clock for Port {
        fn now_ns(&self) -> u64 {
            nanoseconds(ticks().saturating_sub(ORIGIN.load(Relaxed)), SCALE.load(Relaxed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_exact_enough_for_days() {
        let day = 86_400 * 2_700_000_000u64;
        let ns = nanoseconds(day, scale(2_700_000_000));
        assert!(86_400_000_000_000u64.abs_diff(ns) < 100_000, "{ns}");
        assert_eq!(scale(0), 0);
    }

    #[test]
    fn calibrating_never_turns_time_back() {
        for hz in [100_000_000, 2_700_000_000, ASSUMED_HZ] {
            assert!(scale(hz) >= scale(ASSUMED_HZ));
        }
    }

    #[test]
    fn impossible_frequencies_are_refused() {
        assert_eq!(plausible(2_700_000_000), Some(2_700_000_000));
        assert_eq!((plausible(0), plausible(99_999_999), plausible(ASSUMED_HZ + 1)), (None, None, None));
    }

    /// A counter of 2.7 GHz: looks at a time in µs, of a CPU that stands still for so long inside the look, either
    /// before the count is taken or after it.
    fn look(at_us: u64, still_before: u64, still_after: u64) -> Look {
        let ticks = |us: u64| us * 2_700;
        let taken = at_us + still_before;
        let count = (65_536 - taken * PIT_HZ / 1_000_000 % 65_536) as u16;
        Look { before: ticks(at_us), after: ticks(taken + still_after), count }
    }

    #[test]
    fn a_stop_between_two_looks_changes_nothing() {
        let first = look(50, 0, 0);
        assert_eq!(first.until(&look(2_000, 0, 0)), None);
        for later in [4_100, 20_000, 50_000] {
            let hz = first.until(&look(later, 0, 0)).unwrap();
            assert!(hz.abs_diff(2_700_000_000) < 1_000_000, "{hz}");
        }
    }

    #[test]
    fn three_that_are_alike_settle_it_and_spoilt_ones_do_not() {
        const HZ: u64 = 2_700_000_000;
        assert_eq!(settled(&[]), None);
        assert_eq!(settled(&[HZ, HZ]), None);
        assert_eq!(settled(&[HZ + 900_000, HZ, HZ + 1_300_000]), Some(HZ));
        assert_eq!(settled(&[HZ * 2, HZ + 4_000_000, HZ + 8_000_000, HZ]), None);
        assert_eq!(settled(&[HZ * 2, HZ, HZ * 2, HZ * 2]), None, "alike, and not like the smallest");
        assert_eq!(settled(&[HZ * 2, HZ, HZ * 3, HZ, HZ + 1]), Some(HZ));
    }

    #[test]
    fn what_a_stop_spoils_is_too_high_and_never_too_low() {
        let exact = look(0, 0, 0).until(&look(5_000, 0, 0)).unwrap();
        for (first, second) in [
            (look(0, 3_000, 0), look(8_000, 0, 0)),
            (look(0, 0, 0), look(5_000, 0, 9_000)),
            (look(0, 0, 0), look(5_000, 2_000, 0)),
            // The count went round.
            (look(0, 0, 0), look(60_000, 0, 0)),
        ] {
            assert!(first.until(&second).is_none_or(|hz| hz + 1_000_000 > exact));
        }
    }
}
