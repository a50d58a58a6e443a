//! The local APIC, as xAPIC or x2APIC.
//!
//! Source: SDM volume 3, chapter 11 (APIC), 11.6.1 (ICR), 11.12 (x2APIC).

use bitflags::bitflags;

bitflags! {
    /// The low word of the interrupt command register, beside the vector in bits 0-7.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Command: u32 {
        /// Delivery mode NMI.
        const NMI = 0b100 << 8;
        /// Delivery mode INIT.
        const INIT = 0b101 << 8;
        /// Delivery mode start-up; the vector is the page to start at.
        const START_UP = 0b110 << 8;
        /// xAPIC only, read: the last command was not accepted yet.
        const PENDING = 1 << 12;
        /// Level assert: required in all but INIT de-assert.
        const ASSERT = 1 << 14;
        /// The vector.
        const VECTOR = 0xFF;
    }
}

impl Command {
    /// A fixed interrupt.
    pub const fn fixed(vector: u8) -> Command {
        Command::from_bits_retain(vector as u32).union(Command::ASSERT)
    }

    /// An NMI; the vector is ignored.
    pub const fn nmi() -> Command {
        Command::NMI.union(Command::ASSERT)
    }

    /// INIT.
    pub const fn init() -> Command {
        Command::INIT.union(Command::ASSERT)
    }

    /// Start-up at physical `page * 4096`.
    pub const fn start_up(page: u8) -> Command {
        Command::START_UP.union(Command::fixed(page))
    }
}

bitflags! {
    /// A local vector table entry, beside the vector in bits 0-7.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct LocalVector: u32 {
        /// Delivery mode NMI.
        const NMI = 0b100 << 8;
        /// Masked.
        const MASKED = 1 << 16;
    }
}

