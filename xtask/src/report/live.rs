//! The console as it comes: text of the guest as it is, event lines in words.

use std::time::Duration;

use crash_record::event::{PREFIX, Stream};

use super::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, nanoseconds, paint, printable};
use crate::events::Event;
use crate::qemu::Observer;
use crate::symbols::Symbols;

/// Prints a run while it happens.
#[derive(Default)]
pub struct Live {
    claimed_at: Option<u64>,
    symbols: Symbols,
}

impl Observer for Live {
    fn image(&mut self, symbols: &Symbols) {
        self.symbols = symbols.clone();
    }

    fn line(&mut self, _: Duration, line: &str, events: &[Event]) {
        let text = line.split(PREFIX).next().unwrap_or_default();
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        if !text.trim().is_empty() {
            let names = names_in(&self.symbols, &text);
            say!("{}{}", paint(DIM, format_args!("        | {text}")), paint(CYAN, names));
        }
        for event in events {
            if let Some(text) = self.describe(event) {
                say!("{text}");
            }
        }
    }

    fn note(&mut self, _: Duration, text: &str) {
        say!("{}", paint(DIM, format_args!(" runner   {text}")));
    }
}

impl Live {
    /// An event in words; `None` if it only repeats what others say.
    fn describe(&mut self, event: &Event) -> Option<String> {
        if event.is("panic/claim") {
            self.claimed_at = Some(event.at_ns);
        }
        let (style, words) = words(event)?;
        let who = format!("cpu {}", event.cpu);
        // On the panic path the time since the claim is what counts; before and after it, the clock
        // of the kernel that speaks.
        let at = match (event.stream, self.claimed_at) {
            (Stream::Panic, Some(claimed)) => {
                format!("+{}", nanoseconds(event.at_ns.saturating_sub(claimed)))
            }
            _ => format!("{:.3} s", event.at_ns as f64 / 1e9),
        };
        let stream = event.stream.name();
        Some(format!(
            "{} {at:>9}  {who:<6} {}",
            paint(stream_style(event.stream), format_args!("{stream:>8}")),
            paint(style, printable(&words))
        ))
    }
}

/// Functions at the addresses in a line of text, such as a backtrace, to be put behind it.
pub fn names_in(symbols: &Symbols, text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '*')
        .filter(|word| !word.is_empty())
        .collect();
    // `***  3 0x…` is a frame of a backtrace: its address is a return address.
    let frame = |at: usize| {
        let number = at.checked_sub(1).and_then(|before| words[before].parse::<u32>().ok());
        number.is_some() && at.checked_sub(2).is_some_and(|before| words[before] == "***")
    };
    // A stack pointer is no place in the code.
    let of_code = |at: usize| at.checked_sub(1).is_none_or(|before| words[before] != "sp");
    let addresses = words.iter().enumerate().filter_map(|(at, word)| {
        let digits = word.strip_prefix("0x").filter(|digits| digits.len() >= 6 && of_code(at))?;
        let address = u64::from_str_radix(digits, 16).ok()?;
        if frame(at) { symbols.caller(address) } else { symbols.place(address) }
    });
    addresses.map(|name| format!("  {name}")).collect()
}

fn stream_style(stream: Stream) -> anstyle::Style {
    match stream {
        Stream::Boot => DIM,
        Stream::Panic => RED,
        Stream::Capture => CYAN,
    }
}

