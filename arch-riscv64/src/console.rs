//! The emergency console: firmware's own until the device tree was read, then the 16550 that the tree names, polled.
//!
//! Source: National Semiconductor PC16550D datasheet; SBI, "Legacy Extensions".

/// Most reads of the line status register before the transmitter is given up on, per burst of at most [`FIFO`] bytes.
/// At 0.1 to 5 µs per access this is 5 to 250 ms.
pub const POLLS_MAX: u32 = 50_000;
/// Bytes that the transmitter takes once it reports empty.
pub const FIFO: usize = 16;

/// Splits the next burst off `bytes` into `burst`, with `\r` before each `\n`; returns how many bytes of the input
/// and of the burst that is. A pair is never split.
pub fn next_burst(bytes: &[u8], burst: &mut [u8; FIFO]) -> (usize, usize) {
    let (mut taken, mut filled) = (0_usize, 0_usize);
    for &byte in bytes {
        let pair = [b'\r', byte];
        let out = if byte == b'\n' { &pair[..] } else { &pair[1..] };
        let Some(room) = burst.get_mut(filled..filled.saturating_add(out.len())) else { break };
        for (slot, byte) in room.iter_mut().zip(out) {
            *slot = *byte;
        }
        filled = filled.saturating_add(out.len());
        taken = taken.saturating_add(1);
    }
    (taken, filled)
}

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::devicetree::Uart;
    use crate::firmware::SbiFirmware;
    use crate::sbi::{self, Extension};
    use crate::{Port, boot, cpu, plic};
    use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
    use hal::Unsupported;
    use hal::console::EmergencyConsole;
    use hal::firmware::Firmware;

    /// Address of the device's registers; 0: output goes through firmware.
    static BASE: AtomicU64 = AtomicU64::new(0);
    /// log2 of the distance between two of them.
    static SHIFT: AtomicU32 = AtomicU32::new(0);

    const DATA: u64 = 0;
    const INTERRUPT_ENABLE: u64 = 1;
    const FIFO_CONTROL: u64 = 2;
    const LINE_STATUS: u64 = 5;

    fn register(base: u64, number: u64) -> *mut u8 {
        base.wrapping_add(number.wrapping_shl(SHIFT.load(Ordering::Relaxed))) as *mut u8
    }

    fn read(base: u64, number: u64) -> u8 {
        // SAFETY: `base` is a device that `select` was given; reads have no effect beyond it.
        unsafe { register(base, number).read_volatile() }
    }

    fn write(base: u64, number: u64, value: u8) {
        // SAFETY: as above; the device has no access to memory.
        unsafe { register(base, number).write_volatile(value) }
    }

    /// Selects the device that the tree names: FIFO on, interrupts off, speed as firmware has set it.
    ///
    /// # Safety
    /// There is such a device at that address, mapped or untranslated, now and for ever.
    pub unsafe fn select(uart: Uart) {
        SHIFT.store(uart.shift, Ordering::Relaxed);
        write(uart.base, INTERRUPT_ENABLE, 0);
        write(uart.base, FIFO_CONTROL, 1);
        BASE.store(uart.base, Ordering::Release);
    }

    fn transmitter_empty(base: u64) -> bool {
        for _ in 0..POLLS_MAX {
            match read(base, LINE_STATUS) {
                0xFF => return false, // no device
                status if status & 0x20 != 0 => return true,
                _ => core::hint::spin_loop(),
            }
        }
        false
    }

    /// Writes one byte through firmware, which does not say how long it may take.
    fn put(byte: u8) -> bool {
        // SAFETY: writes to a terminal; no address is passed.
        unsafe { sbi::call(Extension::LEGACY_PUT, 0, [byte.into(), 0, 0]) }.error == 0
    }

    impl EmergencyConsole for Port {
        /// Sends `\r` before each `\n`: neither firmware nor the device adds anything.
        fn write(&self, bytes: &[u8]) -> usize {
            let base = BASE.load(Ordering::Acquire);
            let mut done = 0_usize;
            while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                let mut burst = [0; FIFO];
                let (taken, filled) = next_burst(rest, &mut burst);
                let mut burst = burst.iter().take(filled);
                if base == 0 {
                    if !burst.all(|byte| put(*byte)) {
                        break;
                    }
                } else {
                    if !transmitter_empty(base) {
                        break;
                    }
                    burst.for_each(|byte| write(base, DATA, *byte));
                }
                done = done.saturating_add(taken);
            }
            done
        }

        fn read(&self) -> Option<u8> {
            let base = BASE.load(Ordering::Acquire);
            if base == 0 {
                // SAFETY: reads from a terminal; no address is passed. Below 0: there was no byte.
                return u8::try_from(unsafe { sbi::call(Extension::LEGACY_GET, 0, [0; 3]) }.error).ok();
            }
            match read(base, LINE_STATUS) {
                0xFF => None,
                status if status & 1 != 0 => Some(read(base, DATA)),
                _ => None,
            }
        }
    }

    /// From here on the emergency console goes through SBI, for tests of what firmware bears.
    pub fn through_firmware() -> Result<(), Unsupported> {
        if !sbi::has(Extension::LEGACY_PUT) {
            return Err(Unsupported::new("firmware has no legacy console"));
        }
        BASE.store(0, Ordering::Release);
        Ok(())
    }

    /// Lets the device ask for an interrupt when a byte is typed, and changes nothing about whether anybody gets it:
    /// that is what the interrupt controller says.
    pub fn raise_receive_interrupt() {
        match BASE.load(Ordering::Acquire) {
            0 => {}
            base => write(base, INTERRUPT_ENABLE, 1),
        }
    }

    /// Lets a typed byte interrupt the boot CPU: the handler `console_byte` is called for it.
    pub fn enable_receive_interrupt() -> Result<(), Unsupported> {
        let machine = boot::machine().ok_or(Unsupported::new("the device tree was not read yet"))?;
        let source = machine.uart.and_then(|uart| uart.source);
        let source = source.ok_or(Unsupported::new("the console has no interrupt in the device tree"))?;
        if !plic::enable(source) {
            return Err(Unsupported::new("the device tree names no interrupt controller (PLIC)"));
        }
        raise_receive_interrupt();
        Ok(())
    }

    /// Prints a message with the emergency console, in pieces.
    pub fn print(pieces: &[&[u8]]) {
        for piece in pieces {
            Port.write(piece);
        }
    }

    /// Says why there is no way on, and ends the run as a failure where the machine has a device for that; otherwise
    /// stops.
    pub fn stop_with(reason: &str) -> ! {
        /// What ends the run can fail like anything else; then it is not tried again.
        static ENDING: AtomicBool = AtomicBool::new(false);
        print(&[b"\nmayday riscv64: ", reason.as_bytes(), b"; stopped.\n"]);
        if !ENDING.swap(true, Ordering::AcqRel) {
            SbiFirmware.emulator_exit(false);
        }
        cpu::stop_for_ever()
    }
}

#[cfg(mayday_metal)]
pub use metal::{
    enable_receive_interrupt, print, raise_receive_interrupt, select, stop_with, through_firmware,
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn send(text: &[u8]) -> Vec<u8> {
        let (mut out, mut at) = (Vec::new(), 0);
        while at < text.len() {
            let mut burst = [0; FIFO];
            let (taken, filled) = next_burst(&text[at..], &mut burst);
            assert!(taken > 0 && filled <= FIFO);
            out.extend(&burst[..filled]);
            at += taken;
        }
        out
    }

    #[test]
    fn line_ends_are_expanded_and_nothing_is_lost() {
        assert_eq!(send(b"a\nb"), b"a\r\nb");
        assert_eq!(send(b""), b"");
        assert_eq!(send(b"123456789012345\n6"), b"123456789012345\r\n6", "a pair at the burst's end");
        assert_eq!(send(&[b'\n'; 20]), b"\r\n".repeat(20));
    }
}
