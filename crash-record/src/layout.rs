//! The crash record, word by word. This is a binary interface: change it only with [`VERSION`].
//!
//! The record is an array of 64-bit words in the byte order of the machine that wrote it; text is
//! raw bytes in memory order, NUL-padded. Offsets here are in words.
//!
//! ```text
//! word     0  header                HEADER_WORDS
//!          .  CPU slots             MAX_SLOTS × SLOT_WORDS
//!          .  entries, append-only  ENTRIES × ENTRY_WORDS
//!          .  log ring              LOG_SLOTS × LOG_WORDS
//! ```
//!
//! Who writes what: the header by the boot CPU before any panic, its owner words by the owner; a CPU
//! slot by its own CPU, except the words named `OWNER_…`; entries by the owner; log slots by anyone.
//! A part is valid when its commit word, stored last with release ordering, carries the CRC-32C of
//! its body. A part without one was never finished, and says nothing.

/// `MAYDAYR1`, as bytes.
pub const MAGIC: [u8; 8] = *b"MAYDAYR1";
/// Layout version. 2: slots have 256 words, with the first signal of a deferred CPU and what a CPU held.
pub const VERSION: u64 = 2;
/// Reads as this value in the writer's byte order.
pub const ENDIAN_MARK: u64 = 0x0102_0304_0506_0708;

/// A size, and the one that a model checker gets, which looks at every word in every interleaving: the same
/// code over fewer words.
const fn size(real: usize, model: usize) -> usize {
    if cfg!(loom) { model } else { real }
}

/// Words in the header.
pub const HEADER_WORDS: usize = 32;
/// Words of one CPU's slot.
pub const SLOT_WORDS: usize = size(256, 40);
/// CPU slots.
pub const MAX_SLOTS: usize = size(16, 3);
/// Words of one entry.
pub const ENTRY_WORDS: usize = size(16, 6);
/// Entries.
pub const ENTRIES: usize = size(224, 2);
/// Words of one log slot.
pub const LOG_WORDS: usize = size(16, 5);
/// Log slots, a power of two.
pub const LOG_SLOTS: usize = size(256, 1);

/// First word of the CPU slots.
pub const SLOTS_AT: usize = HEADER_WORDS;
/// First word of the entries.
pub const ENTRIES_AT: usize = SLOTS_AT + MAX_SLOTS * SLOT_WORDS;
/// First word of the log ring.
pub const LOG_AT: usize = ENTRIES_AT + ENTRIES * ENTRY_WORDS;
/// Words of the whole record.
pub const RECORD_WORDS: usize = LOG_AT + LOG_SLOTS * LOG_WORDS;
/// Bytes of the whole record.
pub const RECORD_BYTES: usize = RECORD_WORDS * 8;

/// Words of the header.
pub mod header {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// [`super::VERSION`].
    pub const VERSION: usize = 1;
    /// [`super::ENDIAN_MARK`].
    pub const ENDIAN: usize = 2;
    /// Bytes of the whole record.
    pub const BYTES: usize = 3;
    /// CPU slots in this record.
    pub const SLOTS: usize = 4;
    /// Entries in this record.
    pub const ENTRIES: usize = 5;
    /// Log slots in this record.
    pub const LOG_SLOTS: usize = 6;
    /// A number given at boot that tells this run from every other; 0 if none was given.
    pub const NONCE: usize = 7;
    /// First eight bytes of the kernel's build-id, big-endian.
    pub const BUILD_ID: usize = 8;
    /// Machine name, 16 bytes of text.
    pub const MACHINE: usize = 9;
    /// CPUs that the kernel knows of.
    pub const CPUS: usize = 11;
    /// Physical address of the kernel image.
    pub const IMAGE_BASE: usize = 12;
    /// Physical address of this record.
    pub const RECORD_BASE: usize = 13;
    /// CRC-32C of the words before this one. Written last: a header without it was never set up.
    pub const COMMIT: usize = 14;
    /// Owner + 1 in the low half, epoch in the high half; 0 while nobody has claimed.
    pub const OWNER: usize = 16;
    /// Clock at the claim, ns.
    pub const CLAIMED_AT: usize = 17;
    /// Clock at the end of the stop step, ns; 0 before.
    pub const STOPPED_AT: usize = 18;
    /// `panic.scale`: every deadline was multiplied by this.
    pub const SCALE: usize = 19;
    /// Entries reserved so far.
    pub const NEXT_ENTRY: usize = 20;
    /// Log slots reserved so far, never reset.
    pub const NEXT_LOG: usize = 21;
    /// NMIs that came to a CPU which already played its part in the panic, and were returned from: those
    /// from outside, and the ladder's own that came late.
    pub const SURPLUS_NMIS: usize = 22;
}

