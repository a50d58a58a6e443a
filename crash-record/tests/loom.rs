//! The memory orderings of the log ring and of the commit words, in every interleaving and with every value
//! that the memory model allows. The record is that of `layout`, with fewer words in each part.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p crash-record --features write --test loom --release`
#![cfg(loom)]

use crash_record::layout::{self, entry, log, slot};
use crash_record::names::{CpuState, EntryKind, Outcome, Rung, Step};
use crash_record::write::{EntryBody, RecordArea};
use hal::CpuId;
use hal::registers::{Registers, Snapshot};
use loom::sync::Arc;
use loom::thread;

const TEXTS: [&[u8]; 2] = [b"one line", b"another."];

/// A model with at most this many preemptions, where all of them would take too long.
fn bounded(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(body);
}

/// A line that says that it is committed is read, and is what was written.
#[test]
fn a_committed_line_is_whole() {
    loom::model(|| {
        let record = Arc::new(RecordArea::new());
        let writer = {
            let record = record.clone();
            thread::spawn(move || record.log(CpuId::BOOT, 7, TEXTS[0]))
        };
        let committed = record.load(layout::LOG_AT + log::COMMIT) != 0;
        let mut text = [0; log::TEXT_BYTES];
        let line = record.log_line(0, &mut text);
        assert!(line.is_some() || !committed, "a committed line was not read");
        if let Some((length, cpu, at)) = line {
            assert_eq!((text.get(..length), cpu, at), (Some(TEXTS[0]), 0, 7));
        }
        assert_eq!(writer.join().unwrap(), 0);
        assert_eq!(record.log_line(0, &mut text), Some((TEXTS[0].len(), 0, 7)));
    });
}

/// Two CPUs write to the same place of the ring, a whole round apart: what is left is one line, the other, or
/// none, and never a mixture that looks good.
#[test]
fn a_line_that_is_overtaken_is_not_mixed() {
    bounded(3, || {
        let record = Arc::new(RecordArea::new());
        let write =
            |record: &RecordArea, cpu: usize| record.log(CpuId::new(cpu).unwrap(), cpu as u64, TEXTS[cpu]);
        let other = {
            let record = record.clone();
            thread::spawn(move || write(&record, 1))
        };
        let mut sequences = [write(&record, 0), other.join().unwrap()];
        sequences.sort_unstable();
        assert_eq!(sequences, [0, 1], "a number was given twice");
        let mut text = [0; log::TEXT_BYTES];
        for sequence in sequences {
            if let Some((length, cpu, at)) = record.log_line(sequence, &mut text) {
                assert_eq!((text.get(..length), at), (Some(TEXTS[cpu as usize]), cpu));
            }
        }
    });
}

#[derive(Clone)]
struct Regs([u64; 1]);

impl Registers for Regs {
    fn words(&self) -> &[u64] {
        &self.0
    }
    fn pc(&self) -> u64 {
        11
    }
    fn sp(&self) -> u64 {
        12
    }
    fn witness(&self) -> u64 {
        13
    }
    fn backtrace(&self, out: &mut [u64]) -> usize {
        out.fill(14);
        1
    }
}

/// Whoever sees that a CPU is parked sees all that it saved.
#[test]
fn a_parked_cpu_has_saved_its_registers() {
    loom::model(|| {
        let record = Arc::new(RecordArea::new());
        let me = CpuId::new(1).unwrap();
        let parking = {
            let record = record.clone();
            thread::spawn(move || {
                let snapshot = Snapshot { registers: Regs([15]), interrupted: None };
                assert!(record.save(me, Rung::Nmi, 16, &snapshot));
                record.set_slot(me, slot::STATE, u64::from(CpuState::Parked.number()));
            })
        };
        if record.state(me) == CpuState::Parked {
            assert!(record.saved(me), "parked, and nothing saved");
            let word = |at| record.slot(me, at);
            assert_eq!([slot::SAVED_AT, slot::PC, slot::SP, slot::WITNESS].map(word), [16, 11, 12, 13]);
            assert_eq!([slot::REGISTERS, slot::BACKTRACE].map(word), [15, 14]);
        }
        parking.join().unwrap();
    });
}

/// Whoever sees the commit word of an entry sees its body.
#[test]
fn a_committed_entry_is_whole() {
    loom::model(|| {
        let record = Arc::new(RecordArea::new());
        let owner = {
            let record = record.clone();
            thread::spawn(move || {
                record.append(&EntryBody {
                    kind: EntryKind::Step,
                    step: Some(Step::Stop),
                    outcome: Some(Outcome::Done),
                    cpu: CpuId::BOOT,
                    began_at: 21,
                    ended_at: 22,
                    argument: 23,
                    text: b"all of",
                })
            })
        };
        let word = |word| record.load(layout::ENTRIES_AT + word);
        if word(entry::COMMIT) != 0 {
            assert_eq!([entry::BEGAN_AT, entry::ENDED_AT, entry::ARGUMENT].map(word), [21, 22, 23]);
            assert_eq!(word(entry::TEXT), u64::from_ne_bytes(*b"all of\0\0"));
        }
        assert!(owner.join().unwrap());
    });
}
