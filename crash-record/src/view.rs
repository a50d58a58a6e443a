//! The reading half: bytes of unknown origin in, typed values out.
//!
//! Nothing is trusted: every offset is checked, both byte orders are read, and what does not hold is
//! a [`RecordError`] that names the part and its byte offset. A part without a commit word is not an
//! error, it was never finished; a part whose checksum is wrong is.

use crate::crc::Crc;
use crate::layout::{self, entry, header, log, slot};
use crate::names::{Class, CpuState, EntryKind, Orphan, Outcome, Role, Ruling, Rung, Step};

/// What is wrong with a record, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordError {
    /// The part, and what is wrong with it.
    pub what: &'static str,
    /// Offset in bytes from the start of the record.
    pub at: usize,
}

impl core::fmt::Display for RecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "crash record: {} (at byte {:#x})", self.what, self.at)
    }
}

impl core::error::Error for RecordError {}

/// A record whose header holds.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    bytes: &'a [u8],
    big_endian: bool,
}

/// A CPU's slot.
#[derive(Clone, Copy, Debug)]
pub struct CpuSlot<'a> {
    view: RecordView<'a>,
    at: usize,
    /// Logical CPU number.
    pub cpu: usize,
}

/// Registers that a CPU saved.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a> {
    slot: CpuSlot<'a>,
    /// What brought the CPU there.
    pub rung: Rung,
    /// Clock, ns.
    pub saved_at: u64,
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Witness register.
    pub witness: u64,
    /// Program counter and witness register of what was interrupted, when `pc` is in an interrupt
    /// handler.
    pub interrupted: Option<(u64, u64)>,
    /// What the signal interrupted is lost (ppc64: it came between a trap and the saving of its
    /// SRR0/1): `pc` is in the machine's trap entry, `interrupted` is the nearest place that is known.
    pub lost: bool,
}

/// What a deferred CPU did when its first signal came.
#[derive(Clone, Copy, Debug)]
pub struct First<'a> {
    slot: CpuSlot<'a>,
    /// Clock when it acknowledged that, ns.
    pub deferred_at: u64,
    /// Program counter.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Witness register.
    pub witness: u64,
}

/// An entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its number, from 0.
    pub number: usize,
    /// What it is about.
    pub kind: EntryKind,
    /// The step that was running.
    pub step: Option<Step>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// The CPU that wrote it.
    pub cpu: usize,
    /// Clock, ns.
    pub began_at: u64,
    /// Clock, ns.
    pub ended_at: u64,
    /// Depends on the kind.
    pub argument: u64,
    /// Text.
    pub text: &'a str,
}

impl Entry<'_> {
    /// What was decided, and which CPU was in the way, of an entry about a lock or about firmware.
    pub fn ruling(&self) -> Option<(Ruling, Option<usize>)> {
        if !matches!(self.kind, EntryKind::Lock | EntryKind::Firmware) {
            return None;
        }
        let who = (self.argument & 0xffff) as usize;
        Some((Ruling::from_number((self.argument >> 16) as u16)?, who.checked_sub(1)))
    }

    /// The class, of a notifier's entry.
    pub fn class(&self) -> Option<Class> {
        (self.kind == EntryKind::Notifier).then(|| Class::from_number(self.argument as u16)).flatten()
    }
}

/// A line of the log.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// Sequence number since boot.
    pub sequence: u64,
    /// Clock, ns.
    pub at: u64,
    /// CPU.
    pub cpu: usize,
    /// Text.
    pub text: &'a str,
}

/// Text up to the first NUL; from the first byte that is not UTF-8 on it is dropped.
fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let bytes = bytes.get(..end).unwrap_or(&[]);
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => core::str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or(&[])).unwrap_or(""),
    }
}

