//! The one facade for atomics.
//!
//! `core-panic`, the log and the record take every atomic from here and none from
//! `core::sync::atomic` (`cargo xtask tidy` checks it), so that the code which runs on metal is the
//! code that a model checker schedules:
//!
//! * by default these are the types of `core`, at no cost;
//! * under `cfg(loom)` they are loom's, which explores memory orderings;
//! * with the feature `explore` each operation first calls [`explore::set_hook`]'s hook, which is
//!   where a deterministic scheduler takes over.

#[cfg(all(not(loom), not(feature = "explore")))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(all(not(loom), feature = "explore"))]
pub use core::sync::atomic::Ordering;
#[cfg(all(not(loom), feature = "explore"))]
pub use explore::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

/// Atomics with a scheduling point before each operation. Host only: it needs `std`.
#[cfg(all(not(loom), feature = "explore"))]
pub mod explore {
    use core::sync::atomic::{self as plain, Ordering};
    use std::sync::OnceLock;

    static HOOK: OnceLock<fn()> = OnceLock::new();

    /// Registers the scheduler's hook, once per process. Without one, operations are plain ones.
    /// Returns false if a hook was registered before.
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
        ($name:ident, $value:ty $(, $fetch:ident)*) => {
            #[doc = concat!("As `core::sync::atomic::", stringify!($name), "`.")]
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub struct $name(plain::$name);

            #[allow(missing_docs)] // the same operations as core's, by the same names
            impl $name {
                pub const fn new(value: $value) -> Self {
                    $name(plain::$name::new(value))
                }
                pub fn load(&self, order: Ordering) -> $value {
                    point();
                    self.0.load(order)
                }
                pub fn store(&self, value: $value, order: Ordering) {
                    point();
                    self.0.store(value, order)
                }
                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    point();
                    self.0.swap(value, order)
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
                $(pub fn $fetch(&self, value: $value, order: Ordering) -> $value {
                    point();
                    self.0.$fetch(value, order)
                })*
            }
        };
    }

    atomic!(AtomicBool, bool, fetch_or, fetch_and);
    atomic!(AtomicU32, u32, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
    atomic!(AtomicU64, u64, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
    atomic!(AtomicUsize, usize, fetch_add, fetch_sub, fetch_or, fetch_and, fetch_max);
}
