//! What the bench's notifiers do.

use alloc::boxed::Box;
use core::fmt;

use core_panic::notifier::{BeforeDumpEntry, Context, LateClass, Notifier, Refusal, Registration};
use crash_record::names::CpuState;
use hal::cpu::Cpu;
use hal::dump::BeforeDump;
use hal::ipi::Ipi;
use hal::nmi::Nmi;
use hal::{CpuId, Platform};

use crate::notifiers::{FAULTS, WRONG, Which, wanted};
use crate::options::{NotifierFault, Options};
use crate::port::PORT;
use crate::state::{MAYDAY_RECORD, NOTIFIERS};
use crate::{bench, console, firmware, hammer, nmis, trial};

impl Notifier for Which {
    fn name(&self) -> &'static str {
        Which::name(*self)
    }

    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        match self {
            Which::Log => {
                context.line(format_args!("notifier: a panic is under way"));
                Ok(())
            }
            Which::Hold => hold(context),
            Which::Clock => firmware::clock(context),
            Which::Journal if crate::state::options().hammer.is_some() => hammer::log(context),
            Which::Journal => trial::log(context),
            Which::Wrong(NotifierFault::Fault(fault)) => {
                bench::go_wrong(*fault);
                Ok(())
            }
            Which::Wrong(NotifierFault::Refuse) => Err(Refusal::Failed("nobody else is to be told")),
            Which::Wrong(NotifierFault::StopAgain) => stop_again(),
            Which::Wrong(NotifierFault::Die) => nmis::die(),
            Which::Wrong(NotifierFault::Await) => nmis::awaits_the_late(),
            Which::Wrong(NotifierFault::Allocate) => {
                let there = core::hint::black_box(Box::new(0x5a_u8));
                context.line(format_args!("notifier: {there} is on the heap"));
                Ok(())
            }
        }
    }
}

/// What a driver does that brings its own way to stop the others.
fn stop_again() -> Result<(), Refusal> {
    let (Ok(ipi), Ok(nmi)) = (PORT.ipi(), PORT.nmi()) else {
        return Err(Refusal::Skipped("this machine cannot"));
    };
    for cpu in CpuId::all().filter(|cpu| *cpu != PORT.current()) {
        // Only those that were stopped: a signal may wake one that never came up.
        if MAYDAY_RECORD.state(cpu) == CpuState::Parked {
            let sent = ipi.send_stop(cpu).and_then(|_| nmi.send(cpu));
            sent.map_err(|_| Refusal::Failed("a signal was not sent"))?;
        }
    }
    Ok(())
}

fn hold(context: &dyn Context) -> Result<(), Refusal> {
    let ms = crate::state::options().hold_ms;
    if ms == 0 {
        return Err(Refusal::Skipped("run.hold is 0"));
    }
    context.event("hold", &[("ms", &ms as &dyn fmt::Display)]);
    console::hold(ms, || context.read());
    Ok(())
}

// SAFETY: none of them runs unless the command line of a test asks for it, and then to break the contract:
// what becomes of the path when somebody's word was not worth much is what that test looks at.
unsafe impl BeforeDump for Which {}

/// The notifiers of class `BeforeDump`: each fault once, armed by a test.
pub static BEFORE_DUMP: [BeforeDumpEntry; FAULTS.len()] = {
    const fn entry(number: usize) -> BeforeDumpEntry {
        BeforeDumpEntry { priority: WRONG, standing: false, notifier: &WRONGS[number] }
    }
    [entry(0), entry(1), entry(2), entry(3), entry(4), entry(5), entry(6), entry(7)]
};

/// One of each fault, in the order of [`FAULTS`].
static WRONGS: [Which; FAULTS.len()] = {
    let mut all = [Which::Log; FAULTS.len()];
    let mut number = 0;
    while number < FAULTS.len() {
        all[number] = Which::Wrong(FAULTS[number]);
        number += 1;
    }
    all
};

fn of(which: Which) -> &'static Which {
    match which {
        Which::Log => &Which::Log,
        Which::Hold => &Which::Hold,
        Which::Journal => &Which::Journal,
        Which::Clock => &Which::Clock,
        wrong => WRONGS.iter().find(|known| **known == wrong).unwrap_or(&Which::Log),
    }
}

/// Registers, or arms, what the command line asks for.
pub fn register(options: &Options) {
    for (class, priority, which) in wanted(options) {
        let notifier = of(which);
        let done = match LateClass::of(class) {
            Some(class) => NOTIFIERS.register(Registration { class, priority, notifier }).is_ok(),
            None => {
                let line = FAULTS.iter().position(|fault| which == Which::Wrong(*fault));
                line.is_some_and(|line| NOTIFIERS.arm(line))
            }
        };
        if !done {
            let name = which.name();
            console::line(format_args!("notifiers: no room for `{name}`, it is not registered"));
        }
    }
}
