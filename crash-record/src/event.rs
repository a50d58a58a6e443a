//! Event lines: what happens on the panic path, one line each, on a console that also carries text
//! for people.
//!
//! ```text
//! @mayday panic 3 2 1834211 end step=stop outcome=done ns=41200 #1f3a99c0
//!         |     | | |       |   |                               CRC-32C of all before " #"
//!         |     | | |       |   fields, key=value, %XX for bytes outside ! to ~ and for % and =
//!         |     | | |       kind
//!         |     | | clock of the CPU, ns
//!         |     | CPU
//!         |     sequence number in its stream, from 0 without a gap
//!         stream: boot, panic or capture
//! ```
//!
//! Each stream has one writer at a time (the boot CPU, the owner, the capture kernel), so a gap in a
//! sequence means that a line was lost, and a line whose checksum is wrong means that it was torn.

use core::fmt::{self, Write};

use crate::crc::crc32c;

/// Bytes of the longest line, without its newline. Longer ones are cut at a field's end.
pub const MAX_LINE: usize = 400;

/// What every event line starts with.
pub const PREFIX: &str = "@mayday ";

/// Who speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// The boot CPU of the first kernel.
    Boot,
    /// The owner of the panic.
    Panic,
    /// The kernel that was entered by kexec.
    Capture,
}

impl Stream {
    /// Its name in a line.
    pub const fn name(self) -> &'static str {
        match self {
            Stream::Boot => "boot",
            Stream::Panic => "panic",
            Stream::Capture => "capture",
        }
    }

    fn from_name(name: &str) -> Option<Stream> {
        [Stream::Boot, Stream::Panic, Stream::Capture].into_iter().find(|stream| stream.name() == name)
    }
}

/// Builds one line in a fixed buffer. Cannot fail: what does not fit is left out as a whole field.
pub struct LineWriter {
    buffer: [u8; MAX_LINE],
    length: usize,
}

/// Room that is kept for ` #` and the checksum.
const TAIL: usize = 10;

impl LineWriter {
    /// Starts a line.
    pub fn new(stream: Stream, sequence: u64, cpu: usize, at_ns: u64, kind: &str) -> Self {
        let mut line = LineWriter { buffer: [0; MAX_LINE], length: 0 };
        let _ = write!(Cut(&mut line), "{PREFIX}{} {sequence} {cpu} {at_ns} {kind}", stream.name());
        line
    }

    /// Adds a field. A field that does not fit is left out as a whole.
    pub fn field(mut self, key: &str, value: impl fmt::Display) -> Self {
        let before = self.length;
        let fits = write!(Cut(&mut self), " {key}=").is_ok() && write!(Escape(&mut self), "{value}").is_ok();
        if !fits {
            self.length = before;
        }
        self
    }

    /// Ends the line and hands over its bytes, newline included.
    pub fn finish(mut self, take: impl FnOnce(&[u8])) {
        let crc = crc32c(self.buffer.get(..self.length).unwrap_or(&[]));
        let mut tail = [0; TAIL + 1];
        let digits = b"0123456789abcdef";
        let [space, hash, hex @ .., newline] = &mut tail;
        (*space, *hash, *newline) = (b' ', b'#', b'\n');
        for (place, digit) in hex.iter_mut().enumerate() {
            let nibble = (crc >> (28 - 4 * place as u32)) & 15;
            *digit = digits.get(nibble as usize).copied().unwrap_or(b'0');
        }
        for (to, from) in self.buffer.iter_mut().skip(self.length).zip(tail) {
            *to = from;
        }
        take(self.buffer.get(..self.length.saturating_add(tail.len())).unwrap_or(&[]));
    }

    fn push(&mut self, byte: u8) -> fmt::Result {
        if self.length >= MAX_LINE - TAIL - 1 {
            return Err(fmt::Error);
        }
        let place = self.buffer.get_mut(self.length).ok_or(fmt::Error)?;
        *place = byte;
        self.length = self.length.saturating_add(1);
        Ok(())
    }
}

struct Cut<'a>(&'a mut LineWriter);
impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().try_for_each(|byte| self.0.push(byte))
    }
}

struct Escape<'a>(&'a mut LineWriter);
impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if matches!(byte, b'!'..=b'~') && byte != b'%' && byte != b'=' {
                self.0.push(byte)?;
            } else {
                write!(Cut(self.0), "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

/// Why a line that starts like an event is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventError {
    /// No ` #` and eight hexadecimal digits at its end.
    NoChecksum,
    /// The checksum is another one.
    Checksum,
    /// A part is missing or malformed; which.
    Malformed(&'static str),
}

impl fmt::Display for EventError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventError::NoChecksum => f.write_str("event line without a checksum"),
            EventError::Checksum => f.write_str("event line with a wrong checksum"),
            EventError::Malformed(part) => write!(f, "event line with a malformed {part}"),
        }
    }
}

