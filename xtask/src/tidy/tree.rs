//! The files that checks look at, in memory: so that every check can be tried on a tree made for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::error::{Classed, environment};
use crate::toolchain::output;

/// Text files by path from the root, with `/` between folders.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    files: BTreeMap<String, String>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Stable name of the rule.
    pub check: &'static str,
    /// Path, and line where there is one.
    pub place: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// A problem in a line of a file.
    pub fn at(check: &'static str, path: &str, line: usize, message: impl Into<String>) -> Self {
        Problem { check, place: format!("{path}:{line}"), message: message.into() }
    }

    /// A problem of a whole file or folder.
    pub fn of(check: &'static str, path: &str, message: impl Into<String>) -> Self {
        Problem { check, place: path.to_owned(), message: message.into() }
    }
}

impl Tree {
    /// Reads what git tracks or would track; without git, everything but build output.
    pub fn read(root: &Path) -> Result<Tree> {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let paths = match output(&mut git) {
            Some(list) => list.split_terminator('\0').map(str::to_owned).collect(),
            None => walk(root)?,
        };
        let mut files = BTreeMap::new();
        for path in paths {
            let file = root.join(&path);
            // A file that git still knows but that is gone, and a link, have nothing to be checked.
            if !file.symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
                continue;
            }
            let bytes = std::fs::read(&file).or_environment(|| format!("cannot read {}", file.display()))?;
            if let Ok(text) = String::from_utf8(bytes) {
                files.insert(path, text);
            }
        }
        if files.is_empty() {
            return Err(environment(format!("no files found in {}", root.display())));
        }
        Ok(Tree { files })
    }

    /// A tree made of literals.
    #[cfg(test)]
    pub fn of(files: &[(&str, &str)]) -> Tree {
        Tree { files: files.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect() }
    }

    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.iter().map(|(path, text)| (path.as_str(), text.as_str()))
    }

    /// One file.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// Files below a folder with an ending, such as `.rs`.
    pub fn below<'t>(&'t self, folder: &'t str, ending: &'t str) -> impl Iterator<Item = (&'t str, &'t str)> {
        self.files().filter(move |(path, _)| {
            path.ends_with(ending)
                && (folder.is_empty() || path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        })
    }

    /// Folders at the root whose name starts with `prefix`.
    pub fn folders(&self, prefix: &str) -> Vec<&str> {
        let mut folders: Vec<_> = self
            .files()
            .filter_map(|(path, _)| path.split_once('/').map(|(folder, _)| folder))
            .filter(|folder| folder.starts_with(prefix))
            .collect();
        folders.sort_unstable();
        folders.dedup();
        folders
    }
}

fn walk(root: &Path) -> Result<Vec<String>> {
    const OUTPUT: [&str; 3] = ["target", "out", ".git"];
    let mut paths = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let unreadable = || format!("cannot list {}", folder.display());
        for entry in std::fs::read_dir(&folder).or_environment(unreadable)? {
            let path = entry.or_environment(unreadable)?.path();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_dir() {
                if !OUTPUT.contains(&relative.as_str()) {
                    open.push(path);
                }
            } else {
                paths.push(relative);
            }
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_matched_whole() {
        let tree = Tree::of(&[("hal/src/a.rs", ""), ("hal-more/src/b.rs", ""), ("README.md", "")]);
        assert_eq!(tree.below("hal", ".rs").map(|(path, _)| path).collect::<Vec<_>>(), ["hal/src/a.rs"]);
        assert_eq!(tree.folders("hal"), ["hal", "hal-more"]);
    }

    #[test]
    fn a_folder_without_git_is_walked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("target/x")).unwrap();
        std::fs::create_dir_all(folder.path().join("a/target")).unwrap();
        for file in ["target/x/no.rs", "a/yes.rs", "a/target/yes.rs"] {
            std::fs::write(folder.path().join(file), "x").unwrap();
        }
        let mut paths = walk(folder.path()).unwrap();
        paths.sort();
        assert_eq!(paths, ["a/target/yes.rs", "a/yes.rs"]);
    }
}
