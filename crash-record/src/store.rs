//! Entries for storage that outlives the kernel: who wrote it, when, in which run, and a text, with a
//! checksum over all of it. Where the bytes go is the machine's affair.
//!
//! Everything is **big-endian** and unaligned, whichever machine wrote it: such storage is read on other
//! machines, and by kernels other than the one that wrote it.
//!
//! ```text
//! byte 0   8  MAGIC
//!      8   2  VERSION
//!     10   2  CPU that wrote it
//!     12   4  bytes of text, n
//!     16   8  sequence number of the entry in its run
//!     24   8  clock, ns
//!     32   8  nonce of the run
//!     40   n  text, UTF-8
//!   40+n   4  CRC-32C of all bytes before it
//! ```
//!
//! The checksum comes last, so that an entry which was cut off while it was written has none.

use crate::crc::crc32c;

/// `MAYDAYE1`, as bytes.
pub const MAGIC: [u8; 8] = *b"MAYDAYE1";
/// Layout version.
pub const VERSION: u16 = 1;
/// Bytes before the text.
pub const HEADER_BYTES: usize = 40;
/// Bytes of an entry without its text.
pub const OVERHEAD: usize = HEADER_BYTES + 4;

/// An entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreEntry<'a> {
    /// The CPU that wrote it.
    pub cpu: u16,
    /// Its place among the entries of its run.
    pub sequence: u64,
    /// Clock of that CPU, ns.
    pub at_ns: u64,
    /// Tells the run from every other.
    pub nonce: u64,
    /// What it says.
    pub text: &'a str,
}

/// Why bytes are no entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EntryError {
    /// What is wrong.
    pub what: &'static str,
    /// Offset in bytes.
    pub at: usize,
}

impl core::fmt::Display for EntryError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "store entry: {} (at byte {:#x})", self.what, self.at)
    }
}

impl core::error::Error for EntryError {}

impl<'a> StoreEntry<'a> {
    /// Writes the entry into the beginning of `room`; returns its bytes, or `None` if they do not fit.
    pub fn encode<'r>(&self, room: &'r mut [u8]) -> Option<&'r [u8]> {
        let text = self.text.as_bytes();
        let length = OVERHEAD.checked_add(text.len())?;
        let mut rest = room.get_mut(..length)?;
        let head = [
            MAGIC.as_slice(),
            &VERSION.to_be_bytes(),
            &self.cpu.to_be_bytes(),
            &u32::try_from(text.len()).ok()?.to_be_bytes(),
            &self.sequence.to_be_bytes(),
            &self.at_ns.to_be_bytes(),
            &self.nonce.to_be_bytes(),
        ];
        for part in head.into_iter().chain([text]) {
            let (place, after) = rest.split_at_mut_checked(part.len())?;
            place.copy_from_slice(part);
            rest = after;
        }
        let checksum = crc32c(room.get(..length - 4)?).to_be_bytes();
        room.get_mut(length - 4..length)?.copy_from_slice(&checksum);
        room.get(..length)
    }

    /// Reads the entry that `bytes` begins with; what follows it is not looked at.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EntryError> {
        let fail = |what, at| EntryError { what, at };
        let number = |at: usize, size: usize| {
            let bytes = bytes.get(at..at + size)?;
            Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let short = |at| fail("cut off", at);
        if bytes.get(..8).ok_or(short(0))? != MAGIC {
            return Err(fail("no magic", 0));
        }
        if number(8, 2).ok_or(short(8))? != u64::from(VERSION) {
            return Err(fail("a version that this reader does not know", 8));
        }
        let cpu = number(10, 2).ok_or(short(10))? as u16;
        let text_bytes = number(12, 4).ok_or(short(12))? as usize;
        let end = HEADER_BYTES.checked_add(text_bytes).ok_or(fail("an impossible length", 12))?;
        let body = bytes.get(..end).ok_or(fail("its text runs past the end", 12))?;
        if number(end, 4).ok_or(short(end))? != u64::from(crc32c(body)) {
            return Err(fail("the checksum does not hold", end));
        }
        let text = body.get(HEADER_BYTES..).unwrap_or(&[]);
        Ok(StoreEntry {
            cpu,
            sequence: number(16, 8).ok_or(short(16))?,
            at_ns: number(24, 8).ok_or(short(24))?,
            nonce: number(32, 8).ok_or(short(32))?,
            text: core::str::from_utf8(text).map_err(|_| fail("its text is not UTF-8", HEADER_BYTES))?,
        })
    }

    /// Bytes of the entry when written.
    pub fn bytes(&self) -> usize {
        OVERHEAD.saturating_add(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: StoreEntry<'_> =
        StoreEntry { cpu: 3, sequence: 7, at_ns: 1 << 40, nonce: 0x0123_4567_89ab_cdef, text: "a panic" };

    #[test]
    fn what_is_written_is_read_back() {
        let mut room = [0xEE; 100];
        let bytes = ENTRY.encode(&mut room).unwrap();
        assert_eq!(bytes.len(), ENTRY.bytes());
        assert_eq!(StoreEntry::parse(bytes), Ok(ENTRY));
        assert_eq!(StoreEntry::parse(&room), Ok(ENTRY), "what follows is not looked at");
    }

    #[test]
    fn the_layout_is_as_documented() {
        let mut room = [0; 100];
        let bytes = ENTRY.encode(&mut room).unwrap();
        assert_eq!(&bytes[..16], b"MAYDAYE1\x00\x01\x00\x03\x00\x00\x00\x07");
        assert_eq!(bytes[32..40], 0x0123_4567_89ab_cdef_u64.to_be_bytes());
        assert_eq!(&bytes[40..47], b"a panic");
        assert_eq!(bytes[47..51], crc32c(&bytes[..47]).to_be_bytes());
    }

    #[test]
    fn too_little_room_is_refused() {
        let mut room = [0; 100];
        assert_eq!(ENTRY.encode(&mut room[..ENTRY.bytes() - 1]), None);
        assert!(ENTRY.encode(&mut room[..ENTRY.bytes()]).is_some());
    }

    #[test]
    fn every_changed_bit_and_every_cut_is_noticed() {
        let mut room = [0; 100];
        let length = ENTRY.encode(&mut room).unwrap().len();
        for bit in 0..length * 8 {
            let mut bad = room;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(StoreEntry::parse(&bad).is_err(), "bit {bit}");
        }
        for end in 0..length {
            assert!(StoreEntry::parse(&room[..end]).is_err(), "cut at {end}");
        }
        let mut bad = room;
        bad[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(StoreEntry::parse(&bad).unwrap_err().what, "its text runs past the end");
    }
}
