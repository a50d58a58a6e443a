//! What cargo says, without what nobody can act on.
//!
//! Turning off a target's floating-point unit is a flag that the compiler warns about, once per flag and
//! crate, and that has no other spelling. Exactly these warnings are left out; everything else passes.

use std::io::{BufRead, BufReader, Read, Write};

/// Passes on lines as they come.
pub fn forward(from: impl Read, mut to: impl Write) -> std::io::Result<()> {
    let mut filter = Filter::default();
    for line in BufReader::new(from).split(b'\n') {
        let line = line?;
        if filter.keeps(&String::from_utf8_lossy(&line)) {
            to.write_all(&line)?;
            to.write_all(b"\n")?;
        }
    }
    Ok(())
}

#[derive(Default)]
struct Filter {
    /// Inside a warning that is left out; it ends with an empty line.
    inside: bool,
    /// Warnings left out so far.
    dropped: usize,
}

impl Filter {
    fn keeps(&mut self, line: &str) -> bool {
        let plain = without_colour(line);
        if self.inside {
            self.inside = !plain.trim().is_empty();
            return false;
        }
        if plain.starts_with("warning: ")
            && plain.contains("unstable feature specified for `-Ctarget-feature`")
        {
            self.inside = true;
            self.dropped += 1;
            return false;
        }
        // The count at the end of a crate: left out if it counts nothing else.
        let summary = format!("generated {} warnings", self.dropped);
        let rest = plain.split_once(&summary).map(|(_, rest)| rest);
        let duplicates = format!(" ({} duplicates)", self.dropped);
        !(self.dropped > 0
            && plain.starts_with("warning: `")
            && rest.is_some_and(|r| r.is_empty() || r == duplicates))
    }
}

/// Without escape sequences for colour.
fn without_colour(line: &str) -> String {
    let mut plain = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.split_once('m').map_or("", |(_, after)| after);
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(text: &str) -> String {
        let mut out = Vec::new();
        forward(text.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const NOISE: &str =
        "warning: unstable feature specified for `-Ctarget-feature`: `vsx`\n  |\n  = note: not stable\n\n";

    #[test]
    fn only_the_warnings_about_the_flags_are_left_out() {
        let text = format!(
            "   Compiling hal\n{NOISE}   Compiling kernel\nwarning: unused variable\n  |\n\n{}    Finished\n",
            NOISE.replace("unstable feature", "unknown and unstable feature")
        );
        assert_eq!(
            through(&text),
            "   Compiling hal\n   Compiling kernel\nwarning: unused variable\n  |\n\n    Finished\n"
        );
    }

    #[test]
    fn a_count_of_nothing_else_is_left_out() {
        let one = NOISE.repeat(3);
        assert_eq!(through(&format!("{one}warning: `hal` (lib) generated 3 warnings\n")), "");
        assert_eq!(
            through(&format!("{one}warning: `kernel` (bin) generated 3 warnings (3 duplicates)\n")),
            ""
        );
        let more = "warning: `kernel` (bin) generated 4 warnings (3 duplicates)\n";
        assert_eq!(through(&format!("{one}{more}")), more);
        let unrelated = "warning: `kernel` (bin) generated 3 warnings\n";
        assert_eq!(through(unrelated), unrelated);
    }

    #[test]
    fn colour_does_not_hide_them() {
        let coloured = "\x1b[1m\x1b[33mwarning\x1b[0m\x1b[1m: unstable feature specified for `-Ctarget-feature`: `vsx`\x1b[0m\n\n";
        assert_eq!(through(coloured), "");
        assert_eq!(without_colour("\x1b[1ma\x1b[0mb"), "ab");
    }
}
