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

/// The frequency if the shortest of several measurements was `ticks` in `count` PIT periods. `None` if
/// that is no plausible CPU: 100 MHz to 8 GHz.
pub fn frequency(ticks: u64, count: u64) -> Option<u64> {
    let hz = u128::from(ticks) * 1_193_182 / u128::from(count.max(1));
    u64::try_from(hz).ok().filter(|hz| (100_000_000..=ASSUMED_HZ).contains(hz))
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

    /// One measurement: ticks while PIT channel 2 counts down from `count`. `None` if it does not end.
    fn measure(count: u16) -> Option<u64> {
        let mut gate = IoPort::<u8>::new(0x61);
        let mut command = IoPort::<u8>::new(0x43);
        let mut channel = IoPort::<u8>::new(0x42);
        let [low, high] = count.to_le_bytes();
        // SAFETY: channel 2 drives nothing but the speaker, which stays off (bit 1).
        unsafe {
            let speaker = gate.read() & !0b11;
            gate.write(speaker | 1);
            command.write(0b1011_0000);
            // Taken before the count starts and after its end was seen: a delay on either side only
            // lengthens the result, so the minimum of several is the best one.
            let start = ticks();
            channel.write(low);
            channel.write(high);
            for _ in 0..2_000_000 {
                if gate.read() & 0x20 != 0 {
                    return Some(ticks().wrapping_sub(start));
                }
            }
        }
        None
    }

    /// Calibrates. The error says why the clock goes on with its estimate.
    pub(crate) fn calibrate() -> Result<u64, &'static str> {
        const COUNT: u16 = 5966; // 5 ms
        let mut best = u64::MAX;
        for _ in 0..5 {
            best = best.min(measure(COUNT).ok_or("the PIT does not count")?);
        }
        let hz = frequency(best, u64::from(COUNT)).ok_or("the PIT gives an impossible TSC frequency")?;
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
        assert_eq!(frequency(13_500_000, 5966), Some(2_699_959_269));
        assert_eq!(frequency(0, 5966), None);
        assert_eq!(frequency(u64::MAX, 5966), None);
        assert_eq!(frequency(1, 0), None);
    }
}
