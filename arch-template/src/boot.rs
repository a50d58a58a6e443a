//! From the machine's first instruction to `mayday_main`.
//!
//! Questions for the porter:
//! * What does the boot protocol leave in which register, in which mode and which byte order?
//! * Which CPU boots: always the same one? CPU 0 is the one that boots, and observers take CPU n for the emulator's n.
//! * Where is the memory map, the command line, the second image (the crash image)?
//! * Which of the linker script's symbols does the entry code use? (The list is in `PORTING.md`.)
//!
//! Answers:
//! * `arch-x86_64/src/boot.rs`: `x86_boot`
//! * `arch-ppc64/src/boot.rs`: `ppc_boot`

use hal::Unsupported;
use hal::boot::BootInfo;

/// The first instruction, until `asm/entry.S` brings a real one: it sets no stack up, so it may do nothing.
#[cfg(mayday_metal)]
#[allow(unsafe_code)]
// SAFETY: the name is this port's own, and the linker script puts the section at the image's start.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".text.template_entry")]
extern "C" fn template_entry() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// What firmware said about the machine, to be handed to `mayday_main`.
pub fn information() -> Result<BootInfo, Unsupported> {
    Err(Unsupported::new("this port has no entry point"))
}
