//! What was decided about locks and calls into firmware is in the record and on the console, each by name (P5).

use super::bench::{Bench, Faults, Machine, registry};
use core_panic::config::{KexecMode, StopPolicy};
use core_panic::{Config, Panic};
use crash_lock::firmware::Forbidden;
use crash_lock::{Answer, Asked, Found, Refused, Ruling, State};
use crash_record::names::{EntryKind, Outcome, Ruling as Word};
use crash_record::view::RecordView;
use hal::CpuId;
use std::sync::OnceLock;

static PANIC: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).unwrap()
}

fn rulings() -> Vec<(Ruling, Word, Option<usize>)> {
    let lock = |answer, word, who| (Ruling { asked: Asked::Lock("journal"), answer }, word, who);
    let call = |why, beside, word, who| {
        let answer = Answer::Forbidden { why, beside };
        (Ruling { asked: Asked::Firmware("set-it"), answer }, word, who)
    };
    let held = |by, state| Refused::Held { by: cpu(by), state };
    vec![
        lock(Answer::Stolen { from: cpu(2), found: Found::Orphaned }, Word::StolenFromParked, Some(2)),
        lock(Answer::Stolen { from: cpu(0), found: Found::Interrupted }, Word::StolenFromAbandoned, Some(0)),
        lock(Answer::Refused(Refused::Recursive), Word::Recursive, Some(0)),
        lock(Answer::Refused(Refused::Destroyed), Word::Destroyed, None),
        lock(Answer::Refused(held(0, State::Parked)), Word::HeldByAbandoned, Some(0)),
        lock(Answer::Refused(held(1, State::Parked)), Word::HeldByParked, Some(1)),
        lock(Answer::Refused(held(1, State::Missing)), Word::HeldByMissing, Some(1)),
        lock(Answer::Refused(held(3, State::Deferred)), Word::HeldByRunning, Some(3)),
        lock(Answer::Abandons { holder: cpu(1) }, Word::WouldWait, Some(1)),
        call(Forbidden::Inside { cpu: cpu(2), service: 4 }, Some("other"), Word::Inside, Some(2)),
        call(Forbidden::Locked(held(1, State::Missing)), None, Word::HeldByMissing, Some(1)),
        call(Forbidden::Abandoned, None, Word::AbandonedBefore, None),
        call(Forbidden::Dirty, None, Word::Dirty, None),
    ]
}

/// Code on the panic path that runs into locks, over and over.
struct Decides(usize);

impl std::fmt::Display for Decides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for _ in 0..self.0 {
            for (ruling, ..) in rulings() {
                PANIC.get().unwrap().ruled(&ruling);
            }
        }
        f.write_str("on purpose")
    }
}

#[test]
fn each_decision_is_recorded_by_name_and_a_crowd_of_them_is_cut_short() {
    let config = Config { kexec: KexecMode::Pre, stop: StopPolicy::Nmi, scale: 20, ..Config::DEFAULT };
    let bench = Bench::new(1, config, Faults::default(), registry(Vec::new()));
    assert!(PANIC.set(bench.panic).is_ok());
    // Nobody owns a panic: nobody speaks.
    bench.panic.ruled(&rulings()[0].0);
    let outcome = bench.run_with(&[], &Decides(20));
    let view = RecordView::parse(&outcome.bytes).unwrap();
    let entries: Vec<_> = view.entries().map(Result::unwrap).collect();
    let told: Vec<_> = entries.iter().filter_map(|entry| Some((entry, entry.ruling()?))).collect();
    assert_eq!(told.len(), 64, "the record keeps room for the steps");
    for ((ruling, word, who), (entry, found)) in rulings().iter().zip(&told) {
        assert_eq!(*found, (*word, *who));
        let (kind, text) = match (ruling.asked, word) {
            (Asked::Lock(_), _) => (EntryKind::Lock, "journal"),
            (Asked::Firmware(_), Word::Inside) => (EntryKind::Firmware, "set-it beside other"),
            (Asked::Firmware(_), _) => (EntryKind::Firmware, "set-it"),
        };
        let stolen = matches!(ruling.answer, Answer::Stolen { .. });
        let outcome = if stolen { Outcome::Done } else { Outcome::Skipped };
        assert_eq!((entry.kind, entry.text, entry.outcome), (kind, text, Some(outcome)));
    }
    let said = outcome.events("firmware", &["name", "ruling", "who", "beside"]);
    assert_eq!(said[..2], ["set-it:inside:2:other", "set-it:held-by-missing:1:none"]);
    let said = outcome.events("lock", &["name", "ruling", "who", "outcome"]);
    assert_eq!(said[0], "journal:stolen-from-parked:2:done");
    let more = entries.iter().filter(|entry| entry.text.starts_with("more locks and calls")).count();
    assert_eq!(more, 1, "that there are more is said once");
}
