//! The two legacy interrupt controllers: moved out of the way and masked.
//!
//! Source: Intel 8259A datasheet.

use crate::trap::VECTOR_LEGACY;
use x86_64::instructions::port::Port;

/// Masks all sixteen lines. Remapped first: even a masked controller can raise a spurious interrupt,
/// and at reset its vectors are those of CPU exceptions.
pub fn mask() {
    let steps: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xA0, 0x11),
        (0x21, VECTOR_LEGACY),
        (0xA1, VECTOR_LEGACY + 8),
        (0x21, 4),
        (0xA1, 2),
        (0x21, 1),
        (0xA1, 1),
        (0x21, 0xFF),
        (0xA1, 0xFF),
    ];
    for (port, value) in steps {
        // SAFETY: the controllers' own ports; nothing in this kernel depends on them.
        unsafe { Port::new(port).write(value) };
    }
}
