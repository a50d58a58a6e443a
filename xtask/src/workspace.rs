//! Where things are: the workspace root and the folders below it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::{Classed, environment};

/// The tree that a command works on. Usually the one `xtask` was built from; a scratch copy when a
/// mutant is tried.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that contains the current directory, else the one `xtask` was built from.
    pub fn find() -> Result<Self> {
        let here = std::env::current_dir().or_environment(|| "cannot tell the current directory".into())?;
        let built_from = Path::new(env!("CARGO_MANIFEST_DIR"));
        here.ancestors()
            .chain(built_from.ancestors())
            .find(|folder| folder.join("machines").is_dir() && folder.join("scenarios").is_dir())
            .map(Self::at)
            .ok_or_else(|| {
                environment(format!(
                    "no workspace found from {}: none of the folders above it has machines/ and scenarios/",
                    here.display()
                ))
            })
    }

    /// The workspace at a folder.
    pub fn at(root: &Path) -> Self {
        Workspace { root: root.to_path_buf() }
    }

    /// The root folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of machine files.
    pub fn machines(&self) -> PathBuf {
        self.root.join("machines")
    }

    /// The folder of scenario files.
    pub fn scenarios(&self) -> PathBuf {
        self.root.join("scenarios")
    }

    /// The folder of mutants.
    pub fn mutants(&self) -> PathBuf {
        self.root.join("mutants")
    }

    /// The folder that gets one folder per run.
    pub fn out(&self) -> PathBuf {
        self.root.join("out")
    }

    /// A path as a person in the root would type it.
    pub fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
