//! What is said: event lines and text on the emergency console, lines in the log, entries in the
//! crash record. All of it is bounded and none of it can fail; what does not fit is cut off.

use core::fmt::{self, Write};

use crash_record::event::{LineWriter, Stream};
use crash_record::layout::{entry, log};
use crash_record::names::{EntryKind, Outcome, Step};
use crash_record::write::EntryBody;
use hal::sync::Ordering;
use hal::{CpuId, Platform};

use crash_lock::Panicking;

use crate::notifier::Context;
use crate::order::StepSpec;
use crate::sequence::{Cause, Ended, Panic};

/// Text in a fixed buffer; what does not fit is cut off and remembered as such.
pub struct Text<const N: usize> {
    buffer: [u8; N],
    length: usize,
    /// True if something was cut off.
    pub cut: bool,
}

impl<const N: usize> Text<N> {
    /// Formats `arguments`.
    pub fn new(arguments: fmt::Arguments<'_>) -> Self {
        let mut text = Text { buffer: [0; N], length: 0, cut: false };
        let _ = text.write_fmt(arguments);
        text
    }

    /// Replaces what is not printable ASCII by `?`: an emergency console takes nothing else.
    pub fn printable(&mut self) {
        for byte in self.buffer.iter_mut().take(self.length) {
            if !matches!(byte, b' '..=b'~') {
                *byte = b'?';
            }
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or(&[])
    }
}

impl<const N: usize> Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.buffer.get_mut(self.length..).unwrap_or(&mut []);
        let fits = room.len().min(text.len());
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        self.length = self.length.saturating_add(fits);
        if fits < text.len() {
            self.cut = true;
            return Err(fmt::Error);
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A cut may have gone through a character.
        match core::str::from_utf8(self.bytes()) {
            Ok(text) => f.write_str(text),
            Err(error) => {
                let whole = self.buffer.get(..error.valid_up_to()).unwrap_or(&[]);
                f.write_str(core::str::from_utf8(whole).unwrap_or(""))
            }
        }
    }
}

/// Details that go with an outcome.
pub(crate) type Detail = Text<{ entry::TEXT_BYTES }>;

/// Lines of a message that are printed, at most.
const MESSAGE_LINES: usize = 8;
/// The most of a panic's message that is kept, in bytes.
const MESSAGE_BYTES: usize = 4 * entry::TEXT_BYTES;

