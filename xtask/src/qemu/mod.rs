//! Running a machine: from a plan to the evidence that a verdict is made of.
//!
//! * [`plan`] makes every choice and writes the emulator's arguments.
//! * [`emulator`] starts it; [`session`] listens to it, types, and knows when to give up.
//! * [`inspect`] reads memory and registers from outside while the guest holds still.
//! * [`qmp`] speaks the monitor protocol, [`debugger`] the debugger's, [`kill`] sees to it that nothing is left behind,
//!   [`folder`] is where a run's files go.

pub mod debugger;
pub mod emulator;
pub mod folder;
pub mod inspect;
pub mod kill;
pub mod plan;
pub mod qmp;
pub mod session;

use std::time::Duration;

use crash_record::event::Stream;

use crate::events::{Event, EventLog};
use crate::symbols::Symbols;

/// What a run left behind.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Events, parsed.
    pub log: EventLog,
    /// The console, line by line.
    pub console: Vec<String>,
    /// How it ended.
    pub ended: Ended,
    /// `reason` of every QMP event SHUTDOWN.
    pub shutdowns: Vec<String>,
    /// What the runner saw when the guest held still, each time.
    pub inspections: Vec<inspect::Inspection>,
    /// What went wrong in looking, if something did.
    pub inspection_problems: Vec<String>,
    /// What became of each of the scenario's inputs.
    pub inputs: Vec<Input>,
    /// The file behind the firmware store, if the run had one.
    pub store: Option<crate::store::File>,
    /// What the emulator said on its standard error.
    pub stderr: String,
    /// Wall time.
    pub wall: Duration,
}

/// One `[[input]]` of a scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The event that it waits for.
    pub after: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its event did not come.
    Waits,
    /// It was given to the emulator, which did not object.
    Given,
    /// A QMP command with this number, which was not answered.
    Asked(u64),
    /// The emulator's objection.
    Refused(String),
    /// When its time came there was nobody left whom it is about.
    TooLate,
}

impl Evidence {
    /// The last look, taken while the right kernel held still: the capture kernel, or the one that panicked.
    pub fn inspection(&self, capture: bool) -> Option<&inspect::Inspection> {
        let stream = if capture { Stream::Capture } else { Stream::Panic };
        self.inspections.iter().rev().find(|inspection| inspection.stream == stream)
    }
}

/// How the emulator's life ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exit(i32),
    /// A signal killed it that the runner did not send.
    Signal(i32),
    /// Nothing came from the console for this long; the runner killed it.
    Idle(Duration),
    /// It was not through after this long; the runner killed it.
    Deadline(Duration),
    /// The machine stopped by itself, in this run state; the runner killed it.
    Stopped(String),
    /// The guest stayed up after its `final` event, and the runner ended it.
    Stayed,
}

/// Watches a run as it happens.
pub trait Observer {
    /// The image that is about to run.
    fn image(&mut self, _symbols: &Symbols) {}
    /// A line of the console is complete. `events` are those on it.
    fn line(&mut self, at: Duration, line: &str, events: &[Event]);
    /// The runner does something that a person wants to know.
    fn note(&mut self, at: Duration, text: &str);
}

/// Nobody watches.
pub struct Unobserved;

impl Observer for Unobserved {
    fn line(&mut self, _: Duration, _: &str, _: &[Event]) {}
    fn note(&mut self, _: Duration, _: &str) {}
}
