//! Rust source as far as the checks need it: what is code, what is text, and what is only for tests.

/// What a byte of source belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Code,
    Text,
    Comment,
}

/// A source file, cut into code, string contents and comments, without what is compiled for tests only.
pub struct Source {
    /// As long as the file; only code is left, everything else is blank.
    pub code: String,
    /// String literals outside tests: line (from 1) and contents.
    pub strings: Vec<(usize, String)>,
    /// Comments, tests included: line (from 1) and text.
    pub comments: Vec<(usize, String)>,
}

impl Source {
    /// Cuts up the text of a file.
    pub fn new(text: &str) -> Source {
        let parts = parts(text.as_bytes());
        let mut code = masked(text, &parts, Part::Code);
        blank_tests(&mut code);
        let comments = runs(text, &parts, Part::Comment);
        let strings = runs(text, &parts, Part::Text)
            .into_iter()
            .filter(|&(offset, _)| !in_test(&code, text, offset))
            .map(|(offset, text)| (line(&code, offset), text))
            .collect();
        let comments = comments.into_iter().map(|(offset, text)| (line(&code, offset), text)).collect();
        Source { code: String::from_utf8_lossy(&code).into_owned(), strings, comments }
    }

    /// Lines (from 1) of the code that contain `word` with no identifier character on either side.
    pub fn lines_with(&self, word: &str) -> Vec<usize> {
        let joins =
            |byte: Option<&u8>| byte.is_some_and(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let bytes = self.code.as_bytes();
        let starts_open = joins(word.as_bytes().first());
        let ends_open = joins(word.as_bytes().last());
        self.code
            .match_indices(word)
            .filter(|&(at, _)| {
                let before = at.checked_sub(1).and_then(|at| bytes.get(at));
                !(starts_open && (joins(before) || before == Some(&b'\'')))
                    && !(ends_open && joins(bytes.get(at + word.len())))
            })
            .map(|(at, _)| line(bytes, at))
            .collect()
    }
}

fn line(bytes: &[u8], offset: usize) -> usize {
    bytes[..offset].iter().filter(|&&byte| byte == b'\n').count() + 1
}

/// Whether the code around a string was blanked because it belongs to a test: its closing quote is code.
fn in_test(code: &[u8], text: &str, offset: usize) -> bool {
    offset > 0 && matches!(text.as_bytes()[offset - 1], b'"' | b'\'' | b'#') && code[offset - 1] == b' '
}

fn masked(text: &str, parts: &[Part], wanted: Part) -> Vec<u8> {
    let keep = |(byte, part): (u8, &Part)| if *part == wanted || byte == b'\n' { byte } else { b' ' };
    text.bytes().zip(parts).map(keep).collect()
}

/// Each stretch of a part, with its byte offset.
fn runs(text: &str, parts: &[Part], wanted: Part) -> Vec<(usize, String)> {
    let mut runs = Vec::new();
    let mut start = None;
    for (index, part) in parts.iter().chain([&Part::Code]).enumerate() {
        match (start, *part == wanted && index < parts.len()) {
            (None, true) => start = Some(index),
            (Some(from), false) => {
                runs.push((from, String::from_utf8_lossy(&text.as_bytes()[from..index]).into_owned()));
                start = None;
            }
            _ => {}
        }
    }
    runs
}

/// Sorts every byte. Quotes count as code, what is between them as text.
fn parts(bytes: &[u8]) -> Vec<Part> {
    let mut parts = vec![Part::Code; bytes.len()];
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (part, open, length) = if rest.starts_with(b"//") {
            (Part::Comment, 0, until(rest, b"\n"))
        } else if rest.starts_with(b"/*") {
            (Part::Comment, 0, block_comment(rest))
        } else if let Some((open, length)) = raw_string(bytes, at) {
            (Part::Text, open, length)
        } else if rest[0] == b'"' {
            (Part::Text, 1, quoted(rest, b'"'))
        } else if rest[0] == b'\'' && is_char(rest) {
            (Part::Text, 1, quoted(rest, b'\''))
        } else {
            at += 1;
            continue;
        };
        let close = if part == Part::Text { closing(rest, open, length) } else { 0 };
        for slot in &mut parts[at + open..at + length - close] {
            *slot = part;
        }
        at += length.max(1);
    }
    parts
}

/// How many bytes at the end of a literal are its delimiter.
fn closing(rest: &[u8], open: usize, length: usize) -> usize {
    let hashes = rest[..open].iter().filter(|&&byte| byte == b'#').count();
    (hashes + 1).min(length - open)
}

