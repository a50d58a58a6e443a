//! The deadline timer: the hypervisor's watchdog 1, whose action "dump and restart" begins with a system
//! reset on every CPU (PAPR, `H_WATCHDOG`).
//!
//! Under QEMU it ends there, stopped CPUs included (the vector sends those back), and the shot is as
//! good as an NMI. A hypervisor that really dumps and restarts ends the run with it: there this timer
//! guards only the whole path, and a port to such a machine has to say `Unsupported` here.
//!
//! The time-out is in whole milliseconds, and the hypervisor may count them from the last whole one, so one
//! is added: the shot comes up to 2 ms late, and when the virtual CPU runs. QEMU refuses a time-out of 1 ms.

/// Operation "start", in bits 48 to 55 of the flags.
const START: u64 = 1 << 8;
/// Operation "stop".
const STOP: u64 = 2 << 8;
/// Action "dump and restart".
const DUMP_RESTART: u64 = 3;
/// Flags that start the watchdog.
pub const START_FLAGS: u64 = START | DUMP_RESTART;
/// Flags that stop it.
pub const STOP_FLAGS: u64 = STOP;

/// Nanoseconds as the watchdog's time-out: milliseconds, rounded up, and one more; at least 2.
pub fn timeout_ms(ns: u64) -> u64 {
    ns.div_ceil(1_000_000).max(1) + 1
}

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::hcall::{self, H_SUCCESS, H_WATCHDOG};
    use hal::nmi::{SignalError, Strength};
    use hal::timer::DeadlineTimer;

    /// The watchdog that is used; they count from 1.
    const NUMBER: u64 = 1;

    /// The watchdog as the timer of this machine.
    #[derive(Clone, Copy, Debug)]
    pub struct Watchdog;

    fn watchdog(flags: u64, timeout: u64) -> i64 {
        // SAFETY: what comes of it is a system reset, and the vector that this port installed takes it.
        unsafe { hcall::call(H_WATCHDOG, [flags, NUMBER, timeout, 0]) }.status
    }

    impl DeadlineTimer for Watchdog {
        fn arm(&self, after_ns: u64) -> Result<Strength, SignalError> {
            match watchdog(START_FLAGS, timeout_ms(after_ns)) {
                H_SUCCESS => Ok(Strength::NonMaskableNesting),
                status => Err(SignalError::Refused(status)),
            }
        }

        fn extend(&self, after_ns: u64) {
            // A watchdog that runs is started anew. One that will not start leaves this CPU unwatched, and
            // its handler can do nothing about that.
            let _ = watchdog(START_FLAGS, timeout_ms(after_ns));
        }

        fn disarm(&self) {
            // A watchdog that does not run refuses to be stopped, which is as good.
            let _ = watchdog(STOP_FLAGS, 0);
        }
    }
}

#[cfg(mayday_metal)]
pub use metal::Watchdog;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_time_are_the_hypervisors() {
        assert_eq!((START_FLAGS, STOP_FLAGS), (0x103, 0x200));
        assert_eq!([0, 1, 1_000_000, 1_000_001].map(timeout_ms), [2, 2, 2, 3]);
    }
}
