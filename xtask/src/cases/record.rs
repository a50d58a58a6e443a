//! The crash record as a report shows it: what the runner read out of the guest's memory, addresses named.

use crash_record::event::Stream;
use crash_record::layout::{header, slot};
use crash_record::view::{CpuSlot, Entry as View, RecordView};
use serde::{Deserialize, Serialize};

use crate::qemu::Evidence;
use crate::symbols::Symbols;

/// Lines of the log that are kept, the newest.
const LOG_TAIL: usize = 48;

/// What is in a record. Times are the guest's, in ns; 0 where nothing happened.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Record {
    /// Which kernel held still when it was read.
    pub read_in: String,
    /// One checksum over what does not change any more.
    pub digest: String,
    /// The owner of the panic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<usize>,
    /// The claim.
    pub claimed_ns: u64,
    /// The end of the stop step.
    pub stopped_ns: u64,
    /// NMIs that were returned from.
    pub surplus_nmis: u64,
    /// Every CPU that the kernel knew of.
    pub cpus: Vec<Cpu>,
    /// What was written down, in order.
    pub entries: Vec<Entry>,
    /// The newest lines of the log: CPU, clock, text.
    pub log: Vec<(usize, u64, String)>,
    /// What does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A CPU's slot.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cpu {
    /// Number.
    pub cpu: usize,
    /// Its state, as it said itself.
    pub own_state: String,
    /// Its state, as the owner says.
    pub state: String,
    /// What it does besides being parked.
    pub role: String,
    /// What stopped it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub rung: String,
    /// The first signal to it.
    pub signalled_ns: u64,
    /// IPIs and NMIs to it.
    pub signals: (u64, u64),
    /// When it said that it would finish its critical section first.
    pub deferred_ns: u64,
    /// When the owner ended that.
    pub cut_ns: u64,
    /// When it saved its registers: of a stopped one, when it had stopped.
    pub saved_ns: u64,
    /// Locks that it held at its first signal, and in the end.
    pub held: (u64, u64),
    /// Why it stopped with locks held.
    pub orphan: String,
    /// Whom it waited for when it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<u64>,
    /// Where it was when it saved its registers, and who had called.
    pub backtrace: Vec<Place>,
    /// Where a deferred one was at its first signal, and who had called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first_backtrace: Vec<Place>,
}

/// An address, and what is there; empty if nothing is known to be.
pub type Place = (String, String);

/// An entry.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// What it is about.
    pub kind: String,
    /// The step that was running.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// How it ended.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// Who wrote it.
    pub cpu: usize,
    /// When it began.
    pub began_ns: u64,
    /// When it ended.
    pub ended_ns: u64,
    /// What its argument says, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub argument: String,
    /// Its text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// The newest record that was read.
pub fn read(evidence: &Evidence, symbols: &Symbols) -> Option<Record> {
    let inspection = evidence.inspections.iter().rev().find(|inspection| inspection.record.is_some())?;
    let view = RecordView::parse(inspection.record.as_deref()?).ok()?;
    let mut problems = Vec::new();
    let entries: Vec<_> = view
        .entries()
        .filter_map(|entry| entry.map_err(|error| problems.push(error.to_string())).ok())
        .map(|entry| Entry::from(&entry))
        .collect();
    let cpus = view.slots().map(|slot| cpu(&slot, symbols, &mut problems)).collect();
    let log: Vec<_> = view.log().map(|line| (line.cpu, line.at, line.text.to_owned())).collect();
    Some(Record {
        read_in: match inspection.stream {
            Stream::Capture => "the capture kernel".to_owned(),
            Stream::Boot | Stream::Panic => "the kernel that panicked".to_owned(),
        },
        digest: format!("{:08x}", view.digest()),
        owner: view.owner(),
        claimed_ns: view.word(header::CLAIMED_AT),
        stopped_ns: view.word(header::STOPPED_AT),
        surplus_nmis: view.word(header::SURPLUS_NMIS),
        cpus,
        entries,
        log: log[log.len().saturating_sub(LOG_TAIL)..].to_vec(),
        problems,
    })
}

fn cpu(from: &CpuSlot, symbols: &Symbols, problems: &mut Vec<String>) -> Cpu {
    let signals = from.word(slot::OWNER_SIGNALS);
    let mut cpu = Cpu {
        cpu: from.cpu,
        own_state: from.state().map_or("unknown", |state| state.name()).to_owned(),
        state: from.owner_state().map_or("unknown", |state| state.name()).to_owned(),
        role: from.role().map_or("unknown", |role| role.name()).to_owned(),
        signalled_ns: from.word(slot::OWNER_SIGNALLED_AT),
        signals: (signals & 0xffff_ffff, signals >> 32),
        deferred_ns: from.word(slot::DEFERRED_AT),
        cut_ns: from.word(slot::OWNER_CUT_AT),
        held: (from.word(slot::HELD_FIRST), from.word(slot::HELD_LAST)),
        orphan: from.orphan().map_or("unknown", |orphan| orphan.name()).to_owned(),
        blocked_by: from.word(slot::BLOCKED_BY).checked_sub(1),
        ..Cpu::default()
    };
    match from.saved() {
        Ok(Some(saved)) => {
            saved.rung.name().clone_into(&mut cpu.rung);
            cpu.saved_ns = saved.saved_at;
            cpu.backtrace = places(saved.pc, saved.backtrace(), symbols);
        }
        Ok(None) => {}
        Err(error) => problems.push(error.to_string()),
    }
    match from.first() {
        Ok(Some(first)) => cpu.first_backtrace = places(first.pc, first.backtrace(), symbols),
        Ok(None) => {}
        Err(error) => problems.push(error.to_string()),
    }
    cpu
}

fn places(pc: u64, callers: impl Iterator<Item = u64>, symbols: &Symbols) -> Vec<Place> {
    let named = |address: u64, place: Option<String>| (format!("{address:#x}"), place.unwrap_or_default());
    let callers = callers.map(|address| named(address, symbols.caller(address)));
    std::iter::once(named(pc, symbols.place(pc))).chain(callers).collect()
}

impl From<&View<'_>> for Entry {
    fn from(entry: &View) -> Self {
        let argument = match (entry.class(), entry.ruling()) {
            (Some(class), _) => class.name().to_owned(),
            (None, Some((ruling, Some(who)))) => format!("{} (CPU {who})", ruling.name()),
            (None, Some((ruling, None))) => ruling.name().to_owned(),
            (None, None) if entry.argument == 0 => String::new(),
            (None, None) => entry.argument.to_string(),
        };
        Entry {
            kind: entry.kind.name().to_owned(),
            step: entry.step.map(|step| step.name().to_owned()).unwrap_or_default(),
            outcome: entry.outcome.map(|outcome| outcome.name().to_owned()).unwrap_or_default(),
            cpu: entry.cpu,
            began_ns: entry.began_at,
            ended_ns: entry.ended_at,
            argument,
            text: entry.text.to_owned(),
        }
    }
}
