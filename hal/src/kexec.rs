//! The jump into the crash image.

/// Why the jump, or a step towards it, was not taken. The path continues with the next step (P8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KexecError {
    /// No crash image is loaded. Carries the reason: none given, too large, malformed, ….
    NoImage(&'static str),
    /// The image's digest differs from the one taken when it was loaded.
    Digest,
    /// The machine refused a part of the hand-over; what, in one line.
    Failed(&'static str),
}

/// Proof that the image was verified. Only [`Kexec::verify`] makes one; it cannot be kept past the
/// attempt it belongs to.
#[derive(Debug)]
pub struct Verified<'a> {
    image: &'a Image,
}

impl<'a> Verified<'a> {
    /// For a port's `verify` only: states that the bytes of `image` were just found intact.
    pub fn attest(image: &'a Image) -> Self {
        Verified { image }
    }

    /// The image that was verified.
    pub fn image(&self) -> &'a Image {
        self.image
    }
}

/// A loaded crash image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Image {
    /// Physical address of the entry point.
    pub entry: u64,
    /// Physical base of the crash region.
    pub base: u64,
    /// Length of the crash region in bytes.
    pub len: u64,
    /// First eight bytes of the image's build-id, big-endian.
    pub build_id: u64,
    /// What the digest took when the image was loaded, ns: what [`Kexec::verify`] should need.
    pub digest_ns: u64,
}

/// What the quiesce did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quiesced {
    /// Interrupt sources masked.
    pub sources: u32,
    /// Sources that refused.
    pub refused: u32,
}

/// What the next kernel must be told; the port turns it into its boot protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Handoff {
    /// Physical address of the crash record.
    pub record: u64,
    /// Its length in bytes.
    pub record_len: u64,
}

/// The crash image and the way into it.
pub trait Kexec {
    /// The loaded image, or why there is none.
    fn image(&self) -> Result<&Image, KexecError>;

    /// Compares the image with the digest taken when it was loaded.
    ///
    /// # After
    /// Nothing was changed, whatever the result.
    fn verify(&self) -> Result<Verified<'_>, KexecError>;

    /// Masks every interrupt source that could reach the next kernel. Bounded.
    ///
    /// # Before
    /// Interrupts masked on the executing CPU; the others stopped or named as missing.
    fn quiesce(&self) -> Result<Quiesced, KexecError>;

    /// Enters the image on the executing CPU. The image's command line gets
    /// `capture.record=ADDRESS,LENGTH` from `handoff` in place of its boot-time one.
    ///
    /// # Before
    /// [`Kexec::quiesce`] was called. Every other CPU is parked or on its way into the park loop, or is
    /// named as missing in the record: the port makes sure that what such a CPU may still do cannot
    /// disturb the next kernel, as far as the machine lets it.
    ///
    /// # After
    /// Does not return, unless the jump could not be made; then the machine is as before and the
    /// error says why.
    fn jump(&self, image: Verified<'_>, handoff: &Handoff) -> KexecError;
}