/// Words of a CPU slot.
pub mod slot {
    /// [`crate::names::CpuState`], written by this CPU.
    pub const STATE: usize = 0;
    /// [`crate::names::CpuState`], written by the owner at the end of the stop step.
    pub const OWNER_STATE: usize = 1;
    /// Counts up while this CPU does its work.
    pub const HEARTBEAT: usize = 2;
    /// The heartbeat as the owner read it at the end of the stop step.
    pub const OWNER_HEARTBEAT: usize = 3;
    /// Clock when the owner first signalled this CPU, ns; 0 if it never did.
    pub const OWNER_SIGNALLED_AT: usize = 4;
    /// Signals that the owner sent: IPIs in the low half, NMIs in the high half.
    pub const OWNER_SIGNALS: usize = 5;
    /// [`crate::names::Role`], written by this CPU once it is parked.
    pub const ROLE: usize = 6;
    /// CRC-32C of the words [`BODY`]`..`[`BODY_END`], with [`COMMITTED`] set above it. Written last.
    pub const COMMIT: usize = 7;
    /// First word of the body.
    pub const BODY: usize = 8;
    /// [`crate::names::Rung`] that this CPU acknowledged.
    pub const RUNG: usize = 8;
    /// Clock when this CPU saved its registers, ns.
    pub const SAVED_AT: usize = 9;
    /// Program counter.
    pub const PC: usize = 10;
    /// Stack pointer.
    pub const SP: usize = 11;
    /// Witness register.
    pub const WITNESS: usize = 12;
    /// Not 0: these registers are not those of the work that was stopped, and the next two words are
    /// valid. [`IN_HANDLER`]: they are inside the handler of an interrupt or an NMI. [`LOST`]: the signal came before the
    /// machine's own trap entry had saved what it interrupted; that is lost, and the next two words are
    /// the nearest place that is known.
    pub const INTERRUPTED: usize = 13;
    /// Value of [`INTERRUPTED`].
    pub const IN_HANDLER: u64 = 1;
    /// Value of [`INTERRUPTED`].
    pub const LOST: u64 = 2;
    /// Program counter which that handler interrupted.
    pub const INTERRUPTED_PC: usize = 14;
    /// Witness register which that handler interrupted.
    pub const INTERRUPTED_WITNESS: usize = 15;
    /// Register words that follow.
    pub const REGISTER_COUNT: usize = 16;
    /// Return addresses that follow.
    pub const BACKTRACE_COUNT: usize = 17;
    /// Register words, in the order of the machine's `elf_gregset_t`.
    pub const REGISTERS: usize = 18;
    /// Room for register words.
    pub const REGISTERS_MAX: usize = super::size(48, 1);
    /// Return addresses, newest first.
    pub const BACKTRACE: usize = REGISTERS + REGISTERS_MAX;
    /// Room for return addresses.
    pub const BACKTRACE_MAX: usize = super::size(32, 1);
    /// End of the body.
    pub const BODY_END: usize = BACKTRACE + BACKTRACE_MAX;
    /// First word of what there is about a deferred stop.
    const STOP: usize = super::size(128, 24);
    /// Clock when this CPU acknowledged a stop as deferred, ns; 0 if it never did. Written by this CPU.
    pub const DEFERRED_AT: usize = STOP;
    /// Locks that it held at its first signal: those whose holder can be told, which are the `CrashLock`s.
    pub const HELD_FIRST: usize = STOP + 1;
    /// Locks that it held when it parked.
    pub const HELD_LAST: usize = STOP + 2;
    /// [`crate::names::Orphan`]: why it parked with locks held.
    pub const ORPHAN: usize = STOP + 3;
    /// Address of the lock that it waited for when it gave up, 0 if it did not.
    pub const BLOCKED_LOCK: usize = STOP + 4;
    /// Who held that, + 1.
    pub const BLOCKED_BY: usize = STOP + 5;
    /// Clock when the owner sent the second signal, which ends a deferral, ns; 0 if it never did.
    pub const OWNER_CUT_AT: usize = STOP + 6;
    /// CRC-32C of the words [`FIRST_BODY`]`..`[`FIRST_END`], with [`COMMITTED`] set above it: what a deferred CPU
    /// did when its first signal came. Written last, once.
    pub const FIRST_COMMIT: usize = STOP + 7;
    /// First word of that.
    pub const FIRST_BODY: usize = STOP + 8;
    /// Program counter.
    pub const FIRST_PC: usize = STOP + 8;
    /// Stack pointer.
    pub const FIRST_SP: usize = STOP + 9;
    /// Witness register.
    pub const FIRST_WITNESS: usize = STOP + 10;
    /// Register words that follow.
    pub const FIRST_REGISTER_COUNT: usize = STOP + 11;
    /// Return addresses that follow.
    pub const FIRST_BACKTRACE_COUNT: usize = STOP + 12;
    /// Register words, as [`REGISTERS`].
    pub const FIRST_REGISTERS: usize = STOP + 13;
    /// Return addresses, as [`BACKTRACE`].
    pub const FIRST_BACKTRACE: usize = FIRST_REGISTERS + REGISTERS_MAX;
    /// End of the first signal's words.
    pub const FIRST_END: usize = FIRST_BACKTRACE + BACKTRACE_MAX;
    /// Set in a commit word, so that no body has a commit word of 0.
    pub const COMMITTED: u64 = 1 << 32;
}