fn until(rest: &[u8], end: &[u8]) -> usize {
    rest.windows(end.len()).position(|window| window == end).unwrap_or(rest.len())
}

fn block_comment(rest: &[u8]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Length of the opening delimiter and of the whole literal.
fn raw_string(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    let joined = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    let rest = &bytes[at..];
    let prefix = if rest.starts_with(b"br") || rest.starts_with(b"cr") { 2 } else { 1 };
    if joined && bytes[at - 1] != b'b' || !rest[..prefix.min(rest.len())].ends_with(b"r") {
        return None;
    }
    let hashes = rest[prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let open = prefix + hashes + 1;
    if rest.get(open - 1) != Some(&b'"') {
        return None;
    }
    let end: Vec<u8> = [b"\"".to_vec(), vec![b'#'; hashes]].concat();
    Some((open, (open + until(&rest[open..], &end) + end.len()).min(rest.len())))
}

fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal rather than a lifetime.
fn is_char(rest: &[u8]) -> bool {
    match rest.get(1) {
        Some(b'\\') => true,
        Some(first) if first.is_ascii() => rest.get(2) == Some(&b'\''),
        Some(_) => rest[1..].iter().take(5).any(|&byte| byte == b'\''),
        None => false,
    }
}

/// Blanks each item behind an attribute that compiles it for tests only.
fn blank_tests(code: &mut [u8]) {
    for attribute in [&b"#[cfg(test)]"[..], b"#[cfg(all(test", b"#[test]"] {
        let mut from = 0;
        while let Some(found) = code[from..].windows(attribute.len()).position(|window| window == attribute) {
            let start = from + found;
            let end = item_end(code, start);
            for byte in &mut code[start..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            from = end;
        }
    }
}

/// The end of the item that starts at an attribute: its closing brace, or a semicolon before any brace.
fn item_end(code: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut brackets = 0;
    for (index, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'[' | b'(' => brackets += 1,
            b']' | b')' => brackets -= 1,
            b'{' => depth += 1,
            b'}' => {
                depth -= 1;
                if depth == 0 {
                    return index + 1;
                }
            }
            b';' if depth == 0 && brackets == 0 => return index + 1,
            _ => {}
        }
    }
    code.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let source = Source::new("let a = \"unwrap()\"; // unwrap()\n/* /* x */ unwrap() */ b.unwrap();\n");
        assert_eq!(source.lines_with("unwrap"), [2]);
        assert_eq!(source.strings, [(1, "unwrap()".to_owned())]);
        assert_eq!(source.comments[0], (1, "// unwrap()".to_owned()));
    }

    #[test]
    fn raw_strings_characters_and_lifetimes() {
        let text =
            "fn f<'a>(x: &'a str) { let q = '\"'; let r = r#\"a \" unwrap\"#; let e = '\\''; x.unwrap() }";
        let source = Source::new(text);
        assert_eq!(source.lines_with("unwrap"), [1]);
        assert_eq!(source.strings.len(), 3, "{:?}", source.strings);
        assert_eq!(source.strings[1].1, "a \" unwrap");
        assert_eq!(source.code.len(), text.len());
    }

    #[test]
    fn tests_are_left_out() {
        let text =
            "fn a() { x(); }\n#[cfg(test)]\nmod tests {\n fn b() { x(\"t\"); }\n}\nfn c() { x(\"c\"); }\n";
        let source = Source::new(text);
        assert_eq!(source.lines_with("x"), [1, 6]);
        assert_eq!(source.strings, [(6, "c".to_owned())]);
        let import = Source::new("#[cfg(test)]\nuse a::{x, y};\nfn c() { x(); }\n");
        assert_eq!(import.lines_with("x"), [3]);
    }

    #[test]
    fn words_are_whole() {
        let source = Source::new("target_archive(); a.unwrap_or(1); static mut X: u8 = 0;");
        assert!(source.lines_with("target_arch").is_empty());
        assert!(source.lines_with(".unwrap()").is_empty());
        assert_eq!(source.lines_with("static mut"), [1]);
    }

    #[test]
    fn odd_endings_do_not_hang_or_fail() {
        for text in ["\"", "'", "r#\"", "/*", "//", "b'", "'\\", "r", "br#", "#[cfg(test)]"] {
            Source::new(text);
        }
    }
}
