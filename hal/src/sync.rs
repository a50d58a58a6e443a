//! The one facade for atomics.
//!
//! `core-panic`, the log and the record take every atomic from here and none from
//! `core::sync::atomic` (`cargo xtask tidy` checks it), so that the code which runs on metal is the
//! code that a model checker schedules:
//!
//! * by default these are the types of `core`, at no cost;
//! * under `cfg(loom)` they are loom's, which explores memory orderings, each with a place before it where a model may
//!   let a signal handler run (`model::set_hook`);
//! * with the feature `explore` each operation first calls a hook (`explore::set_hooks`), which is
//!   where a deterministic scheduler takes over.

#[cfg(all(not(loom), not(feature = "explore")))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub mod model;
#[cfg(loom)]
pub use model::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(all(not(loom), feature = "explore"))]
pub use core::sync::atomic::Ordering;
#[cfg(all(not(loom), feature = "explore"))]
pub use explore::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, fence};

/// Orders what this CPU does before it and after it as its own interrupt handlers see it: no instruction,
/// but nothing is moved across. What other CPUs see needs a [`fence`] or an ordering.
///
/// Not `compiler_fence`, which on POWER is a `sync`, the most expensive instruction that there is for it.
#[inline(always)]
pub fn signal_fence() {
    // SAFETY: no instruction. The compiler has to take it for one that reads and writes any memory.
    #[cfg(not(loom))]
    #[allow(unsafe_code)]
    unsafe {
        core::arch::asm!("", options(nostack, preserves_flags));
    }
}

/// Atomics with a scheduling point before each operation. Host only: it needs `std`.
#[cfg(all(not(loom), feature = "explore"))]
pub mod explore {
    use core::sync::atomic::{self as plain, Ordering};
    use std::sync::OnceLock;

    /// What an operation does to its location.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub enum Access {
        /// Reads it.
        Load,
        /// Writes it.
        Store,
        /// Reads and writes it at once.
        Update,
        /// No location: a fence.
        Fence,
    }

    /// An operation.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Operation {
        /// What it does.
        pub access: Access,
        /// Where: an address of this process; 0 for a fence.
        pub address: usize,
    }

    /// What a scheduler wants to be told.
    #[derive(Clone, Copy, Debug)]
    pub struct Hooks {
        /// An operation is about to happen: the place to run somebody else first.
        pub before: fn(&Operation),
        /// It happened: the value before and the value after.
        pub after: fn(&Operation, old: u64, new: u64),
    }

    static HOOKS: OnceLock<Hooks> = OnceLock::new();

    /// Registers the scheduler, once per process; without one, operations are plain ones. Returns
    /// false if one was registered before.
    pub fn set_hooks(hooks: Hooks) -> bool {
        HOOKS.set(hooks).is_ok()
    }

    fn observed<T>(access: Access, address: usize, operation: impl FnOnce() -> (T, u64, u64)) -> T {
        let Some(hooks) = HOOKS.get() else { return operation().0 };
        let what = Operation { access, address };
        (hooks.before)(&what);
        let (result, old, new) = operation();
        (hooks.after)(&what, old, new);
        result
    }

    /// As `core::sync::atomic::fence`.
    pub fn fence(order: Ordering) {
        observed(Access::Fence, 0, || {
            plain::fence(order);
            ((), 0, 0)
        });
    }

    macro_rules! atomic {
        ($name:ident, $value:ty $(, $fetch:ident = $apply:expr)*) => {
            #[doc = concat!("As `core::sync::atomic::", stringify!($name), "`.")]
            #[derive(Debug, Default)]
            #[repr(transparent)]
            pub struct $name(plain::$name);

            #[allow(missing_docs)] // the same operations as core's, by the same names
            impl $name {
                pub const fn new(value: $value) -> Self {
                    $name(plain::$name::new(value))
                }
                fn address(&self) -> usize {
                    core::ptr::from_ref(&self.0).addr()
                }
                pub fn load(&self, order: Ordering) -> $value {
                    observed(Access::Load, self.address(), || {
                        let value = self.0.load(order);
                        (value, value as u64, value as u64)
                    })
                }
                pub fn store(&self, value: $value, _order: Ordering) {
                    observed(Access::Store, self.address(), || {
                        let old = self.0.swap(value, Ordering::SeqCst);
                        ((), old as u64, value as u64)
                    })
                }
                pub fn swap(&self, value: $value, order: Ordering) -> $value {
                    observed(Access::Update, self.address(), || {
                        let old = self.0.swap(value, order);
                        (old, old as u64, value as u64)
                    })
                }
                pub fn compare_exchange(
                    &self,
                    current: $value,
                    new: $value,
                    success: Ordering,
                    failure: Ordering,
                ) -> Result<$value, $value> {
                    observed(Access::Update, self.address(), || {
                        let result = self.0.compare_exchange(current, new, success, failure);
                        match result {
                            Ok(old) => (result, old as u64, new as u64),
                            Err(old) => (result, old as u64, old as u64),
                        }
                    })
                }
                $(pub fn $fetch(&self, value: $value, order: Ordering) -> $value {
                    observed(Access::Update, self.address(), || {
                        let old = self.0.$fetch(value, order);
                        let apply: fn($value, $value) -> $value = $apply;
                        (old, old as u64, apply(old, value) as u64)
                    })
                })*
            }
        };
    }

    atomic!(AtomicBool, bool, fetch_or = |old, value| old | value, fetch_and = |old, value| old & value);

    macro_rules! number {
        ($name:ident, $value:ty) => {
            atomic!(
                $name,
                $value,
                fetch_add = |old, value| old.wrapping_add(value),
                fetch_sub = |old, value| old.wrapping_sub(value),
                fetch_or = |old, value| old | value,
                fetch_and = |old, value| old & value,
                fetch_max = |old, value| old.max(value)
            );
        };
    }

    number!(AtomicU32, u32);
    number!(AtomicU64, u64);
    number!(AtomicUsize, usize);
}