/// A parsed line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Event<'a> {
    /// Who speaks.
    pub stream: Stream,
    /// Place in the stream.
    pub sequence: u64,
    /// CPU.
    pub cpu: usize,
    /// Clock of that CPU, ns.
    pub at_ns: u64,
    /// What it is about.
    pub kind: &'a str,
    fields: &'a str,
}

impl<'a> Event<'a> {
    /// Parses a line (without its newline). `None` if it does not contain an event at all: text for
    /// people. The event may follow a torn piece of text on the same line.
    pub fn parse(line: &'a str) -> Option<Result<Event<'a>, EventError>> {
        let start = line.find(PREFIX)?;
        Some(Self::parse_event(line.get(start..)?.trim_end()))
    }

    fn parse_event(line: &'a str) -> Result<Event<'a>, EventError> {
        let (body, checksum) = line.rsplit_once(" #").ok_or(EventError::NoChecksum)?;
        if checksum.len() != 8 {
            return Err(EventError::NoChecksum);
        }
        let checksum = u32::from_str_radix(checksum, 16).map_err(|_| EventError::NoChecksum)?;
        if crc32c(body.as_bytes()) != checksum {
            return Err(EventError::Checksum);
        }
        let rest = body.strip_prefix(PREFIX).ok_or(EventError::Malformed("prefix"))?;
        let mut parts = rest.splitn(6, ' ');
        let mut next = |what| parts.next().filter(|part| !part.is_empty()).ok_or(EventError::Malformed(what));
        let number = |text: &str, what| text.parse::<u64>().map_err(|_| EventError::Malformed(what));
        let stream = Stream::from_name(next("stream")?).ok_or(EventError::Malformed("stream"))?;
        let sequence = number(next("sequence number")?, "sequence number")?;
        let cpu = number(next("CPU")?, "CPU")? as usize;
        let at_ns = number(next("time")?, "time")?;
        let kind = next("kind")?;
        Ok(Event { stream, sequence, cpu, at_ns, kind, fields: parts.next().unwrap_or("") })
    }

    /// The fields, values still escaped.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.fields.split(' ').filter_map(|field| field.split_once('='))
    }

    /// A field's value, still escaped (which matters only where a value can hold spaces).
    pub fn field(&self, key: &str) -> Option<&'a str> {
        self.fields().find(|(name, _)| *name == key).map(|(_, value)| value)
    }
}

/// The bytes of an escaped value. A `%` without two hexadecimal digits stands for itself.
pub fn unescape(value: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = value.as_bytes();
    let mut at = 0;
    core::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let hex = |offset: usize| bytes.get(at + offset).and_then(|digit| (*digit as char).to_digit(16));
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                at += 3;
                Some((high * 16 + low) as u8)
            }
            _ => {
                at += 1;
                Some(byte)
            }
        }
    })
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;

    fn line() -> String {
        let mut out = String::new();
        LineWriter::new(Stream::Panic, 3, 2, 1_834_211, "end")
            .field("step", "stop")
            .field("detail", "two of 3% = \"late\"")
            .finish(|bytes| out.push_str(core::str::from_utf8(bytes).unwrap()));
        out
    }

    #[test]
    fn a_line_reads_back() {
        let line = line();
        let event = Event::parse(line.trim_end()).unwrap().unwrap();
        assert_eq!((event.stream, event.sequence, event.cpu, event.at_ns), (Stream::Panic, 3, 2, 1_834_211));
        assert_eq!(event.kind, "end");
        assert_eq!(event.field("step"), Some("stop"));
        let detail: std::vec::Vec<u8> = unescape(event.field("detail").unwrap()).collect();
        assert_eq!(detail, b"two of 3% = \"late\"");
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let line = line();
        let line = line.trim_end();
        for at in 0..line.len() {
            let mut bytes = line.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(!matches!(Event::parse(&changed), Some(Ok(_))), "byte {at}: {changed}");
        }
    }

    #[test]
    fn a_torn_start_does_not_hide_an_event() {
        let torn = std::format!("hello from cpu 1, I am abou{}", line());
        assert!(matches!(Event::parse(&torn), Some(Ok(event)) if event.kind == "end"));
        assert_eq!(Event::parse("plain text"), None);
        assert_eq!(Event::parse("@mayday panic 3"), Some(Err(EventError::NoChecksum)));
    }

    #[test]
    fn a_field_too_long_is_left_out_whole() {
        let mut out = String::new();
        LineWriter::new(Stream::Boot, 0, 0, 0, "x")
            .field("long", "y".repeat(MAX_LINE))
            .field("short", 1)
            .finish(|bytes| out.push_str(core::str::from_utf8(bytes).unwrap()));
        let event = Event::parse(out.trim_end()).unwrap().unwrap();
        assert_eq!((event.field("long"), event.field("short")), (None, Some("1")));
    }
}
