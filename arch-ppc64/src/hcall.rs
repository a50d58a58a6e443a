//! Calls to the hypervisor (LoPAR, "Hypervisor Call Functions"; `sc 1`, number in r3, arguments from r4
//! on).

use bitflags::bitflags;

/// Ends an external interrupt: XIRR.
pub const H_EOI: u64 = 0x64;
/// Sets the CPU's current processor priority: 0 nothing, 0xff everything.
pub const H_CPPR: u64 = 0x68;
/// Sends an inter-processor interrupt: server, priority (0xff takes it back).
pub const H_IPI: u64 = 0x6c;
/// Accepts the most urgent interrupt.
pub const H_XIRR: u64 = 0x74;
/// Reads up to 16 bytes from a terminal.
pub const H_GET_TERM_CHAR: u64 = 0x54;
/// Writes up to 16 bytes to a terminal.
pub const H_PUT_TERM_CHAR: u64 = 0x58;
/// Stops the CPU with interrupts off until a system reset or H_PROD.
pub const H_JOIN: u64 = 0x298;
/// Registers the process table.
pub const H_REGISTER_PROC_TBL: u64 = 0x37c;
/// Starts, stops or queries a watchdog: flags, its number, time-out in ms.
pub const H_WATCHDOG: u64 = 0x45c;
/// Sends a system reset.
pub const H_SIGNAL_SYS_RESET: u64 = 0x380;

/// Done.
pub const H_SUCCESS: i64 = 0;
/// Busy: retry.
pub const H_BUSY: i64 = 1;
/// A parameter is wrong.
pub const H_PARAMETER: i64 = -4;

bitflags! {
    /// Flags of `H_REGISTER_PROC_TBL`.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct ProcessTable: u64 {
        /// The guest may invalidate translations itself (`tlbie`).
        const GUEST_INVALIDATES = 1;
        /// Radix translation, not hashed.
        const RADIX = 1 << 2;
        /// A table is given.
        const GIVEN = 1 << 3;
        /// The registration changes.
        const CHANGE = 1 << 4;
    }
}

/// Packs up to 16 bytes into the two registers of a terminal call, first byte in the highest place.
pub fn pack(bytes: &[u8]) -> [u64; 2] {
    let mut both = [0; 16];
    for (slot, byte) in both.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    let value = u128::from_be_bytes(both);
    [(value >> 64) as u64, value as u64]
}

/// The reverse of [`pack`].
pub fn unpack(words: [u64; 2]) -> [u8; 16] {
    (u128::from(words[0]) << 64 | u128::from(words[1])).to_be_bytes()
}

/// What a call brought back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer {
    /// Below 0 an error, 0 success, above 0 conditions such as busy.
    pub status: i64,
    /// r4, r5, r6.
    pub values: [u64; 3],
}

#[cfg(mayday_metal)]
mod metal {
    use super::Answer;
    use core::arch::asm;

    /// Makes the call `number`. Works with translation on and off, in any context.
    ///
    /// # Safety
    /// The call must be one that changes nothing this kernel's memory safety rests on, or change it as
    /// intended; addresses among the arguments are real addresses.
    pub unsafe fn call(number: u64, arguments: [u64; 4]) -> Answer {
        let status: i64;
        let (value4, value5, value6): (u64, u64, u64);
        // SAFETY: the caller answers for the call itself; the clobbers are those of LoPAR's hcall
        // convention.
        unsafe {
            asm!(
                ".long 0x44000022",
                inlateout("r3") number => status,
                inlateout("r4") arguments[0] => value4,
                inlateout("r5") arguments[1] => value5,
                inlateout("r6") arguments[2] => value6,
                inlateout("r7") arguments[3] => _,
                out("r0") _, out("r8") _, out("r9") _, out("r10") _, out("r11") _, out("r12") _,
                out("cr0") _, out("cr1") _, out("cr5") _, out("cr6") _, out("cr7") _,
                out("ctr") _, out("xer") _,
                options(nostack),
            );
        }
        Answer { status, values: [value4, value5, value6] }
    }
}

#[cfg(mayday_metal)]
pub use metal::call;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_bytes_are_packed_from_the_top() {
        assert_eq!(pack(b"A"), [0x4100_0000_0000_0000, 0]);
        assert_eq!(pack(b"12345678Z"), [0x3132_3334_3536_3738, 0x5a00_0000_0000_0000]);
        assert_eq!(unpack(pack(b"0123456789abcdef")), *b"0123456789abcdef");
    }

    #[test]
    fn radix_registration() {
        assert_eq!(ProcessTable::all().bits(), 0x1d);
    }
}
