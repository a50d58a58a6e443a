//! What a kernel writes is what a reader reads; what is damaged is named.
#![cfg(feature = "write")]

use crash_record::layout::{self, entry, slot};
use crash_record::names::{CpuState, EntryKind, Outcome, Ruling, Rung, Step};
use crash_record::view::RecordView;
use crash_record::write::{EntryBody, Identity, RecordArea};
use hal::CpuId;
use hal::registers::{Registers, Snapshot};

#[derive(Clone)]
struct Regs([u64; 4]);
impl Registers for Regs {
    fn words(&self) -> &[u64] {
        &self.0
    }
    fn pc(&self) -> u64 {
        self.0[0]
    }
    fn sp(&self) -> u64 {
        self.0[1]
    }
    fn witness(&self) -> u64 {
        self.0[2]
    }
    fn backtrace(&self, out: &mut [u64]) -> usize {
        out[0] = 77;
        1
    }
}

fn bytes(area: &RecordArea) -> Vec<u8> {
    (0..layout::RECORD_WORDS).flat_map(|at| area.load(at).to_ne_bytes()).collect()
}

fn filled() -> Box<RecordArea> {
    let area = Box::new(RecordArea::new());
    area.set_up(&Identity {
        nonce: 0xABCD,
        build_id: 1,
        machine: "bench",
        cpus: 3,
        image_base: 0x20_0000,
        record_base: 0x30_0000,
    });
    let cpu = CpuId::new(1).unwrap();
    area.save(cpu, Rung::Nmi, 5, &Snapshot { registers: Regs([10, 20, 30, 40]), interrupted: Some((1, 2)) });
    area.set_slot(cpu, slot::OWNER_STATE, u64::from(CpuState::Parked.number()));
    area.append(&EntryBody {
        kind: EntryKind::Step,
        step: Some(Step::Stop),
        outcome: Some(Outcome::Done),
        cpu,
        began_at: 1,
        ended_at: 2,
        argument: 3,
        text: b"all parked",
    });
    area.log(cpu, 9, b"a line");
    area
}

#[test]
fn reads_back() {
    let area = filled();
    let bytes = bytes(&area);
    let view = RecordView::parse(&bytes).unwrap();
    assert_eq!((view.nonce(), view.machine(), view.cpus(), view.owner()), (0xABCD, "bench", 3, None));
    let slot = view.slots().nth(1).unwrap();
    let saved = slot.saved().unwrap().unwrap();
    assert_eq!((saved.rung, saved.pc, saved.sp, saved.witness), (Rung::Nmi, 10, 20, 30));
    assert_eq!(saved.interrupted, Some((1, 2)));
    assert_eq!(saved.registers().collect::<Vec<_>>(), [10, 20, 30, 40]);
    assert_eq!(saved.backtrace().collect::<Vec<_>>(), [77]);
    assert!(view.slots().next().unwrap().saved().unwrap().is_none());
    let entries: Vec<_> = view.entries().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 1);
    assert_eq!(
        (entries[0].step, entries[0].outcome, entries[0].text),
        (Some(Step::Stop), Some(Outcome::Done), "all parked")
    );
    assert_eq!(view.log().map(|line| line.text.to_string()).collect::<Vec<_>>(), ["a line"]);
}

#[test]
fn a_decision_reads_back_with_who_was_in_the_way() {
    let area = filled();
    let body = |kind, argument| EntryBody {
        kind,
        step: Some(Step::KexecPost),
        outcome: Some(Outcome::Skipped),
        cpu: CpuId::BOOT,
        began_at: 0,
        ended_at: 0,
        argument,
        text: b"a service",
    };
    for (kind, argument, expected) in [
        (EntryKind::Firmware, 9 << 16 | 3, Some((Ruling::Inside, Some(2)))),
        (EntryKind::Lock, 5 << 16 | 1, Some((Ruling::HeldByParked, Some(0)))),
        (EntryKind::Firmware, 11 << 16, Some((Ruling::Dirty, None))),
        (EntryKind::Lock, 99 << 16, None),
        (EntryKind::Note, 9 << 16 | 3, None),
    ] {
        area.append(&body(kind, argument));
        let bytes = bytes(&area);
        let entry = RecordView::parse(&bytes).unwrap().entries().last().unwrap().unwrap();
        assert_eq!((entry.kind, entry.ruling(), entry.text), (kind, expected, "a service"));
    }
}