impl<'a> RecordView<'a> {
    /// Checks the header. `bytes` may be longer than the record.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let fail = |what, word: usize| Err(RecordError { what, at: word * 8 });
        if bytes.len() < layout::HEADER_WORDS * 8 {
            return fail("shorter than its header", bytes.len() / 8);
        }
        if bytes.get(..8) != Some(&layout::MAGIC) {
            return fail("no magic: never set up, or not a record", header::MAGIC);
        }
        let mark = bytes.get(header::ENDIAN * 8..header::ENDIAN * 8 + 8).unwrap_or(&[]);
        let big_endian = match mark {
            mark if mark == layout::ENDIAN_MARK.to_be_bytes() => true,
            mark if mark == layout::ENDIAN_MARK.to_le_bytes() => false,
            _ => return fail("neither byte order fits its mark", header::ENDIAN),
        };
        let view = RecordView { bytes, big_endian };
        if view.word(header::VERSION) != layout::VERSION {
            return fail("a version that this reader does not know", header::VERSION);
        }
        if view.word(header::COMMIT) != view.crc(0, header::COMMIT) {
            return fail("the header's checksum does not hold", header::COMMIT);
        }
        for (word, expected) in [
            (header::BYTES, layout::RECORD_BYTES),
            (header::SLOTS, layout::MAX_SLOTS),
            (header::ENTRIES, layout::ENTRIES),
            (header::LOG_SLOTS, layout::LOG_SLOTS),
        ] {
            if view.word(word) != expected as u64 {
                return fail("a size in the header is not this version's", word);
            }
        }
        if bytes.len() < layout::RECORD_BYTES {
            return fail("shorter than its header says", bytes.len() / 8);
        }
        Ok(view)
    }

    /// A word in this machine's byte order; 0 outside.
    pub fn word(&self, at: usize) -> u64 {
        let bytes = at.checked_mul(8).and_then(|from| self.bytes.get(from..from + 8));
        match bytes.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok()) {
            Some(bytes) if self.big_endian => u64::from_be_bytes(bytes),
            Some(bytes) => u64::from_le_bytes(bytes),
            None => 0,
        }
    }

    fn range(&self, from: usize, to: usize) -> &'a [u8] {
        self.bytes.get(from * 8..to * 8).unwrap_or(&[])
    }

    /// The checksum as a commit word: over the bytes as they lie in memory.
    fn crc(&self, from: usize, to: usize) -> u64 {
        u64::from(Crc::new().bytes(self.range(from, to)).finish()) | slot::COMMITTED
    }

    /// True if the writer was big-endian.
    pub fn big_endian(&self) -> bool {
        self.big_endian
    }

    /// The run's nonce.
    pub fn nonce(&self) -> u64 {
        self.word(header::NONCE)
    }

    /// Machine name.
    pub fn machine(&self) -> &'a str {
        text(self.range(header::MACHINE, header::MACHINE + 2))
    }

    /// CPUs that the kernel knew of, at most [`layout::MAX_SLOTS`].
    pub fn cpus(&self) -> usize {
        (self.word(header::CPUS) as usize).min(layout::MAX_SLOTS)
    }

    /// The owner, if the panic was claimed.
    pub fn owner(&self) -> Option<usize> {
        (self.word(header::OWNER) & 0xffff_ffff).checked_sub(1).map(|cpu| cpu as usize)
    }

    /// Slots of the CPUs that the kernel knew of.
    pub fn slots(&self) -> impl Iterator<Item = CpuSlot<'a>> + use<'a> {
        let view = *self;
        (0..view.cpus()).map(move |cpu| CpuSlot {
            view,
            at: layout::SLOTS_AT + cpu * layout::SLOT_WORDS,
            cpu,
        })
    }

    /// Committed entries in order. An entry that was never committed is left out; one whose checksum
    /// does not hold, or that has a number of no meaning, is an error in its place.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'a>, RecordError>> + use<'a> {
        let view = *self;
        (0..layout::ENTRIES).filter_map(move |number| view.entry(number).transpose())
    }

    fn entry(&self, number: usize) -> Result<Option<Entry<'a>>, RecordError> {
        let at = layout::ENTRIES_AT + number * layout::ENTRY_WORDS;
        let commit = self.word(at + entry::COMMIT);
        if commit == 0 {
            return Ok(None);
        }
        let fail = |what| RecordError { what, at: at * 8 };
        if commit != self.crc(at + entry::HEAD, at + layout::ENTRY_WORDS) {
            return Err(fail("an entry's checksum does not hold"));
        }
        let head = self.word(at + entry::HEAD);
        let optional = |number: u16| (number != 0).then_some(number);
        let kind = EntryKind::from_number((head >> 48) as u16).ok_or(fail("an entry of unknown kind"))?;
        let step = optional((head >> 32) as u16)
            .map(|number| Step::from_number(number).ok_or(fail("an entry of an unknown step")))
            .transpose()?;
        let outcome = optional((head >> 16) as u16)
            .map(|number| Outcome::from_number(number).ok_or(fail("an entry with an unknown outcome")))
            .transpose()?;
        Ok(Some(Entry {
            number,
            kind,
            step,
            outcome,
            cpu: (head & 0xffff) as usize,
            began_at: self.word(at + entry::BEGAN_AT),
            ended_at: self.word(at + entry::ENDED_AT),
            argument: self.word(at + entry::ARGUMENT),
            text: text(self.range(at + entry::TEXT, at + layout::ENTRY_WORDS)),
        }))
    }

    /// Whole lines of the log ring that are still there, oldest first.
    pub fn log(&self) -> impl Iterator<Item = LogLine<'a>> + use<'a> {
        let view = *self;
        let end = view.word(header::NEXT_LOG);
        (end.saturating_sub(layout::LOG_SLOTS as u64)..end).filter_map(move |sequence| {
            let at = layout::LOG_AT + (sequence as usize % layout::LOG_SLOTS) * layout::LOG_WORDS;
            let whole = view.word(at + log::COMMIT) == view.crc(at + log::SEQUENCE, at + layout::LOG_WORDS)
                && view.word(at + log::SEQUENCE) == sequence;
            whole.then(|| LogLine {
                sequence,
                at: view.word(at + log::AT),
                cpu: view.word(at + log::CPU) as usize,
                text: text(view.range(at + log::TEXT, at + layout::LOG_WORDS)),
            })
        })
    }

    /// One checksum over everything that does not change once a CPU has stopped: two readers that
    /// looked at the same record get the same number, whenever they looked.
    pub fn digest(&self) -> u32 {
        let mut crc = Crc::new().bytes(self.range(0, header::COMMIT + 1));
        crc = crc.bytes(self.range(header::OWNER, header::SCALE + 1));
        for slot in self.slots() {
            crc = crc.bytes(self.range(slot.at + slot::OWNER_STATE, slot.at + slot::OWNER_STATE + 1));
            if matches!(slot.owner_state(), Some(CpuState::Parked | CpuState::Owner)) {
                crc = crc.bytes(self.range(slot.at + slot::OWNER_HEARTBEAT, slot.at + slot::ROLE));
                crc = crc.bytes(self.range(slot.at + slot::COMMIT, slot.at + slot::BODY_END));
                crc = crc.bytes(self.range(slot.at + slot::DEFERRED_AT, slot.at + slot::FIRST_END));
            }
        }
        crc.bytes(self.range(layout::ENTRIES_AT, layout::LOG_AT)).finish()
    }
}

