//! x86_64: x87, MMX, SSE, AVX and mask registers.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

use super::Forbidden;

/// Instructions that use a floating-point or vector register, or the x87 unit.
pub fn forbidden(code: &[u8], address: u64) -> Vec<Forbidden> {
    let mut found = Vec::new();
    let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        decoder.decode_out(&mut instruction);
        if instruction.is_invalid() {
            continue;
        }
        let start = (instruction.ip() - address) as usize;
        let bytes = &code[start..start + instruction.len()];
        if is_x87(bytes) || uses_vector_register(&instruction) {
            let hex: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            found.push(Forbidden {
                address: instruction.ip(),
                what: format!("{:?} ({})", instruction.mnemonic(), hex.join(" ")),
            });
        }
    }
    found
}

fn uses_vector_register(instruction: &Instruction) -> bool {
    (0..instruction.op_count()).any(|index| {
        instruction.op_kind(index) == OpKind::Register && is_vector(instruction.op_register(index))
    })
}

fn is_vector(register: Register) -> bool {
    let within = |first: Register, last: Register| (first as u32..=last as u32).contains(&(register as u32));
    within(Register::XMM0, Register::XMM31)
        || within(Register::YMM0, Register::YMM31)
        || within(Register::ZMM0, Register::ZMM31)
        || within(Register::K0, Register::K7)
        || within(Register::ST0, Register::ST7)
        || within(Register::MM0, Register::MM7)
        || within(Register::TMM0, Register::TMM7)
}

/// The x87 opcodes D8 to DF, behind any prefixes: many of them name no register.
fn is_x87(bytes: &[u8]) -> bool {
    let prefix = |byte: &u8| {
        matches!(
            byte,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x66 | 0x67 | 0xf0 | 0xf2 | 0xf3 | 0x40..=0x4f
        )
    };
    bytes.iter().find(|byte| !prefix(byte)).is_some_and(|opcode| (0xd8..=0xdf).contains(opcode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(code: &[u8]) -> usize {
        forbidden(code, 0x1000).len()
    }

    #[test]
    fn floating_point_and_vector_instructions_are_found() {
        let cases: [(&str, &[u8]); 9] = [
            ("movaps xmm0, xmm1", &[0x0f, 0x28, 0xc1]),
            ("movdqu xmm0, [rdi]", &[0xf3, 0x0f, 0x6f, 0x07]),
            ("cvtsi2sd xmm0, rax", &[0xf2, 0x48, 0x0f, 0x2a, 0xc0]),
            ("vxorps ymm0, ymm0, ymm0", &[0xc5, 0xfc, 0x57, 0xc0]),
            ("vpxord zmm0, zmm0, zmm0", &[0x62, 0xf1, 0x7d, 0x48, 0xef, 0xc0]),
            ("fld1", &[0xd9, 0xe8]),
            ("fld qword [rax]", &[0xdd, 0x00]),
            ("paddb mm0, mm1", &[0x0f, 0xfc, 0xc1]),
            ("kmovw k1, eax", &[0xc5, 0xf8, 0x92, 0xc8]),
        ];
        for (name, code) in cases {
            assert_eq!(hits(code), 1, "{name}");
        }
    }

    #[test]
    fn the_address_is_that_of_the_instruction() {
        let found = forbidden(&[0x90, 0x48, 0x89, 0xd8, 0x0f, 0x28, 0xc1], 0x1000);
        assert_eq!(found[0].address, 0x1004);
        assert!(found[0].what.starts_with("Movaps"));
    }

    #[test]
    fn ordinary_code_is_left_alone() {
        let cases: [(&str, &[u8]); 7] = [
            ("mov rax, rbx; ret", &[0x48, 0x89, 0xd8, 0xc3]),
            ("pause; hlt", &[0xf3, 0x90, 0xf4]),
            ("mfence", &[0x0f, 0xae, 0xf0]),
            ("wrmsr; rdtsc", &[0x0f, 0x30, 0x0f, 0x31]),
            ("andn eax, ebx, ecx", &[0xc4, 0xe2, 0x60, 0xf2, 0xc1]),
            ("mov eax, 0xd9d9d9d9", &[0xb8, 0xd9, 0xd9, 0xd9, 0xd9]),
            ("mov cr3, rax", &[0x0f, 0x22, 0xd8]),
        ];
        for (name, code) in cases {
            assert_eq!(hits(code), 0, "{name}");
        }
    }
}
