//! Every stack of every CPU, each with a guard page below it.
//!
//! All stacks lie in one array indexed by CPU, so that the stack pointer alone tells which CPU is
//! executing and on what kind of stack: in an NMI too, whatever GS or any per-CPU pointer says.

use hal::MAX_CPUS;

/// Size of a page, and of each guard.
pub const PAGE: usize = 4096;

/// What a stack is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Ordinary code, and faults that need no stack of their own.
    Main,
    /// Maskable interrupts: an IST stack, because the gates keep interrupts masked and so they cannot
    /// nest, and because what they interrupted can then be found at a fixed place.
    Interrupt,
    /// Non-maskable interrupts: two, so that NMIs can be taken again while the first handler's stack
    /// still holds what a panic in it needs.
    Nmi(usize),
    /// Double faults: what a stack overflow ends in.
    DoubleFault,
    /// Machine checks: two, likewise.
    MachineCheck(usize),
    /// The panic sequence's stacks, by index.
    Panic(usize),
}

/// Number of panic stacks per CPU.
pub const PANIC_STACKS: usize = 2;

/// Kind and size in bytes of the stacks of one CPU, in their order in memory. Each is preceded by its
/// guard page. entry.S knows the first.
pub const LAYOUT: [(Kind, usize); 9] = [
    (Kind::Main, 32 << 10),
    (Kind::Interrupt, 16 << 10),
    (Kind::Nmi(0), 16 << 10),
    (Kind::Nmi(1), 16 << 10),
    (Kind::DoubleFault, 16 << 10),
    (Kind::MachineCheck(0), 16 << 10),
    (Kind::MachineCheck(1), 16 << 10),
    (Kind::Panic(0), 32 << 10),
    (Kind::Panic(1), 32 << 10),
];

/// Bytes of all stacks of one CPU with their guards.
pub const PER_CPU: usize = {
    let mut sum = 0;
    let mut i = 0;
    while i < LAYOUT.len() {
        sum += PAGE + LAYOUT[i].1;
        i += 1;
    }
    sum
};

/// Bytes of the whole array.
pub const TOTAL: usize = PER_CPU * MAX_CPUS;

const _: () = assert!(PAGE + LAYOUT[0].1 == 0x9000, "X86_BOOT_STACK in entry.S");

/// Where an address in the array lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// Whose stack.
    pub cpu: usize,
    /// Which stack.
    pub kind: Kind,
    /// Offset of the stack's lowest usable byte in the array.
    pub bottom: usize,
    /// Offset of its top, one past the highest byte.
    pub top: usize,
    /// The address is in the guard page below it.
    pub guard: bool,
}

/// Whose stack has the byte at `offset` in the array; not below [`MAX_CPUS`] if none has.
#[inline]
pub const fn cpu_at(offset: u64) -> usize {
    (offset / PER_CPU as u64) as usize
}

/// The place of the byte at `offset` in the array.
pub fn locate(offset: usize) -> Option<Place> {
    if offset >= TOTAL {
        return None;
    }
    let cpu = offset / PER_CPU;
    let mut start = cpu * PER_CPU;
    for (kind, size) in LAYOUT {
        let bottom = start + PAGE;
        let top = bottom + size;
        if offset < top {
            return Some(Place { cpu, kind, bottom, top, guard: offset < bottom });
        }
        start = top;
    }
    None
}

/// Offset of the top of one stack in the array; `None` for a CPU or a panic stack that does not exist.
pub fn top_offset(cpu: usize, wanted: Kind) -> Option<usize> {
    if cpu >= MAX_CPUS {
        return None;
    }
    let mut start = cpu * PER_CPU;
    for (kind, size) in LAYOUT {
        let top = start + PAGE + size;
        if kind == wanted {
            return Some(top);
        }
        start = top;
    }
    None
}

