//! The crash kernel's command line.

use hal::kexec::Handoff;

/// The word that carries the handoff.
const KEY: &str = "capture.record=";

/// Stores `text` in `page`, its length first. `None` if it does not fit.
pub fn store(page: &mut [u8], text: &str) -> Option<()> {
    page.get_mut(..8)?.copy_from_slice(&(text.len() as u64).to_le_bytes());
    page.get_mut(8..)?.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(())
}

/// What [`store`] put there; empty if the page is damaged.
pub fn load(page: &[u8]) -> &str {
    crate::physical::u64_at(page, 0)
        .and_then(|len| page.get(8..)?.get(..usize::try_from(len).ok()?))
        .and_then(|bytes| core::str::from_utf8(bytes).ok())
        .unwrap_or("")
}

struct Cursor<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.at.checked_add(bytes.len())?;
        self.buffer.get_mut(self.at..end)?.copy_from_slice(bytes);
        self.at = end;
        Some(())
    }

    fn put_hex(&mut self, value: u64) -> Option<()> {
        self.put(b"0x")?;
        let skipped = value.leading_zeros() as usize / 4;
        for digit in value.to_be_bytes().iter().flat_map(|byte| [byte >> 4, byte & 0xF]).skip(skipped.min(15))
        {
            self.put(b"0123456789abcdef".get(usize::from(digit)..)?.get(..1)?)?;
        }
        Some(())
    }
}

/// Writes `given` with `capture.record=0xADDRESS,0xLENGTH` in place of any such word, and a NUL, into
/// `buffer`. Returns the length without the NUL, or `None` if it does not fit.
pub fn with_record(given: &str, handoff: &Handoff, buffer: &mut [u8]) -> Option<usize> {
    let mut out = Cursor { buffer, at: 0 };
    for word in given.split_ascii_whitespace().filter(|word| !word.starts_with(KEY)) {
        out.put(word.as_bytes())?;
        out.put(b" ")?;
    }
    out.put(KEY.as_bytes())?;
    out.put_hex(handoff.record)?;
    out.put(b",")?;
    out.put_hex(handoff.record_len)?;
    let len = out.at;
    out.put(&[0])?;
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(given: &str, record: u64, record_len: u64, room: usize) -> Option<String> {
        let mut buffer = vec![0xFF; room];
        let len = with_record(given, &Handoff { record, record_len }, &mut buffer)?;
        assert_eq!(buffer[len], 0);
        Some(String::from_utf8(buffer[..len].to_vec()).expect("ASCII"))
    }

    #[test]
    fn the_record_replaces_what_was_there() {
        let line = patched("run.nonce=ab  capture.record=0x1,0x2 quiet", 0x28_1000, 0x1_0000, 100);
        assert_eq!(line.as_deref(), Some("run.nonce=ab quiet capture.record=0x281000,0x10000"));
        assert_eq!(patched("", 0, 0, 100).as_deref(), Some("capture.record=0x0,0x0"));
        let most = patched("", u64::MAX, 1, 100);
        assert_eq!(most.as_deref(), Some("capture.record=0xffffffffffffffff,0x1"));
    }

    #[test]
    fn too_little_room_is_refused() {
        let whole = "x capture.record=0x1,0x2";
        assert!(patched("x", 1, 2, whole.len() + 1).is_some());
        for room in 0..=whole.len() {
            assert_eq!(patched("x", 1, 2, room), None);
        }
    }

    #[test]
    fn storing_and_loading_agree() {
        let mut page = [0; 32];
        store(&mut page, "a b").expect("fits");
        assert_eq!(load(&page), "a b");
        assert_eq!(store(&mut page, &"x".repeat(25)), None);
        page[..8].fill(0xFF);
        assert_eq!(load(&page), "", "a damaged length");
        assert_eq!(load(&[]), "");
    }
}
