//! The deadline timer: the supervisor timer (SBI, "Timer Extension").
//!
//! Its interrupt is maskable, and the owner of a panic masks interrupts first of all. So arming it lets this one source
//! in and no other: sie has the timer alone, and then sstatus.SIE is set. What the two were before is not kept: whoever
//! disarms has interrupts masked as a whole, as the panic path has them anyway. It gets through to an owner that hangs in
//! ordinary code, in a loop or at a device; not to one that has masked interrupts itself once more, nor to one inside a
//! handler. That is its strength, and what it says: maskable.

#![cfg(mayday_metal)]

use crate::clock::{nanoseconds_to_ticks, ticks};
use crate::cpu;
use crate::sbi::{self, Extension};
use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use hal::nmi::{SignalError, Strength};
use hal::timer::DeadlineTimer;

/// The supervisor timer as the timer of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SupervisorTimer;

static PRESENT: AtomicBool = AtomicBool::new(false);

/// Asks firmware. At boot.
pub fn find() {
    PRESENT.store(sbi::has(Extension::TIME), Ordering::Release);
}

/// Whether firmware sets timers.
pub fn present() -> bool {
    PRESENT.load(Ordering::Acquire)
}

/// The supervisor timer's bit in sie.
pub const TIMER_BIT: u64 = 1 << 5;

/// Sets the timer: SBI's error, 0 for none. A shot that is pending is taken back.
fn set(at: u64) -> i64 {
    // SAFETY: what comes of it is an interrupt, which the trap entry takes.
    unsafe { sbi::call(Extension::TIME, 0, [at, 0, 0]) }.error
}

fn after(ns: u64) -> u64 {
    ticks().saturating_add(nanoseconds_to_ticks(ns))
}

/// No shot is to come any more, and none is pending.
pub fn silence() {
    // Whether firmware took it does not matter: nothing could be done about it.
    let _ = set(u64::MAX);
}

impl DeadlineTimer for SupervisorTimer {
    /// Other interrupts are kept out from here on until [`DeadlineTimer::disarm`], whatever sie and SIE were before.
    fn arm(&self, after_ns: u64) -> Result<Strength, SignalError> {
        match set(after(after_ns)) {
            0 => {}
            error => return Err(SignalError::Refused(error)),
        }
        // SAFETY: lets the timer in and nothing else. No `nomem`: what its handler touches must not be moved across.
        unsafe {
            asm!("csrw sie, {}", "csrsi sstatus, 2", in(reg) TIMER_BIT, options(nostack, preserves_flags));
        }
        Ok(Strength::Maskable)
    }

    fn extend(&self, after_ns: u64) {
        let _ = set(after(after_ns));
    }

    /// Interrupts are masked as a whole, also where they were not before [`DeadlineTimer::arm`]; sie is again as every CPU
    /// has it, for whoever unmasks them.
    fn disarm(&self) {
        // SAFETY: clears SIE.
        unsafe { asm!("csrci sstatus, 2", options(nostack, preserves_flags)) };
        silence();
        cpu::listen();
    }
}
