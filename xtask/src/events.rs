//! The event lines of a run, taken off its console: parsed, in order, and with everything noted that
//! says that a line was lost or torn.

use crash_record::event::{Event as Line, PREFIX, Stream, unescape};
use serde::{Deserialize, Serialize};

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who speaks.
    #[serde(with = "as_data::stream")]
    pub stream: Stream,
    /// Place in the stream.
    pub sequence: u64,
    /// CPU.
    pub cpu: usize,
    /// Guest clock, ns.
    pub at_ns: u64,
    /// What it is about.
    pub kind: String,
    /// Its fields, unescaped, in order.
    #[serde(with = "as_data::fields", default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, String)>,
}

/// How parts of an event look as data.
mod as_data {
    pub mod stream {
        use crash_record::event::Stream;
        use serde::{Deserialize, Deserializer, Serializer, de::Error};

        pub fn serialize<S: Serializer>(stream: &Stream, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(stream.name())
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Stream, D::Error> {
            let name = String::deserialize(from)?;
            let known = [Stream::Boot, Stream::Panic, Stream::Capture];
            let found = known.into_iter().find(|stream| stream.name() == name);
            found.ok_or_else(|| D::Error::custom(format!("no stream `{name}`")))
        }
    }

    /// One object, its keys in their order.
    pub mod fields {
        use std::fmt;

        use serde::de::{MapAccess, Visitor};
        use serde::{Deserializer, Serializer};

        pub fn serialize<S: Serializer>(fields: &[(String, String)], to: S) -> Result<S::Ok, S::Error> {
            to.collect_map(fields.iter().map(|(key, value)| (key, value)))
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<(String, String)>, D::Error> {
            struct Fields;
            impl<'de> Visitor<'de> for Fields {
                type Value = Vec<(String, String)>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object of texts")
                }

                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                    let mut fields = Vec::new();
                    while let Some(field) = map.next_entry()? {
                        fields.push(field);
                    }
                    Ok(fields)
                }
            }
            from.deserialize_map(Fields)
        }
    }
}

impl Event {
    /// A field's value.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A field's value, or nothing at all: for reports, where an absent field is an empty one.
    pub fn text(&self, key: &str) -> &str {
        self.field(key).unwrap_or_default()
    }

    /// A field as a decimal number.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.field(key)?.parse().ok()
    }

    /// A field as a hexadecimal number, with or without `0x`.
    pub fn hex(&self, key: &str) -> Option<u64> {
        let text = self.field(key)?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    }

    /// True if this is what `kind` or `stream/kind` means.
    pub fn is(&self, pattern: &str) -> bool {
        match pattern.split_once('/') {
            Some((stream, kind)) => self.stream.name() == stream && self.kind == kind,
            None => self.kind == pattern,
        }
    }
}

impl From<&Line<'_>> for Event {
    fn from(line: &Line<'_>) -> Self {
        let fields = line.fields().map(|(key, value)| {
            let bytes: Vec<u8> = unescape(value).collect();
            (key.to_owned(), String::from_utf8_lossy(&bytes).into_owned())
        });
        Event {
            stream: line.stream,
            sequence: line.sequence,
            cpu: line.cpu,
            at_ns: line.at_ns,
            kind: line.kind.to_owned(),
            fields: fields.collect(),
        }
    }
}

/// All events of a run so far.
#[derive(Clone, Debug, Default)]
pub struct EventLog {
    /// In the order of the console.
    pub events: Vec<Event>,
    /// What is wrong with them.
    pub problems: Vec<String>,
    /// A torn boot line. The panic may cut into the last one; anywhere else it is a problem.
    torn_boot: Option<String>,
}

impl EventLog {
    /// Takes one line of the console. Returns the events on it, of which there is more than one only
    /// if a line was cut off and another CPU's followed.
    pub fn feed(&mut self, number: usize, line: &str) -> &[Event] {
        let before = self.events.len();
        let mut starts: Vec<usize> = line.match_indices(PREFIX).map(|(at, _)| at).collect();
        starts.push(line.len());
        for pair in starts.windows(2) {
            let chunk = &line[pair[0]..pair[1]];
            match Line::parse(chunk) {
                Some(Ok(event)) => self.take(number, Event::from(&event)),
                Some(Err(error)) => self.broken(number, chunk, &error.to_string()),
                None => {}
            }
        }
        &self.events[before..]
    }

