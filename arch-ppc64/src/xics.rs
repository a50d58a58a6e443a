//! The interrupt controller, through the hypervisor: XICS (LoPAR, "PowerPC External Interrupt Option").
//!
//! Presentation (which interrupt a CPU takes) by hcalls, sources (which interrupts there are) by RTAS.

#![cfg(mayday_metal)]

use crate::hcall::{self, Answer, H_CPPR, H_EOI, H_IPI, H_SUCCESS, H_XIRR};
use crate::rtas::service::{IntOff, IntOn, SetXive};
use crate::rtas::{self, RtasError};
use core::sync::atomic::{AtomicU32, Ordering};

/// Source number of inter-processor interrupts.
pub const IPI_SOURCE: u32 = 2;
/// Priority of inter-processor interrupts: above devices. 0 is the most urgent, 0xff none.
const IPI_PRIORITY: u64 = 4;
/// Priority of device interrupts.
const DEVICE_PRIORITY: u32 = 5;
/// A source with this priority is off.
pub const MASKED: u32 = 0xff;
/// A source that no kernel here enables: the first of the platform's own events. For tests.
pub const NOBODYS_SOURCE: u32 = 0x1000;
/// Sources that this kernel may enable.
const MOST_SOURCES: usize = 8;

/// Sources that were enabled; 0 = free.
static ENABLED: [AtomicU32; MOST_SOURCES] = [const { AtomicU32::new(0) }; MOST_SOURCES];

fn presentation(number: u64, first: u64, second: u64) -> Answer {
    // SAFETY: the XICS presentation calls take no addresses and change interrupt state only.
    unsafe { hcall::call(number, [first, second, 0, 0]) }
}

/// Lets the executing CPU take interrupts of every priority (`MSR[EE]` permitting).
pub fn open() {
    presentation(H_CPPR, 0xff, 0);
}

/// Lets the executing CPU take none, takes back an interrupt another CPU sent to it, and ends none:
/// what was accepted was ended before its handler ran.
pub fn close(server: u32) {
    presentation(H_CPPR, 0, 0);
    clear_ipi(server);
}

/// Sends an inter-processor interrupt. The status is the hypervisor's.
pub fn send_ipi(server: u32) -> i64 {
    presentation(H_IPI, u64::from(server), IPI_PRIORITY).status
}

/// Takes back the inter-processor interrupt pending at `server`.
pub fn clear_ipi(server: u32) {
    presentation(H_IPI, u64::from(server), u64::from(MASKED));
}

/// Accepts the most urgent pending interrupt: its XIRR, whose low 24 bits are the source. `None` if
/// none is pending.
pub fn accept() -> Option<u32> {
    let answer = presentation(H_XIRR, 0, 0);
    let xirr = answer.values[0] as u32;
    (answer.status == H_SUCCESS && source_of(xirr) != 0).then_some(xirr)
}

/// The source in an XIRR.
pub const fn source_of(xirr: u32) -> u32 {
    xirr & 0xff_ffff
}

/// Ends the interrupt that [`accept`] returned.
pub fn end(xirr: u32) {
    presentation(H_EOI, u64::from(xirr), 0);
}

/// Routes `source` to `server` and switches it on.
pub fn enable(source: u32, server: u32) -> Result<(), RtasError> {
    let slot = ENABLED
        .iter()
        .find(|slot| {
            slot.compare_exchange(0, source, Ordering::AcqRel, Ordering::Acquire).is_ok()
                || slot.load(Ordering::Acquire) == source
        })
        .ok_or(RtasError::NotAvailable)?;
    let done = rtas::call::<SetXive>(&[source, server, DEVICE_PRIORITY], &mut [])
        .and_then(|()| rtas::call::<IntOn>(&[source], &mut []));
    if done.is_err() {
        slot.store(0, Ordering::Release);
    }
    done
}

/// Switches off every source that was enabled. Returns how many went off and how many refused.
pub fn disable_all() -> (u32, u32) {
    let (mut masked, mut refused) = (0_u32, 0_u32);
    for slot in &ENABLED {
        let source = slot.load(Ordering::Acquire);
        if source == 0 {
            continue;
        }
        // Either keeps the source quiet. Where the rules forbid one of them, the other may be allowed.
        let off = rtas::call::<IntOff>(&[source], &mut []);
        let unrouted = rtas::call::<SetXive>(&[source, 0, MASKED], &mut []);
        if off.is_ok() || unrouted.is_ok() {
            slot.store(0, Ordering::Release);
            masked = masked.saturating_add(1);
        } else {
            refused = refused.saturating_add(1);
        }
    }
    (masked, refused)
}