impl<'a> CpuSlot<'a> {
    /// A word of the slot: [`layout::slot`].
    pub fn word(&self, word: usize) -> u64 {
        self.view.word(self.at + word)
    }

    /// The CPU's state as it said itself.
    pub fn state(&self) -> Option<CpuState> {
        CpuState::from_number(self.word(slot::STATE) as u16)
    }

    /// The CPU's state as the owner saw it at the end of the stop step.
    pub fn owner_state(&self) -> Option<CpuState> {
        CpuState::from_number(self.word(slot::OWNER_STATE) as u16)
    }

    /// What the CPU does besides being parked.
    pub fn role(&self) -> Option<Role> {
        Role::from_number(self.word(slot::ROLE) as u16)
    }

    /// Why this CPU stopped with locks held.
    pub fn orphan(&self) -> Option<Orphan> {
        Orphan::from_number(self.word(slot::ORPHAN) as u16)
    }

    /// What this CPU did when a signal came that deferred it: `None` if none did.
    pub fn first(&self) -> Result<Option<First<'a>>, RecordError> {
        let commit = self.word(slot::FIRST_COMMIT);
        if commit == 0 {
            return Ok(None);
        }
        let fail = |what, word: usize| RecordError { what, at: (self.at + word) * 8 };
        if commit != self.view.crc(self.at + slot::FIRST_BODY, self.at + slot::FIRST_END) {
            return Err(fail("the checksum of a CPU's first signal does not hold", slot::FIRST_COMMIT));
        }
        if self.word(slot::FIRST_REGISTER_COUNT) > slot::REGISTERS_MAX as u64
            || self.word(slot::FIRST_BACKTRACE_COUNT) > slot::BACKTRACE_MAX as u64
        {
            return Err(fail("a first signal with more registers than fit", slot::FIRST_REGISTER_COUNT));
        }
        Ok(Some(First {
            slot: *self,
            deferred_at: self.word(slot::DEFERRED_AT),
            pc: self.word(slot::FIRST_PC),
            sp: self.word(slot::FIRST_SP),
            witness: self.word(slot::FIRST_WITNESS),
        }))
    }

    /// The registers that this CPU saved: `None` if it never did.
    pub fn saved(&self) -> Result<Option<Saved<'a>>, RecordError> {
        let commit = self.word(slot::COMMIT);
        if commit == 0 {
            return Ok(None);
        }
        let fail = |what, word: usize| RecordError { what, at: (self.at + word) * 8 };
        if commit != self.view.crc(self.at + slot::BODY, self.at + slot::BODY_END) {
            return Err(fail("a CPU slot's checksum does not hold", slot::COMMIT));
        }
        if self.word(slot::REGISTER_COUNT) > slot::REGISTERS_MAX as u64
            || self.word(slot::BACKTRACE_COUNT) > slot::BACKTRACE_MAX as u64
        {
            return Err(fail("a CPU slot with more registers than fit", slot::REGISTER_COUNT));
        }
        let rung = Rung::from_number(self.word(slot::RUNG) as u16)
            .ok_or(fail("a CPU slot with an unknown rung", slot::RUNG))?;
        Ok(Some(Saved {
            slot: *self,
            rung,
            saved_at: self.word(slot::SAVED_AT),
            pc: self.word(slot::PC),
            sp: self.word(slot::SP),
            witness: self.word(slot::WITNESS),
            lost: self.word(slot::INTERRUPTED) == slot::LOST,
            interrupted: (self.word(slot::INTERRUPTED) != 0)
                .then(|| (self.word(slot::INTERRUPTED_PC), self.word(slot::INTERRUPTED_WITNESS))),
        }))
    }
}

