//! The first serial port: a 16550 at I/O port 0x3F8, 115200 baud, polled.
//!
//! Source: National Semiconductor PC16550D datasheet.

/// Most reads of the line status register before the transmitter is given up on, per burst of at most
/// [`FIFO`] bytes. At 0.2 to 5 µs per port access this is 10 to 250 ms.
pub const POLLS_MAX: u32 = 50_000;
/// Bytes that the transmitter takes once it reports empty.
pub const FIFO: usize = 16;

/// Splits the next burst off `bytes` into `burst`, with `\r` before each `\n`; returns how many bytes
/// of the input and of the burst that is. A pair is never split.
pub fn next_burst(bytes: &[u8], burst: &mut [u8; FIFO]) -> (usize, usize) {
    let (mut taken, mut filled) = (0_usize, 0_usize);
    for &byte in bytes {
        let needed = if byte == b'\n' { 2 } else { 1 };
        if needed > FIFO.saturating_sub(filled) {
            break;
        }
        let expanded = [b'\r', byte];
        for &out in expanded.get(2 - needed..).unwrap_or(&[]) {
            if let Some(slot) = burst.get_mut(filled) {
                *slot = out;
                filled = filled.saturating_add(1);
            }
        }
        taken = taken.saturating_add(1);
    }
    (taken, filled)
}

#[cfg(mayday_metal)]
pub use metal::*;

#[cfg(mayday_metal)]
mod metal {
    use super::*;
    use crate::platform::{PORT, Port};
    use crate::{boot, io_apic, trap};
    use hal::Unsupported;
    use hal::console::EmergencyConsole;
    use x86_64::instructions::port::Port as IoPort;

    const BASE: u16 = 0x3F8;
    const DATA: u16 = BASE;
    const INTERRUPT_ENABLE: u16 = BASE + 1;
    const FIFO_CONTROL: u16 = BASE + 2;
    const LINE_CONTROL: u16 = BASE + 3;
    const MODEM_CONTROL: u16 = BASE + 4;
    const LINE_STATUS: u16 = BASE + 5;

    fn read(port: u16) -> u8 {
        // SAFETY: the ports of the first serial port; reads have no effect beyond that device.
        unsafe { IoPort::new(port).read() }
    }

    fn write(port: u16, value: u8) {
        // SAFETY: as above; the device has no access to memory.
        unsafe { IoPort::new(port).write(value) }
    }

    /// Sets speed and FIFO; interrupts off.
    pub(crate) fn init() {
        write(INTERRUPT_ENABLE, 0);
        write(LINE_CONTROL, 0x80);
        write(DATA, 1);
        write(INTERRUPT_ENABLE, 0);
        write(LINE_CONTROL, 3);
        write(FIFO_CONTROL, 0x07);
        write(MODEM_CONTROL, 0x0B);
    }

    fn transmitter_empty() -> bool {
        for _ in 0..POLLS_MAX {
            match read(LINE_STATUS) {
                0xFF => return false, // no device
                status if status & 0x20 != 0 => return true,
                _ => core::hint::spin_loop(),
            }
        }
        false
    }

    impl EmergencyConsole for Port {
        fn write(&self, bytes: &[u8]) -> usize {
            let mut done = 0_usize;
            while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
                let mut burst = [0; FIFO];
                let (taken, filled) = next_burst(rest, &mut burst);
                if !transmitter_empty() {
                    break;
                }
                for &byte in burst.iter().take(filled) {
                    write(DATA, byte);
                }
                done = done.saturating_add(taken);
            }
            done
        }

        fn read(&self) -> Option<u8> {
            match read(LINE_STATUS) {
                0xFF => None,
                status if status & 1 != 0 => Some(read(DATA)),
                _ => None,
            }
        }
    }

    /// From here on the emergency console goes through the machine's firmware, for tests of what firmware bears.
    pub fn through_firmware() -> Result<(), Unsupported> {
        Err(Unsupported::new("no firmware of this machine is called for its console"))
    }

    /// Lets the port ask for an interrupt when a byte is typed, and changes nothing about whether anybody gets it: that
    /// is what the I/O APIC's entry says.
    pub fn raise_receive_interrupt() {
        write(INTERRUPT_ENABLE, 1);
    }

    /// Lets a typed byte raise an interrupt on the boot CPU, which reports it to
    /// [`hal::trap::Handlers::console_byte`].
    ///
    /// Call after the handlers are registered.
    pub fn enable_receive_interrupt() -> Result<(), Unsupported> {
        let Some(machine) = boot::machine() else {
            return Err(Unsupported::new("the machine's tables were not read"));
        };
        let Some(&boot_apic) = machine.madt.apic_ids().first() else {
            return Err(Unsupported::new("firmware lists no CPU"));
        };
        io_apic::route(&machine.madt, machine.madt.serial, trap::VECTOR_SERIAL, boot_apic)?;
        write(INTERRUPT_ENABLE, 1);
        Ok(())
    }

    /// Writes formatted text to the emergency console; what does not fit the device is lost.
    pub struct Text;

    impl core::fmt::Write for Text {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            EmergencyConsole::write(&PORT, s.as_bytes());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(send(b"\n"), b"\r\n");
        assert_eq!(send(b""), b"");
        assert_eq!(send(b"123456789012345\n6"), b"123456789012345\r\n6", "a pair at the burst's end");
        assert_eq!(send(&[b'\n'; 20]), b"\r\n".repeat(20));
    }
}
