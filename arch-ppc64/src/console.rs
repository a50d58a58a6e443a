//! The emergency console: the hypervisor's terminal (LoPAR, "Virtual Terminal (Vterm)").
//!
//! Works from the first instruction on, with translation on and off, and needs no setup: terminal 0 is
//! the first virtual terminal. Nothing here takes a lock.

#![cfg(mayday_metal)]

use crate::firmware::RtasFirmware;
use crate::hcall::{self, H_BUSY, H_GET_TERM_CHAR, H_PUT_TERM_CHAR, H_SUCCESS};
use crate::rtas::service::DisplayCharacter;
use crate::{Port, boot, percpu, rtas, xics};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use hal::Unsupported;
use hal::console::EmergencyConsole;
use hal::firmware::Firmware;

/// Attempts per 16 bytes before the terminal is given up on. A refused call takes about 1 µs, so a
/// write of n bytes returns within n/16 × 20 ms.
const ATTEMPTS: u32 = 20_000;

/// Bytes that one receive interrupt hands over at most: four times what the hypervisor keeps.
pub const BURST: usize = 64;

/// Unit address of the terminal; 0 stands for the first one.
static UNIT: AtomicU64 = AtomicU64::new(0);
/// The terminal's interrupt source once its interrupt is enabled, else 0.
static SOURCE: AtomicU32 = AtomicU32::new(0);
/// Whether output goes through RTAS.
static THROUGH_FIRMWARE: AtomicBool = AtomicBool::new(false);

/// Selects the terminal that the device tree names.
pub fn select(unit: u64) {
    UNIT.store(unit, Ordering::Relaxed);
}

/// Bytes that came with the one that was asked for: the hypervisor hands out up to 16 at once. Two
/// readers at a time may each miss bytes; nothing worse happens.
struct Pending {
    bytes: [AtomicU8; 16],
    first: AtomicUsize,
    count: AtomicUsize,
}

static PENDING: Pending = Pending {
    bytes: [const { AtomicU8::new(0) }; 16],
    first: AtomicUsize::new(0),
    count: AtomicUsize::new(0),
};

impl Pending {
    fn pop(&self) -> Option<u8> {
        let first = self.first.load(Ordering::Acquire);
        if first >= self.count.load(Ordering::Acquire) {
            return None;
        }
        let byte = self.bytes.get(first)?.load(Ordering::Relaxed);
        self.first.store(first.wrapping_add(1), Ordering::Release);
        Some(byte)
    }

    fn fill(&self) {
        // SAFETY: reads from a terminal; no address is passed.
        let answer = unsafe { hcall::call(H_GET_TERM_CHAR, [UNIT.load(Ordering::Relaxed), 0, 0, 0]) };
        if answer.status != H_SUCCESS {
            return;
        }
        let bytes = hcall::unpack([answer.values[1], answer.values[2]]);
        for (slot, byte) in self.bytes.iter().zip(bytes) {
            slot.store(byte, Ordering::Relaxed);
        }
        self.count.store((answer.values[0] as usize).min(bytes.len()), Ordering::Release);
        self.first.store(0, Ordering::Release);
    }
}

/// One call's worth of output.
struct Chunk {
    bytes: [u8; 16],
    len: usize,
}

impl Chunk {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len = self.len.saturating_add(1);
        }
    }

    fn send(&mut self) -> bool {
        let [high, low] = hcall::pack(&self.bytes);
        let arguments = [UNIT.load(Ordering::Relaxed), self.len as u64, high, low];
        self.len = 0;
        for _ in 0..ATTEMPTS {
            // SAFETY: writes to a terminal; no address is passed.
            match unsafe { hcall::call(H_PUT_TERM_CHAR, arguments) }.status {
                H_SUCCESS => return true,
                H_BUSY => {}
                _ => return false,
            }
        }
        false
    }
}

impl EmergencyConsole for Port {
    /// Sends `\r` before each `\n`: the hypervisor's terminal adds nothing.
    fn write(&self, bytes: &[u8]) -> usize {
        if THROUGH_FIRMWARE.load(Ordering::Acquire) {
            return bytes.iter().take_while(|byte| display(**byte)).count();
        }
        let mut chunk = Chunk { bytes: [0; 16], len: 0 };
        let mut sent = 0;
        for (index, byte) in bytes.iter().enumerate() {
            if *byte == b'\n' {
                chunk.push(b'\r');
            }
            chunk.push(*byte);
            if chunk.len >= 15 {
                if !chunk.send() {
                    return sent;
                }
                sent = index + 1;
            }
        }
        if chunk.len == 0 || chunk.send() { bytes.len() } else { sent }
    }

    fn read(&self) -> Option<u8> {
        if let Some(byte) = PENDING.pop() {
            return Some(byte);
        }
        PENDING.fill();
        PENDING.pop()
    }
}

/// From here on the emergency console goes through RTAS `display-character`, for tests of what firmware bears.
pub fn through_firmware() -> Result<(), Unsupported> {
    let there = rtas::services().is_some_and(|services| services.display_character.is_some());
    THROUGH_FIRMWARE.store(there, Ordering::Release);
    if there { Ok(()) } else { Err(Unsupported::new("RTAS lacks display-character")) }
}

/// Writes a byte through RTAS, `\r` before each `\n`.
fn display(byte: u8) -> bool {
    let send = |byte: u8| rtas::call::<DisplayCharacter>(&[byte.into()], &mut []).is_ok();
    (byte != b'\n' || send(b'\r')) && send(byte)
}

/// Lets the terminal ask for an interrupt when a byte is typed, and changes nothing about whether anybody gets it: it
/// always does, and its source decides.
pub fn raise_receive_interrupt() {}

/// Lets a typed byte interrupt the boot CPU: the handler `console_byte` is called for it.
pub fn enable_receive_interrupt() -> Result<(), Unsupported> {
    let machine = boot::machine().ok_or(Unsupported::new("the device tree was not read yet"))?;
    let source =
        machine.console_source.ok_or(Unsupported::new("the console has no interrupt in the device tree"))?;
    let server = percpu::area(hal::CpuId::BOOT).hardware_id.load(Ordering::Relaxed) as u32;
    SOURCE.store(source, Ordering::Release);
    xics::enable(source, server)
        .map_err(|_| Unsupported::new("RTAS refused to enable the console's interrupt"))
}

/// Whether `source` is the console's interrupt.
pub fn is_source(source: u32) -> bool {
    source != 0 && source == SOURCE.load(Ordering::Acquire)
}

/// Prints a message with the emergency console, in pieces.
pub fn print(pieces: &[&[u8]]) {
    for piece in pieces {
        Port.write(piece);
    }
}

/// Says why there is no way on, and ends the run by `ibm,os-term` where firmware is known and knows it;
/// otherwise stops.
pub fn stop_with(reason: &str) -> ! {
    /// What ends the run can fail like anything else; then it is not tried again.
    static ENDING: AtomicBool = AtomicBool::new(false);
    print(&[b"\nmayday ppc64: ", reason.as_bytes(), b"; stopped.\n"]);
    if !ENDING.swap(true, Ordering::AcqRel) {
        RtasFirmware.emulator_exit(false);
    }
    crate::asm::ppc_park_wait()
}
