//! Time: the timebase, one counter that all CPUs see in step (PAPR keeps it so; QEMU has one).

/// Ticks per second before the device tree was read: that of every POWER processor since POWER5.
pub const ESTIMATED_FREQUENCY: u64 = 512_000_000;

/// Nanoseconds that `ticks` of a counter at `frequency` ticks per second take. A frequency of 0 or
/// above 16 GHz counts as [`ESTIMATED_FREQUENCY`]; the result is exact to 1 ns and wraps after 584
/// years.
pub const fn nanoseconds(ticks: u64, frequency: u64) -> u64 {
    let frequency = if frequency == 0 || frequency > 1 << 34 { ESTIMATED_FREQUENCY } else { frequency };
    let seconds = ticks / frequency;
    // Below 2^34 * 10^9 < 2^64.
    let rest = (ticks % frequency) * 1_000_000_000 / frequency;
    seconds.wrapping_mul(1_000_000_000).wrapping_add(rest)
}

#[cfg(mayday_metal)]
mod metal {
    use super::{ESTIMATED_FREQUENCY, nanoseconds};
    use crate::Port;
    use core::arch::asm;
    use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
    use hal::clock::Clock;

    static FREQUENCY: AtomicU64 = AtomicU64::new(ESTIMATED_FREQUENCY);

    /// Sets the frequency that the device tree states.
    pub fn calibrate(frequency: u64) {
        FREQUENCY.store(frequency, Relaxed);
    }

    /// The timebase.
    pub fn ticks() -> u64 {
        let ticks: u64;
        // SAFETY: reads a counter.
        unsafe { asm!("mftb {}", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
        ticks
    }

    /// Ticks of the timebase in that many microseconds.
    pub fn ticks_in_us(us: u64) -> u64 {
        us.saturating_mul(FREQUENCY.load(Relaxed)) / 1_000_000
    }

    impl Clock for Port {
        fn now_ns(&self) -> u64 {
            nanoseconds(ticks(), FREQUENCY.load(Relaxed))
        }
    }

    /// Calls `done` until it is true or `limit_ns` are over. Bounded in iterations too, should the
    /// timebase stand still.
    pub fn wait(limit_ns: u64, done: impl Fn() -> bool) -> bool {
        use hal::cpu::Cpu;
        let start = Port.now_ns();
        // An iteration takes longer than 4 ns on any machine.
        for _ in 0..limit_ns / 4 {
            if done() {
                return true;
            }
            if Port.now_ns().wrapping_sub(start) >= limit_ns {
                break;
            }
            Port.relax();
        }
        done()
    }
}

#[cfg(mayday_metal)]
pub use metal::{calibrate, ticks, ticks_in_us, wait};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_to_nanoseconds() {
        assert_eq!(nanoseconds(0, 512_000_000), 0);
        assert_eq!(nanoseconds(512, 512_000_000), 1_000);
        assert_eq!(nanoseconds(512_000_000 * 3 + 256_000_000, 512_000_000), 3_500_000_000);
        assert_eq!(nanoseconds(u64::MAX, 1 << 34) / 1_000_000_000, (1 << 30) - 1);
    }

    #[test]
    fn senseless_frequencies_are_estimated() {
        assert_eq!(nanoseconds(512, 0), 1_000);
        assert_eq!(nanoseconds(512, u64::MAX), 1_000);
    }
}
