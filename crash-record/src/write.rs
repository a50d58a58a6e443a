//! The writing half: what a kernel calls, in any context, on any CPU.
//!
//! Every word is an atomic, so a reader may look at any time and another CPU may write beside. No
//! call allocates, blocks, loops without bound or panics; a call that has no room says so by its
//! return value.

use crate::crc::Crc;
use crate::layout::{self, entry, header, log, slot};
use crate::names::{CpuState, EntryKind, Outcome, Rung, Step};
use hal::CpuId;
use hal::registers::{Registers, Snapshot};
use hal::sync::{AtomicU64, Ordering};

const _: () = assert!(layout::MAX_SLOTS == hal::MAX_CPUS);
#[cfg(not(loom))]
const _: () = assert!(slot::REGISTERS_MAX >= hal::registers::MAX_WORDS);

/// The memory of a record. One static per kernel, named so that tools outside find it by symbol.
#[cfg_attr(not(loom), repr(C, align(4096)))] // a model runs on a small stack
pub struct RecordArea {
    words: [AtomicU64; layout::RECORD_WORDS],
}

/// What the header says about this kernel.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Tells this run from every other; 0 if none was given.
    pub nonce: u64,
    /// First eight bytes of the build-id, big-endian.
    pub build_id: u64,
    /// Machine name; the first 16 bytes count.
    pub machine: &'static str,
    /// CPUs that this kernel knows of.
    pub cpus: u64,
    /// Physical address of the kernel image.
    pub image_base: u64,
    /// Physical address of the record.
    pub record_base: u64,
}

/// The body of an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryBody<'a> {
    /// What it is about.
    pub kind: EntryKind,
    /// The step that was running, if one was.
    pub step: Option<Step>,
    /// How that ended, if it ended.
    pub outcome: Option<Outcome>,
    /// The CPU that writes.
    pub cpu: CpuId,
    /// Clock when it began, ns.
    pub began_at: u64,
    /// Clock when it ended, ns.
    pub ended_at: u64,
    /// Depends on the kind.
    pub argument: u64,
    /// Text; what does not fit into [`entry::TEXT_BYTES`] is cut off.
    pub text: &'a [u8],
}

impl RecordArea {
    /// An empty record: no magic, nothing committed.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)] // a static's initialiser, not a value to pass around
    pub const fn new() -> Self {
        RecordArea { words: [const { AtomicU64::new(0) }; layout::RECORD_WORDS] }
    }

