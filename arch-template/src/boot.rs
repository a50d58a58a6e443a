//! From the machine's first instruction to `mayday_main`.
//!
//! Questions for the porter:
//! * What does the boot protocol leave in which register, in which mode and which byte order?
//! * Where is the memory map, the command line, the second image (the crash image)?
//! * Which of the linker script's symbols does the entry code use? (The list is in `PORTING.md`.)

use hal::Unsupported;
use hal::boot::BootInfo;

/// What firmware said about the machine, to be handed to `mayday_main`.
pub fn information() -> Result<BootInfo, Unsupported> {
    Err(Unsupported::new("this port has no entry point"))
}
