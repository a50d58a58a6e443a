//! One folder per run under `out/`, the newest one also linked as `out/latest`.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use serde_json::Value;

use crate::error::Classed;
use crate::workspace::Workspace;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes one for a run on `machine` with this nonce.
    pub fn create(workspace: &Workspace, machine: &str, scenario: &str, nonce: u64) -> Result<Self> {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let scenario = scenario.replace('/', "-");
        let name = format!("{}-{machine}-{scenario}-{:08x}", timestamp(seconds), nonce & 0xffff_ffff);
        let path = workspace.out().join(&name);
        let path = std::path::absolute(&path).unwrap_or(path);
        std::fs::create_dir_all(&path).or_environment(|| format!("cannot create {}", path.display()))?;
        forget_old_runs(&workspace.out());
        point_latest_at(&workspace.out(), &name, nonce);
        Ok(Folder { path })
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the memory that was read: of hundreds of good runs nobody looks at it.
    pub fn drop_memory(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else { return };
        for entry in entries.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "bin") {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Writes a small file whole.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.file(name);
        std::fs::write(&path, text).or_environment(|| format!("cannot write {}", path.display()))
    }
}

/// Folders of runs that went as expected that are kept, and of others. The oldest go first.
const KEPT: usize = 1000;

/// What is made of a run, as data.
pub const VERDICT: &str = "verdict.json";

/// Removes the oldest runs of each kind: hundreds of good ones are no reason to forget a red one, or one that is under
/// way. A failure to do so is nobody's problem.
fn forget_old_runs(out: &Path) {
    let Ok(entries) = std::fs::read_dir(out) else { return };
    let dated = |name: &str| name.len() > 16 && name.bytes().take(8).all(|byte| byte.is_ascii_digit());
    let mut runs: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(dated))
        .map(|entry| entry.path())
        .collect();
    runs.sort();
    let excess = runs.len().saturating_sub(KEPT);
    let (good, others): (Vec<&PathBuf>, _) = runs[..excess].iter().partition(|run| went_well(run));
    let too_many = others.len().saturating_sub(KEPT);
    for run in good.into_iter().chain(others.into_iter().take(too_many)) {
        let _ = std::fs::remove_dir_all(run);
    }
}

fn went_well(run: &Path) -> bool {
    let verdict = std::fs::read(run.join(VERDICT)).ok();
    let case = verdict.and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    case.is_some_and(|case| case["outcome"] == "passed")
}

/// Replaces the link in one step, so that it always points somewhere. The link is a convenience: a
/// file system without links does not fail the run.
fn point_latest_at(out: &Path, name: &str, nonce: u64) {
    let fresh = out.join(format!(".latest-{nonce:016x}"));
    if std::os::unix::fs::symlink(name, &fresh).is_ok()
        && std::fs::rename(&fresh, out.join("latest")).is_err()
    {
        let _ = std::fs::remove_file(&fresh);
    }
}

/// `20261122-053612`, in UTC: sorts by time.
fn timestamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days to civil date, counted in 400-year eras that start on 1 March of year 0.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_dates() {
        assert_eq!(timestamp(0), "19700101-000000");
        assert_eq!(timestamp(951_782_400 + 3_661), "20000229-010101");
        assert_eq!(timestamp(1_795_325_772), "20261122-053612");
    }

    #[test]
    fn memory_goes_and_the_rest_stays() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(&Workspace::at(root.path()), "m", "one", 1).unwrap();
        folder.write("hold0-record.bin", "x").unwrap();
        folder.write("console.log", "x").unwrap();
        folder.drop_memory();
        assert!(!folder.file("hold0-record.bin").exists() && folder.file("console.log").exists());
    }

    #[test]
    fn only_runs_are_forgotten_and_the_oldest_first() {
        let root = tempfile::tempdir().unwrap();
        let run = |number: usize| root.path().join(format!("20260101-{number:06}-m-s-0"));
        std::fs::create_dir(root.path().join("notes-of-somebody")).unwrap();
        // The first is red, the second is under way.
        for number in 0..KEPT + 4 {
            std::fs::create_dir(run(number)).unwrap();
            let outcome = if number == 0 { "failed" } else { "passed" };
            if number != 1 {
                std::fs::write(run(number).join(VERDICT), format!("{{\"outcome\": \"{outcome}\"}}")).unwrap();
            }
        }
        forget_old_runs(root.path());
        let there = (0..6).map(|number| run(number).exists());
        assert_eq!(there.collect::<Vec<_>>(), [true, true, false, false, true, true]);
        // Red ones are not kept for ever, either.
        for number in 0..2 * KEPT + 4 {
            std::fs::create_dir_all(run(number)).unwrap();
            let _ = std::fs::remove_file(run(number).join(VERDICT));
        }
        forget_old_runs(root.path());
        let there = (2..6).map(|number| run(number).exists());
        assert_eq!(there.collect::<Vec<_>>(), [false, false, true, true]);
        assert!(root.path().join("notes-of-somebody").exists());
    }

    #[test]
    fn latest_follows_the_newest_run() {
        let root = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(root.path());
        Folder::create(&workspace, "m", "one", 1).unwrap();
        let second = Folder::create(&workspace, "m", "two", 2).unwrap();
        let latest = std::fs::read_link(workspace.out().join("latest")).unwrap();
        assert_eq!(latest.to_str(), second.path().file_name().unwrap().to_str());
    }
}
