//! loom's atomics, with a place before each operation where a model may let a signal handler run.
//!
//! loom knows threads and no signals: what interrupts a CPU runs on that CPU, between two of its operations, and until
//! it returns the CPU does nothing else. A model that wants this sets a hook, which does nothing in the others.

use std::sync::OnceLock;

use loom::sync::atomic as plain;
pub use loom::sync::atomic::Ordering;

static HOOK: OnceLock<fn()> = OnceLock::new();

/// Registers, once per process, what is called before each operation, by the thread that is about to do it. False if
/// that was done before.
pub fn set_hook(hook: fn()) -> bool {
    HOOK.set(hook).is_ok()
}

fn point() {
    if let Some(hook) = HOOK.get() {
        hook();
    }
}

/// As `core::sync::atomic::fence`.
pub fn fence(order: Ordering) {
    point();
    plain::fence(order);
}

macro_rules! atomic {
    ($name:ident, $value:ty, $($update:ident),*) => {
        #[doc = concat!("As `core::sync::atomic::", stringify!($name), "`.")]
        #[derive(Debug, Default)]
        #[repr(transparent)]
        pub struct $name(plain::$name);

        #[allow(missing_docs)] // the same operations as core's, by the same names
        impl $name {
            pub fn new(value: $value) -> Self {
                $name(plain::$name::new(value))
            }
            pub fn load(&self, order: Ordering) -> $value {
                point();
                self.0.load(order)
            }
            pub fn store(&self, value: $value, order: Ordering) {
                point();
                self.0.store(value, order);
            }
            pub fn compare_exchange(
                &self,
                current: $value,
                new: $value,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$value, $value> {
                point();
                self.0.compare_exchange(current, new, success, failure)
            }
            $(pub fn $update(&self, value: $value, order: Ordering) -> $value {
                point();
                self.0.$update(value, order)
            })*
        }
    };
}

atomic!(AtomicBool, bool, swap, fetch_or, fetch_and);
atomic!(AtomicU32, u32, swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
atomic!(AtomicU64, u64, swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
atomic!(AtomicUsize, usize, swap, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