#[test]
fn registers_are_written_once() {
    let area = filled();
    let again = Snapshot { registers: Regs([0; 4]), interrupted: None };
    assert!(!area.save(CpuId::new(1).unwrap(), Rung::Ipi, 6, &again));
    let bytes = bytes(&area);
    let saved = RecordView::parse(&bytes).unwrap().slots().nth(1).unwrap().saved().unwrap().unwrap().pc;
    assert_eq!(saved, 10);
}

#[test]
fn the_other_byte_order_reads_the_same() {
    let area = filled();
    // Numbers swap, text does not: swap words, then swap the text words back.
    let mut swapped: Vec<u8> =
        (0..layout::RECORD_WORDS).flat_map(|at| area.load(at).swap_bytes().to_ne_bytes()).collect();
    for at in [0, layout::header::MACHINE, layout::header::MACHINE + 1] {
        swapped[at * 8..at * 8 + 8].reverse();
    }
    // The checksum is over bytes in memory, so the swapped record needs its own.
    let crc = u64::from(crash_record::crc::crc32c(&swapped[..layout::header::COMMIT * 8])) | slot::COMMITTED;
    swapped[layout::header::COMMIT * 8..][..8].copy_from_slice(&crc.swap_bytes().to_ne_bytes());
    let view = RecordView::parse(&swapped).unwrap();
    assert_ne!(view.big_endian(), cfg!(target_endian = "big"));
    assert_eq!((view.nonce(), view.cpus(), view.machine()), (0xABCD, 3, "bench"));
}

#[test]
fn damage_is_named() {
    let area = filled();
    let good = bytes(&area);
    let error = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        RecordView::parse(&bad).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(error(&|bytes| bytes[0] = 0).contains("no magic"));
    assert!(error(&|bytes| bytes[16] ^= 0xff).contains("byte order"));
    assert!(error(&|bytes| bytes[7 * 8] ^= 1).contains("header's checksum"));
    assert!(error(&|bytes| bytes.truncate(100)).contains("shorter than its header"));
    assert!(error(&|bytes| bytes.truncate(1000)).contains("shorter than its header says"));

    let mut bad = good.clone();
    bad[(layout::SLOTS_AT + layout::SLOT_WORDS + slot::PC) * 8] ^= 1;
    let view = RecordView::parse(&bad).unwrap();
    assert!(view.slots().nth(1).unwrap().saved().unwrap_err().to_string().contains("CPU slot's checksum"));

    let mut bad = good.clone();
    bad[(layout::ENTRIES_AT + entry::TEXT) * 8] ^= 1;
    let view = RecordView::parse(&bad).unwrap();
    assert!(view.entries().next().unwrap().unwrap_err().to_string().contains("entry's checksum"));
}

#[test]
fn the_digest_ignores_only_what_may_still_change() {
    let area = filled();
    let before = RecordView::parse(&bytes(&area)).unwrap().digest();
    // A CPU that the owner did not see parked may still write its own slot, and heartbeats and log go on.
    let late = CpuId::new(2).unwrap();
    area.set_slot(late, slot::STATE, 4);
    area.save(late, Rung::Nmi, 8, &Snapshot { registers: Regs([1; 4]), interrupted: None });
    area.heartbeat(CpuId::new(1).unwrap()).unwrap().store(99, hal::sync::Ordering::Relaxed);
    area.log(late, 9, b"more");
    assert_eq!(RecordView::parse(&bytes(&area)).unwrap().digest(), before);
    area.set_slot(CpuId::new(1).unwrap(), slot::OWNER_HEARTBEAT, 5);
    assert_ne!(RecordView::parse(&bytes(&area)).unwrap().digest(), before);
}

#[test]
fn a_full_record_says_so() {
    let area = filled();
    let body = EntryBody {
        kind: EntryKind::Note,
        step: None,
        outcome: None,
        cpu: CpuId::BOOT,
        began_at: 0,
        ended_at: 0,
        argument: 0,
        text: b"",
    };
    assert!((1..layout::ENTRIES).all(|_| area.append(&body)));
    assert!(!area.append(&body));
}

#[test]
fn the_ring_keeps_the_newest_lines() {
    let area = filled();
    for number in 0..layout::LOG_SLOTS {
        area.log(CpuId::BOOT, 0, format!("line {number}").as_bytes());
    }
    let bytes = bytes(&area);
    let view = RecordView::parse(&bytes).unwrap();
    assert_eq!(view.log().count(), layout::LOG_SLOTS);
    assert_eq!(view.log().next().unwrap().text, "line 0");
    let mut text = [0; layout::log::TEXT_BYTES];
    assert!(area.log_line(0, &mut text).is_none());
    let (length, _, _) = area.log_line(1, &mut text).unwrap();
    assert_eq!(&text[..length], b"line 0");
}
