//! Panic stacks. A coroutine has one stack; what is checked is that the sequence never asks for the
//! one that it runs on.

use hal::stack::PanicStacks;

use crate::platform::Sim;
use crate::world::with;

impl PanicStacks for Sim {
    const COUNT: usize = 2;

    fn switch<T>(&self, index: usize, entry: fn(&T) -> !, argument: &T) -> ! {
        with(|world| {
            world.enters();
            world.abandons_step();
            let stack = index % Self::COUNT;
            let before = world.me().stack.replace(stack);
            if before == Some(stack) {
                let me = world.current;
                world.violation("P2", format_args!("CPU {me} re-enters on the panic stack that it left"));
            }
        });
        entry(argument)
    }
}
