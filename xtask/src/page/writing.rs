//! A report while its cases come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{JUNIT, PAGE, finish};
use crate::cases::{Case, Cases, FILE, Outcome, Writer};
use crate::error::Classed;
use crate::mutants::named::Named;
use crate::report::{BOLD, paint, say};
use crate::workspace::Workspace;

/// The report that a command was asked for, or none.
pub struct Writing(Option<Open>);

struct Open {
    root: PathBuf,
    folder: PathBuf,
    writer: Writer,
    seen: BTreeMap<String, u32>,
    named: Named,
}

/// Where the report is that stood in a report's folder before.
const EARLIER: &str = "earlier";
/// Where the folders of failed runs are kept.
const FAILED: &str = "failed";

/// Moves a report that is there already into the folder [`EARLIER`] in it, in place of what is there.
fn put_away(folder: &Path) -> Result<()> {
    if !folder.join(FILE).metadata().is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let earlier = folder.join(EARLIER);
    let moved = || {
        if earlier.exists() {
            std::fs::remove_dir_all(&earlier)?;
        }
        std::fs::create_dir(&earlier)?;
        let parts = [FILE, PAGE, JUNIT, FAILED].into_iter().filter(|part| folder.join(part).exists());
        parts.into_iter().try_for_each(|part| std::fs::rename(folder.join(part), earlier.join(part)))
    };
    moved().or_environment(|| format!("cannot move the report in {} away", folder.display()))?;
    say!(
        "{} the report that was in {} is in {} now",
        paint(BOLD, "Earlier"),
        folder.display(),
        earlier.display()
    );
    Ok(())
}

/// Copies the files of a run, unless the report stands beside them.
fn keep(run: &Path, report: &Path) -> Result<()> {
    let real = |path: &Path| path.canonicalize().ok();
    if !run.is_dir() || real(run) == real(report) {
        return Ok(());
    }
    let below = report.join(FAILED);
    let copied = || {
        let into = below.join(run.file_name().unwrap_or_default());
        std::fs::create_dir_all(&into)?;
        for entry in std::fs::read_dir(run)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                std::fs::copy(entry.path(), into.join(entry.file_name()))?;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    copied().or_environment(|| format!("cannot keep {} below {}", run.display(), below.display()))
}

impl Writing {
    /// Begins one in this folder, if there is to be one. What stood there before goes into [`EARLIER`] below it.
    pub fn begin(workspace: &Workspace, folder: Option<&Path>) -> Result<Self> {
        let open = |folder: &Path| {
            put_away(folder)?;
            let writer = Writer::create(folder)?;
            let named = Named::read(workspace)?;
            Ok::<_, anyhow::Error>(Open {
                root: workspace.root().to_path_buf(),
                folder: folder.to_path_buf(),
                writer,
                seen: BTreeMap::new(),
                named,
            })
        };
        Ok(Writing(folder.map(open).transpose()?))
    }

    /// Adds a case. The second one of a name has `#2` behind it, and so on. Of one that failed, the files of its run are
    /// copied below [`FAILED`].
    pub fn add(&mut self, mut case: Case) -> Result<()> {
        let Some(Open { root, folder, writer, seen, .. }) = &mut self.0 else { return Ok(()) };
        let times = seen.entry(case.id.clone()).and_modify(|times| *times += 1).or_insert(1);
        if *times > 1 {
            case.id = format!("{}#{times}", case.id);
        }
        writer.add(&case)?;
        let run = case.run.as_ref().filter(|_| case.outcome == Outcome::Failed);
        run.map_or(Ok(()), |run| keep(&root.join(&run.folder), folder))
    }

    /// Ends it: writes what is made of the cases, in the order of their names, and says where it is.
    pub fn finish(self) -> Result<()> {
        let Some(Open { folder, writer, named, .. }) = self.0 else { return Ok(()) };
        drop(writer);
        let Cases { mut cases, warnings } = Cases::read(&folder)?;
        cases.sort_by(|one, other| one.id.cmp(&other.id));
        finish(&folder, &cases, &warnings, None, &named)
    }
}
