//! What the bench's notifiers do.

use core::fmt;

use core_panic::notifier::{BeforeDumpEntry, Context, LateClass, Notifier, Refusal, Registration};
use hal::dump::BeforeDump;
use hal::testload::Provoke;

use crate::notifiers::{FAULTS, WRONG, Which, wanted};
use crate::options::{NotifierFault, Options};
use crate::port;
use crate::state::NOTIFIERS;
use crate::{console, hammer};

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
            Which::Journal => hammer::log(context),
            Which::Wrong(NotifierFault::Panic) => panic!("a panic inside a notifier"),
            Which::Wrong(NotifierFault::Null) => port::trap::provoke(Provoke::NullRead),
            // Now and then politely: an emulator that runs one CPU at a time goes on to the next one there.
            Which::Wrong(NotifierFault::Hang) => loop {
                for _ in 0..10_000 {
                    core::hint::black_box(());
                }
                context.relax();
            },
        }
    }
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
    const fn entry(which: &'static Which) -> BeforeDumpEntry {
        BeforeDumpEntry { priority: WRONG, standing: false, notifier: which }
    }
    [
        entry(of(Which::Wrong(FAULTS[0]))),
        entry(of(Which::Wrong(FAULTS[1]))),
        entry(of(Which::Wrong(FAULTS[2]))),
    ]
};

const fn of(which: Which) -> &'static Which {
    match which {
        Which::Log => &Which::Log,
        Which::Hold => &Which::Hold,
        Which::Journal => &Which::Journal,
        Which::Wrong(NotifierFault::Panic) => &Which::Wrong(NotifierFault::Panic),
        Which::Wrong(NotifierFault::Null) => &Which::Wrong(NotifierFault::Null),
        Which::Wrong(NotifierFault::Hang) => &Which::Wrong(NotifierFault::Hang),
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
