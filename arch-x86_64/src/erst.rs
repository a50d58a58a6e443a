//! The error record serialization table: firmware's own description of how to drive its persistent
//! store, as a list of register accesses.
//!
//! Source: ACPI 6.5 §18.5 (table 18.19 ff.: actions, instructions; §18.5.2: order of operations). Nothing
//! here panics, whatever the table says; what this interpreter does not support is an [`AcpiError`] that
//! says what it is. [`record`] has what is put into the store.

pub mod record;

use crate::acpi::{AcpiError, TABLE_HEADER_LEN};
use crate::physical::{u8_at, u32_at, u64_at};
use hal::store::StoreError;

/// Most instructions kept; QEMU has 27.
pub const STEPS_MAX: usize = 64;
/// Bytes of an instruction entry.
const STEP_LEN: usize = 32;
/// Where the instructions begin.
const STEPS_AT: usize = 48;
/// How long firmware may be busy with one operation, in nanoseconds.
const BUSY_NS: u64 = 100_000_000;
/// Bound on the same wait if the clock does not run.
const BUSY_POLLS: u32 = 1_000_000;
/// Records that are looked at when ids are listed: a bound, should firmware's count be nonsense.
const RECORDS_MAX: u64 = 1024;
/// What firmware answers when there is no further record id.
const NO_MORE: u64 = u64::MAX;

/// Serialization actions.
pub mod action {
    /// Begins a write operation.
    pub const BEGIN_WRITE: u8 = 0;
    /// Begins a read operation.
    pub const BEGIN_READ: u8 = 1;
    /// Begins a clear operation.
    pub const BEGIN_CLEAR: u8 = 2;
    /// Ends any operation.
    pub const END: u8 = 3;
    /// Sets the record's offset in the exchange buffer.
    pub const SET_OFFSET: u8 = 4;
    /// Executes the operation.
    pub const EXECUTE: u8 = 5;
    /// Says whether firmware is busy with it.
    pub const CHECK_BUSY: u8 = 6;
    /// Says how it ended.
    pub const GET_STATUS: u8 = 7;
    /// The next record's id.
    pub const GET_ID: u8 = 8;
    /// Sets the id of the record to read or clear.
    pub const SET_ID: u8 = 9;
    /// How many records there are.
    pub const GET_COUNT: u8 = 10;
    /// Physical address of the exchange buffer.
    pub const GET_BUFFER: u8 = 13;
    /// Its length in bytes.
    pub const GET_BUFFER_LEN: u8 = 14;
    /// Those without which nothing works.
    pub const NEEDED: [u8; 13] = [
        BEGIN_WRITE,
        BEGIN_READ,
        BEGIN_CLEAR,
        END,
        SET_OFFSET,
        EXECUTE,
        CHECK_BUSY,
        GET_STATUS,
        GET_ID,
        SET_ID,
        GET_COUNT,
        GET_BUFFER,
        GET_BUFFER_LEN,
    ];
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Instruction {
    Read,
    ReadValue,
    Write,
    WriteValue,
    Nothing,
}

/// A register in memory, naturally aligned, below 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Register {
    /// Physical address.
    pub address: u64,
    /// Width: 8, 16, 32 or 64.
    pub bits: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Step {
    action: u8,
    instruction: Instruction,
    register: Register,
    value: u64,
    mask: u64,
}

impl Step {
    /// Reads one instruction entry.
    fn parse(entry: &[u8]) -> Result<Step, &'static str> {
        let byte = |at| u8_at(entry, at).ok_or("an ERST instruction is cut off");
        let quad = |at| u64_at(entry, at).ok_or("an ERST instruction is cut off");
        let instruction = match byte(1)? {
            0 => Instruction::Read,
            1 => Instruction::ReadValue,
            2 => Instruction::Write,
            3 => Instruction::WriteValue,
            4 => Instruction::Nothing,
            _ => return Err("an ERST instruction that this port does not know"),
        };
        let (space, bits, shift) = (byte(4)?, byte(5)?, byte(6)?);
        let register = Register { address: quad(8)?, bits };
        if instruction != Instruction::Nothing {
            if byte(2)? != 0 {
                return Err("an ERST instruction has a flag that this port does not know");
            }
            if space != 0 {
                return Err("an ERST register is not in memory");
            }
            if !matches!(bits, 8 | 16 | 32 | 64) || shift != 0 {
                return Err("an ERST register has a width that this port does not know");
            }
            if register.address == u64::MAX {
                return Err("an ERST register has no address: firmware assigned none to the device");
            }
            if register.address == 0 || register.address > u64::from(u32::MAX) {
                return Err("an ERST register lies at 0 or above 4 GiB");
            }
            if !register.address.is_multiple_of(u64::from(bits / 8)) {
                return Err("an ERST register is not aligned");
            }
        }
        Ok(Step { action: byte(0)?, instruction, register, value: quad(16)?, mask: quad(24)? })
    }
}

/// A decoded table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erst {
    steps: [Step; STEPS_MAX],
    count: usize,
}