impl First<'_> {
    /// Register words in the order of the machine's `elf_gregset_t`.
    pub fn registers(&self) -> impl Iterator<Item = u64> + '_ {
        let count = (self.slot.word(slot::FIRST_REGISTER_COUNT) as usize).min(slot::REGISTERS_MAX);
        (0..count).map(|offset| self.slot.word(slot::FIRST_REGISTERS + offset))
    }

    /// Return addresses, newest first.
    pub fn backtrace(&self) -> impl Iterator<Item = u64> + '_ {
        let count = (self.slot.word(slot::FIRST_BACKTRACE_COUNT) as usize).min(slot::BACKTRACE_MAX);
        (0..count).map(|offset| self.slot.word(slot::FIRST_BACKTRACE + offset))
    }
}

impl Saved<'_> {
    /// Register words in the order of the machine's `elf_gregset_t`.
    pub fn registers(&self) -> impl Iterator<Item = u64> + '_ {
        let count = (self.slot.word(slot::REGISTER_COUNT) as usize).min(slot::REGISTERS_MAX);
        (0..count).map(|offset| self.slot.word(slot::REGISTERS + offset))
    }

    /// Return addresses, newest first.
    pub fn backtrace(&self) -> impl Iterator<Item = u64> + '_ {
        let count = (self.slot.word(slot::BACKTRACE_COUNT) as usize).min(slot::BACKTRACE_MAX);
        (0..count).map(|offset| self.slot.word(slot::BACKTRACE + offset))
    }
}
