//! The bench's notifiers, as data: one that logs in each class that informs, ones that go wrong on
//! request, and the one that lets the bench look before the end. What they do is in `notify.rs`.

use crash_record::names::Class;

use crate::options::{Fault, NotifierFault, Options};

/// A notifier of the bench.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// Puts a line into the log.
    Log,
    /// Says that everything is over, and waits to be looked at.
    Hold,
    /// Writes to the journal that other CPUs write to.
    Journal,
    /// Asks firmware for the time.
    Clock,
    /// Goes wrong.
    Wrong(NotifierFault),
}

impl Which {
    /// The name in the record.
    pub fn name(self) -> &'static str {
        match self {
            Which::Log => "log",
            Which::Hold => "hold",
            Which::Journal => "journal",
            Which::Clock => "clock",
            Which::Wrong(NotifierFault::Fault(Fault::Panic)) => "panics",
            Which::Wrong(NotifierFault::Fault(Fault::Null)) => "reads-null",
            Which::Wrong(NotifierFault::Fault(Fault::Hang)) => "hangs",
            Which::Wrong(NotifierFault::Refuse) => "refuses",
            Which::Wrong(NotifierFault::StopAgain) => "stops-again",
            Which::Wrong(NotifierFault::Die) => "dies",
            Which::Wrong(NotifierFault::Allocate) => "allocates",
            Which::Wrong(NotifierFault::Await) => "awaits",
        }
    }
}

/// The lines of the constant table: the faults, in the order of `FAULTS`.
pub const FAULTS: [NotifierFault; 8] = [
    NotifierFault::Fault(Fault::Panic),
    NotifierFault::Fault(Fault::Null),
    NotifierFault::Fault(Fault::Hang),
    NotifierFault::Refuse,
    NotifierFault::StopAgain,
    NotifierFault::Die,
    NotifierFault::Allocate,
    NotifierFault::Await,
];

/// The priority of what goes wrong.
pub const WRONG: i16 = 10;

/// What every boot registers: class, priority, who.
const STANDING: [(Class, i16, Which); 4] = [
    (Class::Inform, 0, Which::Log),
    (Class::PreReboot, 0, Which::Log),
    (Class::Terminal, 0, Which::Log),
    (Class::Terminal, i16::MIN, Which::Hold),
];

/// What runs in a panic under this command line. The wrong ones come before the logging one of their
/// class, so that a log line after them shows that it was not silenced.
pub fn wanted(options: &Options) -> impl Iterator<Item = (Class, i16, Which)> + '_ {
    let wrong = options.faults.iter().flatten().map(|(class, fault)| (*class, WRONG, Which::Wrong(*fault)));
    let clock = options.firmware.is_some().then_some((Class::Inform, 2 * WRONG, Which::Clock));
    let wants = options.hammer.is_some() || options.roles.iter().any(Option::is_some);
    let journal = wants.then_some((Class::Inform, 2 * WRONG, Which::Journal));
    STANDING.into_iter().chain(wrong).chain(journal).chain(clock)
}
