//! How a port says that it lacks something.

/// A capability that this machine, or this port, does not have, with the reason a person can act on.
///
/// The reason ends up in the crash record and in reports (P5), so write what is missing and why,
/// not "unsupported": `"no crash image was given at boot"`, `"TCG has no x2APIC"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsupported {
    /// Why, in one line of ASCII, at most [`Unsupported::MOST_BYTES`].
    pub reason: &'static str,
}

impl Unsupported {
    /// What a reason may have in bytes: with the words in front of it that say what it is about, it has to fit into
    /// an entry of the record (88 bytes).
    pub const MOST_BYTES: usize = 64;

    /// `reason`: one line of ASCII, at most [`Unsupported::MOST_BYTES`]; more would be cut off.
    pub const fn new(reason: &'static str) -> Self {
        Unsupported { reason }
    }
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "unsupported: {}", self.reason)
    }
}
