//! The bench's notifiers: one that logs in each class that informs, ones that go wrong on request, and
//! the one that lets the bench look before the end.

use core::fmt;

use core_panic::notifier::{Context, Notifier, Refusal, Registration};
use crash_record::names::Class;
use hal::testload::Provoke;

use crate::console;
use crate::options::{NotifierFault, Options};
use crate::port;
use crate::state::NOTIFIERS;

struct Log;

impl Notifier for Log {
    fn name(&self) -> &'static str {
        "log"
    }
    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        context.line(format_args!("notifier: a panic is under way"));
        Ok(())
    }
}

struct Panics;

impl Notifier for Panics {
    fn name(&self) -> &'static str {
        "panics"
    }
    fn notify(&self, _context: &dyn Context) -> Result<(), Refusal> {
        panic!("a panic inside a notifier");
    }
}

struct ReadsNull;

impl Notifier for ReadsNull {
    fn name(&self) -> &'static str {
        "reads-null"
    }
    fn notify(&self, _context: &dyn Context) -> Result<(), Refusal> {
        port::trap::provoke(Provoke::NullRead)
    }
}

struct Hangs;

impl Notifier for Hangs {
    fn name(&self) -> &'static str {
        "hangs"
    }
    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        // Now and then politely: an emulator that runs one CPU at a time goes on to the next one there.
        loop {
            for _ in 0..10_000 {
                core::hint::black_box(());
            }
            context.relax();
        }
    }
}

/// Says that everything is over, and waits to be looked at.
struct Hold;

impl Notifier for Hold {
    fn name(&self) -> &'static str {
        "hold"
    }
    fn notify(&self, context: &dyn Context) -> Result<(), Refusal> {
        let ms = crate::state::options().hold_ms;
        if ms == 0 {
            return Err(Refusal::Skipped("run.hold is 0"));
        }
        context.event("hold", &[("ms", &ms as &dyn fmt::Display)]);
        console::hold(ms, || context.read());
        Ok(())
    }
}

/// Registers what the command line asks for. The wrong ones come before the logging one of their
/// class, so that a log line after them shows that it was not silenced.
pub fn register(options: &Options) {
    let mut all_in = true;
    let mut add = |class, priority, notifier| {
        all_in &= NOTIFIERS.register(Registration { class, priority, notifier }).is_ok();
    };
    for class in [Class::Inform, Class::PreReboot, Class::Terminal] {
        add(class, 0, &Log as &'static dyn Notifier);
    }
    for (class, fault) in options.faults.iter().flatten() {
        match fault {
            NotifierFault::Panic => add(*class, 10, &Panics),
            NotifierFault::Null => add(*class, 10, &ReadsNull),
            NotifierFault::Hang => add(*class, 10, &Hangs),
        }
    }
    add(Class::Terminal, i16::MIN, &Hold);
    if !all_in {
        console::line(format_args!("notifiers: the table is full, some are not registered"));
    }
}
