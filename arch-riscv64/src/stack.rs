//! Stacks, each with a page below it that nothing maps.
//!
//! All stacks are slots of one size in the section `.stacks`, grouped by CPU, so that "is this address a stack's,
//! which one's and whose" is arithmetic: that is how code finds out which CPU executes it.

use hal::{CpuId, MAX_CPUS};

/// Bytes of a slot, guard page included.
pub const SLOT: u64 = 0x8000;
/// Bytes of the guard page, the lowest of a slot.
pub const GUARD: u64 = 0x1000;
/// Stacks per CPU.
pub const PER_CPU: usize = 8;
/// Slots altogether; the linker script reserves as many.
pub const COUNT: usize = PER_CPU * MAX_CPUS;

/// What a stack is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Boot and ordinary code. The boot CPU's is the first slot of all (`entry.S`).
    Main,
    /// Interrupts, which do not nest.
    Interrupt,
    /// Exceptions, in turns: a second one must not destroy what the first one saved.
    FaultA,
    /// The other of the two.
    FaultB,
    /// The deadline timer's shots, in turns: what the last one's handler used stays readable.
    TimerA,
    /// The other of the two.
    TimerB,
    /// The panic sequence, in turns.
    PanicA,
    /// The other of the two.
    PanicB,
}

/// What an address inside the stack area is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// In no slot.
    Outside,
    /// In the guard page of this slot.
    Guard(usize),
    /// In the usable part of this slot.
    Usable(usize),
}

/// Classifies `address` for a stack area that starts at `start`.
pub fn place(start: u64, address: u64) -> Place {
    match address.checked_sub(start) {
        Some(offset) if offset < SLOT * COUNT as u64 => {
            let slot = (offset / SLOT) as usize;
            if offset % SLOT < GUARD { Place::Guard(slot) } else { Place::Usable(slot) }
        }
        _ => Place::Outside,
    }
}

/// Whose stack, guard page included, has the byte at `offset` in the area; `None` if nobody's.
#[inline]
pub fn owner(offset: u64) -> Option<CpuId> {
    CpuId::new(usize::try_from(offset / (SLOT * PER_CPU as u64)).ok()?)
}

/// Offset of the top of a stack in the stack area.
pub fn top_offset(cpu: CpuId, kind: Kind) -> u64 {
    (cpu.index() * PER_CPU + kind as usize + 1) as u64 * SLOT
}

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::Port;
    use crate::asm::{self, symbols};
    use hal::cpu::Cpu;
    use hal::stack::PanicStacks;

    /// Address of the top of a stack.
    pub fn top(cpu: CpuId, kind: Kind) -> u64 {
        symbols::stacks_start().wrapping_add(top_offset(cpu, kind))
    }

    /// Whose stack `address` lies in.
    #[inline]
    pub fn cpu_of(address: u64) -> Option<CpuId> {
        owner(address.wrapping_sub(symbols::stacks_start()))
    }

    /// The stack pointer, near enough to know which stack it is in.
    #[inline(always)]
    pub fn pointer() -> u64 {
        let sp: u64;
        // SAFETY: reads one register.
        unsafe { core::arch::asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
        sp
    }

    /// Whether a stack pointer or frame address may be read.
    pub fn is_mapped(address: u64) -> bool {
        matches!(place(symbols::stacks_start(), address), Place::Usable(_))
    }

    /// Whether `address` is in a guard page.
    pub fn is_guard(address: u64) -> bool {
        matches!(place(symbols::stacks_start(), address), Place::Guard(_))
    }

    /// Whether two addresses lie in one stack.
    pub fn same(one: u64, other: u64) -> bool {
        let start = symbols::stacks_start();
        matches!((place(start, one), place(start, other)), (Place::Usable(a), Place::Usable(b)) if a == b)
    }

    /// Fills the panic stacks of a CPU that is not on one of them with `pattern`, and says where they are:
    /// bottom and top. Who looks later sees how far down they were used.
    pub fn paint_panic_stacks(cpu: CpuId, pattern: u64) -> [(u64, u64); 2] {
        [Kind::PanicA, Kind::PanicB].map(|kind| {
            let top = top(cpu, kind);
            let bottom = top - SLOT + GUARD;
            for word in (bottom..top).step_by(8) {
                // SAFETY: inside a mapped stack that nothing uses (the caller answers for that).
                unsafe { (word as *mut u64).write_volatile(pattern) };
            }
            (bottom, top)
        })
    }

    struct Job<'a, T> {
        entry: fn(&T) -> !,
        argument: &'a T,
    }

    extern "C" fn start<T>(job: *const ()) -> ! {
        // SAFETY: `switch` passes a `Job<T>` on a stack that is never resumed and not reused while this
        // one runs.
        let job = unsafe { &*job.cast::<Job<'_, T>>() };
        (job.entry)(job.argument)
    }

    impl PanicStacks for Port {
        const COUNT: usize = 2;

        fn switch<T>(&self, index: usize, entry: fn(&T) -> !, argument: &T) -> ! {
            let kind = if index.is_multiple_of(2) { Kind::PanicA } else { Kind::PanicB };
            let job = Job { entry, argument };
            // SAFETY: the top is that of a mapped stack of this CPU which is not in use (contract of
            // the trait), and `start::<T>` is what takes a `Job<T>`.
            unsafe { asm::riscv_switch_stack((&raw const job).cast(), start::<T>, top(self.current(), kind)) }
        }
    }
}

#[cfg(mayday_metal)]
pub use metal::{cpu_of, is_guard, is_mapped, paint_panic_stacks, pointer, same, top};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guard_pages_are_below_their_stacks() {
        let start = 0x60_0000;
        let last = CpuId::new(MAX_CPUS - 1).unwrap();
        for (cpu, kind, slot) in [(CpuId::BOOT, Kind::Main, 0), (last, Kind::PanicB, COUNT - 1)] {
            let top = start + top_offset(cpu, kind);
            assert_eq!(place(start, top - 8), Place::Usable(slot));
            assert_eq!(place(start, top - SLOT + GUARD), Place::Usable(slot));
            assert_eq!(place(start, top - SLOT + GUARD - 1), Place::Guard(slot));
            assert_eq!(place(start, top - SLOT), Place::Guard(slot));
            assert_eq!((owner(top - 1 - start), owner(top - SLOT - start)), (Some(cpu), Some(cpu)));
        }
        assert_eq!(place(start, start - 1), Place::Outside);
        assert_eq!(place(start, start + SLOT * COUNT as u64), Place::Outside);
        assert_eq!((owner(SLOT * COUNT as u64), owner(u64::MAX)), (None, None));
    }
}
