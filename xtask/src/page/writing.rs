//! A report while its cases come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::finish;
use crate::cases::{Case, Cases, Writer};
use crate::mutants::named::Named;
use crate::workspace::Workspace;

/// The report that a command was asked for, or none.
pub struct Writing(Option<Open>);

struct Open {
    folder: PathBuf,
    writer: Writer,
    seen: BTreeMap<String, u32>,
    named: Named,
}

impl Writing {
    /// Begins one in this folder, if there is to be one.
    pub fn begin(workspace: &Workspace, folder: Option<&Path>) -> Result<Self> {
        let open = |folder: &Path| {
            let writer = Writer::create(folder)?;
            let named = Named::read(workspace)?;
            Ok::<_, anyhow::Error>(Open {
                folder: folder.to_path_buf(),
                writer,
                seen: BTreeMap::new(),
                named,
            })
        };
        Ok(Writing(folder.map(open).transpose()?))
    }

    /// Adds a case. The second one of a name has `#2` behind it, and so on.
    pub fn add(&mut self, mut case: Case) -> Result<()> {
        let Some(Open { writer, seen, .. }) = &mut self.0 else { return Ok(()) };
        let times = seen.entry(case.id.clone()).and_modify(|times| *times += 1).or_insert(1);
        if *times > 1 {
            case.id = format!("{}#{times}", case.id);
        }
        writer.add(&case)
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
