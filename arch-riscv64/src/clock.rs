//! Time: the `time` counter, one for all harts or in step (privileged architecture, "Machine Timer Registers": one
//! real-time counter, which harts of one clock see within a tick of each other).

/// Ticks per second before the device tree was read: that of QEMU's `virt`.
pub const ESTIMATED_FREQUENCY: u64 = 10_000_000;

/// Nanoseconds that `ticks` of a counter at `frequency` ticks per second take. A frequency of 0 or above 16 GHz
/// counts as [`ESTIMATED_FREQUENCY`]; the result is exact to 1 ns and wraps after 584 years.
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
    use hal::cpu::Cpu;

    static FREQUENCY: AtomicU64 = AtomicU64::new(ESTIMATED_FREQUENCY);

    /// Sets the frequency that the device tree states.
    pub fn calibrate(frequency: u64) {
        FREQUENCY.store(frequency, Relaxed);
    }

    /// The counter.
    pub fn ticks() -> u64 {
        let ticks: u64;
        // SAFETY: reads a counter. Where a machine has it in memory only, firmware emulates the instruction.
        unsafe { asm!("rdtime {}", out(reg) ticks, options(nomem, nostack, preserves_flags)) };
        ticks
    }

    impl Clock for Port {
        fn now_ns(&self) -> u64 {
            nanoseconds(ticks(), FREQUENCY.load(Relaxed))
        }
    }

    /// Calls `done` until it is true or `limit_ns` are over. Bounded in iterations too, should the counter stand
    /// still.
    pub fn wait(limit_ns: u64, done: impl Fn() -> bool) -> bool {
        let start = Port.now_ns();
        for _ in 0..limit_ns / <Port as Clock>::LEAST_ITERATION_NS {
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
pub use metal::{calibrate, ticks, wait};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_to_nanoseconds() {
        assert_eq!(nanoseconds(0, 10_000_000), 0);
        assert_eq!(nanoseconds(7, 10_000_000), 700);
        assert_eq!(nanoseconds(10_000_000 * 3 + 5_000_000, 10_000_000), 3_500_000_000);
        assert_eq!(nanoseconds(u64::MAX, 1 << 34) / 1_000_000_000, (1 << 30) - 1);
    }

    #[test]
    fn senseless_frequencies_are_estimated() {
        assert_eq!(nanoseconds(10, 0), 1_000);
        assert_eq!(nanoseconds(10, u64::MAX), 1_000);
    }
}