impl<P: Platform> Panic<'_, P> {
    /// Writes an event line of the panic stream. Only the owner may.
    pub(crate) fn event(&self, me: CpuId, kind: &str, fields: &[(&str, &dyn fmt::Display)]) {
        let sequence = self.next_event();
        let line = LineWriter::new(Stream::Panic, sequence, me.index(), self.platform.now_ns(), kind);
        let line = fields.iter().fold(line, |line, (key, value)| line.field(key, value));
        line.finish(|bytes| self.print(bytes));
    }

    /// Writes to the emergency console. A console that takes less than it is given is not waited for a
    /// second time: everything is in the log and the record, and the jump is worth more than a line.
    pub(crate) fn print(&self, bytes: &[u8]) {
        if self.console_dead.load(Ordering::Acquire) != 0 {
            return;
        }
        if self.platform.write(bytes) < bytes.len() {
            self.console_dead.store(1, Ordering::Release);
        }
    }

    /// Whether half of a step's time is over, or nobody listens: then it stops talking and says that it
    /// did.
    fn hurry(&self, spec: &StepSpec, began_at: u64) -> bool {
        let half = self.config().deadline_ns(spec.budget_ms) / 2;
        self.console_dead.load(Ordering::Acquire) != 0
            || self.platform.now_ns().saturating_sub(began_at) >= half
    }

    /// Puts a line into the log and onto the console.
    pub(crate) fn line(&self, me: CpuId, arguments: fmt::Arguments<'_>) {
        let mut text = Text::<{ log::TEXT_BYTES }>::new(arguments);
        text.printable();
        self.record.log(me, self.platform.now_ns(), text.bytes());
        self.print(text.bytes());
        self.print(if text.cut { b"...\n" } else { b"\n" });
    }

    /// Appends an entry about the running step. When the record is full the line still goes to the
    /// console, which says so.
    #[allow(clippy::too_many_arguments)] // an entry has these parts
    pub(crate) fn entry(
        &self,
        me: CpuId,
        kind: EntryKind,
        step: Option<Step>,
        outcome: Option<Outcome>,
        began_at: u64,
        argument: u64,
        text: &[u8],
    ) {
        let ended_at = self.platform.now_ns();
        let body = EntryBody { kind, step, outcome, cpu: me, began_at, ended_at, argument, text };
        if !self.record.append(&body) {
            self.line(me, format_args!("crash record full, not recorded: {kind}"));
        }
    }

    /// Records and says something that was done in a weaker way than asked, or not at all (P5).
    pub(crate) fn note(&self, me: CpuId, step: Step, arguments: fmt::Arguments<'_>) {
        let text = Detail::new(arguments);
        self.entry(me, EntryKind::Note, Some(step), None, self.platform.now_ns(), 0, text.bytes());
        self.event(me, "note", &[("step", &step), ("text", &text)]);
    }

    /// The announce step: the message, formatted by code that is not ours (a `Display` of whoever
    /// panicked), so this runs under re-entry and the reason is already recorded.
    pub(crate) fn announce(&self, me: CpuId, spec: &StepSpec, cause: Option<&Cause<'_>>) -> Ended {
        let Some(cause) = cause else {
            return Ended::failed(format_args!("the message was lost in a re-entry"));
        };
        let began_at = self.platform.now_ns();
        self.line(me, format_args!("*** panic on CPU {me}: {}", cause.reason));
        let message: Text<MESSAGE_BYTES> = foreign(cause.message);
        for part in message.bytes().chunks(entry::TEXT_BYTES) {
            let now = self.platform.now_ns();
            self.entry(me, EntryKind::Text, Some(Step::Announce), None, now, 0, part);
        }
        let mut lines = 0_u32;
        let mut cut = message.cut;
        let mut parts = message.bytes().split(|&byte| byte == b'\n');
        for part in parts.by_ref().take(MESSAGE_LINES) {
            cut |= self.hurry(spec, began_at);
            if !self.hurry(spec, began_at) {
                self.line(me, format_args!("*** {}", core::str::from_utf8(part).unwrap_or("(not UTF-8)")));
                lines = lines.saturating_add(1);
            }
        }
        cut |= parts.any(|part| !part.is_empty());
        cut |= self.registers(me, spec, began_at);
        Ended::done(cut, format_args!("{lines} lines{}", if cut { ", cut" } else { "" }))
    }

    /// Prints where the owner was. True if something was left out.
    fn registers(&self, me: CpuId, spec: &StepSpec, began_at: u64) -> bool {
        use crash_record::layout::slot;
        let word = |at| self.record.slot(me, at);
        self.line(me, format_args!("*** pc {:#018x} sp {:#018x}", word(slot::PC), word(slot::SP)));
        let count = (word(slot::BACKTRACE_COUNT) as usize).min(slot::BACKTRACE_MAX);
        for number in 0..count {
            if self.hurry(spec, began_at) {
                return true;
            }
            self.line(
                me,
                format_args!("***  {number:2} {:#018x}", word(slot::BACKTRACE.saturating_add(number))),
            );
        }
        false
    }

    /// The flush step: prints what is in the log and never reached the console. Lines that others
    /// wrote after the claim are among them, since their output is muted from then on.
    pub(crate) fn flush(&self, me: CpuId, spec: &StepSpec) -> Ended {
        let began_at = self.platform.now_ns();
        let (from, claimed_at, end) = self.unprinted();
        let mut text = [0; log::TEXT_BYTES];
        let mut printed = 0_u64;
        for sequence in from..end {
            if self.hurry(spec, began_at) {
                return Ended::done(
                    true,
                    format_args!("{printed} lines, {} left in the log", end.saturating_sub(sequence)),
                );
            }
            let Some((length, cpu, at)) = self.record.log_line(sequence, &mut text) else { continue };
            if sequence >= claimed_at && cpu == me.index() as u64 {
                continue;
            }
            let line = Text::<160>::new(format_args!("[flush] {} us, CPU {cpu}: ", at / 1000));
            self.print(line.bytes());
            self.print(text.get(..length).unwrap_or(&[]));
            self.print(b"\n");
            printed = printed.saturating_add(1);
        }
        Ended::done(false, format_args!("{printed} lines that were not on the console"))
    }
}

/// Formats what is not ours: the one way from the panic path into code that may panic. Runs under re-entry.
#[inline(never)]
pub(crate) fn foreign<const N: usize>(message: &dyn fmt::Display) -> Text<N> {
    Text::new(format_args!("{message}"))
}

/// What a notifier is given.
pub(crate) struct Voice<'a, 'b, P: Platform> {
    panic: &'a Panic<'b, P>,
    me: CpuId,
    token: Option<Panicking<'a>>,
}

impl<'a, 'b, P: Platform> Voice<'a, 'b, P> {
    /// With a token for `step`, if the locks listen to this sequence.
    pub(crate) fn new(panic: &'a Panic<'b, P>, me: CpuId, step: &'a crash_lock::Step) -> Self {
        let mut token = None;
        panic.says(|authority| token = authority.token(step, me));
        Voice { panic, me, token }
    }
}

impl<P: Platform> Context for Voice<'_, '_, P> {
    fn line(&self, text: fmt::Arguments<'_>) {
        self.panic.line(self.me, text);
    }
    fn event(&self, kind: &str, fields: &[(&str, &dyn fmt::Display)]) {
        self.panic.event(self.me, kind, fields);
    }
    fn token(&self) -> Option<&Panicking<'_>> {
        self.token.as_ref()
    }
    fn now_ns(&self) -> u64 {
        self.panic.platform.now_ns()
    }
    fn read(&self) -> Option<u8> {
        self.panic.platform.read()
    }
    fn relax(&self) {
        self.panic.platform.relax();
    }
}
