//! Return addresses by the chain of frame pointers.

/// Follows the chain from `frame`: `read` gives the two words of a frame (caller's frame pointer,
/// return address) or `None` outside the stacks; `is_text` accepts return addresses. The chain must
/// rise within a stack; `out` bounds it. Returns how many addresses were written.
pub fn walk(
    mut frame: u64,
    out: &mut [u64],
    read: impl Fn(u64) -> Option<[u64; 2]>,
    is_text: impl Fn(u64) -> bool,
) -> usize {
    let mut count = 0;
    for slot in out {
        let Some([caller, address]) = read(frame) else { break };
        if !is_text(address) {
            break;
        }
        *slot = address;
        count += 1;
        if caller <= frame {
            break;
        }
        frame = caller;
    }
    count
}

/// [`walk`] over this kernel's stacks and text.
#[cfg(mayday_metal)]
pub fn from_frame_pointer(frame: u64, out: &mut [u64]) -> usize {
    use crate::asm::symbols;
    let text = symbols::__text_start()..symbols::__text_end();
    let read = |at: u64| {
        if !crate::stack::holds(at, 16) {
            return None;
        }
        let words = at as *const u64;
        // SAFETY: `holds` says that these 16 bytes are aligned and inside one mapped stack. Volatile,
        // because another CPU may be writing to that stack: any value is as good as none.
        Some(unsafe { [words.read_volatile(), words.add(1).read_volatile()] })
    };
    walk(frame, out, read, |address| text.contains(&address))
}

/// On the host there are no stacks of the kernel's to look at.
#[cfg(not(mayday_metal))]
pub fn from_frame_pointer(_frame: u64, _out: &mut [u64]) -> usize {
    0
}

#[cfg(test)]
mod tests {
    use super::walk;

    fn chain(frames: &[(u64, u64, u64)]) -> impl Fn(u64) -> Option<[u64; 2]> + '_ {
        move |at| frames.iter().find(|f| f.0 == at).map(|f| [f.1, f.2])
    }

    #[test]
    fn a_chain_is_followed_to_its_end() {
        let mut out = [0; 8];
        let count = walk(16, &mut out, chain(&[(16, 32, 1), (32, 64, 2), (64, 0, 3)]), |_| true);
        assert_eq!(&out[..count], &[1, 2, 3]);
    }

    #[test]
    fn damage_shortens_it() {
        let mut out = [0; 8];
        assert_eq!(walk(16, &mut out, chain(&[(16, 16, 1)]), |_| true), 1, "a loop");
        assert_eq!(walk(16, &mut out, chain(&[(16, 8, 1), (8, 16, 2)]), |_| true), 1, "a falling chain");
        assert_eq!(walk(16, &mut out, chain(&[(16, 32, 7), (32, 48, 9)]), |a| a != 9), 1, "no text");
        assert_eq!(walk(99, &mut out, chain(&[]), |_| true), 0, "no stack");
        assert_eq!(walk(16, &mut [0; 2], chain(&[(16, 32, 1), (32, 64, 2), (64, 0, 3)]), |_| true), 2);
    }
}
