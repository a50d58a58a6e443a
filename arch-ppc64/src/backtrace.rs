//! Return addresses from the back chain, newest first.
//!
//! ELFv2 (64-Bit ELF V2 ABI, "The Stack Frame"): the word at the stack pointer is the caller's stack
//! pointer, and a function saves its return address 16 bytes into its *caller's* frame. The chain is
//! part of the ABI: no unwind tables, no frame-pointer option.

/// Walks the chain that starts at stack pointer `sp`.
///
/// `read` returns the doubleword at an address, or `None` where that is no stack of this kernel;
/// `same_stack` says whether two addresses lie in one stack; `is_text` whether an address is kernel
/// code. `link` is the interrupted link register: a function that had not saved it yet, or never does,
/// shows up through it; it comes first unless it is the first saved address anyway. It may be stale:
/// then it names a call that has returned.
pub fn walk(
    sp: u64,
    link: u64,
    read: impl Fn(u64) -> Option<u64>,
    same_stack: impl Fn(u64, u64) -> bool,
    is_text: impl Fn(u64) -> bool,
    out: &mut [u64],
) -> usize {
    let mut count = 0;
    let mut push = |address: u64| match out.get_mut(count) {
        Some(slot) => {
            *slot = address;
            count += 1;
            true
        }
        None => false,
    };
    let next_frame = |frame: u64| {
        let next = read(frame)?;
        // The stack grows down, so callers lie above; anything else is a destroyed chain.
        (frame.is_multiple_of(16) && next.is_multiple_of(16) && next > frame && same_stack(frame, next))
            .then_some(next)
    };
    let saved = |frame: u64| read(frame.checked_add(16)?).filter(|address| is_text(*address));

    let mut frame = next_frame(sp);
    let first = frame.and_then(saved);
    if is_text(link) && first != Some(link) && !push(link) {
        return count;
    }
    while let Some(at) = frame {
        let Some(address) = saved(at) else { break };
        if !push(address) {
            break;
        }
        frame = next_frame(at);
    }
    count
}

/// [`walk`] over this kernel's stacks and text. On a host there are none: 0.
pub fn of_kernel(sp: u64, link: u64, out: &mut [u64]) -> usize {
    #[cfg(mayday_metal)]
    {
        use crate::asm::symbols;
        let read = |address: u64| {
            if !address.is_multiple_of(8) || !crate::stack::is_mapped(address) {
                return None;
            }
            // SAFETY: the address is aligned and lies in the mapped part of one of this kernel's stacks.
            Some(unsafe { (address as *const u64).read_volatile() })
        };
        let is_text = |address: u64| (symbols::text_start()..symbols::text_end()).contains(&address);
        walk(sp, link, read, crate::stack::same, is_text, out)
    }
    #[cfg(not(mayday_metal))]
    {
        walk(sp, link, |_| None, |_, _| false, |_| false, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: core::ops::Range<u64> = 0x40_0000..0x41_0000;

    fn trace(memory: &[(u64, u64)], sp: u64, link: u64, room: usize) -> std::vec::Vec<u64> {
        let read = |address| memory.iter().find(|(at, _)| *at == address).map(|(_, value)| *value);
        let mut out = std::vec![0; room];
        let count = walk(sp, link, read, |a, b| a >> 15 == b >> 15, |a| TEXT.contains(&a), &mut out);
        out.truncate(count);
        out
    }

    #[test]
    fn follows_the_chain_to_its_end() {
        let memory =
            [(0x8000, 0x8040), (0x8040, 0x8080), (0x8050, 0x40_0100), (0x8080, 0), (0x8090, 0x40_0200)];
        assert_eq!(trace(&memory, 0x8000, 0x40_0100, 8), [0x40_0100, 0x40_0200]);
        assert_eq!(trace(&memory, 0x8000, 0x40_0300, 8), [0x40_0300, 0x40_0100, 0x40_0200]);
        assert_eq!(trace(&memory, 0x8000, 0x40_0300, 2), [0x40_0300, 0x40_0100]);
        assert_eq!(trace(&memory, 0x8000, 0, 0), []);
    }

    #[test]
    fn a_destroyed_chain_ends_the_trace() {
        // Loops, misaligned links, links to other stacks, return addresses outside text.
        assert_eq!(trace(&[(0x8000, 0x8000), (0x8010, 0x40_0100)], 0x8000, 0, 8), []);
        assert_eq!(trace(&[(0x8000, 0x8041), (0x8051, 0x40_0100)], 0x8000, 0, 8), []);
        assert_eq!(trace(&[(0x8000, 0x1_0000), (0x1_0010, 0x40_0100)], 0x8000, 0, 8), []);
        assert_eq!(trace(&[(0x8000, 0x8040), (0x8050, 0x1234)], 0x8000, 0, 8), []);
        assert_eq!(trace(&[(0x8000, u64::MAX - 15)], 0x8000, 0, 8), []);
    }
}