#[cfg(mayday_metal)]
pub use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::mmu;
    use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
    use hal::nmi::SignalError;
    use x86_64::registers::model_specific::Msr;

    const BASE_MSR: u32 = 0x1B;
    const PHYSICAL: u64 = 0xFEE0_0000;

    const ID: u32 = 0x20;
    const VERSION: u32 = 0x30;
    const TASK_PRIORITY: u32 = 0x80;
    const END_OF_INTERRUPT: u32 = 0xB0;
    const SPURIOUS: u32 = 0xF0;
    const IN_SERVICE: u32 = 0x100;
    const REQUESTED: u32 = 0x200;
    const COMMAND: u32 = 0x300;
    const COMMAND_HIGH: u32 = 0x310;
    /// LVT registers in the order in which a version's entry count adds them:
    /// timer, LINT0, LINT1, error, performance counter, thermal, CMCI.
    const LOCAL_VECTORS: [u32; 7] = [0x320, 0x350, 0x360, 0x370, 0x340, 0x330, 0x2F0];
    const LINT0: u32 = 0x350;
    const LINT1: u32 = 0x360;

    /// Polls of the pending bit before a send fails with `Busy`: 20 to 500 ms.
    const POLLS_MAX: u32 = 100_000;

    const NONE: u8 = 0;
    const XAPIC: u8 = 1;
    const X2APIC: u8 = 2;
    static MODE: AtomicU8 = AtomicU8::new(NONE);

    fn read(register: u32) -> u32 {
        match MODE.load(Relaxed) {
            // SAFETY: in x2APIC mode these registers are MSRs at 0x800 + offset / 16.
            X2APIC => unsafe { Msr::new(0x800 + (register >> 4)).read() as u32 },
            // SAFETY: the direct map maps this page uncached; registers are 32-bit, 16 bytes apart.
            XAPIC => unsafe { mmu::direct::<u32>(PHYSICAL + u64::from(register)).read_volatile() },
            _ => 0,
        }
    }

    fn write(register: u32, value: u32) {
        match MODE.load(Relaxed) {
            // SAFETY: as in `read`; what is written here only steers interrupts.
            X2APIC => unsafe { Msr::new(0x800 + (register >> 4)).write(u64::from(value)) },
            // SAFETY: as above.
            XAPIC => unsafe { mmu::direct::<u32>(PHYSICAL + u64::from(register)).write_volatile(value) },
            _ => {}
        }
    }

    /// This CPU's APIC id by CPUID alone: works before anything is set up.
    pub fn id_by_cpuid() -> u32 {
        let leaf1 = core::arch::x86_64::__cpuid(1);
        if leaf1.ecx & 1 << 21 != 0 && core::arch::x86_64::__cpuid(0).eax >= 0xB {
            return core::arch::x86_64::__cpuid_count(0xB, 0).edx;
        }
        leaf1.ebx >> 24
    }

    /// Enables this CPU's APIC: x2APIC where CPUID offers it. LINT1 becomes NMI on every CPU, so that
    /// an NMI from outside reaches all of them; the rest of the local vectors is masked.
    pub(crate) fn init_this_cpu() {
        let x2apic = core::arch::x86_64::__cpuid(1).ecx & 1 << 21 != 0;
        let mut base = Msr::new(BASE_MSR);
        // SAFETY: enabling, and switching xAPIC -> x2APIC, are legal transitions from every state that
        // firmware or a previous kernel leaves (SDM 11.12.5); the address field is kept.
        unsafe {
            let value = base.read();
            base.write(value | 1 << 11);
            if x2apic {
                base.write(value | 1 << 11 | 1 << 10);
            }
        }
        MODE.store(if x2apic { X2APIC } else { XAPIC }, Relaxed);
        mask_local_vectors();
        write(TASK_PRIORITY, 0);
        write(SPURIOUS, 0x100 | u32::from(crate::trap::VECTOR_SPURIOUS));
        // A kernel that panicked inside an interrupt handler leaves its interrupt in service.
        for _ in 0..256 {
            if (0..8).all(|word| read(IN_SERVICE + word * 0x10) == 0) {
                break;
            }
            end_of_interrupt();
        }
        write(LINT0, LocalVector::MASKED.bits());
        write(LINT1, LocalVector::NMI.bits());
    }

    /// Masks every local vector, LINT1 included. Returns how many were unmasked before.
    pub(crate) fn mask_local_vectors() -> u32 {
        let count = (read(VERSION) >> 16 & 0xFF) as usize + 1;
        let mut masked = 0_u32;
        for &register in LOCAL_VECTORS.iter().take(count) {
            let value = LocalVector::from_bits_retain(read(register));
            if !value.contains(LocalVector::MASKED) {
                write(register, (value | LocalVector::MASKED).bits());
                masked = masked.saturating_add(1);
            }
        }
        masked
    }

    /// Whether an interrupt has come that this CPU did not take yet.
    pub(crate) fn latched() -> bool {
        (0..8).any(|word| read(REQUESTED + word * 0x10) != 0)
    }

    /// Tells the APIC that the interrupt in service is done with.
    pub(crate) fn end_of_interrupt() {
        write(END_OF_INTERRUPT, 0);
    }

    /// This CPU's APIC id.
    pub fn id() -> u32 {
        match MODE.load(Relaxed) {
            X2APIC => read(ID),
            XAPIC => read(ID) >> 24,
            _ => id_by_cpuid(),
        }
    }

    /// `x2apic`, `xapic` or `none`.
    pub fn mode_name() -> &'static str {
        match MODE.load(Relaxed) {
            X2APIC => "x2apic",
            XAPIC => "xapic",
            _ => "none",
        }
    }

    /// Sends `command` to one CPU. Bounded by `POLLS_MAX`.
    ///
    /// In xAPIC mode this writes a register pair: a handler that may return to interrupted code must
    /// not call it.
    pub(crate) fn send(apic_id: u32, command: Command) -> Result<(), SignalError> {
        match MODE.load(Relaxed) {
            X2APIC => {
                // What the target shall see must be visible before: an MSR write does not order stores.
                core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
                let value = u64::from(apic_id) << 32 | u64::from(command.bits());
                // SAFETY: the interrupt command register; the caller answers for what it sends.
                unsafe { Msr::new(0x800 + (COMMAND >> 4)).write(value) };
                Ok(())
            }
            XAPIC => {
                let short = u8::try_from(apic_id).map_err(|_| SignalError::NoSuchCpu)?;
                for _ in 0..POLLS_MAX {
                    if !Command::from_bits_retain(read(COMMAND)).contains(Command::PENDING) {
                        write(COMMAND_HIGH, u32::from(short) << 24);
                        write(COMMAND, command.bits());
                        return Ok(());
                    }
                    core::hint::spin_loop();
                }
                Err(SignalError::Busy)
            }
            _ => Err(SignalError::NoSuchCpu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_manuals_values() {
        assert_eq!(Command::nmi().bits(), 0x4400);
        assert_eq!(Command::init().bits(), 0x4500);
        assert_eq!(Command::start_up(8).bits(), 0x4608);
        assert_eq!(Command::fixed(0x40).bits(), 0x4040);
        assert_eq!(LocalVector::NMI.bits(), 0x400);
    }
}