fn words(event: &Event) -> Option<(anstyle::Style, String)> {
    let plain = anstyle::Style::new();
    let get = |key: &str| event.text(key);
    let took = || event.number("ns").map(nanoseconds).unwrap_or_default();
    let detail = || match event.text("detail") {
        "" => String::new(),
        detail => format!(" ({detail})"),
    };
    Some(match (event.stream, event.kind.as_str()) {
        (Stream::Boot, "boot") => {
            let mib = event.number("memory").unwrap_or_default() >> 20;
            (plain, format!("{}: {} CPUs, {mib} MiB, build {}", get("machine"), get("cpus"), get("build")))
        }
        (Stream::Boot, "config") => (YELLOW, format!("command line: {}: {}", get("key"), get("problem"))),
        (Stream::Boot, "online") => (plain, format!("CPU {} is up", get("who"))),
        (Stream::Boot, "image") => (plain, format!("crash image {}: {}", get("state"), get("reason"))),
        (Stream::Boot, "record") => (plain, format!("crash record at {}", get("phys"))),
        (Stream::Boot, "ready") => (BOLD, "every CPU is at work; the panic is armed".to_owned()),
        (Stream::Panic, "claim") => (RED, format!("PANIC: {}", get("reason"))),
        (Stream::Panic, "begin") => return None,
        (Stream::Panic, "rung") => {
            (plain, format!("  {} to {} CPUs ({})", get("rung"), get("targets"), get("strength")))
        }
        (Stream::Panic, "stopped") => {
            let style = if get("state") == "missing" { RED } else { plain };
            let how = match get("rung") {
                "none" => String::new(),
                rung => format!(" by {rung} after {}", took()),
            };
            (style, format!("  CPU {} {}{how}", get("who"), get("state")))
        }
        (Stream::Panic, "held") => {
            let orphan = get("orphan");
            let style = if orphan == "none" { plain } else { YELLOW };
            let before = match get("deferred") {
                "1" => format!("finished what it was in the middle of in {}", took()),
                _ => "was stopped where it was".to_owned(),
            };
            let by = if get("by") == "none" { String::new() } else { format!(" CPU {}", get("by")) };
            let why = if orphan == "none" { String::new() } else { format!(": {orphan}{by}") };
            (
                style,
                format!(
                    "  CPU {} {before}; locks held: {} then, {} now{why}",
                    get("who"),
                    get("then"),
                    get("now")
                ),
            )
        }
        (Stream::Panic, kind @ ("lock" | "firmware")) => {
            let who = if get("who") == "none" { String::new() } else { format!(", CPU {}", get("who")) };
            let beside =
                if get("beside") == "none" { String::new() } else { format!(" in {}", get("beside")) };
            (YELLOW, format!("  {kind} {} {}: {}{who}{beside}", get("name"), get("outcome"), get("ruling")))
        }
        (Stream::Panic, "journal") => {
            let text = match event.field("refused") {
                Some(refused) => format!("  journal: {refused}"),
                None => format!("  journal: {} entries torn, {} lost", get("torn"), get("lost")),
            };
            (plain, text)
        }
        (Stream::Panic, "notifier") => {
            let style = outcome_style(get("outcome"));
            (
                style,
                format!(
                    "  {} notifier `{}` {} in {}{}",
                    get("class"),
                    get("name"),
                    get("outcome"),
                    took(),
                    detail()
                ),
            )
        }
        (Stream::Panic, "end") => {
            let style = outcome_style(get("outcome"));
            (style, format!("{} {} in {}{}", get("step"), get("outcome"), took(), detail()))
        }
        (Stream::Panic, "reentry") => {
            (YELLOW, format!("entered again in {} ({}), depth {}", get("step"), get("cause"), get("depth")))
        }
        (Stream::Panic, "note") => (YELLOW, format!("  note: {}", get("text"))),
        (Stream::Panic, "final") => (BOLD, format!("final action: {}", get("action"))),
        (_, "hold") => return None,
        (Stream::Capture, "capture") => {
            (BOLD, format!("capture kernel at {}, build {}", get("base"), get("build")))
        }
        (Stream::Capture, "found") => (
            plain,
            format!(
                "found the record: {} CPUs, {} entries, digest {}",
                get("cpus"),
                get("entries"),
                get("crc")
            ),
        ),
        (Stream::Capture, "pass") => {
            (GREEN, format!("vouches for {} CPUs, {} parked", get("cpus"), get("parked")))
        }
        (Stream::Capture, "fail") => (RED, format!("cannot vouch: {}: {}", get("check"), get("detail"))),
        // The capture kernel says these in words too.
        (Stream::Capture, "step" | "cpu" | "end") => return None,
        (_, kind) => {
            let fields: Vec<_> = event.fields.iter().map(|(key, value)| format!("{key}={value}")).collect();
            (plain, format!("{kind} {}", fields.join(" ")))
        }
    })
}

/// An event in words, and in which tone: `plain`, `faint`, `strong`, `good`, `warn`, `bad`. `None` if it only
/// repeats what others say.
pub fn toned(event: &Event) -> Option<(&'static str, String)> {
    let (style, words) = words(event)?;
    let tones = [(DIM, "faint"), (BOLD, "strong"), (GREEN, "good"), (YELLOW, "warn"), (RED, "bad")];
    Some((tones.iter().find(|(known, _)| *known == style).map_or("plain", |(_, tone)| tone), words))
}

/// The style of an outcome's name.
pub fn outcome_style(outcome: &str) -> anstyle::Style {
    match outcome {
        "failed" => YELLOW,
        "skipped" | "truncated" => DIM,
        _ => anstyle::Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::EventLog;
    use crate::events::tests::line;

    fn described(stream: Stream, kind: &str, fields: &[(&str, &str)]) -> Option<String> {
        let mut log = EventLog::default();
        let events = log.feed(1, &line(stream, 0, kind, fields)).to_vec();
        let styled = Live::default().describe(&events[0])?;
        Some(anstream::adapter::strip_str(&styled).to_string())
    }

    #[test]
    fn events_become_words() {
        let text = described(Stream::Panic, "claim", &[("reason", "rust-panic")]).unwrap();
        assert_eq!(text, "   panic     +0 ns  cpu 0  PANIC: rust-panic");
        let fields = [("step", "stop"), ("outcome", "done"), ("ns", "41200"), ("detail", "3 parked")];
        let text = described(Stream::Panic, "end", &fields).unwrap();
        assert!(text.ends_with("stop done in 41 us (3 parked)"), "{text}");
        assert_eq!(described(Stream::Panic, "begin", &[("step", "stop")]), None);
    }

    #[test]
    fn frames_are_named_by_their_calls() {
        let symbols = Symbols::made_up(&[("first", 0x10_0000), ("second", 0x10_0010)]);
        assert_eq!(names_in(&symbols, "*** pc 0x0000000000100010 sp 0x0000000000100010"), "  second+0x0");
        assert_eq!(names_in(&symbols, "***   0 0x0000000000100010"), "  first+0x10");
        assert_eq!(names_in(&symbols, "  log 10 us CPU 0: ***   7 0x0000000000100010"), "  first+0x10");
        assert_eq!(names_in(&symbols, "7 0x0000000000100010"), "  second+0x0");
    }

    #[test]
    fn an_unknown_kind_is_shown_as_it_is() {
        let text = described(Stream::Boot, "novel", &[("a", "1 2")]).unwrap();
        assert!(text.ends_with("novel a=1 2"), "{text}");
    }
}
