//! The heap of this kernel: small, never given back, and none of the panic path's business (P7). Whoever
//! allocates as its owner, or parked, panics in turn, and is seen; who finishes a critical section may.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::state::PANIC;

const BYTES: usize = 16 << 10;

#[repr(align(16))]
struct Heap {
    bytes: UnsafeCell<[u8; BYTES]>,
    used: AtomicUsize,
}

// SAFETY: each byte is handed out once, by the counter.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap { bytes: UnsafeCell::new([0; BYTES]), used: AtomicUsize::new(0) };

// SAFETY: what is handed out lies in `bytes`, is aligned (at most to 16, the alignment of the whole), and
// overlaps nothing that was handed out before.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        assert!(!PANIC.takes_part(), "an allocation on the panic path");
        let size = layout.size().next_multiple_of(16);
        let at = self.used.fetch_add(size, Ordering::Relaxed);
        if layout.align() > 16 || at.checked_add(size).is_none_or(|end| end > BYTES) {
            return core::ptr::null_mut();
        }
        // SAFETY: `at` is inside `bytes`.
        unsafe { self.bytes.get().cast::<u8>().add(at) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
