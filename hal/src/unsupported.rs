//! How a port says that it lacks something.

/// A capability that this machine, or this port, does not have, with the reason a person can act on.
///
/// The reason ends up in the crash record and in reports (P5), so write what is missing and why,
/// not "unsupported": `"no crash image was given at boot"`, `"TCG has no x2APIC"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unsupported {
    /// Why, in one line of ASCII, at most 80 bytes.
    pub reason: &'static str,
}

impl Unsupported {
    /// `reason`: one line of ASCII, at most 80 bytes.
    pub const fn new(reason: &'static str) -> Self {
        Unsupported { reason }
    }
}

impl core::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "unsupported: {}", self.reason)
    }
}
