//! The kernel's statics: the record, the panic path, what the command line said.

use core::sync::atomic::{AtomicU64, Ordering};

use core_panic::{Panic, Registry};
use crash_lock::Sequence;
use crash_record::write::RecordArea;
use hal::{CpuId, MAX_CPUS, Platform};
use spin::Once;

use crate::bench::{BENCH, Bench};
use crate::notify;
use crate::options::Options;
use crate::port::{self, PORT};

/// The crash record. Tools outside find it by this name.
#[unsafe(no_mangle)]
pub static MAYDAY_RECORD: RecordArea = RecordArea::new();

/// Who is told about a panic.
pub static NOTIFIERS: Registry = Registry::with_before_dump(&notify::BEFORE_DUMP);

/// The panic path.
pub static PANIC: Panic<'static, Bench> =
    Panic::new(&BENCH, &MAYDAY_RECORD, crate::port::lock::domain(), &NOTIFIERS);

/// What locks do when a panic is under way.
pub const SEQUENCE: Sequence = Sequence {
    park: |why| PANIC.park_for_lock(why, &PORT.capture()),
    abandon: |holder| PANIC.abandon_for_lock(holder, &PORT.capture()),
    ruled: |ruling| PANIC.ruled(ruling),
};

/// The command line. Unset only before `mayday_main` has read it.
pub static OPTIONS: Once<Options> = Once::new();

/// What the command line said, or the defaults.
pub fn options() -> Options {
    OPTIONS.get().copied().unwrap_or_default()
}

/// Bottom and top of every panic stack, two stacks for each CPU in turn; 0 where there is none. Tools outside
/// find it by this name.
#[unsafe(no_mangle)]
pub static MAYDAY_PANIC_STACKS: [AtomicU64; 4 * MAX_CPUS] = [const { AtomicU64::new(0) }; 4 * MAX_CPUS];

/// What an unused word of a panic stack holds: `unused  ` as bytes.
const UNUSED: u64 = u64::from_ne_bytes(*b"unused  ");

/// Makes the panic stacks of these CPUs ready to be measured. Before any of them may panic.
pub fn paint_panic_stacks(cpus: usize) {
    for (cpu, words) in CpuId::all().take(cpus).zip(MAYDAY_PANIC_STACKS.chunks(4)) {
        let places = port::stack::paint_panic_stacks(cpu, UNUSED);
        for ((bottom, top), words) in places.iter().zip(words.chunks(2)) {
            for (word, value) in words.iter().zip([*bottom, *top]) {
                word.store(value, Ordering::Release);
            }
        }
    }
}
