//! What the panic path may do to a lock that somebody else holds: a property of the lock's type.

/// In which state a stolen lock was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Its holder is this CPU, in a context that was abandoned.
    Interrupted,
    /// Its holder is stopped.
    Orphaned,
}

/// A value that may be looked at in the middle of any change to it.
///
/// # Safety
///
/// Every intermediate state of the value, between any two of the instructions that change it under its lock, is
/// a valid value of its type: reading it and writing it is sound. Where that needs work first, `repair` does it,
/// and is itself sound on every such state.
#[allow(unsafe_code)]
pub unsafe trait Interruptible {
    /// Makes the value fit for use. Runs as part of the step that steals the lock; if it does not come to its end,
    /// the lock is never stolen again.
    fn repair(&mut self, found: Found);
}

/// What the panic path does about a holder that will not go on. Sealed: [`Skip`], [`Steal`], [`Never`].
pub trait Policy<T: ?Sized>: sealed::Sealed {
    /// Makes a stolen value fit for use; `None` if this policy does not steal.
    const REPAIR: Option<fn(&mut T, Found)>;
}

/// A policy that the panic path may ask at all.
pub trait Enters: sealed::Sealed {}

/// Takes the lock if it is free, and does without it if not.
pub struct Skip;
/// Takes it also from a context that was abandoned, and from a CPU that is stopped.
pub struct Steal;
/// The panic path does not touch it.
///
/// ```compile_fail,E0277
/// # use crash_lock::*;
/// fn notify<T, K: Kernel>(lock: &'static CrashLock<T, K, Never>, token: &Panicking<'_>) {
///     let _ = lock.enter(token);
/// }
/// ```
pub struct Never;

impl<T: ?Sized> Policy<T> for Skip {
    const REPAIR: Option<fn(&mut T, Found)> = None;
}
impl<T: Interruptible + ?Sized> Policy<T> for Steal {
    const REPAIR: Option<fn(&mut T, Found)> = Some(T::repair);
}
impl<T: ?Sized> Policy<T> for Never {
    const REPAIR: Option<fn(&mut T, Found)> = None;
}
impl Enters for Skip {}
impl Enters for Steal {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Skip {}
    impl Sealed for super::Steal {}
    impl Sealed for super::Never {}
}
