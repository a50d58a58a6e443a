//! What a person sees: the console as it comes, with the panic path made readable, and a summary.

/// Prints a line. Unlike `println!` it takes colour off where none is wanted, and it does not panic
/// when the reader is gone, as in `cargo xtask qemu --list | head`.
macro_rules! say {
    ($($arguments:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(anstream::stdout(), $($arguments)*);
    }};
}
pub(crate) use say;

mod live;
mod summary;

pub use live::{Live, names_in, toned};
pub use summary::{console_tail, one_line, summary};

use anstyle::{AnsiColor, Style};

/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What matters less.
pub const DIM: Style = Style::new().dimmed();
/// Good.
pub const GREEN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Green)));
/// Bad.
pub const RED: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Red))).bold();
/// Worth a look.
pub const YELLOW: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Yellow)));
/// The capture kernel.
pub const CYAN: Style = Style::new().fg_color(Some(anstyle::Color::Ansi(AnsiColor::Cyan)));

/// Text in a style. The stream that it goes to takes the colour off where none is wanted.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Text that came from a guest, an emulator or a command line, without what a terminal would act on.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\t' { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

/// Nanoseconds in the unit that fits.
pub fn nanoseconds(ns: u64) -> String {
    match ns {
        0..=9_999 => format!("{ns} ns"),
        10_000..=9_999_999 => format!("{} us", ns / 1_000),
        10_000_000..=9_999_999_999 => format!("{} ms", ns / 1_000_000),
        _ => format!("{} s", ns / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_not_acted_on() {
        assert_eq!(printable("a\u{1b}[31mb\n\tö"), "a\\u{1b}[31mb\\n\tö");
    }
}
