//! What the simulator says of scenarios: lines of data, a keyword each. What does not fit is an error and not left out.

use anyhow::Result;
use crash_record::layout::{RECORD_BYTES, RECORD_WORDS};

use crate::error::unexpected;
use crate::events::EventLog;

/// What it says of one scenario.
#[derive(Debug)]
pub enum Answer {
    /// It cannot stage it: the word, and why.
    Unstaged(String),
    /// What was to be seen.
    Ran(Vec<Seen>),
}

/// Something that was to be seen, by one of the schedules that showed it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Schedules that showed it.
    pub times: u64,
    /// One of them.
    pub schedule: String,
    /// How the machine ended: the word of scenario files.
    pub end: String,
    /// Promises that were not kept, and how.
    pub broken: Vec<String>,
    /// The event lines.
    pub log: EventLog,
    /// The crash record.
    pub record: Vec<u8>,
    /// What happened, if it was asked for.
    pub timeline: Vec<String>,
}

/// Reads answers off lines as they come.
pub struct Reader<L> {
    lines: L,
    /// Schedules that each scenario has to have.
    schedules: u64,
    number: usize,
    /// There are no more lines, and one was wanted.
    pub ended: bool,
}

impl<L: Iterator<Item = std::io::Result<String>>> Reader<L> {
    /// Of these lines.
    pub fn new(lines: L, schedules: u64) -> Self {
        Reader { lines, schedules, number: 0, ended: false }
    }

    fn line(&mut self) -> Result<String> {
        let number = self.number;
        let line = self.lines.next().transpose().ok().flatten();
        self.ended = line.is_none();
        line.ok_or_else(|| unexpected(format!("the simulator ended in the middle of scenario {number}")))
    }

    /// The answer to the next scenario.
    pub fn next(&mut self) -> Result<Answer> {
        let strange = |line: &str| {
            unexpected(format!("the simulator says what this program does not know: {}", shown(line)))
        };
        let first = self.line()?;
        if first != format!("scenario {}", self.number) {
            return Err(strange(&first));
        }
        let mut all: Vec<Seen> = Vec::new();
        let (mut unstaged, mut schedules) = (None, None);
        loop {
            let line = self.line()?;
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let seen = all.last_mut();
            match (word, seen) {
                ("over", _) => break,
                ("unstaged", None) => unstaged = Some(rest.to_owned()),
                ("schedules", _) => schedules = rest.parse().ok(),
                ("seen", _) => {
                    let times = rest.parse().map_err(|_| strange(&line))?;
                    all.push(Seen { times, ..Seen::default() });
                }
                ("schedule", Some(seen)) => seen.schedule = rest.to_owned(),
                ("end", Some(seen)) => seen.end = rest.to_owned(),
                ("broken", Some(seen)) => seen.broken.push(rest.to_owned()),
                ("timeline", Some(seen)) => seen.timeline.push(rest.to_owned()),
                ("line", Some(seen)) => {
                    let number = seen.log.events.len() + 1;
                    seen.log.feed(number, rest);
                }
                ("record", Some(seen)) => seen.record = record(rest).ok_or_else(|| strange(&line))?,
                _ => return Err(strange(&line)),
            }
        }
        self.number += 1;
        let whole = |seen: &Seen| !seen.end.is_empty() && !seen.record.is_empty();
        let ran: u64 = all.iter().map(|seen| seen.times).sum();
        match unstaged {
            Some(why) if all.is_empty() => Ok(Answer::Unstaged(why)),
            // Every schedule is in one of them, or nothing is known.
            None if ran == self.schedules && schedules == Some(ran) && all.iter().all(whole) => {
                Ok(Answer::Ran(all))
            }
            _ => Err(unexpected(format!("of {} schedules the simulator shows {ran}", self.schedules))),
        }
    }
}

/// As much of a line as a message has room for.
fn shown(line: &str) -> String {
    crate::report::printable(&line.chars().take(100).collect::<String>())
}

/// The record's bytes from the words that are not 0.
fn record(text: &str) -> Option<Vec<u8>> {
    let mut bytes = vec![0; RECORD_BYTES];
    for word in text.split_ascii_whitespace() {
        let (at, word) = word.split_once('=')?;
        let at = at.parse::<usize>().ok().filter(|at| *at < RECORD_WORDS)?;
        let word = u64::from_str_radix(word, 16).ok()?;
        // The simulator runs on this host.
        bytes[at * 8..][..8].copy_from_slice(&word.to_ne_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, schedules: u64) -> Result<Answer> {
        Reader::new(text.lines().map(|line| Ok(line.to_owned())), schedules).next()
    }

    const SEEN: &str = "scenario 0\nseen 2\nschedule 3r1\nend halt\nrecord 1=ff\n";

    #[test]
    fn what_is_seen_is_read() {
        let Ok(Answer::Ran(seen)) = read(&format!("{SEEN}broken P1: so\nschedules 2\nover\n"), 2) else {
            panic!("an answer")
        };
        assert_eq!((seen[0].times, seen[0].schedule.as_str(), seen[0].end.as_str()), (2, "3r1", "halt"));
        assert_eq!((seen[0].broken[0].as_str(), seen[0].record[8..16].iter().sum::<u8>()), ("P1: so", 255));
        let unstaged = read("scenario 0\nunstaged `a=b`: why\nover\n", 2).unwrap();
        assert!(matches!(unstaged, Answer::Unstaged(why) if why == "`a=b`: why"));
    }

    #[test]
    fn what_is_not_whole_is_no_answer() {
        let cut = read(SEEN, 2).unwrap_err().to_string();
        assert_eq!(cut, "the simulator ended in the middle of scenario 0");
        // Schedules that nobody shows, or of which nobody says how many there were.
        assert!(read(&format!("{SEEN}schedules 3\nover\n"), 3).is_err());
        assert!(read(&format!("{SEEN}over\n"), 2).is_err());
        assert!(read("scenario 0\nschedules 0\nover\n", 2).is_err());
        // No end, no record.
        assert!(read("scenario 0\nseen 2\nschedule \nrecord 1=1\nschedules 2\nover\n", 2).is_err());
        assert!(read("scenario 0\nseen 2\nschedule \nend halt\nschedules 2\nover\n", 2).is_err());
        for odd in ["scenario 1\n", "scenario 0\nend halt\n", "scenario 0\nwhat 1\n"] {
            assert!(read(odd, 2).unwrap_err().to_string().contains("does not know"), "{odd}");
        }
        assert!(record("99999=1").is_none() && record("1=xyz").is_none());
    }
}
