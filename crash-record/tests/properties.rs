//! Whatever the bytes, a reader names what is wrong or shows what was written: nothing else, and no panic.
#![cfg(feature = "write")]

use crash_record::event::{Event, LineWriter, MAX_LINE, Stream, unescape};
use crash_record::layout::{self, entry, log};
use crash_record::names::{EntryKind, Outcome, Rung, Step};
use crash_record::store::StoreEntry;
use crash_record::view::RecordView;
use crash_record::write::{EntryBody, Identity, RecordArea};
use hal::CpuId;
use hal::registers::{Registers, Snapshot};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone)]
struct Regs(Vec<u64>);

impl Registers for Regs {
    fn words(&self) -> &[u64] {
        &self.0
    }
    fn pc(&self) -> u64 {
        7
    }
    fn sp(&self) -> u64 {
        8
    }
    fn witness(&self) -> u64 {
        9
    }
    fn backtrace(&self, out: &mut [u64]) -> usize {
        out.fill(5);
        out.len()
    }
}

fn written(texts: &[String], registers: Vec<u64>) -> Vec<u8> {
    let area = Box::new(RecordArea::new());
    area.set_up(&Identity {
        nonce: 1,
        build_id: 2,
        machine: "bench",
        cpus: 4,
        image_base: 3,
        record_base: 4,
    });
    let cpu = CpuId::new(2).unwrap();
    area.save(cpu, Rung::Nmi, 5, &Snapshot { registers: Regs(registers), interrupted: None });
    for (number, text) in (0..).zip(texts) {
        area.append(&EntryBody {
            kind: EntryKind::Note,
            step: Some(Step::Stop),
            outcome: Some(Outcome::Done),
            cpu,
            began_at: number,
            ended_at: number + 1,
            argument: number,
            text: text.as_bytes(),
        });
        area.log(cpu, number, text.as_bytes());
    }
    (0..layout::RECORD_WORDS).flat_map(|at| area.load(at).to_ne_bytes()).collect()
}

/// Reads everything that there is to read. Returns the texts of the entries that are whole.
fn read_all(view: &RecordView<'_>) -> Vec<String> {
    let _ = (view.nonce(), view.machine(), view.cpus(), view.owner(), view.digest());
    for slot in view.slots() {
        let _ = (slot.state(), slot.owner_state(), slot.role(), slot.orphan());
        if let Ok(Some(saved)) = slot.saved() {
            let _ = saved.registers().count() + saved.backtrace().count();
        }
        if let Ok(Some(first)) = slot.first() {
            let _ = first.registers().count() + first.backtrace().count();
        }
    }
    let _ = view.log().map(|line| line.text.len()).sum::<usize>();
    view.entries().flatten().map(|entry| entry.text.to_owned()).collect()
}

