//! Power ISA: floating point, VMX and VSX, told by opcode fields (Power ISA 3.1, Book I and appendix on
//! opcode maps). Instructions are words; prefixes (ISA 3.1) are words too, and their vector forms are caught by
//! the suffix or by the primary opcodes here.

use object::Endianness;

use super::Forbidden;

/// Words that are floating-point or vector instructions.
pub fn forbidden(code: &[u8], address: u64, endian: Endianness) -> Vec<Forbidden> {
    code.chunks_exact(4)
        .zip((address..).step_by(4))
        .filter_map(|(bytes, address)| {
            let bytes = [bytes[0], bytes[1], bytes[2], bytes[3]];
            let word = match endian {
                Endianness::Big => u32::from_be_bytes(bytes),
                Endianness::Little => u32::from_le_bytes(bytes),
            };
            class(word).map(|class| Forbidden { address, what: format!("{class} ({word:08x})") })
        })
        .collect()
}

/// The unit that a word belongs to, if it is one of the forbidden ones.
fn class(word: u32) -> Option<&'static str> {
    let extended = (word >> 1) & 0x3ff;
    match word >> 26 {
        // Fixed-point multiply-add shares the vector opcode: maddhd, maddhdu, maddld.
        4 if !matches!(word & 0x3f, 48 | 49 | 51) => Some("vector (VMX)"),
        6 => Some("vector load or store (VSX pair)"),
        48..=55 => Some("floating-point load or store"),
        57 | 61 => Some("floating-point or VSX load or store"),
        59 | 63 => Some("floating point"),
        60 => Some("vector (VSX)"),
        31 => indexed(extended),
        _ => None,
    }
}

/// Primary opcode 31 holds most of the fixed-point unit, and the indexed forms of all others.
fn indexed(extended: u32) -> Option<&'static str> {
    match extended {
        // lfsx lfsux lfdx lfdux stfsx stfsux stfdx stfdux lfiwax lfiwzx stfiwx lfdpx stfdpx
        535 | 567 | 599 | 631 | 663 | 695 | 727 | 759 | 855 | 887 | 983 | 791 | 919 => {
            Some("floating-point load or store")
        }
        // lvsl lvsr lvebx lvehx lvewx lvx lvxl stvebx stvehx stvewx stvx stvxl
        6 | 38 | 7 | 39 | 71 | 103 | 359 | 135 | 167 | 199 | 231 | 487 => Some("vector load or store (VMX)"),
        // Loads: lxsiwzx lxsiwax lxvx lxvl lxvll lxvdsx lxvwsx lxsspx lxsdx lxvw4x lxsibzx lxvh8x lxsihzx lxvd2x lxvb16x
        12 | 76 | 268 | 300 | 269 | 301 | 332 | 364 | 524 | 588 | 780 | 781 | 812 | 813 | 844 | 876 => {
            Some("vector load (VSX)")
        }
        // Stores: stxsiwx stxvx stxvl stxvll stxsspx stxsdx stxvw4x stxsibx stxvh8x stxsihx stxvd2x stxvb16x
        140 | 396 | 397 | 429 | 652 | 716 | 908 | 909 | 940 | 941 | 972 | 1004 => Some("vector store (VSX)"),
        // Moves: mfvsrd mfvsrwz mtvsrd mtvsrwa mtvsrwz mfvsrld mtvsrws mtvsrdd
        51 | 115 | 179 | 211 | 243 | 307 | 403 | 435 => Some("move to or from a vector register (VSX)"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floating_point_and_vector_words_are_found() {
        let cases = [
            ("lfd f0,0(r3)", 0xc803_0000),
            ("stfd f0,0(r3)", 0xd803_0000),
            ("fadd f0,f1,f2", 0xfc01_102a),
            ("fadds f0,f1,f2", 0xec01_102a),
            ("vxor v0,v0,v0", 0x1000_04c4),
            ("xxlxor vs0,vs0,vs0", 0xf000_04d0),
            ("lxv vs0,0(r3)", 0xf403_0001),
            ("stxv vs0,0(r3)", 0xf403_0005),
            ("lvx v0,0,r3", 0x7c00_18ce),
            ("stvx v0,0,r3", 0x7c00_19ce),
            ("lxvd2x vs0,0,r3", 0x7c00_1e98),
            ("stxvx vs0,0,r3", 0x7c00_1b18),
            ("mtvsrd vs0,r3", 0x7c03_0166),
            ("mfvsrd r3,vs0", 0x7c03_0066),
            ("lfdx f0,0,r3", 0x7c00_1cae),
        ];
        for (name, word) in cases {
            assert!(class(word).is_some(), "{name}");
        }
    }

    #[test]
    fn ordinary_words_are_left_alone() {
        let cases = [
            ("ld r3,0(r1)", 0xe861_0000),
            ("lwa r3,0(r1)", 0xe861_0002),
            ("std r3,0(r1)", 0xf861_0000),
            ("stdu r1,-32(r1)", 0xf821_ffe1),
            ("add r3,r3,r4", 0x7c63_2214),
            ("mulld r3,r3,r4", 0x7c63_21d2),
            ("divd r3,r3,r4", 0x7c63_23d2),
            ("ldarx r3,0,r4", 0x7c60_20a8),
            ("stdcx. r3,0,r4", 0x7c60_21ad),
            ("ldx r3,r3,r4", 0x7c63_202a),
            ("mtspr sprg0,r3", 0x7c70_43a6),
            ("mfmsr r3", 0x7c60_00a6),
            ("mtmsrd r3", 0x7c60_0164),
            ("maddld r3,r4,r5,r6", 0x1064_29b3),
            ("isel r3,r4,r5,2", 0x7c64_289e),
            ("sc 1", 0x4400_0022),
            ("sync", 0x7c00_04ac),
            ("or 27,27,27", 0x7f7b_db78),
        ];
        for (name, word) in cases {
            assert_eq!(class(word), None, "{name}");
        }
    }

    #[test]
    fn byte_order_is_that_of_the_image() {
        let code = [0x60, 0x00, 0x00, 0x00, 0xc8, 0x03, 0x00, 0x00];
        let found = forbidden(&code, 0x100, Endianness::Big);
        assert_eq!((found.len(), found[0].address), (1, 0x104));
        let swapped: Vec<u8> = code.chunks(4).flat_map(|word| word.iter().rev().copied()).collect();
        assert_eq!(forbidden(&swapped, 0x100, Endianness::Little).len(), 1);
    }
}
