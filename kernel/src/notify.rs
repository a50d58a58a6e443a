//! What the bench's notifiers do.

use core::fmt;

use core_panic::notifier::{Context, Notifier, Refusal, Registration};
use hal::testload::Provoke;

use crate::console;
use crate::notifiers::{Which, wanted};
use crate::options::{NotifierFault, Options};
use crate::port;
use crate::state::NOTIFIERS;

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
            Which::Wrong(NotifierFault::Panic) => panic!("a panic inside a notifier"),
            Which::Wrong(NotifierFault::Null) => port::trap::provoke(Provoke::NullRead),
            Which::Wrong(NotifierFault::Hang) => loop {
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

const fn of(which: Which) -> &'static Which {
    match which {
        Which::Log => &Which::Log,
        Which::Hold => &Which::Hold,
        Which::Wrong(NotifierFault::Panic) => &Which::Wrong(NotifierFault::Panic),
        Which::Wrong(NotifierFault::Null) => &Which::Wrong(NotifierFault::Null),
        Which::Wrong(NotifierFault::Hang) => &Which::Wrong(NotifierFault::Hang),
    }
}

/// Registers what the command line asks for.
pub fn register(options: &Options) {
    for (class, priority, which) in wanted(options) {
        if NOTIFIERS.register(Registration { class, priority, notifier: of(which) }).is_err() {
            let name = which.name();
            console::line(format_args!("notifiers: the table is full, `{name}` is not registered"));
        }
    }
}
