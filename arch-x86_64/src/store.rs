//! Storage that outlives the kernel: firmware's error record store, as the ERST table describes it.
//!
//! The register page and the exchange buffer are mapped uncached at boot. Each call is some twenty
//! register accesses and a copy; the wait for firmware in the middle of it is bounded (`erst.rs`).

#![cfg(mayday_metal)]

use crate::boot::{self, Machine};
use crate::erst::{Bus, Erst, Register, record};
use crate::mmu;
use crate::platform::PORT;
use hal::Unsupported;
use hal::clock::Clock;
use hal::store::{Capacity, Store, StoreError};
use spin::Once;

/// The store, with its registers and its buffer mapped.
pub struct ErrorRecords {
    erst: &'static Erst,
    /// Direct-map address of the exchange buffer.
    buffer: *mut u8,
    buffer_len: usize,
    capacity: Capacity,
}

// SAFETY: the pointer is to a device's memory, which is mapped on every CPU; accesses are volatile, and
// whoever makes two at once gets wrong bytes (hal::store).
unsafe impl Send for ErrorRecords {}
// SAFETY: as above.
unsafe impl Sync for ErrorRecords {}

static STORE: Once<Result<ErrorRecords, Unsupported>> = Once::new();

fn look(machine: &'static Machine) -> Result<ErrorRecords, Unsupported> {
    let erst = match &machine.erst {
        Ok(erst) => erst,
        Err(error) if error.is_missing() => {
            return Err(Unsupported::new("firmware describes no error record store (ERST table)"));
        }
        Err(error) => return Err(Unsupported::new(error.problem)),
    };
    let unmapped = || Unsupported::new("the ERST registers or buffer lie in RAM or cannot be mapped");
    for register in erst.registers() {
        // SAFETY: the boot CPU, before there is another; the table says that a device is there.
        unsafe { mmu::map_device(register.address, u64::from(register.bits / 8)) }.ok_or_else(unmapped)?;
    }
    let (address, len) = erst.exchange_buffer(&Registers);
    let capacity = record::capacity(len).ok_or(Unsupported::new("the ERST exchange buffer is too small"))?;
    let buffer_len = capacity.bytes + record::SECTION;
    // SAFETY: as above.
    let buffer = unsafe { mmu::map_device(address, buffer_len as u64) }.ok_or_else(unmapped)?;
    Ok(ErrorRecords { erst, buffer, buffer_len, capacity })
}

/// Looks for the store and maps it. On the boot CPU, once, before other CPUs run.
pub fn prepare() {
    if let Some(machine) = boot::machine() {
        STORE.call_once(|| look(machine));
    }
}

/// The store, or why there is none.
pub(crate) fn present() -> Result<&'static ErrorRecords, Unsupported> {
    match STORE.get() {
        Some(Ok(store)) => Ok(store),
        Some(Err(unsupported)) => Err(*unsupported),
        None => Err(Unsupported::new("the store was not looked for yet")),
    }
}

/// The registers of the table, in the direct map.
struct Registers;

impl Registers {
    fn read(&self, register: Register) -> u64 {
        // SAFETY: only `look` and what it let pass get here: the register is mapped, uncached and aligned.
        unsafe {
            match register.bits {
                8 => mmu::direct::<u8>(register.address).read_volatile().into(),
                16 => mmu::direct::<u16>(register.address).read_volatile().into(),
                32 => mmu::direct::<u32>(register.address).read_volatile().into(),
                _ => mmu::direct::<u64>(register.address).read_volatile(),
            }
        }
    }

    fn write(&self, register: Register, value: u64) {
        // SAFETY: as above; what is written where is what firmware's table says.
        unsafe {
            match register.bits {
                8 => mmu::direct::<u8>(register.address).write_volatile(value as u8),
                16 => mmu::direct::<u16>(register.address).write_volatile(value as u16),
                32 => mmu::direct::<u32>(register.address).write_volatile(value as u32),
                _ => mmu::direct::<u64>(register.address).write_volatile(value),
            }
        }
    }
}

/// For the question where the buffer is: there is none yet.
impl Bus for Registers {
    fn read(&self, register: Register) -> u64 {
        self.read(register)
    }
    fn write(&self, register: Register, value: u64) {
        self.write(register, value);
    }
    fn copy_out(&self, _at: usize, _room: &mut [u8]) {}
    fn copy_in(&self, _at: usize, _bytes: &[u8]) {}
    fn now_ns(&self) -> u64 {
        PORT.now_ns()
    }
}

impl Bus for ErrorRecords {
    fn read(&self, register: Register) -> u64 {
        Registers.read(register)
    }

    fn write(&self, register: Register, value: u64) {
        Registers.write(register, value);
    }

    fn copy_out(&self, at: usize, room: &mut [u8]) {
        for (offset, place) in (at..self.buffer_len).zip(room) {
            // SAFETY: the buffer is mapped up to `buffer_len`.
            *place = unsafe { self.buffer.add(offset).read_volatile() };
        }
    }

    fn copy_in(&self, at: usize, bytes: &[u8]) {
        for (offset, byte) in (at..self.buffer_len).zip(bytes) {
            // SAFETY: as above; it is there to be written.
            unsafe { self.buffer.add(offset).write_volatile(*byte) };
        }
    }

    fn now_ns(&self) -> u64 {
        PORT.now_ns()
    }
}

impl Store for ErrorRecords {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), StoreError> {
        record::write(self.erst, self, self.capacity.bytes, slot, bytes)
    }

    fn read(&self, slot: u32, room: &mut [u8]) -> Result<usize, StoreError> {
        record::read(self.erst, self, self.capacity.bytes, slot, room)
    }

    fn clear(&self, slot: u32) -> Result<(), StoreError> {
        record::clear(self.erst, self, slot)
    }

    fn occupied(&self, numbers: &mut [u32]) -> Result<usize, StoreError> {
        Ok(record::occupied(self.erst, self, numbers))
    }
}
