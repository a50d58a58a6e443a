//! What stands in the way of a package, and the command that makes both fit.
//!
//! Asked only after an installation that may remove nothing has failed: an installed package of a newer
//! release (from backports, say) can break the distribution's own. Removing it is not this tool's to
//! decide; bringing it to the version that goes together is a command that can be shown and run.

use std::process::Command;
use std::time::Duration;

use super::plan::{Rights, Step};
use crate::toolchain::output;

/// The step that installs `package` together with fitting versions of what it would have removed. None if
/// nothing would be removed, or something has no other version.
pub fn way_around(package: &str, rights: Rights, limit: Duration) -> Option<Step> {
    let simulated = apt("apt-get", &["install", "--simulate", "--no-install-recommends", package])?;
    let (wanted, removed) = parse(&simulated, package);
    if removed.is_empty() || rights == Rights::None {
        return None;
    }
    let mut pins = Vec::new();
    for name in removed {
        let versions = apt("apt-cache", &["madison", &name])?;
        pins.push(format!("{name}={}", fitting(&versions, wanted.as_deref())?));
    }
    let sudo = (rights == Rights::Sudo).then_some("sudo");
    let fixed = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "--no-remove"];
    let words = sudo.into_iter().chain(fixed).chain(["--allow-downgrades", package]).map(str::to_owned);
    Some(Step { words: words.chain(pins).collect(), limit, optional: false })
}

fn apt(program: &str, arguments: &[&str]) -> Option<String> {
    output(Command::new(program).args(arguments).env("LANG", "C"))
}

/// From a simulation's lines: the version of `package` that it would install, and what it would remove.
fn parse(simulated: &str, package: &str) -> (Option<String>, Vec<String>) {
    let mut version = None;
    let mut removed = Vec::new();
    for line in simulated.lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("Remv"), Some(name)) => removed.push(name.to_owned()),
            (Some("Inst"), Some(name)) if name == package => {
                version = words.next().map(|word| word.trim_start_matches('(').to_owned());
            }
            _ => {}
        }
    }
    (version, removed)
}

/// From a list of available versions, best first: the wanted one, else the best.
fn fitting(madison: &str, wanted: Option<&str>) -> Option<String> {
    let versions: Vec<&str> =
        madison.lines().filter_map(|line| line.split('|').nth(1)).map(str::trim).collect();
    let same = versions.iter().find(|version| Some(**version) == wanted);
    same.or(versions.first()).map(|version| (*version).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_says_what_would_be_removed() {
        let text = "Reading package lists...\nRemv tools [10.0] [common:amd64 ]\n\
                    Inst common (7.2-1 Distribution:12 [amd64])\nInst emulator (7.2-1 Distribution:12 [amd64])\n";
        assert_eq!(parse(text, "emulator"), (Some("7.2-1".into()), vec!["tools".into()]));
        assert_eq!(parse("Inst emulator (1 x)\n", "emulator"), (Some("1".into()), vec![]));
    }

    #[test]
    fn the_same_version_is_preferred() {
        let list = " tools | 7.3 | mirror main\n tools | 7.2-1 | mirror main\n";
        assert_eq!(fitting(list, Some("7.2-1")).as_deref(), Some("7.2-1"));
        assert_eq!(fitting(list, Some("9")).as_deref(), Some("7.3"));
        assert_eq!(fitting("", None), None);
    }
}
