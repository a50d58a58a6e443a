//! The jump into the crash image: not yet. The machine file hands no second image over, so there is none to load.

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
