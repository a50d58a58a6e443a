//! The kernel's statics: the record, the panic path, what the command line said.

use core_panic::{Panic, Registry};
use crash_lock::Sequence;
use crash_record::write::RecordArea;
use hal::Platform;
use spin::Once;

use crate::bench::{BENCH, Bench};
use crate::notify;
use crate::options::Options;
use crate::port::PORT;

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
};

/// The command line. Unset only before `mayday_main` has read it.
pub static OPTIONS: Once<Options> = Once::new();

/// What the command line said, or the defaults.
pub fn options() -> Options {
    OPTIONS.get().copied().unwrap_or_default()
}