    /// An empty record.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        RecordArea { words: core::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// A word, 0 outside the record.
    pub fn load(&self, at: usize) -> u64 {
        self.words.get(at).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// Stores a word with release ordering; outside the record nothing happens.
    pub fn store(&self, at: usize, value: u64) {
        if let Some(word) = self.words.get(at) {
            word.store(value, Ordering::Release);
        }
    }

    /// Counts a word of the header up by one: from any CPU and context.
    pub fn count(&self, at: usize) {
        self.add(at, 1);
    }

    fn add(&self, at: usize, value: u64) -> u64 {
        self.words.get(at).map_or(u64::MAX, |word| word.fetch_add(value, Ordering::AcqRel))
    }

    fn store_text(&self, at: usize, words: usize, text: &[u8]) {
        for (offset, word) in text_words(text).take(words).enumerate() {
            self.store(at + offset, word);
        }
    }

    fn crc(&self, from: usize, to: usize) -> u64 {
        let crc = (from..to).fold(Crc::new(), |crc, at| crc.word(self.load(at)));
        u64::from(crc.finish()) | slot::COMMITTED
    }

    /// Sets the header up. Called once, by the boot CPU, before there can be a panic that wants it; a
    /// panic before that leaves a record that says "never set up".
    pub fn set_up(&self, identity: &Identity) {
        self.store_text(header::MAGIC, 1, &layout::MAGIC);
        self.store(header::VERSION, layout::VERSION);
        self.store(header::ENDIAN, layout::ENDIAN_MARK);
        self.store(header::BYTES, layout::RECORD_BYTES as u64);
        self.store(header::SLOTS, layout::MAX_SLOTS as u64);
        self.store(header::ENTRIES, layout::ENTRIES as u64);
        self.store(header::LOG_SLOTS, layout::LOG_SLOTS as u64);
        self.store(header::NONCE, identity.nonce);
        self.store(header::BUILD_ID, identity.build_id);
        self.store_text(header::MACHINE, 2, identity.machine.as_bytes());
        self.store(header::CPUS, identity.cpus);
        self.store(header::IMAGE_BASE, identity.image_base);
        self.store(header::RECORD_BASE, identity.record_base);
        self.store(header::COMMIT, self.crc(0, header::COMMIT));
    }

    const fn slot_at(cpu: CpuId, word: usize) -> usize {
        (layout::SLOTS_AT + cpu.index() * layout::SLOT_WORDS).saturating_add(word)
    }

    /// A word of a CPU's slot.
    pub fn slot(&self, cpu: CpuId, word: usize) -> u64 {
        self.load(Self::slot_at(cpu, word))
    }

    /// Stores a word of a CPU's slot. Who may write which word: [`layout::slot`].
    pub fn set_slot(&self, cpu: CpuId, word: usize, value: u64) {
        self.store(Self::slot_at(cpu, word), value);
    }

    /// This CPU's own state, as it says itself.
    pub fn state(&self, cpu: CpuId) -> CpuState {
        CpuState::from_number(self.slot(cpu, slot::STATE) as u16).unwrap_or(CpuState::NeverOnline)
    }

    /// The word that `cpu` counts up while it works.
    pub fn heartbeat(&self, cpu: CpuId) -> Option<&AtomicU64> {
        self.words.get(Self::slot_at(cpu, slot::HEARTBEAT))
    }

    /// Whether `cpu` has saved its registers.
    pub fn saved(&self, cpu: CpuId) -> bool {
        self.slot(cpu, slot::COMMIT) != 0
    }

    /// Saves the registers of `cpu` into its slot. Called by that CPU. Written once (P9): a second
    /// call changes nothing and returns false.
    pub fn save<R: Registers>(&self, cpu: CpuId, rung: Rung, at: u64, snapshot: &Snapshot<R>) -> bool {
        if self.saved(cpu) {
            return false;
        }
        let registers = &snapshot.registers;
        let set = |word, value| self.set_slot(cpu, word, value);
        set(slot::RUNG, u64::from(rung.number()));
        set(slot::SAVED_AT, at);
        set(slot::PC, registers.pc());
        set(slot::SP, registers.sp());
        set(slot::WITNESS, registers.witness());
        let (pc, witness) = snapshot.interrupted.unwrap_or((0, 0));
        let inner = match snapshot.interrupted {
            _ if !registers.resumable() => slot::LOST,
            Some(_) => slot::IN_HANDLER,
            None => 0,
        };
        set(slot::INTERRUPTED, inner);
        set(slot::INTERRUPTED_PC, pc);
        set(slot::INTERRUPTED_WITNESS, witness);
        let (count, found) = self.save_set(cpu, registers, slot::REGISTERS, slot::BACKTRACE);
        set(slot::REGISTER_COUNT, count);
        set(slot::BACKTRACE_COUNT, found);
        let body = Self::slot_at(cpu, slot::BODY);
        set(slot::COMMIT, self.crc(body, Self::slot_at(cpu, slot::BODY_END)));
        true
    }

    /// Saves what `cpu` did when a signal came that deferred it. Called by that CPU; written once (P9).
    pub fn save_first<R: Registers>(&self, cpu: CpuId, snapshot: &Snapshot<R>) -> bool {
        if self.slot(cpu, slot::FIRST_COMMIT) != 0 {
            return false;
        }
        let registers = &snapshot.registers;
        let set = |word, value| self.set_slot(cpu, word, value);
        set(slot::FIRST_PC, registers.pc());
        set(slot::FIRST_SP, registers.sp());
        set(slot::FIRST_WITNESS, registers.witness());
        let (count, found) = self.save_set(cpu, registers, slot::FIRST_REGISTERS, slot::FIRST_BACKTRACE);
        set(slot::FIRST_REGISTER_COUNT, count);
        set(slot::FIRST_BACKTRACE_COUNT, found);
        let body = Self::slot_at(cpu, slot::FIRST_BODY);
        set(slot::FIRST_COMMIT, self.crc(body, Self::slot_at(cpu, slot::FIRST_END)));
        true
    }

    /// Registers and return addresses into these places of the slot. Returns how many of each.
    fn save_set<R: Registers>(&self, cpu: CpuId, registers: &R, words: usize, trace: usize) -> (u64, u64) {
        let mut count = 0;
        for (offset, word) in registers.words().iter().take(slot::REGISTERS_MAX).enumerate() {
            self.set_slot(cpu, words + offset, *word);
            count += 1;
        }
        let mut addresses = [0; slot::BACKTRACE_MAX];
        let found = registers.backtrace(&mut addresses).min(slot::BACKTRACE_MAX);
        for (offset, address) in addresses.iter().take(found).enumerate() {
            self.set_slot(cpu, trace + offset, *address);
        }
        (count, found as u64)
    }

    /// Appends an entry. False if the record is full.
    pub fn append(&self, body: &EntryBody<'_>) -> bool {
        let number = self.add(header::NEXT_ENTRY, 1);
        if number >= layout::ENTRIES as u64 {
            return false;
        }
        let at = layout::ENTRIES_AT + number as usize * layout::ENTRY_WORDS;
        let head = (u64::from(body.kind.number()) << 48)
            | (u64::from(body.step.map_or(0, Step::number)) << 32)
            | (u64::from(body.outcome.map_or(0, Outcome::number)) << 16)
            | body.cpu.index() as u64;
        self.store(at + entry::HEAD, head);
        self.store(at + entry::BEGAN_AT, body.began_at);
        self.store(at + entry::ENDED_AT, body.ended_at);
        self.store(at + entry::ARGUMENT, body.argument);
        self.store_text(at + entry::TEXT, layout::ENTRY_WORDS - entry::TEXT, body.text);
        self.store(at + entry::COMMIT, self.crc(at + entry::HEAD, at + layout::ENTRY_WORDS));
        true
    }

    /// Puts a line into the log ring: lock-free, from any CPU and context. The oldest line gives way.
    /// Returns the line's sequence number.
    pub fn log(&self, cpu: CpuId, at: u64, text: &[u8]) -> u64 {
        let sequence = self.add(header::NEXT_LOG, 1);
        let place = layout::LOG_AT + (sequence as usize & (layout::LOG_SLOTS - 1)) * layout::LOG_WORDS;
        self.store(place + log::COMMIT, 0);
        let head = [sequence, at, cpu.index() as u64];
        let words = head.into_iter().chain(text_words(text)).take(layout::LOG_WORDS - log::SEQUENCE);
        // Over what this line is, not over what lies there: a CPU that is a round of the ring behind writes to the
        // same place, and a checksum over both would make a mixture of them good.
        let mut crc = Crc::new();
        for (offset, word) in words.enumerate() {
            self.store(place + log::SEQUENCE + offset, word);
            crc = crc.word(word);
        }
        self.store(place + log::COMMIT, u64::from(crc.finish()) | slot::COMMITTED);
        sequence
    }

    /// The text of log line `sequence` into `out`, if that line is still there and whole. Returns
    /// its length, CPU and time.
    pub fn log_line(&self, sequence: u64, out: &mut [u8; log::TEXT_BYTES]) -> Option<(usize, u64, u64)> {
        let place = layout::LOG_AT + (sequence as usize & (layout::LOG_SLOTS - 1)) * layout::LOG_WORDS;
        let mut copy = [0u64; layout::LOG_WORDS];
        for (offset, word) in copy.iter_mut().enumerate() {
            *word = self.load(place + offset);
        }
        let [commit, body @ ..] = copy;
        let crc = body.iter().fold(Crc::new(), |crc, word| crc.word(*word)).finish();
        let [number, at, cpu, text @ ..] = body;
        if commit != u64::from(crc) | slot::COMMITTED || number != sequence {
            return None;
        }
        for (to, from) in out.chunks_mut(8).zip(text) {
            to.copy_from_slice(&from.to_ne_bytes());
        }
        let length = out.iter().position(|&byte| byte == 0).unwrap_or(out.len());
        Some((length, cpu, at))
    }

    /// Log lines reserved so far.
    pub fn log_end(&self) -> u64 {
        self.load(header::NEXT_LOG)
    }
}

/// Text as words, NUL-padded without end.
fn text_words(text: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut chunks = text.chunks(8);
    core::iter::from_fn(move || {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(chunks.next().unwrap_or(&[])) {
            *to = *from;
        }
        Some(u64::from_ne_bytes(bytes))
    })
}
