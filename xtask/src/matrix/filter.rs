//! Which rows: a small language over their names and axes.
//!
//! ```text
//! EXPR := EXPR '|' EXPR | EXPR '&' EXPR | '!' EXPR | '(' EXPR ')' | AXIS '=' VALUE{,VALUE} | WORD
//! ```
//!
//! A word is a part of the name. `!` binds closest, then `&`, then `|`.

use std::collections::BTreeSet;

use anyhow::Result;
use clap::ValueEnum;

use crate::error::usage;
use crate::machine::Machine;
use crate::scenario::{Kexec, Scenario, Stop, value_name};
use crate::workspace::Workspace;

/// What can be asked for by its value.
pub const AXES: [&str; 7] = ["arch", "scenario", "kexec", "stop", "cpus", "accel", "firmware"];

/// What a filter looks at.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The name, whole unless `open`.
    pub name: String,
    /// Values of the axes; one that is not here is unknown if `open`, and else there is none.
    pub axes: Vec<(&'static str, String)>,
    /// The name goes on, nobody knows how: a row without a meaning stands for many.
    pub open: bool,
    /// Values that an axis which is unknown can have there.
    pub possible: Vec<(&'static str, Vec<String>)>,
}

/// A filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Filter {
    /// Either.
    Or(Box<Filter>, Box<Filter>),
    /// Both.
    And(Box<Filter>, Box<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// One of these values of an axis.
    Axis(&'static str, Vec<String>),
    /// This text is in the name.
    Word(String),
}

/// Whether something matches, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Match {
    No,
    Maybe,
    Yes,
}

impl Filter {
    /// Reads what stands after `--filter`.
    pub fn parse(text: &str) -> Result<Filter> {
        let mut parser = Parser { text, at: 0 };
        let parsed = parser.either().and_then(|filter| match parser.peek() {
            None => Ok(filter),
            Some(')') => Err(parser.wrong("there is no `(` for this `)`")),
            Some(_) => Err(parser.wrong("expected `&` or `|`")),
        });
        parsed.map_err(|Mistake { at, message }| {
            let column = text[..at].chars().count() + 1;
            usage(format!("--filter {text}: character {column}: {message}"))
        })
    }

    /// Reads it, and refuses values that no row has: one that is mistyped would select nothing, and nothing is green.
    pub fn read(workspace: &Workspace, text: &str) -> Result<Filter> {
        let filter = Filter::parse(text)?;
        let known = values(workspace)?;
        match filter.unknown(&known) {
            None => Ok(filter),
            Some((axis, value)) => {
                let known = known.iter().find(|(name, _)| *name == axis);
                let known = known.map(|(_, values)| values.join(", ")).unwrap_or_default();
                Err(usage(format!("--filter {text}: no row has {axis}={value}. There are: {known}")))
            }
        }
    }

    /// A value that is not among those of its axis.
    fn unknown<'f>(&'f self, known: &[(&str, Vec<String>)]) -> Option<(&'static str, &'f str)> {
        match self {
            Filter::Or(one, other) | Filter::And(one, other) => {
                one.unknown(known).or_else(|| other.unknown(known))
            }
            Filter::Not(filter) => filter.unknown(known),
            Filter::Word(_) => None,
            Filter::Axis(axis, values) => {
                let (_, there) = known.iter().find(|(name, _)| name == axis)?;
                values.iter().find(|value| !there.contains(value)).map(|value| (*axis, value.as_str()))
            }
        }
    }

    /// True unless it certainly does not match.
    pub fn matches(&self, subject: &Subject) -> bool {
        self.matched(subject) != Match::No
    }

    fn matched(&self, subject: &Subject) -> Match {
        match self {
            Filter::Or(one, other) => one.matched(subject).max(other.matched(subject)),
            Filter::And(one, other) => one.matched(subject).min(other.matched(subject)),
            Filter::Not(filter) => match filter.matched(subject) {
                Match::No => Match::Yes,
                Match::Maybe => Match::Maybe,
                Match::Yes => Match::No,
            },
            Filter::Axis(axis, values) => match subject.axes.iter().find(|(known, _)| known == axis) {
                Some((_, value)) if values.contains(value) => Match::Yes,
                None if subject.open => {
                    let possible = subject.possible.iter().find(|(known, _)| known == axis);
                    let none =
                        |(_, there): &(_, Vec<String>)| !values.iter().any(|value| there.contains(value));
                    if possible.is_some_and(none) { Match::No } else { Match::Maybe }
                }
                Some(_) | None => Match::No,
            },
            Filter::Word(word) if subject.name.contains(word.as_str()) => Match::Yes,
            Filter::Word(word) if subject.open && word.starts_with(&subject.name) => Match::Maybe,
            Filter::Word(_) => Match::No,
        }
    }
}

/// The values that rows can have on each axis.
fn values(workspace: &Workspace) -> Result<Vec<(&'static str, Vec<String>)>> {
    let machines = Machine::all(workspace)?;
    let scenarios = Scenario::all(workspace)?.into_iter().chain(Scenario::negative(workspace)?);
    let columns = machines.iter().flat_map(|machine| machine.suite.cpus.iter().copied().chain([1]));
    let columns: BTreeSet<u32> = columns.chain(machines.iter().map(|machine| machine.cpus.default)).collect();
    let choices = |of: fn(&Machine) -> Vec<String>| {
        machines.iter().flat_map(of).collect::<BTreeSet<_>>().into_iter().collect()
    };
    Ok(vec![
        ("arch", choices(|machine| vec![machine.name.clone()])),
        ("scenario", scenarios.map(|scenario| scenario.name).collect()),
        ("kexec", Kexec::value_variants().iter().copied().map(value_name).collect()),
        ("stop", Stop::value_variants().iter().copied().map(value_name).collect()),
        ("cpus", columns.iter().map(u32::to_string).collect()),
        ("accel", choices(|machine| machine.qemu.accel.iter().map(|accel| accel.name.clone()).collect())),
        (
            "firmware",
            choices(|machine| machine.qemu.firmware.iter().map(|firmware| firmware.name.clone()).collect()),
        ),
    ])
}

