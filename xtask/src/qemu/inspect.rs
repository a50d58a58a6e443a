//! Looking at the guest from outside, while it holds still: memory and registers through QMP. What
//! is read here was not told by the guest, so the guest cannot lie about it.

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use crash_record::event::Stream;
use crash_record::layout;
use crash_record::names::Role;
use crash_record::view::RecordView;
use serde_json::{Value, json};

use super::session::Session;
use crate::error::{Classed, unexpected};
use crate::machine::{Machine, Registers};
use crate::symbols::Symbols;
use crate::verdict::cpus;

/// How long the guest runs between the two looks. Promised is 10 ms; the margin is for an emulator
/// that did not get a core at once.
const BETWEEN: Duration = Duration::from_millis(40);

/// How often the guest runs on for [`BETWEEN`] until its parked CPUs have reached the park loop, at
/// the most. One that does not get there is red.
const SETTLING: usize = 25;

/// Symbols that a kernel gives to tools outside: its crash record, and for every CPU a word that is 1
/// while that CPU is out of its load's own section.
const RECORD: &str = "MAYDAY_RECORD";
const OUTSIDE: &str = "MAYDAY_OUTSIDE";

/// A piece of physical memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    physical: u64,
    bytes: usize,
}

/// What there is to read.
#[derive(Clone, Debug, Default)]
pub struct Target {
    record: Option<Piece>,
    outside: Option<Piece>,
    park: Option<(Range<u64>, Registers)>,
}

impl Target {
    /// Finds it in an image that is loaded with this bias ([`crate::machine::Memory`]).
    pub fn find(symbols: &Symbols, machine: &Machine) -> Self {
        let bias = machine.memory.physical_bias;
        let piece = |name, bytes| symbols.physical(name, bias).map(|physical| Piece { physical, bytes });
        Target {
            record: piece(RECORD, layout::RECORD_BYTES),
            outside: piece(OUTSIDE, layout::MAX_SLOTS * 4),
            park: symbols.range("park").map(|park| (park, machine.registers.clone())),
        }
    }

    /// Whether every parked CPU is where parked CPUs stay: one that has just acknowledged may still be
    /// a few instructions away, for as long as the emulator does not let it run.
    fn settled(&self, look: &Look) -> bool {
        let (Some((park, format)), Some(record)) = (&self.park, &look.record) else { return true };
        let Ok(record) = RecordView::parse(record) else { return true };
        let counters = cpus::program_counters(&look.registers, format);
        cpus::parked(&record)
            .filter(|slot| slot.role() == Some(Role::None))
            .all(|slot| counters.get(&slot.cpu).is_none_or(|pc| park.contains(pc)))
    }
}

/// What one `hold` showed.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Who held: the panicking kernel or the capture kernel.
    pub stream: Stream,
    /// The crash record's bytes. `None`: the image has none.
    pub record: Option<Vec<u8>>,
    /// The same, after the guest ran on for [`BETWEEN`].
    pub record_later: Option<Vec<u8>>,
    /// The words that say who was out of the load's section.
    pub outside: Option<Vec<u8>>,
    /// Text of `info registers -a`.
    pub registers: String,
    /// The same, later.
    pub registers_later: String,
}

struct Look {
    record: Option<Vec<u8>>,
    outside: Option<Vec<u8>>,
    registers: String,
}

impl Inspection {
    /// Stops the machine, looks, lets it run for a moment, looks again, and lets it go on.
    pub fn take(session: &mut Session, target: &Target, stream: Stream, number: usize) -> Result<Self> {
        session.holding = true;
        let result = Self::look_twice(session, target, stream, number);
        let resumed = session.ask("cont", Value::Null);
        session.holding = false;
        let inspection = result?;
        resumed?;
        Ok(inspection)
    }

    fn look_twice(session: &mut Session, target: &Target, stream: Stream, number: usize) -> Result<Self> {
        let mut first = look(session, target, &format!("hold{number}"))?;
        for _ in 0..SETTLING {
            if target.settled(&first) {
                break;
            }
            session.ask("cont", Value::Null)?;
            session.let_run(BETWEEN);
            first = look(session, target, &format!("hold{number}"))?;
        }
        session.ask("cont", Value::Null)?;
        session.let_run(BETWEEN);
        let second = look(session, target, &format!("hold{number}-later"))?;
        Ok(Inspection {
            stream,
            record: first.record,
            record_later: second.record,
            outside: first.outside,
            registers: first.registers,
            registers_later: second.registers,
        })
    }

    /// Whether a CPU said that it was out of the load's section.
    pub fn outside_flag(&self, cpu: usize, big_endian: bool) -> Option<bool> {
        let word = self.outside.as_deref()?.get(cpu * 4..cpu * 4 + 4)?;
        let word = <[u8; 4]>::try_from(word).ok()?;
        Some(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) } == 1)
    }
}

fn look(session: &mut Session, target: &Target, name: &str) -> Result<Look> {
    session.ask("stop", Value::Null)?;
    let record = save(session, target.record, &format!("{name}-record.bin"))?;
    let outside = save(session, target.outside, &format!("{name}-outside.bin"))?;
    let answer = session.ask("human-monitor-command", json!({ "command-line": "info registers -a" }))?;
    let registers = answer.as_str().unwrap_or_default().replace('\r', "");
    session.folder().write(&format!("{name}-registers.txt"), &registers)?;
    Ok(Look { record, outside, registers })
}

fn save(session: &mut Session, piece: Option<Piece>, file: &str) -> Result<Option<Vec<u8>>> {
    let Some(Piece { physical, bytes }) = piece else { return Ok(None) };
    let path = session.folder().file(file);
    session.ask("pmemsave", json!({ "val": physical, "size": bytes, "filename": path }))?;
    let saved = std::fs::read(&path).or_environment(|| format!("cannot read {}", path.display()))?;
    if saved.len() != bytes {
        return Err(unexpected(format!("pmemsave gave {} bytes of {bytes}", saved.len())));
    }
    Ok(Some(saved))
}
