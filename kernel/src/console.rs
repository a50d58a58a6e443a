//! Ordinary output: one line at a time under a lock, into the log first. The panic path does not come
//! here; once there is a panic, nothing here reaches the console any more. A CPU that a stop finds in the
//! middle of a line finishes it before it parks.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use core_panic::report::Text;
use crash_lock::{CrashLock, Guard, Skip};
use crash_record::event::{LineWriter, Stream};
use crash_record::layout::log;
use hal::clock::Clock;
use hal::console::EmergencyConsole;
use hal::cpu::Cpu;

use crate::port::{PORT, Port};
use crate::state::PANIC;

/// The right to write to the console.
struct Line;

static LINE: CrashLock<Line, Port, Skip> = CrashLock::new(Line);

/// Puts a line into the log and onto the console. What is longer than a log line is cut off.
pub fn line(arguments: fmt::Arguments<'_>) {
    let text = Text::<{ log::TEXT_BYTES }>::new(arguments);
    // From the claim on nobody prints, and whoever asks for the lock is stopped: these may be its last words.
    if PANIC.claimed() {
        PANIC.log(text.bytes());
        return;
    }
    let _guard = lock();
    let (sequence, print) = PANIC.log(text.bytes());
    if print {
        PORT.write(text.bytes());
        PORT.write(b"\n");
        PANIC.printed(sequence);
    }
}

/// For a kernel that dies with nobody to hand over to: whoever held the console's lock will not come
/// back to it.
pub fn break_lock() {
    BROKEN.store(true, Ordering::Release);
}

static BROKEN: AtomicBool = AtomicBool::new(false);

/// The console's lock; none once it was broken.
fn lock() -> Option<Guard<Line, Port>> {
    (!BROKEN.load(Ordering::Acquire)).then(|| LINE.lock())
}

/// An event stream with one writer: the boot CPU of the first kernel, or the capture kernel.
pub struct Events {
    stream: Stream,
    next: AtomicU64,
}

/// The boot CPU of the first kernel.
pub static BOOT: Events = Events { stream: Stream::Boot, next: AtomicU64::new(0) };
/// The capture kernel.
pub static CAPTURE: Events = Events { stream: Stream::Capture, next: AtomicU64::new(0) };

impl Events {
    /// Writes an event line.
    pub fn event(&self, kind: &str, fields: &[(&str, &dyn fmt::Display)]) {
        let _guard = lock();
        if PANIC.claimed() {
            return;
        }
        let sequence = self.next.fetch_add(1, Ordering::Relaxed);
        let line = LineWriter::new(self.stream, sequence, PORT.current().index(), PORT.now_ns(), kind);
        let line = fields.iter().fold(line, |line, (key, value)| line.field(key, value));
        line.finish(|bytes| {
            PORT.write(bytes);
        });
    }
}

/// Waits until the bench has had its look: until it types `g`, or for `ms` milliseconds.
pub fn hold(ms: u64, read: impl Fn() -> Option<u8>) {
    wait(ms, || read() == Some(b'g'));
}

/// Waits until the condition is true, for `ms` milliseconds at most. Returns whether it came true.
pub fn wait(ms: u64, mut condition: impl FnMut() -> bool) -> bool {
    let start = PORT.now_ns();
    // The cap is for a clock that stands still: an iteration takes longer than 4 ns.
    for _ in 0..ms * 1_000_000 / 4 {
        if PORT.now_ns().wrapping_sub(start) >= ms * 1_000_000 {
            return false;
        }
        if condition() {
            return true;
        }
        PORT.relax();
    }
    false
}
