//! `cases.jsonl`: written as cases come, read back, and put together with others.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Case;
use crate::error::{Classed, unexpected, usage};

/// The file's name in a report's folder.
pub const FILE: &str = "cases.jsonl";

/// Writes cases as they come. Each line is one write, so that a run that is cut off keeps what it had.
pub struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    /// Begins the report in this folder anew.
    pub fn create(folder: &Path) -> Result<Writer> {
        let path = folder.join(FILE);
        std::fs::create_dir_all(folder).or_environment(|| format!("cannot create {}", folder.display()))?;
        let file = File::create(&path).or_environment(|| format!("cannot write {}", path.display()))?;
        Ok(Writer { path, file })
    }

    /// Adds one.
    pub fn add(&mut self, case: &Case) -> Result<()> {
        let mut line = serde_json::to_vec(case)?;
        line.push(b'\n');
        self.file.write_all(&line).or_environment(|| format!("cannot write {}", self.path.display()))
    }
}

/// What a folder has.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    /// In the order of the file.
    pub cases: Vec<Case>,
    /// What is wrong with the file and was passed over.
    pub warnings: Vec<String>,
}

impl Cases {
    /// Reads a folder's file. A last line without its end was cut off: it is named and passed over. Anything else
    /// that is no case is an error.
    pub fn read(folder: &Path) -> Result<Cases> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path)
            .map_err(|error| usage(format!("{}: {error}; a report's folder has it", path.display())))?;
        // A line may be cut off within a character.
        Self::parse(&String::from_utf8_lossy(&bytes), &path)
    }

    fn parse(text: &str, path: &Path) -> Result<Cases> {
        let mut out = Cases::default();
        let mut seen = BTreeMap::new();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let place = format!("{}:{}", path.display(), number + 1);
            let Some(whole) = line.strip_suffix('\n') else {
                out.warnings.push(format!("{place}: the last line was cut off and is left out"));
                continue;
            };
            let case: Case = serde_json::from_str(whole)
                .map_err(|error| usage(format!("{place}: not a case: {error}")))?;
            if let Some(first) = seen.insert(case.id.clone(), number + 1) {
                return Err(usage(format!("{place}: `{}` is in line {first} too", case.id)));
            }
            out.cases.push(case);
        }
        Ok(out)
    }
}

/// Puts the cases of several folders together, in the order of their ids. A case that two of them have must be the
/// same in both.
pub fn merge(parts: Vec<(PathBuf, Vec<Case>)>) -> Result<Vec<Case>> {
    let mut merged: BTreeMap<String, (PathBuf, Case)> = BTreeMap::new();
    for (folder, cases) in parts {
        for case in cases {
            match merged.get(&case.id) {
                Some((_, known)) if *known == case => {}
                Some((other, _)) => {
                    return Err(unexpected(format!(
                        "`{}` is in {} and in {}, and differs: parts of one report do not overlap",
                        case.id,
                        other.display(),
                        folder.display()
                    )));
                }
                None => {
                    merged.insert(case.id.clone(), (folder.clone(), case));
                }
            }
        }
    }
    Ok(merged.into_values().map(|(_, case)| case).collect())
}
