//! Panic stacks: reserved, guarded, alternating.

/// Stacks that nothing but the panic sequence uses.
pub trait PanicStacks {
    /// Number of stacks per CPU, at least 2, so that a re-entry never runs on the stack that the
    /// abandoned context used last.
    const COUNT: usize;

    /// Calls `entry(argument)` on panic stack `index % COUNT` of the executing CPU, from its top.
    /// Never returns to the caller's stack.
    ///
    /// # Before
    /// Interrupts masked. The stack named is not the one in use, unless it is abandoned by this
    /// call together with everything on it.
    ///
    /// # After
    /// `entry` runs with an unmapped guard page below its stack, so an overflow traps instead of
    /// spreading. The caller's frame is never resumed and its memory is not reused by the port, so
    /// `argument` stays valid for as long as its stack is not switched to again. It never changes CPU,
    /// so it need not be `Sync`.
    fn switch<T>(&self, index: usize, entry: fn(&T) -> !, argument: &T) -> !;
}
