//! The bench's notifiers, as data: one that logs in each class that informs, ones that go wrong on
//! request, and the one that lets the bench look before the end. What they do is in `notify.rs`.

use crash_record::names::Class;

use crate::options::{NotifierFault, Options};

/// A notifier of the bench.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Puts a line into the log.
    Log,
    /// Says that everything is over, and waits to be looked at.
    Hold,
    /// Goes wrong.
    Wrong(NotifierFault),
}

impl Which {
    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Which::Log => "log",
            Which::Hold => "hold",
            Which::Wrong(NotifierFault::Panic) => "panics",
            Which::Wrong(NotifierFault::Null) => "reads-null",
            Which::Wrong(NotifierFault::Hang) => "hangs",
        }
    }
}

/// What every boot registers: class, priority, who.
const STANDING: [(Class, i16, Which); 4] = [
    (Class::Inform, 0, Which::Log),
    (Class::PreReboot, 0, Which::Log),
    (Class::Terminal, 0, Which::Log),
    (Class::Terminal, i16::MIN, Which::Hold),
];

/// What is registered under this command line. The wrong ones come before the logging one of their
/// class, so that a log line after them shows that it was not silenced.
pub fn wanted(options: &Options) -> impl Iterator<Item = (Class, i16, Which)> + '_ {
    let wrong = options.faults.iter().flatten().map(|(class, fault)| (*class, 10, Which::Wrong(*fault)));
    STANDING.into_iter().chain(wrong)
}
