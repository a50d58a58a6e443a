//! Counts what the simulated CPUs allocate: on the panic path that is nothing (P7).

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static GUEST: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Says whether simulated code runs on this host thread. Returns what was said before.
pub fn in_guest(guest: bool) -> bool {
    GUEST.replace(guest)
}

/// Allocations of simulated code on this host thread since the last call.
pub fn take_count() -> u64 {
    COUNT.replace(0)
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: everything is the system allocator's; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if GUEST.get() {
            COUNT.set(COUNT.get() + 1);
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if GUEST.get() {
            COUNT.set(COUNT.get() + 1);
        }
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
