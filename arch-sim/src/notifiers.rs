//! Notifiers that do what the scenario says.

use core_panic::notifier::{BeforeDumpEntry, Context, Notifier, Refusal};
use hal::dump::BeforeDump;

use crate::faults::What;
use crate::oracle::Act;
use crate::scenario::{Does, MAX_NOTIFIERS};
use crate::{scheduler, trap, world};

struct Simulated(usize);

const NAMES: [&str; MAX_NOTIFIERS] = [
    "n00", "n01", "n02", "n03", "n04", "n05", "n06", "n07", "n08", "n09", "n10", "n11", "n12", "n13", "n14",
    "n15", "n16", "n17", "n18", "n19",
];

static ALL: [Simulated; MAX_NOTIFIERS] = {
    let mut all = [const { Simulated(0) }; MAX_NOTIFIERS];
    let mut at = 0;
    while at < MAX_NOTIFIERS {
        all[at] = Simulated(at);
        at += 1;
    }
    all
};

/// The notifier with this place in the scenario.
pub fn notifier(number: usize) -> &'static dyn Notifier {
    &ALL[number % MAX_NOTIFIERS]
}

// SAFETY: nothing of a real machine is at stake. Some of these break the contract on purpose, in a scenario
// that is about that.
unsafe impl BeforeDump for Simulated {}

/// The constant table: every notifier once; a scenario arms those that it has in that class.
pub static BEFORE_DUMP: [BeforeDumpEntry; MAX_NOTIFIERS] = {
    let mut table =
        [const { BeforeDumpEntry { priority: 0, standing: false, notifier: &ALL[0] } }; MAX_NOTIFIERS];
    let mut at = 0;
    while at < MAX_NOTIFIERS {
        table[at].notifier = &ALL[at];
        at += 1;
    }
    table
};

/// Its name.
pub fn name(number: usize) -> &'static str {
    NAMES[number % MAX_NOTIFIERS]
}

impl Notifier for Simulated {
    fn name(&self) -> &'static str {
        name(self.0)
    }

    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        let spec = world::with(|world| {
            let spec = world.scenario.notifiers[self.0];
            if let Some(spec) = spec {
                world.act(Act::Notifier(self.0 as u8, spec.class));
            }
            spec
        });
        match spec.flatten().map_or(Does::Work, |spec| spec.does) {
            Does::Work => Ok(()),
            Does::Talk => {
                context.line(format_args!("told"));
                Ok(())
            }
            Does::Skip => Err(Refusal::Skipped("nothing to do")),
            Does::Fail => Err(Refusal::Failed("it did not work")),
            Does::Panic => trap::fault(What::Panic),
            Does::Fault => trap::fault(What::Fault),
            Does::Spin => loop {
                context.relax();
            },
            Does::Hang => scheduler::hang(),
            Does::Slow => {
                context.relax();
                Ok(())
            }
        }
    }
}
