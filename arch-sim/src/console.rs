//! The emergency console: a buffer, until it goes wrong.

use hal::console::EmergencyConsole;

use crate::faults::{Call, Lie};
use crate::oracle::Act;
use crate::platform::{Sim, call, lies};
use crate::world::{World, with};
use crate::{bench, scheduler};

impl World {
    /// The step that an event line is about, for the coverage.
    fn stage_of(&mut self, line: &[u8]) {
        if !line.starts_with(b"@mayday panic ") {
            return;
        }
        let begins = line.windows(12).position(|part| part == b" begin step=");
        let Some(at) = begins else { return };
        let name = line[at + 12..].split(|byte| *byte == b' ').next().unwrap_or(b"");
        let step = core::str::from_utf8(name).ok().and_then(crash_record::names::Step::from_name);
        self.stage = step.map_or(0, |step| step.number().into());
    }
}

impl EmergencyConsole for Sim {
    fn write(&self, bytes: &[u8]) -> usize {
        scheduler::hal_call(false);
        with(|world| {
            world.act(Act::Console);
            world.stage_of(bytes);
            if world.console.len() + bytes.len() <= world.console.capacity() {
                world.console.extend_from_slice(bytes);
            }
            if bytes.first() == Some(&b'@') {
                world.tell(|| String::from_utf8_lossy(bytes).trim_end().to_string());
            }
        });
        let taken = match call(Call::Console) {
            Some(_) => 0,
            None if lies(Lie::Written) => bytes.len().saturating_sub(1),
            None => bytes.len(),
        };
        bench::listen(bytes);
        taken
    }
    fn read(&self) -> Option<u8> {
        if lies(Lie::Read) {
            with(|world| world.shown += 3_600_000_000_000);
        }
        None
    }
}
