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

/// Ticks in that many nanoseconds, rounded up; the largest number, where there are more.
pub fn ticks_in(ns: u64, frequency: u64) -> u64 {
    let ticks = (u128::from(ns) * u128::from(frequency)).div_ceil(1_000_000_000);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(mayday_metal)]
mod metal {
    use super::{ESTIMATED_FREQUENCY, nanoseconds};
    use crate::Port;
    use crate::sbi::{self, Extension};
    use crate::timer::{self, TIMER_BIT};
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

    /// Ticks in that many nanoseconds, rounded up.
    pub fn nanoseconds_to_ticks(ns: u64) -> u64 {
        super::ticks_in(ns, FREQUENCY.load(Relaxed))
    }

    impl Clock for Port {
        fn now_ns(&self) -> u64 {
            nanoseconds(ticks(), FREQUENCY.load(Relaxed))
        }
    }

    /// As [`wait`], and sleeps between two looks: an emulator that runs one CPU at a time goes on to the next one there,
    /// and `pause` means nothing to it. Up to 100 µs late.
    ///
    /// Call with interrupts masked; not on the panic path.
    pub fn wait_asleep(limit_ns: u64, done: impl Fn() -> bool) -> bool {
        if !sbi::has(Extension::TIME) {
            return wait(limit_ns, done);
        }
        let nap = FREQUENCY.load(Relaxed) / 10_000;
        let woken = wait_by(limit_ns, &done, || {
            // SAFETY: sets a timer, whose interrupt is not taken (contract): it ends the `wfi`, and that is all.
            unsafe {
                sbi::call(Extension::TIME, 0, [ticks().wrapping_add(nap), 0, 0]);
                asm!("csrs sie, {timer}", "wfi", "csrc sie, {timer}", timer = in(reg) TIMER_BIT, options(nostack));
            }
        });
        timer::silence();
        woken
    }

    /// Calls `done` until it is true or `limit_ns` are over. Bounded in iterations too, should the counter stand
    /// still.
    pub fn wait(limit_ns: u64, done: impl Fn() -> bool) -> bool {
        wait_by(limit_ns, done, || Port.relax())
    }

    fn wait_by(limit_ns: u64, done: impl Fn() -> bool, rest: impl Fn()) -> bool {
        let start = Port.now_ns();
        for _ in 0..limit_ns / <Port as Clock>::LEAST_ITERATION_NS {
            if done() {
                return true;
            }
            if Port.now_ns().wrapping_sub(start) >= limit_ns {
                break;
            }
            rest();
        }
        done()
    }
}

#[cfg(mayday_metal)]
pub use metal::{calibrate, nanoseconds_to_ticks, ticks, wait, wait_asleep};

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
    fn nanoseconds_to_ticks() {
        assert_eq!([0, 1, 100, 101].map(|ns| ticks_in(ns, 10_000_000)), [0, 1, 1, 2]);
        assert_eq!(ticks_in(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn senseless_frequencies_are_estimated() {
        assert_eq!(nanoseconds(10, 0), 1_000);
        assert_eq!(nanoseconds(10, u64::MAX), 1_000);
    }
}
