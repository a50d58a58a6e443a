//! Calls into the firmware (RISC-V Supervisor Binary Interface).

/// An extension, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extension(pub u64);

impl Extension {
    /// What every firmware has: here, to ask for the others.
    pub const BASE: Extension = Extension(0x10);
    /// The timer.
    pub const TIME: Extension = Extension(0x5449_4d45);
    /// Inter-processor interrupts.
    pub const IPI: Extension = Extension(0x73_5049);
    /// Starting and stopping harts.
    pub const HART_STATE: Extension = Extension(0x48_534d);
    /// System reset.
    pub const SYSTEM_RESET: Extension = Extension(0x5352_5354);
    /// Writing a byte to firmware's console, of before there were extensions.
    pub const LEGACY_PUT: Extension = Extension(1);
    /// Reading one.
    pub const LEGACY_GET: Extension = Extension(2);
}

/// An error: a parameter is wrong. Also what OpenSBI answers to the start of a hart that is between two states.
pub const INVALID_PARAMETER: i64 = -3;
/// An error: what was asked to begin has begun already.
pub const ALREADY_AVAILABLE: i64 = -6;

/// What a call gave back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answer {
    /// 0: done. Below 0: one of the specification's errors. A legacy call's only result.
    pub error: i64,
    /// The result.
    pub value: u64,
}

#[cfg(mayday_metal)]
mod metal {
    use super::{Answer, Extension};

    /// Calls a function of an extension.
    ///
    /// # Safety
    /// The function, with these arguments, does nothing to this kernel's memory or to its CPUs that breaks what
    /// Rust takes for granted: the specification says what it does.
    pub unsafe fn call(extension: Extension, function: u64, arguments: [u64; 3]) -> Answer {
        let (error, value): (i64, u64);
        // SAFETY: firmware keeps every register but a0 and a1 (SBI, "Binary Encoding"); what else happens is the
        // caller's to answer for. It may read and write memory.
        unsafe {
            core::arch::asm!(
                "ecall",
                inlateout("a0") arguments[0] => error,
                inlateout("a1") arguments[1] => value,
                in("a2") arguments[2],
                in("a6") function,
                in("a7") extension.0,
                options(nostack),
            );
        }
        Answer { error, value }
    }

    /// Whether firmware has an extension.
    pub fn has(extension: Extension) -> bool {
        // SAFETY: function 3 of the base extension asks, and changes nothing.
        let answer = unsafe { call(Extension::BASE, 3, [extension.0, 0, 0]) };
        answer.error == 0 && answer.value != 0
    }
}

#[cfg(mayday_metal)]
pub use metal::{call, has};

#[cfg(test)]
mod tests {
    use super::Extension;

    #[test]
    fn extensions_are_named_by_letters() {
        assert_eq!(Extension::TIME.0, u64::from(u32::from_be_bytes(*b"TIME")));
        assert_eq!(Extension::IPI.0, u64::from(u32::from_be_bytes(*b"\0sPI")));
        assert_eq!(Extension::HART_STATE.0, u64::from(u32::from_be_bytes(*b"\0HSM")));
        assert_eq!(Extension::SYSTEM_RESET.0, u64::from(u32::from_be_bytes(*b"SRST")));
    }
}