/// Words of an entry.
pub mod entry {
    /// CRC-32C of the words after it, with [`super::slot::COMMITTED`] set above it. Written last.
    pub const COMMIT: usize = 0;
    /// Kind, step, outcome and CPU, 16 bits each from the top.
    pub const HEAD: usize = 1;
    /// Clock when it began, ns.
    pub const BEGAN_AT: usize = 2;
    /// Clock when it ended, ns.
    pub const ENDED_AT: usize = 3;
    /// Depends on the kind.
    pub const ARGUMENT: usize = 4;
    /// Text, NUL-padded.
    pub const TEXT: usize = 5;
    /// Bytes of text.
    pub const TEXT_BYTES: usize = (super::ENTRY_WORDS - TEXT) * 8;
}

/// Words of a log slot.
pub mod log {
    /// CRC-32C of the words after it, with [`super::slot::COMMITTED`] set above it. Written last;
    /// 0 while the slot is being written.
    pub const COMMIT: usize = 0;
    /// Sequence number of the line, from 0, never reset.
    pub const SEQUENCE: usize = 1;
    /// Clock, ns.
    pub const AT: usize = 2;
    /// CPU.
    pub const CPU: usize = 3;
    /// Text, NUL-padded.
    pub const TEXT: usize = 4;
    /// Bytes of text.
    pub const TEXT_BYTES: usize = (super::LOG_WORDS - TEXT) * 8;
}

const _: () = assert!(slot::BODY_END <= slot::DEFERRED_AT && slot::FIRST_END <= SLOT_WORDS);
const _: () = assert!(LOG_SLOTS.is_power_of_two());
