//! The porter's guide and the HAL: the guide names what a port implements, and was read again after the HAL changed.

use crash_record::crc::crc32c;

use super::source::Source;
use super::tree::{Problem, Tree};

const CHECK: &str = "porting-guide";
const GUIDE: &str = "PORTING.md";
/// What the guide was written for.
const BEGIN: &str = "<!-- hal: ";
const END: &str = " -->";
/// Files of the HAL that no port answers: its own atomics and its own checks.
const OWN: [&str; 3] = ["hal/src/sync", "hal/src/contract", "hal/src/lib.rs"];

/// Holds the guide against the HAL, if the tree has both.
pub fn check(tree: &Tree) -> Vec<Problem> {
    let Some(guide) = tree.get(GUIDE) else { return Vec::new() };
    let mut problems = Vec::new();
    let mut interface = String::new();
    for (path, text) in
        tree.below("hal/src", ".rs").filter(|(path, _)| !OWN.iter().any(|own| path.starts_with(own)))
    {
        let code = Source::new(text).code;
        for (number, line) in code.lines().enumerate() {
            let item = ["pub trait ", "pub struct ", "pub enum "];
            let name = item.iter().find_map(|start| line.strip_prefix(start));
            let name = name.map(|rest| rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or(""));
            if let Some(name) = name.filter(|name| !guide.contains(&format!("`{name}`"))) {
                let message = format!("`{name}` is not named in {GUIDE}: which module of a port answers it?");
                problems.push(Problem::at(CHECK, path, number + 1, message));
            }
        }
        interface.extend(code.split_whitespace().flat_map(|word| [word, " "]));
    }
    let now = format!("{:08x}", crc32c(interface.as_bytes()));
    let said = guide.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END)).map(|(said, _)| said);
    if !interface.is_empty() && said != Some(&now) {
        let line = guide.lines().position(|line| line.starts_with(BEGIN)).map_or(1, |line| line + 1);
        let message = format!(
            "the HAL is another one than this was written for: read it again, bring it up to date, and put \
             `{BEGIN}{now}{END}` here"
        );
        problems.push(Problem::at(CHECK, GUIDE, line, message));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAL: &str = "/// Time.\npub trait Clock {\n    /// Now.\n    fn now_ns(&self) -> u64;\n}\n";

    fn check(hal: &str, guide: &str) -> Vec<String> {
        let tree =
            Tree::of(&[("hal/src/clock.rs", hal), ("hal/src/sync.rs", "pub struct Own;\n"), (GUIDE, guide)]);
        super::check(&tree)
            .into_iter()
            .map(|problem| format!("{}: {}", problem.place, problem.message))
            .collect()
    }

    /// The guide with what it is asked for.
    fn right(hal: &str) -> String {
        let problems = check(hal, "`Clock`");
        let wanted = problems.last().unwrap().split('`').nth(1).unwrap();
        format!("`Clock`\n{wanted}\n")
    }

    #[test]
    fn a_guide_that_fits_is_good() {
        assert!(check(HAL, &right(HAL)).is_empty());
        // Nothing that a port sees.
        let told = HAL.replace("Now.", "Nanoseconds.");
        assert!(check(&told, &right(HAL)).is_empty());
    }

    #[test]
    fn a_trait_that_the_guide_does_not_name_is_found() {
        let more = format!("{HAL}pub trait Alarm {{}}\n");
        let problems = check(&more, &right(&more));
        assert_eq!(
            problems,
            ["hal/src/clock.rs:6: `Alarm` is not named in PORTING.md: which module of a port answers it?"]
        );
    }

    #[test]
    fn a_call_that_changes_means_that_the_guide_is_read_again() {
        let changed = HAL.replace("u64", "u128");
        let problems = check(&changed, &right(HAL));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("PORTING.md:2: the HAL is another one"), "{problems:?}");
    }
}