impl Erst {
    /// Decodes a table whose header was checked.
    pub fn parse(table: &[u8]) -> Result<Erst, AcpiError> {
        let fail = |offset, problem| AcpiError { table: *b"ERST", offset, problem };
        let long = |offset| u32_at(table, offset).ok_or(fail(offset, "the ERST table is cut off"));
        // The specification can be read in two ways here, and firmware does both: with and without the
        // header that all tables have.
        let header = long(TABLE_HEADER_LEN)? as usize;
        if header != STEPS_AT && header != STEPS_AT - TABLE_HEADER_LEN {
            return Err(fail(TABLE_HEADER_LEN, "the ERST table states an odd header length"));
        }
        let count = long(44)? as usize;
        if count > STEPS_MAX {
            return Err(fail(44, "the ERST table has more instructions than this port keeps"));
        }
        if table.len() != STEPS_AT + count * STEP_LEN {
            return Err(fail(44, "the ERST table has another length than its count of instructions"));
        }
        let nothing = Step {
            action: 0,
            instruction: Instruction::Nothing,
            register: Register { address: 0, bits: 0 },
            value: 0,
            mask: 0,
        };
        let mut erst = Erst { steps: [nothing; STEPS_MAX], count };
        let entries = table.get(STEPS_AT..).unwrap_or(&[]).chunks_exact(STEP_LEN);
        for (number, (slot, entry)) in erst.steps.iter_mut().zip(entries).enumerate() {
            *slot = Step::parse(entry).map_err(|problem| fail(STEPS_AT + number * STEP_LEN, problem))?;
        }
        if action::NEEDED.iter().any(|needed| !erst.steps().any(|step| step.action == *needed)) {
            return Err(fail(STEPS_AT, "the ERST table lacks an action that is needed"));
        }
        Ok(erst)
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().take(self.count)
    }

    /// Every register that is accessed, some of them more than once.
    pub fn registers(&self) -> impl Iterator<Item = Register> + '_ {
        self.steps().filter(|step| step.instruction != Instruction::Nothing).map(|step| step.register)
    }

    /// Interprets the instructions of an action, in the table's order. `argument` is what a write without
    /// a value of its own writes; the result is what the last read gave.
    fn run(&self, bus: &impl Bus, action: u8, argument: u64) -> u64 {
        let mut result = 0;
        for step in self.steps().filter(|step| step.action == action) {
            match step.instruction {
                Instruction::Read => result = bus.read(step.register) & step.mask,
                Instruction::ReadValue => {
                    result = u64::from(bus.read(step.register) & step.mask == step.value);
                }
                Instruction::Write => bus.write(step.register, argument & step.mask),
                Instruction::WriteValue => bus.write(step.register, step.value & step.mask),
                Instruction::Nothing => {}
            }
        }
        result
    }

    /// Physical address and length of the exchange buffer.
    pub fn exchange_buffer(&self, bus: &impl Bus) -> (u64, u64) {
        (self.run(bus, action::GET_BUFFER, 0), self.run(bus, action::GET_BUFFER_LEN, 0))
    }

    /// One operation, from its beginning (one of the `BEGIN_` actions) to its end, on the record that lies
    /// or shall lie at the beginning of the exchange buffer.
    pub fn operate(&self, bus: &impl Bus, begin: u8, id: u64) -> Result<(), StoreError> {
        self.run(bus, begin, 0);
        self.run(bus, action::SET_OFFSET, 0);
        self.run(bus, action::SET_ID, id);
        self.run(bus, action::EXECUTE, 0);
        let result = self.outcome(bus);
        self.run(bus, action::END, 0);
        result
    }

    fn outcome(&self, bus: &impl Bus) -> Result<(), StoreError> {
        let end = bus.now_ns().saturating_add(BUSY_NS);
        let mut polls = 0;
        while self.run(bus, action::CHECK_BUSY, 0) != 0 {
            polls += 1;
            if polls >= BUSY_POLLS || bus.now_ns() >= end {
                return Err(StoreError::TimedOut);
            }
            core::hint::spin_loop();
        }
        match self.run(bus, action::GET_STATUS, 0) {
            0 => Ok(()),
            1 => Err(StoreError::Full),
            // The store as a whole is empty; there is no such record.
            4 | 5 => Err(StoreError::Empty),
            status => Err(StoreError::Firmware(i64::try_from(status).unwrap_or(i64::MAX))),
        }
    }

    /// Hands over the id of every record, whoever wrote it.
    pub fn for_each_id(&self, bus: &impl Bus, mut take: impl FnMut(u64)) {
        let count = self.run(bus, action::GET_COUNT, 0).min(RECORDS_MAX);
        // Firmware goes on where the last listing stopped, and a listing may have been abandoned.
        for _ in 0..=count {
            if self.run(bus, action::GET_ID, 0) == NO_MORE {
                break;
            }
        }
        for _ in 0..=count {
            match self.run(bus, action::GET_ID, 0) {
                NO_MORE => return,
                id => take(id),
            }
        }
    }
}

/// What the protocol needs of the machine.
pub trait Bus {
    /// Reads a register of the table.
    fn read(&self, register: Register) -> u64;
    /// Writes a register of the table.
    fn write(&self, register: Register, value: u64);
    /// Copies out of the exchange buffer, from byte `at` on. Bytes past its end are left as they are.
    fn copy_out(&self, at: usize, room: &mut [u8]);
    /// Copies into the exchange buffer, from byte `at` on. Bytes past its end are dropped.
    fn copy_in(&self, at: usize, bytes: &[u8]);
    /// The clock, in nanoseconds.
    fn now_ns(&self) -> u64;
}

#[cfg(test)]
mod tests;