/// A value that is bound once, at boot, and only looked at afterwards: what a panic path may read
/// without waiting for anybody. Built on this facade, so that a model checker sees it.
pub struct BindOnce<T> {
    /// 0: nothing; 1: being written; 2: bound.
    state: AtomicU32,
    value: core::cell::UnsafeCell<core::mem::MaybeUninit<T>>,
}

/// What there is in a [`BindOnce`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look<'a, T> {
    /// Nothing was bound, and nobody is about to.
    Empty,
    /// A value.
    Bound(&'a T),
    /// Neither: it is being written, or something wrote over the cell.
    Neither,
}

// SAFETY: the value is written by whoever takes `state` from 0 to 1, and shared only once it is 2.
#[allow(unsafe_code)]
unsafe impl<T: Send + Sync> Sync for BindOnce<T> {}

impl<T> BindOnce<T> {
    crate::const_unless_loom! {
        /// Nothing bound.
        #[allow(clippy::new_without_default)] // a static's initialiser
        pub fn new() -> Self {
            BindOnce {
                state: AtomicU32::new(0),
                value: core::cell::UnsafeCell::new(core::mem::MaybeUninit::uninit()),
            }
        }
    }

    /// Binds the value. False if one was bound before, or is being bound; then nothing changes.
    #[allow(unsafe_code)]
    pub fn bind(&self, value: T) -> bool {
        if self.state.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return false;
        }
        // SAFETY: this call alone took the state from 0 to 1, and nobody reads before it is 2.
        unsafe { (*self.value.get()).write(value) };
        self.state.store(2, Ordering::Release);
        true
    }

    /// The value, if it is bound. Never waits.
    pub fn get(&self) -> Option<&T> {
        match self.look() {
            Look::Bound(value) => Some(value),
            Look::Empty | Look::Neither => None,
        }
    }

    /// As [`BindOnce::get`], and says why there is no value. Never waits.
    #[allow(unsafe_code)]
    pub fn look(&self) -> Look<'_, T> {
        match self.state.load(Ordering::Acquire) {
            0 => Look::Empty,
            // SAFETY: 2 was stored with release after the value was written, which never changes again. The
            // value is not dropped: these cells are statics.
            2 => Look::Bound(unsafe { (*self.value.get()).assume_init_ref() }),
            _ => Look::Neither,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_bound_once() {
        let cell = BindOnce::new();
        assert_eq!(cell.get(), None);
        assert_eq!(cell.look(), Look::Empty);
        assert!(cell.bind(3));
        assert!(!cell.bind(4));
        assert_eq!(cell.look(), Look::Bound(&3));
        assert_eq!(cell.get(), Some(&3));
    }
}