struct Mistake {
    at: usize,
    message: String,
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
}

impl Parser<'_> {
    fn wrong(&self, message: impl Into<String>) -> Mistake {
        Mistake { at: self.at, message: message.into() }
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
        self.text[self.at..].chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += if found { wanted.len_utf8() } else { 0 };
        found
    }

    fn either(&mut self) -> Result<Filter, Mistake> {
        let mut filter = self.both()?;
        while self.take('|') {
            filter = Filter::Or(Box::new(filter), Box::new(self.both()?));
        }
        Ok(filter)
    }

    fn both(&mut self) -> Result<Filter, Mistake> {
        let mut filter = self.one()?;
        while self.take('&') {
            filter = Filter::And(Box::new(filter), Box::new(self.one()?));
        }
        Ok(filter)
    }

    fn one(&mut self) -> Result<Filter, Mistake> {
        if self.take('!') {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take('(') {
            let open = self.at - 1;
            let filter = self.either()?;
            return match self.take(')') {
                true => Ok(filter),
                false => Err(Mistake { at: open, message: "there is no `)` for this `(`".into() }),
            };
        }
        self.peek();
        let start = self.at;
        let word = self.word("a word, `axis=value`, `!` or `(`")?;
        if !self.take('=') {
            return Ok(Filter::Word(word));
        }
        let axis = AXES.into_iter().find(|axis| *axis == word).ok_or_else(|| Mistake {
            at: start,
            message: format!("no axis `{word}`. There are: {}", AXES.join(", ")),
        })?;
        let values = self.word(&format!("a value of {axis}"))?;
        Ok(Filter::Axis(axis, values.split(',').map(str::to_owned).collect()))
    }

    fn word(&mut self, expected: &str) -> Result<String, Mistake> {
        self.peek();
        let rest = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || "&|!()=".contains(c);
        let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
        if word.is_empty() {
            let found = rest.chars().next().map_or("the end".to_owned(), |c| format!("`{c}`"));
            return Err(self.wrong(format!("expected {expected}, found {found}")));
        }
        self.at += word.len();
        Ok(word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::one_line;

    fn subject(open: bool) -> Subject {
        let mut axes = vec![("arch", "m".to_owned()), ("scenario", "late".to_owned())];
        let name = if open { "m/late" } else { "m/late/kexec-off/nmi/cpus-4" };
        if !open {
            axes.extend([("kexec", "off".to_owned()), ("cpus", "4".to_owned())]);
        }
        Subject { name: name.into(), axes, open, possible: vec![("accel", vec!["tcg".into()])] }
    }

    #[test]
    fn words_and_axes_are_joined() {
        for yes in [
            "late",
            "m/late",
            "cpus=4",
            "cpus = 1,4",
            "late & cpus=4",
            "odd|late",
            "!odd",
            "!(odd|cpus=1)",
            "odd & x | late",
            "scenario=late",
            "kexec-off&nmi",
        ] {
            assert!(Filter::parse(yes).unwrap().matches(&subject(false)), "{yes}");
        }
        for no in ["odd", "cpus=1", "late & !nmi", "scenario=lat", "odd & (x | late)", "firmware=x", "!late"]
        {
            assert!(!Filter::parse(no).unwrap().matches(&subject(false)), "{no}");
        }
    }

    #[test]
    fn what_is_not_known_may_match() {
        for yes in [
            "late",
            "m/late/kexec-off",
            "cpus=1",
            "!cpus=1",
            "kexec=pre",
            "!odd",
            "accel=kvm,tcg",
            "!accel=kvm",
        ] {
            assert!(Filter::parse(yes).unwrap().matches(&subject(true)), "{yes}");
        }
        for no in ["odd", "scenario=odd", "!late", "!arch=m", "/late/kexec-off", "accel=kvm"] {
            assert!(!Filter::parse(no).unwrap().matches(&subject(true)), "{no}");
        }
    }

    #[test]
    fn a_value_that_no_row_has_is_refused() {
        let workspace = Workspace::at(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let texts = ["kexec=post & stop=nmi | accel=icount,kvm", "cpus=1,2,8 & !firmware=slof", "word"];
        for good in texts {
            Filter::read(&workspace, good).unwrap();
        }
        let texts =
            ["cpus=3", "default & !kexec=posst", "(stop=nmi,nmy)", "accel=kmv", "arch=x86", "firmware=x"];
        let all = texts.iter().map(|text| one_line(&Filter::read(&workspace, text).unwrap_err()));
        insta::assert_snapshot!(all.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn mistakes_are_where_they_are() {
        let texts = ["", "a &", "a b", "(a | b", "a)", "cpu=4", "cpus=", "ä & =", "!", "a & & b", "()"];
        let all: Vec<_> = texts.iter().map(|text| one_line(&Filter::parse(text).unwrap_err())).collect();
        insta::assert_snapshot!(all.join("\n"));
    }
}
