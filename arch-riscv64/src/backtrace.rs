//! Return addresses from the chain of frame pointers, newest first.
//!
//! With `-Cforce-frame-pointers=yes`, which this port is built with, s0 holds the stack pointer as it was before the
//! function's frame; the two words below it are the return address and, lower, the caller's s0 (RISC-V ELF psABI,
//! "Frame Pointer Convention").

/// Walks the chain that starts at frame pointer `frame`.
///
/// `read` returns the word at an address, or `None` where that is no stack of this kernel; `same_stack` says whether
/// two addresses lie in one stack; `is_text` whether an address is kernel code. `link` is the interrupted return
/// address register: a function that had not saved it yet, or never does, shows up through it; it comes first unless
/// it is the first saved address anyway. It may be stale: then it names a call that has returned.
pub fn walk(
    frame: u64,
    link: Option<u64>,
    read: impl Fn(u64) -> Option<u64>,
    same_stack: impl Fn(u64, u64) -> bool,
    is_text: impl Fn(u64) -> bool,
    out: &mut [u64],
) -> usize {
    let mut count = 0;
    let mut push = |address: u64| match out.get_mut(count) {
        Some(slot) => {
            *slot = address;
            count = count.saturating_add(1);
            true
        }
        None => false,
    };
    let word = |frame: u64, below: u64| read(frame.checked_sub(below)?).filter(|_| frame.is_multiple_of(16));
    let saved = |frame: u64| word(frame, 8).filter(|address| is_text(*address));
    // The stack grows down, so callers lie above; anything else is a destroyed chain. A frame may end where its
    // stack does, so the word below is what has to lie in it.
    let next = |frame: u64| {
        word(frame, 16)
            .filter(|next| *next > frame && same_stack(frame.wrapping_sub(8), next.wrapping_sub(8)))
    };

    if let Some(link) = link.filter(|link| is_text(*link))
        && saved(frame) != Some(link)
        && !push(link)
    {
        return count;
    }
    let mut at = Some(frame);
    while let Some(frame) = at {
        let Some(address) = saved(frame) else { break };
        if !push(address) {
            break;
        }
        at = next(frame);
    }
    count
}

/// [`walk`] over this kernel's stacks and text. On a host there are none: 0.
pub fn of_kernel(frame: u64, link: Option<u64>, out: &mut [u64]) -> usize {
    #[cfg(mayday_metal)]
    {
        use crate::asm::symbols;
        let read = |address: u64| {
            if !address.is_multiple_of(8) || !crate::stack::is_mapped(address) {
                return None;
            }
            // SAFETY: the address is aligned and lies in the mapped part of one of this kernel's stacks. Volatile,
            // because another CPU may be writing to that stack: any value is as good as none.
            Some(unsafe { (address as *const u64).read_volatile() })
        };
        let is_text = |address: u64| (symbols::text_start()..symbols::text_end()).contains(&address);
        walk(frame, link, read, crate::stack::same, is_text, out)
    }
    #[cfg(not(mayday_metal))]
    {
        walk(frame, link, |_| None, |_, _| false, |_| false, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: core::ops::Range<u64> = 0x40_0000..0x41_0000;

    fn trace(memory: &[(u64, u64)], frame: u64, link: Option<u64>, room: usize) -> std::vec::Vec<u64> {
        let read = |address| memory.iter().find(|(at, _)| *at == address).map(|(_, value)| *value);
        let mut out = std::vec![0; room];
        let count = walk(frame, link, read, |a, b| a >> 15 == b >> 15, |a| TEXT.contains(&a), &mut out);
        out.truncate(count);
        out
    }

    /// A chain of two frames, the outer one at the very end of its stack.
    const CHAIN: [(u64, u64); 4] =
        [(0xff30, 0x1_0000), (0xff38, 0x40_0100), (0xfff0, 0), (0xfff8, 0x40_0200)];

    #[test]
    fn follows_the_chain_to_its_end() {
        assert_eq!(trace(&CHAIN, 0xff40, None, 8), [0x40_0100, 0x40_0200]);
        assert_eq!(trace(&CHAIN, 0xff40, Some(0x40_0100), 8), [0x40_0100, 0x40_0200]);
        assert_eq!(trace(&CHAIN, 0xff40, Some(0x40_0300), 8), [0x40_0300, 0x40_0100, 0x40_0200]);
        assert_eq!(trace(&CHAIN, 0xff40, Some(0x40_0300), 2), [0x40_0300, 0x40_0100]);
        assert_eq!(trace(&CHAIN, 0xff40, Some(0x10), 0), []);
    }

    #[test]
    fn a_destroyed_chain_ends_the_trace() {
        let one = |caller| [(0xff30, caller), (0xff38, 0x40_0100), (0x2_0000 - 8, 0x40_0200)];
        // Loops, falling and misaligned links, links to other stacks.
        for caller in [0xff40, 0x8000, 0xff51, 0x2_0000, !15] {
            assert_eq!(trace(&one(caller), 0xff40, None, 8), [0x40_0100], "{caller:#x}");
        }
        // Return addresses outside text; frames that are none.
        assert_eq!(trace(&[(0xff30, 0xff80), (0xff38, 0x1234)], 0xff40, None, 8), []);
        for frame in [0, 8, 0xff48, u64::MAX] {
            assert_eq!(trace(&CHAIN, frame, None, 8), [], "{frame:#x}");
        }
    }
}
