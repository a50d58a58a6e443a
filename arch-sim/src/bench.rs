//! Steps that go wrong inside: the step's own work panics, faults or hangs, as behind the kernel's `test.step`.
//!
//! The sequence does not know of this. That a step begins is read off the console, where the sequence says so; the fault
//! comes out of the clock the second time that the step asks for the time, which is inside its body. A stop goes wrong
//! once its first signals are out: before that it would have stopped nobody. A final action fails in the firmware.

use crash_record::names::{CpuState, Step};
use hal::CpuId;

use crate::faults::What;
use crate::scenario::{Body, Handler};
use crate::world::{World, machine, with};
use crate::{scheduler, trap};

/// How often a step asks for the time until it is inside its body.
const INSIDE: u8 = 2;
/// What the line says with which the stop ends.
const STOP_ENDS: &[u8] = b" end step=stop ";

/// The step that is about to go wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct Due {
    what: Option<What>,
    /// In how many questions for the time of this CPU, asked by what runs in so many handlers.
    left: u8,
    owner: usize,
    nesting: u8,
    /// A firmware call has gone wrong: once is enough.
    firmware: bool,
}

impl World {
    fn wrong(&self, step: Step) -> Option<What> {
        self.scenario.steps.iter().flatten().find(|(named, _)| *named == step).map(|(_, what)| *what)
    }

    /// The executing CPU leaves the stack that it ran on: what was to go wrong there is abandoned.
    pub(crate) fn abandons_step(&mut self) {
        self.due.what = None;
    }

    fn hears(&mut self, line: &[u8]) {
        let has = |what: &[u8]| line.windows(what.len()).any(|part| part == what);
        for (step, what) in self.scenario.steps.into_iter().flatten().filter(|(step, _)| *step != Step::Final)
        {
            let signals = step == Step::Stop && self.count > 1;
            let said = match signals {
                true => has(b" rung rung="),
                false => has(format!(" begin step={step} ").as_bytes()),
            };
            if said {
                let left = if signals { 1 } else { INSIDE };
                let (owner, nesting) = (self.current, self.cpus[self.current].nesting);
                self.due = Due { what: Some(what), left, owner, nesting, ..self.due };
            }
        }
    }

    fn counts(&mut self) -> Option<What> {
        let what = self.due.what?;
        // What is asked in a handler is not the step's question.
        if self.due.owner != self.current || self.cpus[self.current].nesting > self.due.nesting {
            return None;
        }
        self.due.left -= 1;
        (self.due.left == 0).then(|| self.due.what.take()).map(|_| what)
    }
}

fn go_wrong(what: What) {
    match what {
        What::Hang => scheduler::hang(),
        what => trap::fault(what),
    }
}

/// The sequence writes a line.
pub(crate) fn listen(line: &[u8]) {
    let late = with(|world| {
        if world.scenario.steps.iter().any(Option::is_some) {
            world.hears(line);
        }
        let late = |body: &Body| *body == Body::Handles(Handler::Late);
        let over = || line.windows(STOP_ENDS.len()).any(|part| part == STOP_ENDS);
        world.scenario.cpus.iter().position(late).filter(|_| over())
    });
    // The CPU that is late parks now, and is waited for.
    if let Some(cpu) = late.flatten().and_then(CpuId::new) {
        while machine().record.state(cpu) != CpuState::Parked {
            scheduler::relax();
        }
    }
}

/// The executing CPU asks for the time.
pub(crate) fn count() {
    if let Some(what) = with(World::counts).flatten() {
        go_wrong(what);
    }
}

/// The executing CPU calls firmware.
pub(crate) fn firmware() {
    let wrong = with(|world| {
        let once = !std::mem::replace(&mut world.due.firmware, true);
        world.wrong(Step::Final).filter(|_| once)
    });
    if let Some(what) = wrong.flatten() {
        go_wrong(what);
    }
}
