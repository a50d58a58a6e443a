//! Panic stacks.
//!
//! Questions for the porter:
//! * Where are [`PanicStacks::COUNT`] stacks per CPU reserved, with an unmapped page below each?
//! * Which registers must the switch set so that a backtrace ends at the new stack's top?
//!
//! Answers:
//! * `arch-x86_64/src/stack.rs`: `switch`, `paint_panic_stacks`
//! * `arch-ppc64/src/stack.rs`: `switch`, `paint_panic_stacks`

use crate::Port;
use hal::CpuId;
use hal::stack::PanicStacks;

impl PanicStacks for Port {
    const COUNT: usize = 2;

    /// Stays on the stack it is on: all that can be done without a line of assembly. **Replace this first**:
    /// until then a re-entry uses up the stack of the context that it abandons.
    fn switch<T>(&self, _index: usize, entry: fn(&T) -> !, argument: &T) -> ! {
        entry(argument)
    }
}

/// Fills the panic stacks of a CPU that is not on one of them with `pattern`, and says where they are: bottom
/// and top, equal where there is none.
pub fn paint_panic_stacks(_cpu: CpuId, _pattern: u64) -> [(u64, u64); 2] {
    [(0, 0); 2]
}