    fn take(&mut self, number: usize, event: Event) {
        let stream = event.stream;
        let last = self.events.iter().rev().find(|earlier| earlier.stream == stream);
        let expected = last.map_or(0, |last| last.sequence + 1);
        if event.sequence != expected {
            self.problems.push(format!(
                "console line {number}: {} {} where {expected} was due: lines are missing",
                stream.name(),
                event.sequence
            ));
        }
        if stream != Stream::Boot && last.is_some_and(|last| last.at_ns > event.at_ns) {
            self.problems.push(format!("console line {number}: {} time runs backwards", stream.name()));
        }
        if stream == Stream::Boot {
            self.problems.extend(self.torn_boot.take());
        }
        self.events.push(event);
    }

    fn broken(&mut self, number: usize, chunk: &str, error: &str) {
        let shown: String = chunk.chars().take(60).collect();
        let problem = format!("console line {number}: {error}: {shown}");
        if chunk.starts_with("@mayday boot ") && self.torn_boot.is_none() {
            self.torn_boot = Some(problem);
        } else {
            self.problems.push(problem);
        }
    }

    /// Events of one stream.
    pub fn stream(&self, stream: Stream) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.stream == stream)
    }

    /// The first event of a stream and kind.
    pub fn first(&self, stream: Stream, kind: &str) -> Option<&Event> {
        self.stream(stream).find(|event| event.kind == kind)
    }

    /// All events of a stream and kind.
    pub fn all<'a>(&'a self, stream: Stream, kind: &'a str) -> impl Iterator<Item = &'a Event> {
        self.stream(stream).filter(move |event| event.kind == kind)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crash_record::event::LineWriter;

    /// An event line as the kernel would write it.
    pub fn line(stream: Stream, sequence: u64, kind: &str, fields: &[(&str, &str)]) -> String {
        let mut writer = LineWriter::new(stream, sequence, 0, 1000 + sequence, kind);
        for (key, value) in fields {
            writer = writer.field(key, value);
        }
        let mut out = String::new();
        writer.finish(|bytes| out = String::from_utf8_lossy(bytes).trim_end().to_owned());
        out
    }

    #[test]
    fn a_clean_console_has_no_problems() {
        let mut log = EventLog::default();
        log.feed(1, "free text");
        log.feed(2, &line(Stream::Boot, 0, "boot", &[("machine", "a b")]));
        log.feed(3, &line(Stream::Boot, 1, "ready", &[]));
        log.feed(4, &line(Stream::Panic, 0, "claim", &[]));
        assert_eq!(log.problems, Vec::<String>::new());
        assert_eq!(log.events.len(), 3);
        assert_eq!(log.events[0].field("machine"), Some("a b"));
        assert!(
            log.events[1].is("ready") && log.events[1].is("boot/ready") && !log.events[1].is("panic/ready")
        );
    }

    #[test]
    fn a_gap_is_a_problem() {
        let mut log = EventLog::default();
        log.feed(1, &line(Stream::Panic, 0, "claim", &[]));
        log.feed(2, &line(Stream::Panic, 2, "end", &[]));
        assert_eq!(log.problems.len(), 1);
        assert!(log.problems[0].contains("panic 2 where 1 was due"), "{:?}", log.problems);
    }

    #[test]
    fn a_repeated_line_is_a_problem() {
        let mut log = EventLog::default();
        log.feed(1, &line(Stream::Capture, 0, "capture", &[]));
        log.feed(2, &line(Stream::Capture, 0, "capture", &[]));
        assert_eq!(log.problems.len(), 1);
    }

    #[test]
    fn only_the_last_boot_line_may_be_torn() {
        let torn = "@mayday boot 1 0 10 rea";
        let mut log = EventLog::default();
        log.feed(1, &line(Stream::Boot, 0, "boot", &[]));
        let joined = format!("{torn}{}", line(Stream::Panic, 0, "claim", &[]));
        assert_eq!(log.feed(2, &joined).len(), 1);
        assert_eq!(log.problems, Vec::<String>::new());
        log.feed(3, &line(Stream::Boot, 1, "ready", &[]));
        assert_eq!(log.problems.len(), 1);
    }

    #[test]
    fn a_torn_panic_line_is_a_problem() {
        let mut log = EventLog::default();
        let whole = line(Stream::Panic, 0, "claim", &[("reason", "x")]);
        log.feed(1, &whole[..whole.len() - 3]);
        assert_eq!(log.problems.len(), 1);
    }
}
