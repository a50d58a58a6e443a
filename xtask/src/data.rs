//! Reading the TOML files under `machines/` and `scenarios/`: one message per mistake, with file
//! and line.

use std::path::Path;

use anyhow::Result;
use serde::de::DeserializeOwned;

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
    toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_of(text, span.start));
        let place = match line {
            Some(line) => format!("{}:{line}", shown.display()),
            None => shown.display().to_string(),
        };
        usage(format!("{place}: {}", error.message().trim().replace('\n', " ")))
    })
}

/// A mistake that is only visible to somebody who knows what a key means.
pub fn mistake(text: &str, shown: &Path, key: &str, message: &str) -> anyhow::Error {
    mistake_in(text, shown, key, None, message)
}

/// As [`mistake`], in one value of a key that several tables may have, or that goes over several lines.
pub fn mistake_in(text: &str, shown: &Path, key: &str, value: Option<&str>, message: &str) -> anyhow::Error {
    let has_value = |line: &str| value.is_none_or(|value| line.contains(&format!("\"{value}\"")));
    let has_key = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let line = text
        .lines()
        .position(|line| has_key(line) && has_value(line))
        .or_else(|| value.and_then(|_| text.lines().position(has_value)))
        .or_else(|| text.lines().position(has_key));
    match line {
        Some(line) => usage(format!("{}:{}: {key}: {message}", shown.display(), line + 1)),
        None => usage(format!("{}: {key}: {message}", shown.display())),
    }
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
