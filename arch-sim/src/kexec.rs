//! The crash image and the way into it.

use hal::kexec::{Handoff, Image, Kexec, KexecError, Quiesced, Verified};

use crate::faults::Call;
use crate::machine::RECORD_BASE;
use crate::oracle::Act;
use crate::platform::{Sim, call, faults};
use crate::scheduler;
use crate::services::{Kind, mask};
use crate::world::{End, with};

/// Interrupt sources that are let in.
const SOURCES: u32 = 2;

static IMAGE: Image =
    Image { entry: 0x100_0000, base: 0x100_0000, len: 0x10_0000, build_id: 8, digest_ns: 1_000_000 };

impl Kexec for Sim {
    fn image(&self) -> Result<&Image, KexecError> {
        scheduler::hal_call(false);
        if call(Call::Image).is_some() || faults().no_image {
            return Err(KexecError::NoImage("none was given"));
        }
        Ok(&IMAGE)
    }
    fn verify(&self) -> Result<Verified<'_>, KexecError> {
        scheduler::hal_call(false);
        with(|world| world.act(Act::Verify));
        if call(Call::Verify).is_some() || faults().bad_digest {
            return Err(KexecError::Digest);
        }
        Ok(Verified::attest(&IMAGE))
    }
    fn quiesce(&self) -> Result<Quiesced, KexecError> {
        scheduler::hal_call(false);
        with(|world| world.act(Act::Quiesce));
        if call(Call::Quiesce).is_some() {
            return Ok(Quiesced { sources: u32::MAX, refused: u32::MAX });
        }
        let kind = with(|world| world.scenario.firmware).unwrap_or(Kind::Plain);
        Ok(Quiesced { sources: SOURCES, refused: mask(kind, SOURCES) })
    }
    fn jump(&self, _: Verified<'_>, handoff: &Handoff) -> KexecError {
        scheduler::hal_call(true);
        with(|world| {
            world.act(Act::Jump);
            world.oracle.leaving = true;
            if handoff.record != RECORD_BASE {
                let record = handoff.record;
                world.violation("P9", format_args!("the next kernel looks for the record at {record:#x}"));
            }
        });
        if call(Call::Jump).is_some() || faults().jump_fails {
            with(|world| world.oracle.leaving = false);
            return KexecError::Failed("the trampoline is not mapped");
        }
        scheduler::leave(End::Jumped)
    }
}