#[cfg(mayday_metal)]
pub use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::platform::Port;
    use core::cell::UnsafeCell;
    use hal::CpuId;
    use hal::stack::PanicStacks;

    #[repr(C, align(4096))]
    struct Stacks(UnsafeCell<[u8; TOTAL]>);

    // SAFETY: never accessed as a Rust object; each CPU's stack pointers stay in its own part.
    unsafe impl Sync for Stacks {}

    #[unsafe(no_mangle)]
    // The name's prefix makes it take no space in the file; kernel.ld moves it to .stacks.
    #[unsafe(link_section = ".bss.x86_stacks")]
    static X86_STACKS: Stacks = Stacks(UnsafeCell::new([0; TOTAL]));

    /// Virtual address of the array.
    #[inline]
    pub fn base() -> u64 {
        (&raw const X86_STACKS) as u64
    }

    /// The place of a virtual address, if it lies in the array.
    pub fn place_of(address: u64) -> Option<Place> {
        locate(usize::try_from(address.checked_sub(base())?).ok()?)
    }

    /// Whether `len` bytes at `address` are aligned to 8 and inside one stack.
    pub fn holds(address: u64, len: usize) -> bool {
        let Some(place) = place_of(address) else { return false };
        let end = address.checked_add(len as u64);
        !place.guard
            && address.is_multiple_of(8)
            && end.is_some_and(|end| end <= base().wrapping_add(place.top as u64))
    }

    /// Virtual address of the top of a stack, for the CPU to start at. 0 for one that does not exist.
    pub fn top(cpu: CpuId, kind: Kind) -> u64 {
        top_offset(cpu.index(), kind).map_or(0, |offset| base().wrapping_add(offset as u64))
    }

    /// Fills the panic stacks of a CPU that is not on one of them with `pattern`, and says where they are:
    /// bottom and top. Who looks later sees how far down they were used.
    pub fn paint_panic_stacks(cpu: CpuId, pattern: u64) -> [(u64, u64); PANIC_STACKS] {
        core::array::from_fn(|number| {
            let top = top(cpu, Kind::Panic(number));
            let bottom = place_of(top - 8).map_or(top, |place| base() + place.bottom as u64);
            for word in (bottom..top).step_by(8) {
                // SAFETY: inside a mapped stack that nothing uses (the caller answers for that).
                unsafe { (word as *mut u64).write_volatile(pattern) };
            }
            (bottom, top)
        })
    }

    /// The stack pointer, near enough to know which stack it is in.
    #[inline(always)]
    pub fn pointer() -> u64 {
        let sp: u64;
        // SAFETY: reads one register.
        unsafe { core::arch::asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
        sp
    }

    struct Call<'a, T> {
        entry: fn(&T) -> !,
        argument: &'a T,
    }

    extern "C" fn enter<T>(call: &Call<'_, T>) -> ! {
        (call.entry)(call.argument)
    }

    impl PanicStacks for Port {
        const COUNT: usize = PANIC_STACKS;

        fn switch<T>(&self, index: usize, entry: fn(&T) -> !, argument: &T) -> ! {
            let top = top(hal::cpu::Cpu::current(self), Kind::Panic(index % PANIC_STACKS));
            let call = Call { entry, argument };
            // SAFETY: `top` is the aligned top of a mapped stack that nothing else uses (the caller
            // answers for the one it abandons). CALL pushes the return address that `enter` expects
            // below an aligned top; nothing ever returns to it. `call`
            // stays valid: its stack is not resumed. Interrupts are masked.
            unsafe {
                core::arch::asm!(
                    "mov rsp, {top}",
                    "xor ebp, ebp",
                    "call {enter}",
                    "ud2",
                    top = in(reg) top,
                    enter = sym enter::<T>,
                    in("rdi") &raw const call,
                    options(noreturn)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_one_place() {
        let first = locate(0).expect("inside");
        assert_eq!((first.cpu, first.kind, first.guard), (0, Kind::Main, true));
        assert!(!locate(PAGE).expect("inside").guard);
        assert_eq!(locate(TOTAL), None);
        for outside in [TOTAL as u64, u64::MAX, u64::MAX - PER_CPU as u64] {
            assert!(cpu_at(outside) >= MAX_CPUS);
        }
        for cpu in [0, 3, MAX_CPUS - 1] {
            for (kind, size) in LAYOUT {
                let top = top_offset(cpu, kind).expect("exists");
                assert_eq!(top % 16, 0);
                let inside = locate(top - 1).expect("inside");
                assert_eq!((inside.cpu, inside.kind, inside.guard), (cpu, kind, false));
                assert_eq!((cpu_at(top as u64 - 1), cpu_at((top - size) as u64)), (cpu, cpu));
                assert_eq!((inside.bottom, inside.top), (top - size, top));
                let guard = locate(top - size - 1).expect("inside");
                assert_eq!((guard.cpu, guard.kind, guard.guard), (cpu, kind, true));
            }
        }
        assert_eq!(top_offset(MAX_CPUS, Kind::Main), None);
        assert_eq!(top_offset(0, Kind::Panic(PANIC_STACKS)), None);
    }
}
