//! RISC-V: floating point and vectors, told by opcode (unprivileged ISA, "RV32/64G Instruction Set Listings", "C"
//! extension, "V" extension). Instructions are two or four bytes, in little-endian parcels whatever the data's order
//! is; the lowest two bits of the first parcel say which.

use super::Forbidden;

/// Instructions that are floating-point or vector ones, or touch the registers of their state.
pub fn forbidden(code: &[u8], address: u64) -> Vec<Forbidden> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&[low, high]) = code.get(at..).and_then(|rest| rest.first_chunk::<2>()) {
        let parcel = u16::from_le_bytes([low, high]);
        let mut hit = |what: &str, word: String| {
            found.push(Forbidden { address: address + at as u64, what: format!("{what} ({word})") });
        };
        if parcel & 3 != 3 {
            if let Some(what) = compressed(parcel) {
                hit(what, format!("{parcel:04x}"));
            }
            at += 2;
            continue;
        }
        // Longer ones than four bytes do not exist yet.
        let Some(&bytes) = code.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { break };
        let word = u32::from_le_bytes(bytes);
        if let Some(what) = class(word) {
            hit(what, format!("{word:08x}"));
        }
        at += 4;
    }
    found
}

/// The unit that a four-byte instruction belongs to, if it is one of the forbidden ones.
fn class(word: u32) -> Option<&'static str> {
    match word & 0x7f {
        0x07 => Some("floating-point or vector load"),
        0x27 => Some("floating-point or vector store"),
        0x43 | 0x47 | 0x4b | 0x4f | 0x53 => Some("floating point"),
        0x57 | 0x77 => Some("vector"),
        // fflags, frm, fcsr; vstart, vxsat, vxrm, vcsr; vl, vtype, vlenb.
        0x73 if word >> 12 & 3 != 0 => match word >> 20 {
            1..=3 => Some("floating-point state"),
            8..=10 | 15 | 0xc20..=0xc22 => Some("vector state"),
            _ => None,
        },
        _ => None,
    }
}

/// Of the two-byte ones, those of 64-bit machines: c.fld, c.fsd, and the same by the stack pointer.
fn compressed(parcel: u16) -> Option<&'static str> {
    match (parcel & 3, parcel >> 13) {
        (0 | 2, 1) => Some("floating-point load"),
        (0 | 2, 5) => Some("floating-point store"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &[u8]) -> Vec<u64> {
        forbidden(code, 0x100).iter().map(|hit| hit.address).collect()
    }

    #[test]
    fn floating_point_and_vector_instructions_are_found() {
        let cases: [(&str, u32); 12] = [
            ("fld fa0,0(a0)", 0x0005_3507),
            ("fsd fa0,0(a0)", 0x00a5_3027),
            ("fadd.d fa0,fa0,fa1", 0x02b5_7553),
            ("fmadd.s fa0,fa0,fa1,fa2", 0x60b5_7543),
            ("fmv.d.x fa0,a0", 0xf205_0553),
            ("frcsr a0", 0x0030_2573),
            ("fsrmi 1", 0x0020_d073),
            ("vsetvli a0,a1,e8,m1", 0x0005_f557),
            ("vle8.v v0,(a0)", 0x0205_0007),
            ("vse8.v v0,(a0)", 0x0205_0027),
            ("vadd.vv v0,v0,v0", 0x0200_0057),
            ("csrr a0,vl", 0xc200_2573),
        ];
        for (name, word) in cases {
            assert_eq!(found(&word.to_le_bytes()), [0x100], "{name}");
        }
        for (name, parcel) in [
            ("c.fld fa0,0(a0)", 0x2108_u16),
            ("c.fsd fa0,0(a0)", 0xa108),
            ("c.fldsp", 0x2502),
            ("c.fsdsp", 0xa02a),
        ] {
            assert_eq!(found(&parcel.to_le_bytes()), [0x100], "{name}");
        }
    }

    #[test]
    fn ordinary_instructions_are_left_alone() {
        let cases: [(&str, u32); 12] = [
            ("ld a0,0(a0)", 0x0005_3503),
            ("sd a0,0(a0)", 0x00a5_3023),
            ("mul a0,a0,a1", 0x02b5_0533),
            ("amoswap.w.aq a0,a0,(a1)", 0x0ca5_a52f),
            ("csrrw sp,sscratch,sp", 0x1401_1173),
            ("csrr a0,sstatus", 0x1000_2573),
            ("rdtime a0", 0xc010_2573),
            ("ecall", 0x0000_0073),
            // Its funct12 is 1, as fflags is: it is no access to a register.
            ("ebreak", 0x0010_0073),
            ("sret", 0x1020_0073),
            ("pause", 0x0100_000f),
            ("auipc a0,0", 0x0000_0517),
        ];
        for (name, word) in cases {
            assert_eq!(found(&word.to_le_bytes()), [0; 0], "{name}");
        }
        // c.ld, c.sd, c.ldsp, c.sdsp, c.addiw, c.j, c.nop; all zero; an odd end.
        for parcel in [0x6108_u16, 0xe108, 0x6502, 0xe02a, 0x2505, 0xa001, 1, 0] {
            assert_eq!(found(&parcel.to_le_bytes()), [0; 0], "{parcel:04x}");
        }
        assert_eq!(found(&[0x07]), [0; 0]);
    }

    #[test]
    fn lengths_keep_it_in_step() {
        // c.nop, then an `addi` whose upper half would be a c.fld, then fadd.d.
        let code =
            [&[0x01, 0x00][..], &0x2105_0513_u32.to_le_bytes(), &0x02b5_7553_u32.to_le_bytes()].concat();
        assert_eq!(found(&code), [0x106]);
    }
}
