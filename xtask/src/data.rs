//! Reading the TOML files under `machines/` and `scenarios/`: one message per mistake, with file
//! and line.

use std::path::Path;

use anyhow::Result;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::{Classed, environment, usage};

/// The text of a file. `shown` is its path for messages.
pub fn text(path: &Path, shown: &Path) -> Result<String> {
    let bytes = std::fs::read(path).or_environment(|| format!("cannot read {}", shown.display()))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = error.as_bytes().iter().take(good).filter(|&&byte| byte == b'\n').count() + 1;
        usage(format!("{}:{line}: a byte that is not UTF-8", shown.display()))
    })
}

/// Parses the text of one file.
pub fn parse<T: DeserializeOwned>(text: &str, shown: &Path) -> Result<T> {
    if let Some((key, place)) = DeTable::parse(text).ok().and_then(|table| empty_in(table.get_ref())) {
        let line = line_of(text, place);
        return Err(usage(format!("{}:{line}: {key}: an empty string says nothing", shown.display())));
    }
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let place = match line {
            Some(line) => format!("{}:{line}", shown.display()),
            None => shown.display().to_string(),
        };
        usage(format!("{place}: {}", error.message().trim().replace('\n', " ")))
    })
}

/// The key of an empty string, and where it is. No key has a meaning for one: a reason that is not given, a name of
/// nothing.
fn empty_in(table: &DeTable) -> Option<(String, usize)> {
    table.iter().find_map(|(key, value)| empty_at(key.get_ref(), value))
}

fn empty_at(key: &str, value: &Spanned<DeValue>) -> Option<(String, usize)> {
    match value.get_ref() {
        DeValue::String(string) => string.trim().is_empty().then(|| (key.to_owned(), value.span().start)),
        DeValue::Array(array) => array.iter().find_map(|one| empty_at(key, one)),
        DeValue::Table(table) => empty_in(table),
        _ => None,
    }
}

/// A mistake that is only visible to somebody who knows what a key means.
pub fn mistake(text: &str, shown: &Path, key: &str, message: &str) -> anyhow::Error {
    mistake_in(text, shown, key, None, message)
}

/// As [`mistake`], in one value of a key that several tables may have, or that goes over several lines.
pub fn mistake_in(text: &str, shown: &Path, key: &str, value: Option<&str>, message: &str) -> anyhow::Error {
    let has_value = |line: &str| value.is_none_or(|value| line.contains(&format!("\"{value}\"")));
    let has_key = |line: &str| line.match_indices(key).any(|(at, _)| is_key(line, at, key));
    let line = text
        .lines()
        .position(|line| has_key(line) && has_value(line))
        .or_else(|| value.and_then(|_| text.lines().position(has_value)))
        .or_else(|| text.lines().position(has_key))
        .or_else(|| text.lines().position(|line| is_table(line.trim(), key, value)));
    match line {
        Some(line) => usage(format!("{}:{}: {key}: {message}", shown.display(), line + 1)),
        None => usage(format!("{}: {key}: {message}", shown.display())),
    }
}

/// Whether what stands there in a line is a key, on its own, in an inline table or behind the table's name: not the end
/// of a longer word, not a part of a string, and followed by its value.
fn is_key(line: &str, at: usize, key: &str) -> bool {
    let (before, after) = (&line[..at], &line[at + key.len()..]);
    let longer = before.ends_with(|letter: char| letter.is_alphanumeric() || "_-".contains(letter));
    let quoted = before.matches('"').count() % 2 == 1 || before.contains('#');
    !longer && !quoted && after.trim_start().starts_with('=')
}

/// Whether a line is the header of the table of this key and, if there is one, of this value below it.
fn is_table(line: &str, key: &str, value: Option<&str>) -> bool {
    let name = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
    let mut words = name.split('.').map(str::trim);
    words.next() == Some(key) && value.is_none_or(|value| words.next() == Some(value))
}

/// The first one that stands there twice.
pub fn twice<T: PartialEq>(all: &[T]) -> Option<&T> {
    all.iter().enumerate().find(|(place, one)| all[..*place].contains(one)).map(|(_, one)| one)
}

/// The names of the TOML files in a folder, without the suffix, sorted.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).or_environment(|| format!("cannot list {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.or_environment(|| format!("cannot list {}", folder.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let stem = path.file_stem().and_then(|stem| stem.to_str());
            names.push(
                stem.map(str::to_owned).ok_or_else(|| {
                    environment(format!("{}: a file name that is not UTF-8", path.display()))
                })?,
            );
        }
    }
    names.sort();
    Ok(names)
}

/// Says that a name does not exist, and which do. `what` is the start of the message, such as
/// `no machine`.
pub fn unknown(what: &str, name: &str, known: &[String]) -> anyhow::Error {
    let close = known.iter().filter(|candidate| alike(candidate, name)).min_by_key(|c| c.len());
    let hint = close.map(|close| format!("; did you mean `{close}`?")).unwrap_or_else(|| ".".into());
    let be = if known.len() == 1 { "is" } else { "are" };
    usage(format!("{what} `{name}`{hint} There {be}: {}", known.join(", ")))
}

/// One contains the other, or they share a first half.
fn alike(candidate: &str, name: &str) -> bool {
    let shared = candidate.bytes().zip(name.bytes()).take_while(|(a, b)| a == b).count();
    name.len() > 2
        && candidate.len() > 2
        && (candidate.contains(name) || name.contains(candidate) || shared * 2 > candidate.len())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}
