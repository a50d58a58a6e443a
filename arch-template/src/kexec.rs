//! The jump into the crash image.
//!
//! Questions for the porter:
//! * Where is the crash region, and how is it kept from being written before the jump?
//! * Which interrupt sources must be masked so that none reaches the next kernel? What of an IPI that is pending?
//! * May the image run at another address than its link address? The crash image is this kernel's own file.
//! * What does the boot protocol of the next kernel want, and where is the code that does the last switch?
//!
//! Answers:
//! * `arch-x86_64/src/kexec.rs`: `image`, `verify`, `quiesce`, `jump`, `load`, `crash_module`
//! * `arch-ppc64/src/kexec.rs`: `image`, `verify`, `quiesce`, `jump`, `load`, `crash_module`

use crate::Absent;
use hal::kexec::{Handoff, Image, Kexec, KexecError, Quiesced, Verified};

impl Kexec for Absent {
    fn image(&self) -> Result<&Image, KexecError> {
        match *self {}
    }

    fn verify(&self) -> Result<Verified<'_>, KexecError> {
        match *self {}
    }

    fn quiesce(&self) -> Result<Quiesced, KexecError> {
        match *self {}
    }

    fn jump(&self, _image: Verified<'_>, _handoff: &Handoff) -> KexecError {
        match *self {}
    }
}

/// Places the ELF image `elf` into the crash region `(base, length in bytes)` with the command line that it
/// will get. Called at boot.
pub fn load(_elf: &'static [u8], _region: (u64, u64), _command_line: &str) -> Result<Image, KexecError> {
    Err(KexecError::NoImage("this port has no crash region"))
}

/// The crash image that the boot loader handed over, as bytes.
pub fn crash_module() -> Option<&'static [u8]> {
    None
}

/// The crash region, physical base and length in bytes: of no length, so that nothing fits into it.
pub fn region() -> (u64, u64) {
    (0, 0)
}

/// Spoils the loaded image by one byte, for tests of [`Kexec::verify`]. There is none.
pub fn flip_byte() {}