/// What a text becomes in a field of so many bytes: cut off, and not in the middle of a character.
fn cut(text: &str, bytes: usize) -> &str {
    (0..=text.len().min(bytes)).rev().find_map(|end| text.get(..end)).unwrap_or("")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_record_reader_panic(bytes in vec(any::<u8>(), 0..4096)) {
        if let Ok(view) = RecordView::parse(&bytes) {
            read_all(&view);
        }
    }

    #[test]
    fn a_record_reads_back(
        texts in vec("[ -~]{0,300}", 0..20),
        registers in vec(any::<u64>(), 0..80),
    ) {
        let bytes = written(&texts, registers.clone());
        let view = RecordView::parse(&bytes).unwrap();
        let wanted: Vec<_> = texts.iter().map(|text| cut(text, entry::TEXT_BYTES)).collect();
        prop_assert_eq!(read_all(&view), wanted);
        let saved = view.slots().nth(2).unwrap().saved().unwrap().unwrap();
        let kept: Vec<_> = registers.into_iter().take(layout::slot::REGISTERS_MAX).collect();
        prop_assert_eq!(saved.registers().collect::<Vec<_>>(), kept);
        let lines: Vec<_> = view.log().map(|line| line.text.to_owned()).collect();
        let wanted: Vec<_> = texts.iter().map(|text| cut(text, log::TEXT_BYTES)).collect();
        prop_assert_eq!(lines, wanted);
    }

    /// Damage costs what it hits, and nothing is made up.
    #[test]
    fn a_damaged_record_tells_no_lies(
        texts in vec("[a-z]{0,40}", 0..10),
        damage in vec((0..layout::RECORD_BYTES, any::<u8>()), 1..20),
    ) {
        let mut bytes = written(&texts, vec![1, 2, 3]);
        for (at, value) in damage {
            bytes[at] = value;
        }
        if let Ok(view) = RecordView::parse(&bytes) {
            for text in read_all(&view) {
                prop_assert!(texts.contains(&text), "{text:?} was never written");
            }
        }
    }

    #[test]
    fn an_event_reads_back_whole_or_without_the_field(
        sequence in any::<u64>(),
        at in any::<u64>(),
        values in vec("\\PC{0,60}", 0..8),
    ) {
        let mut line = LineWriter::new(Stream::Panic, sequence, 3, at, "end");
        for value in &values {
            line = line.field("key", value);
        }
        let mut text = String::new();
        line.finish(|bytes| text = String::from_utf8(bytes.to_vec()).unwrap());
        prop_assert!(text.len() <= MAX_LINE && text.ends_with('\n'));
        prop_assert_eq!(text.matches('\n').count(), 1);
        let event = Event::parse(&text).unwrap().unwrap();
        prop_assert_eq!((event.sequence, event.cpu, event.at_ns, event.kind), (sequence, 3, at, "end"));
        let mut rest = values.iter();
        for (_, value) in event.fields() {
            let bytes: Vec<_> = unescape(value).collect();
            prop_assert!(rest.any(|written| written.as_bytes() == bytes), "{value:?} was never written");
        }
    }

    #[test]
    fn a_damaged_event_is_noticed(place in any::<prop::sample::Index>(), bit in 0..7u32) {
        let mut text = Vec::new();
        LineWriter::new(Stream::Boot, 1, 0, 12, "ready").field("cpus", 4).finish(|bytes| text = bytes.to_vec());
        let at = place.index(text.len() - 1);
        text[at] ^= 1 << bit;
        let text = String::from_utf8(text).unwrap();
        prop_assert!(!matches!(Event::parse(&text), Some(Ok(_))) || text.to_lowercase().contains("ready cpus=4 #"));
    }

    #[test]
    fn no_text_makes_the_event_reader_panic(text in "\\PC{0,200}", tail in "[ #0-9a-f]{0,12}") {
        for line in [format!("{text}{tail}"), format!("@mayday {text}{tail}"), format!("{text} #{tail}")] {
            if let Some(Ok(event)) = Event::parse(&line) {
                let _ = event.fields().map(|(_, value)| unescape(value).count()).sum::<usize>();
            }
            let _ = unescape(&line).count();
        }
    }

    #[test]
    fn a_store_entry_reads_back_and_damage_is_noticed(
        cpu in any::<u16>(), sequence in any::<u64>(), at_ns in any::<u64>(), nonce in any::<u64>(),
        text in "\\PC{0,100}", place in any::<prop::sample::Index>(), bit in 0..8u32,
    ) {
        let entry = StoreEntry { cpu, sequence, at_ns, nonce, text: &text };
        let mut room = vec![0; entry.bytes()];
        prop_assert!(entry.encode(&mut room[1..]).is_none());
        prop_assert!(entry.encode(&mut room).is_some());
        prop_assert_eq!(StoreEntry::parse(&room), Ok(entry));
        let at = place.index(room.len());
        room[at] ^= 1 << bit;
        prop_assert!(StoreEntry::parse(&room).is_err(), "byte {} bit {}", at, bit);
        let _ = StoreEntry::parse(&room[..at]);
    }

    #[test]
    fn no_bytes_make_the_store_reader_panic(bytes in vec(any::<u8>(), 0..200), head in any::<bool>()) {
        let bytes = if head { [&b"MAYDAYE1\0\x01"[..], &bytes].concat() } else { bytes };
        let _ = StoreEntry::parse(&bytes);
    }
}
