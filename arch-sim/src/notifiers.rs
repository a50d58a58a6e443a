//! Notifiers that do what the scenario says.

use core_panic::notifier::{BeforeDumpEntry, Context, Notifier, Refusal};
use crash_record::names::CpuState;
use hal::CpuId;
use hal::dump::BeforeDump;
use hal::store::Store;

use crate::faults::What;
use crate::lock::{self, Which};
use crate::oracle::Act;
use crate::plan::{self, Device};
use crate::platform::SIM;
use crate::scenario::{Does, MAX_NOTIFIERS, Scenario};
use crate::world::machine;
use crate::{MAX_CPUS, scheduler, services, trap, world};

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

/// The name of the notifier with this place in a scenario.
pub fn name(scenario: &Scenario, number: usize) -> &'static str {
    let number = number % MAX_NOTIFIERS;
    scenario.notifiers[number].and_then(|spec| spec.name).unwrap_or(NAMES[number])
}

/// A piece of work.
fn works() {
    scheduler::hal_call(true);
}

fn store(context: &dyn Context, entry: &[u8]) -> Result<(), Refusal> {
    let written = lock::enter(Which::Store, context, || SIM.write(0, entry))?;
    written.map_err(|_| Refusal::Failed("the store did not take it"))
}

/// What a driver does that brings its own way to stop the others: none of these signals is the sequence's.
fn stop_again() {
    let parked = |cpu: &CpuId| machine().record.state(*cpu) == CpuState::Parked;
    for cpu in CpuId::all().take(MAX_CPUS).filter(parked) {
        world::with(|world| {
            let it = &mut world.cpus[cpu.index()];
            (it.ipi_pending, it.nmi_pending) = (true, true);
        });
        scheduler::hal_call(true);
    }
}

/// Who keeps the record.
pub struct Keeper;

/// The one there is.
pub static KEEPER: Keeper = Keeper;

impl Notifier for Keeper {
    fn name(&self) -> &'static str {
        "keeper"
    }

    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        store(context, b"the record")
    }
}

impl Notifier for Simulated {
    fn name(&self) -> &'static str {
        world::with(|world| name(&world.scenario, self.0)).unwrap_or("?")
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
            Does::Enter(which) => lock::enter(which, context, works),
            Does::EnterAndPanic(which) => lock::enter(which, context, || trap::fault(What::Panic)),
            Does::EnterTwice(which) => lock::enter(which, context, || {
                // Somebody up the stack has it.
                let _ = lock::enter(which, context, works);
            }),
            Does::Lock(which) => lock::hold(which, works).ok_or(Refusal::Skipped("no such lock")),
            Does::Ordinary => {
                lock::ordinary(works);
                Ok(())
            }
            Does::Call(id) => services::on_the_panic_path(id).map_err(|forbidden| {
                context.line(format_args!("{id:?}: {forbidden}"));
                Refusal::Skipped("firmware may not be called")
            }),
            Does::Store => store(context, b"a panic"),
            Does::StopAgain => {
                stop_again();
                Ok(())
            }
            Does::Die => {
                world::with(|world| world.me().nmi_blocked = true);
                scheduler::hang()
            }
            Does::Device => lock::enter(Which::Console, context, || plan::device(Device::write)),
        }
    }
}
