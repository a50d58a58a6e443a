//! CRC-32C (Castagnoli), the checksum of every part of the record and of every event line.
//!
//! Bitwise, because the panic path checksums a few kilobytes and a table would be one more thing
//! that can be corrupted (RFC 3720, appendix B.4 has the test vectors).

const POLYNOMIAL: u32 = 0x82F6_3B78;

/// What each byte adds. Host only.
#[cfg(feature = "table")]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = Crc(0).bitwise(byte as u8).0;
        byte += 1;
    }
    table
};

/// A running CRC-32C.
#[derive(Clone, Copy, Debug)]
pub struct Crc(u32);

impl Crc {
    /// The CRC of nothing yet.
    pub const fn new() -> Self {
        Crc(!0)
    }

    /// Adds one byte.
    #[cfg(feature = "table")]
    pub const fn byte(self, byte: u8) -> Self {
        Crc((self.0 >> 8) ^ TABLE[((self.0 ^ byte as u32) & 0xff) as usize])
    }

    /// Adds one byte.
    #[cfg(not(feature = "table"))]
    pub const fn byte(self, byte: u8) -> Self {
        self.bitwise(byte)
    }

    #[cfg_attr(feature = "table", allow(dead_code))] // then it makes the table only
    const fn bitwise(self, byte: u8) -> Self {
        let mut crc = self.0 ^ byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        Crc(crc)
    }

    /// Adds bytes.
    pub fn bytes(self, bytes: &[u8]) -> Self {
        bytes.iter().fold(self, |crc, &byte| crc.byte(byte))
    }

    /// Adds a word as it lies in this machine's memory.
    pub fn word(self, word: u64) -> Self {
        self.bytes(&word.to_ne_bytes())
    }

    /// The checksum.
    pub const fn finish(self) -> u32 {
        !self.0
    }
}

impl Default for Crc {
    fn default() -> Self {
        Crc::new()
    }
}

/// The CRC-32C of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    Crc::new().bytes(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3720_vectors() {
        assert_eq!(crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c(&[0xff; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_word_counts_as_its_bytes() {
        let word = 0x0102_0304_0506_0708u64;
        assert_eq!(Crc::new().word(word).finish(), crc32c(&word.to_ne_bytes()));
    }
}
