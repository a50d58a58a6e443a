//! The sequence on a machine of threads: the same code that runs on metal.

mod bench;
#[path = "bench/rulings.rs"]
mod rulings;

use bench::{Bench, Call, End, Faults, Machine, Secondary, registry, snapshot};
use core_panic::config::{FinalAction, KexecMode, StopPolicy};
use core_panic::notifier::{BeforeDumpEntry, Context, LateClass, Notifier, Refusal, Registration};
use core_panic::{Cause, Config, Panic, Registry};
use crash_record::layout::slot;
use crash_record::names::{Class, CpuState, EntryKind, Outcome, Rung, Step};
use crash_record::view::RecordView;
use hal::dump::BeforeDump;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

fn config(kexec: KexecMode, stop: StopPolicy) -> Config {
    Config { kexec, stop, scale: 20, ..Config::DEFAULT }
}

/// For CPUs that will not answer: the time to answer is real time here.
fn impatient(stop: StopPolicy) -> Config {
    Config { kexec: KexecMode::Pre, stop, scale: 1, ..Config::DEFAULT }
}

fn logger(class: Class) -> (Class, Box<dyn Notifier>) {
    let body = |context: &dyn Context| {
        context.line(format_args!("told"));
        Ok(())
    };
    (class, Box::new(Call { name: "logger", body }))
}

#[test]
fn pre_jumps_before_anybody_is_told() {
    let notifiers = registry(vec![logger(Class::Inform), logger(Class::PreReboot), logger(Class::Terminal)]);
    let bench = Bench::new(4, config(KexecMode::Pre, StopPolicy::Nmi), Faults::default(), notifiers);
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.others, [Some(End::Parked); 3]);
    assert_eq!(outcome.steps(), ["announce:done", "stop:done", "before-dump:done", "kexec-pre:leaving"]);
    assert_eq!(outcome.events("notifier", &["class"]), [] as [&str; 0]);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    assert_eq!(view.owner(), Some(0));
    for slot in view.slots().skip(1) {
        assert_eq!(slot.owner_state(), Some(CpuState::Parked));
        let saved = slot.saved().unwrap().unwrap();
        assert_eq!((saved.rung, saved.pc), (Rung::Nmi, 0x1000 + slot.cpu as u64));
    }
}

struct Repairs(&'static str);

impl Notifier for Repairs {
    fn name(&self) -> &'static str {
        self.0
    }
    fn notify(&self, _: &dyn Context) -> Result<(), Refusal> {
        Ok(())
    }
}

// SAFETY: does nothing.
unsafe impl BeforeDump for Repairs {}

static BEFORE_DUMP: [BeforeDumpEntry; 3] = [
    BeforeDumpEntry { priority: 0, standing: false, notifier: &Repairs("absent") },
    BeforeDumpEntry { priority: 0, standing: true, notifier: &Repairs("second") },
    BeforeDumpEntry { priority: 5, standing: false, notifier: &Repairs("first") },
];

#[test]
fn only_what_is_standing_or_armed_runs_before_the_dump() {
    for (armed, expected) in [(&[][..], &["second"][..]), (&[2, 7], &["first", "second"])] {
        let notifiers: &'static Registry = Box::leak(Box::new(Registry::with_before_dump(&BEFORE_DUMP)));
        for line in armed {
            assert_eq!(notifiers.arm(*line), *line < 3);
        }
        let bench = Bench::new(1, config(KexecMode::Pre, StopPolicy::Nmi), Faults::default(), notifiers);
        let outcome = bench.run(&[]);
        assert_eq!(outcome.events("notifier", &["name"]), expected);
        assert_eq!(outcome.steps()[2..], ["before-dump:done", "kexec-pre:leaving"]);
    }
}

/// Writes where nobody should: over each word of the table that is one of the halves of a reference to this
/// notifier, the `skip`ped ones left alone. Returns how many it hit.
fn stray_writes(
    registry: &'static Registry,
    victim: &'static dyn Notifier,
    skip: usize,
    most: usize,
) -> usize {
    // SAFETY: a reference to a trait object is two words.
    let halves: [usize; 2] = unsafe { std::mem::transmute(victim) };
    let words = std::ptr::from_ref(registry).cast::<usize>().cast_mut();
    let mut seen = 0;
    for at in 0..size_of::<Registry>() / size_of::<usize>() {
        // SAFETY: inside the registry, whose slots are cells; nobody else looks at it now.
        let word = unsafe { words.add(at) };
        // SAFETY: as above.
        if unsafe { *word } == halves[0] {
            seen += 1;
            if seen > skip && seen - skip <= most {
                // SAFETY: as above. What this breaks is what the test is about.
                unsafe { *word = 0x10 };
            }
        }
    }
    seen
}

#[test]
fn a_stray_write_into_the_table_costs_one_notifier_and_names_it() {
    // In either copy: what is in both, somebody has registered.
    for (skip, most) in [(0, 1), (1, 1)] {
        let registry: &'static Registry = Box::leak(Box::new(Registry::new()));
        let mut victim = None;
        for (number, name) in ["first", "victim", "third"].into_iter().enumerate() {
            let told = |_: &dyn Context| Ok(());
            let notifier: &'static Call = Box::leak(Box::new(Call { name, body: told }));
            registry.register(Registration { class: LateClass::Inform, priority: 0, notifier }).unwrap();
            if number == 1 {
                victim = Some(notifier);
            }
        }
        assert_eq!(stray_writes(registry, victim.unwrap(), skip, most), 2, "the table and its copy");
        let bench = Bench::new(2, config(KexecMode::Post, StopPolicy::Nmi), Faults::default(), registry);
        let outcome = bench.run(&[]);
        assert_eq!(outcome.owner, End::Jumped(0x5000));
        assert_eq!(outcome.events("notifier", &["name", "outcome"]), ["first:done", "third:done"]);
        let notes = outcome.events("note", &["text"]);
        let named = notes.iter().filter(|note| note.starts_with("notifier%20slot%201%20is%20left%20out"));
        assert_eq!(named.count(), 1, "{notes:?}");
    }
}

#[test]
fn post_tells_everybody_first_in_order() {
    let notifiers: &'static Registry = Box::leak(Box::new(Registry::with_before_dump(&BEFORE_DUMP)));
    for class in [LateClass::PreReboot, LateClass::Inform] {
        let notifier = Box::leak(logger(class.class()).1);
        notifiers.register(Registration { class, priority: 0, notifier }).unwrap();
    }
    let bench = Bench::new(2, config(KexecMode::Post, StopPolicy::IpiNmi), Faults::default(), notifiers);
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(
        outcome.steps()[2..],
        ["before-dump:done", "inform:done", "cleanup:done", "kexec-post:leaving"]
    );
    assert_eq!(
        outcome.events("notifier", &["class", "outcome"]),
        ["before-dump:done", "inform:done", "pre-reboot:done"]
    );
    assert_eq!(outcome.events("stopped", &["who", "state", "rung"]), ["1:parked:ipi"]);
}

#[test]
fn off_ends_in_the_final_action_and_its_chain() {
    for (final_action, faults, end) in [
        (FinalAction::Reboot, Faults::default(), End::Rebooted),
        (FinalAction::Reboot, Faults { reboot_returns: true, ..Faults::default() }, End::PoweredOff),
        (FinalAction::PowerOff, Faults::default(), End::PoweredOff),
        (FinalAction::Halt, Faults::default(), End::Parked),
    ] {
        let config = Config { final_action, ..config(KexecMode::Off, StopPolicy::Nmi) };
        let bench = Bench::new(2, config, faults, registry(vec![logger(Class::Terminal)]));
        let outcome = bench.run(&[]);
        assert_eq!(outcome.owner, end);
        let steps = outcome.steps();
        assert!(!steps.iter().any(|step| step.starts_with("kexec")), "{steps:?}");
        assert_eq!(steps[5..], ["record:skipped", "flush:done"]);
        assert_eq!(outcome.events("notifier", &["class", "outcome"]), ["terminal:done"]);
    }
}

#[test]
fn what_is_in_the_way_of_the_jump_is_said_and_passed_by() {
    for (faults, outcome_name, says) in [
        (Faults { no_image: true, ..Faults::default() }, "kexec-pre:skipped", "none%20was%20given"),
        (Faults { bad_digest: true, ..Faults::default() }, "kexec-pre:failed", "digest"),
        (Faults { jump_fails: true, ..Faults::default() }, "kexec-pre:failed", "trampoline"),
    ] {
        let bench = Bench::new(1, config(KexecMode::Pre, StopPolicy::Nmi), faults, registry(vec![]));
        let outcome = bench.run(&[]);
        assert_eq!(outcome.owner, End::Rebooted);
        let ends = outcome.events("end", &["step", "outcome", "detail"]);
        assert!(ends.iter().any(|end| end.starts_with(outcome_name) && end.contains(says)), "{ends:?}");
        // Only an intact image is worth masking interrupts for.
        let quiesced = bench.machine.quiesced.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(quiesced, u32::from(says == "trampoline"));
    }
}

#[test]
fn masked_interrupts_refuse_the_ipi_and_not_the_nmi() {
    let bench = Bench::new(3, impatient(StopPolicy::IpiNmi), Faults::default(), registry(vec![]));
    let outcome = bench.run(&[Secondary::Masked, Secondary::Listens]);
    assert_eq!(outcome.events("stopped", &["who", "state", "rung"]), ["1:parked:nmi", "2:parked:ipi"]);
    assert_eq!(
        outcome.events("rung", &["rung", "strength", "targets"]),
        ["ipi:maskable:2", "nmi:non-maskable:1"]
    );
}

#[test]
fn a_deaf_cpu_is_named_and_the_path_goes_on() {
    let bench = Bench::new(3, impatient(StopPolicy::Nmi), Faults::default(), registry(vec![]));
    let outcome = bench.run(&[Secondary::Deaf, Secondary::Listens]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.others, [None, Some(End::Parked)]);
    assert_eq!(outcome.events("stopped", &["who", "state", "rung"]), ["1:missing:none", "2:parked:nmi"]);
    assert!(outcome.steps().contains(&"stop:failed".to_string()));
    let view = RecordView::parse(&outcome.bytes).unwrap();
    assert_eq!(view.slots().nth(1).unwrap().owner_state(), Some(CpuState::Missing));
}

#[test]
fn a_missing_or_weaker_nmi_is_not_passed_over() {
    let faults = Faults { no_nmi: true, ..Faults::default() };
    let bench = Bench::new(2, impatient(StopPolicy::IpiNmi), faults, registry(vec![]));
    let outcome = bench.run(&[Secondary::Masked]);
    assert_eq!(
        outcome.events("note", &["text"]).last().unwrap(),
        "nmi:%20unsupported:%20threads%20have%20none"
    );
    assert_eq!(outcome.events("rung", &["rung", "strength"]), ["ipi:maskable"], "once");
    assert_eq!(outcome.events("stopped", &["state"]), ["missing"]);

    let faults = Faults { maskable_nmi: true, ..Faults::default() };
    let bench = Bench::new(2, config(KexecMode::Pre, StopPolicy::Nmi), faults, registry(vec![]));
    let outcome = bench.run(&[]);
    assert_eq!(outcome.events("rung", &["strength"]), ["maskable"]);
    assert_eq!(
        outcome.events("note", &["text"]).last().unwrap(),
        "the%20NMI%20of%20this%20machine%20is%20maskable"
    );
}

#[test]
fn a_missing_or_weaker_timer_is_named_once() {
    for (faults, note) in [
        (Faults::default(), "unwatched:%20unsupported:%20threads%20have%20none"),
        (
            Faults { maskable_timer: true, ..Faults::default() },
            "the%20timer%20of%20this%20machine%20is%20maskable",
        ),
    ] {
        let outcome =
            Bench::new(1, config(KexecMode::Pre, StopPolicy::Nmi), faults, registry(vec![])).run(&[]);
        assert_eq!(outcome.events("note", &["text"]), [note]);
    }
}

#[test]
fn a_timer_that_is_refused_after_it_was_found_weak_is_named_too() {
    let faults = Faults { maskable_timer: true, timer_refuses_after: Some(1), ..Faults::default() };
    let outcome = Bench::new(1, config(KexecMode::Pre, StopPolicy::Nmi), faults, registry(vec![])).run(&[]);
    let notes =
        ["the%20timer%20of%20this%20machine%20is%20maskable", "unwatched:%20timer:%20Err(Refused(5))"];
    assert_eq!(outcome.events("note", &["text"]), notes);
}

#[test]
fn without_nmis_every_policy_asks_politely() {
    for policy in StopPolicy::ALL {
        let faults = Faults { no_nmi: true, ..Faults::default() };
        let bench = Bench::new(2, config(KexecMode::Pre, policy), faults, registry(vec![]));
        let outcome = bench.run(&[Secondary::Listens]);
        assert_eq!(outcome.events("stopped", &["who", "state", "rung"]), ["1:parked:ipi"], "{policy:?}");
        assert_eq!(outcome.events("rung", &["rung", "strength"]), ["ipi:maskable"], "{policy:?}");
        // Where the other rung was wanted and nobody was left for it, there is nothing to be said.
        let said = outcome.events("note", &["text"]).iter().any(|text| text.starts_with("nmi:"));
        assert_eq!(said, policy != StopPolicy::IpiNmi, "{policy:?}");
    }
}

#[test]
fn one_owner_and_the_losers_park_with_their_registers() {
    let bench = Bench::new(4, config(KexecMode::Pre, StopPolicy::Nmi), Faults::default(), registry(vec![]));
    let outcome = bench.run(&[Secondary::Panics, Secondary::Late, Secondary::Panics]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.others, [Some(End::Parked); 3]);
    assert_eq!(outcome.events("claim", &["reason"]), ["test"]);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    for slot in view.slots().skip(1) {
        assert!(slot.saved().unwrap().is_some(), "CPU {}", slot.cpu);
    }
}

/// For notifiers that panic: what the panic handler would enter again.
static AGAIN: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

fn panics(_: &dyn Context) -> Result<(), Refusal> {
    AGAIN.get().unwrap().enter(&Cause { reason: "nested", message: &"in a notifier" }, &snapshot())
}

fn refuses(_: &dyn Context) -> Result<(), Refusal> {
    Err(Refusal::Skipped("busy"))
}

#[test]
fn a_notifier_that_panics_is_marked_and_the_next_one_runs() {
    let bad = |class| -> (Class, Box<dyn Notifier>) { (class, Box::new(Call { name: "bad", body: panics })) };
    let shy = (Class::Inform, Box::new(Call { name: "shy", body: refuses }) as Box<dyn Notifier>);
    let notifiers = registry(vec![
        bad(Class::Inform),
        bad(Class::Inform),
        shy,
        logger(Class::Inform),
        bad(Class::PreReboot),
        bad(Class::Terminal),
        logger(Class::Terminal),
    ]);
    let bench = Bench::new(2, config(KexecMode::Off, StopPolicy::Nmi), Faults::default(), notifiers);
    AGAIN.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Rebooted);
    assert_eq!(
        outcome.events("notifier", &["class", "name", "outcome"]),
        [
            "inform:bad:failed",
            "inform:bad:failed",
            "inform:shy:skipped",
            "inform:logger:done",
            "pre-reboot:bad:failed",
            "terminal:bad:failed",
            "terminal:logger:done"
        ]
    );
    // Each step once, in order, whatever went wrong inside.
    let expected = ["announce", "stop", "before-dump", "inform", "cleanup", "record", "flush", "final"];
    assert_eq!(outcome.events("begin", &["step"]), expected);
    assert_eq!(outcome.steps()[3..5], ["inform:failed", "cleanup:failed"]);
    assert_eq!(
        outcome.events("reentry", &["depth", "step"]),
        ["1:inform", "1:inform", "1:cleanup", "1:final"]
    );
    // A re-entry never runs on the stack that was just abandoned.
    assert_eq!(*bench.machine.stacks.lock().unwrap(), [0, 1, 0, 1, 0]);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    let reentries = view.entries().filter(|entry| entry.unwrap().kind == EntryKind::Reentry).count();
    assert_eq!(reentries, 4);
}

static HOSTILE: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

/// A message that panics while it is formatted.
struct Hostile;

impl std::fmt::Display for Hostile {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        HOSTILE.get().unwrap().enter(&Cause { reason: "hostile", message: &"in a message" }, &snapshot())
    }
}

fn panics_hostile(_: &dyn Context) -> Result<(), Refusal> {
    HOSTILE.get().unwrap().enter(&Cause { reason: "nested", message: &Hostile }, &snapshot())
}

#[test]
fn a_message_that_panics_costs_its_notifier_and_not_the_next_one() {
    let bad = (Class::Inform, Box::new(Call { name: "bad", body: panics_hostile }) as Box<dyn Notifier>);
    let notifiers = registry(vec![bad, logger(Class::Inform), logger(Class::PreReboot)]);
    let bench = Bench::new(1, config(KexecMode::Post, StopPolicy::Nmi), Faults::default(), notifiers);
    HOSTILE.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.events("reentry", &["depth", "cause"]), ["1:nested", "2:hostile"]);
    assert_eq!(
        outcome.events("notifier", &["class", "name", "outcome"]),
        ["inform:bad:failed", "inform:logger:done", "pre-reboot:logger:done"]
    );
}

static NAMELESS: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

/// Fails, and has a name the first `0` times that it is asked.
struct Nameless(AtomicU32);

impl Notifier for Nameless {
    fn name(&self) -> &'static str {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 0 {
            NAMELESS.get().unwrap().enter(&Cause { reason: "unnamed", message: &"in its name" }, &snapshot())
        }
        "once"
    }
    fn notify(&self, _: &dyn Context) -> Result<(), Refusal> {
        NAMELESS.get().unwrap().enter(&Cause { reason: "nested", message: &"in a notifier" }, &snapshot())
    }
}

#[test]
fn a_name_that_panics_costs_its_notifier_and_not_the_next_one() {
    let nameless = |times| (Class::Inform, Box::new(Nameless(AtomicU32::new(times))) as Box<dyn Notifier>);
    let notifiers = registry(vec![nameless(0), nameless(1), logger(Class::Inform)]);
    let bench = Bench::new(1, config(KexecMode::Post, StopPolicy::Nmi), Faults::default(), notifiers);
    NAMELESS.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.events("reentry", &["cause"]), ["unnamed", "nested", "unnamed"]);
    assert_eq!(
        outcome.events("notifier", &["class", "name", "outcome"]),
        ["inform:?:failed", "inform:?:failed", "inform:logger:done"]
    );
}

static CROWD_WITHOUT_NAMES: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

/// Has neither a name nor anything else.
struct Nothing;

impl Notifier for Nothing {
    fn name(&self) -> &'static str {
        let cause = Cause { reason: "unnamed", message: &"in its name" };
        CROWD_WITHOUT_NAMES.get().unwrap().enter(&cause, &snapshot())
    }
    fn notify(&self, _: &dyn Context) -> Result<(), Refusal> {
        Ok(())
    }
}

#[test]
fn a_crowd_without_names_does_not_end_the_path() {
    let mut all: Vec<_> = (0..24).map(|_| (Class::Inform, Box::new(Nothing) as Box<dyn Notifier>)).collect();
    all.push(logger(Class::PreReboot));
    let bench = Bench::new(1, config(KexecMode::Post, StopPolicy::Nmi), Faults::default(), registry(all));
    CROWD_WITHOUT_NAMES.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    let told = outcome.events("notifier", &["class", "outcome"]);
    assert_eq!(told.iter().filter(|told| *told == "inform:failed").count(), 16);
    assert_eq!(told.iter().filter(|told| *told == "inform:skipped").count(), 8);
}

#[test]
fn a_crowd_of_bad_notifiers_is_cut_short() {
    let bad = |_| (Class::Inform, Box::new(Call { name: "bad", body: panics_crowd }) as Box<dyn Notifier>);
    let mut all: Vec<_> = (0..20).map(bad).collect();
    all.push(logger(Class::PreReboot));
    let bench = Bench::new(1, config(KexecMode::Post, StopPolicy::Nmi), Faults::default(), registry(all));
    CROWD.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    let told = outcome.events("notifier", &["class", "outcome"]);
    assert_eq!(told.iter().filter(|told| *told == "inform:failed").count(), 16);
    assert_eq!(told.iter().filter(|told| *told == "inform:skipped").count(), 4);
    assert_eq!(outcome.steps()[3..], ["inform:failed", "cleanup:skipped", "kexec-post:leaving"]);
}

static CROWD: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

fn panics_crowd(_: &dyn Context) -> Result<(), Refusal> {
    CROWD.get().unwrap().enter(&Cause { reason: "nested", message: &"in a notifier" }, &snapshot())
}

static BROKEN: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

#[test]
fn a_stop_that_is_broken_off_is_settled_all_the_same() {
    let faults = Faults { ipi_panics: Some(&BROKEN), ..Faults::default() };
    let bench = Bench::new(3, impatient(StopPolicy::IpiNmi), faults, registry(vec![]));
    BROKEN.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[Secondary::Listens, Secondary::Deaf]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.steps()[..2], ["announce:done", "stop:failed"]);
    // CPU 1 got its signal before the ladder broke; nobody is passed over in silence.
    assert_eq!(outcome.events("stopped", &["who", "state"]), ["1:parked", "2:missing"]);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    assert_ne!(view.word(crash_record::layout::header::STOPPED_AT), 0);
}

#[test]
fn lines_that_are_not_printed_make_an_announcement_a_truncated_one() {
    let announced = |message: &'static str| {
        let bench =
            Bench::new(1, config(KexecMode::Pre, StopPolicy::Nmi), Faults::default(), registry(vec![]));
        bench.run_with(&[], &message).steps()[0].clone()
    };
    assert_eq!(announced("1\n2\n3\n4\n5\n6\n7\n8\n"), "announce:done");
    assert_eq!(announced("1\n2\n3\n4\n5\n6\n7\n8\n9"), "announce:truncated");
}

#[test]
fn a_signal_that_could_not_be_sent_is_not_counted() {
    let faults = Faults { nmi_refused: Some(2), ..Faults::default() };
    let bench = Bench::new(3, impatient(StopPolicy::IpiNmi), faults, registry(vec![]));
    let outcome = bench.run(&[Secondary::Listens, Secondary::Deaf]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.events("stopped", &["who", "state"]), ["1:parked", "2:missing"]);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    // The IPI was sent, and is what its time runs from.
    let told = |view: &RecordView| {
        let slot = view.slots().find(|slot| slot.cpu == 2).unwrap();
        (slot.word(slot::OWNER_SIGNALS), slot.word(slot::OWNER_SIGNALLED_AT) != 0)
    };
    assert_eq!(told(&view), (1, true));
    let faults = Faults { nmi_refused: Some(2), ..Faults::default() };
    let bench = Bench::new(3, impatient(StopPolicy::Nmi), faults, registry(vec![]));
    let outcome = bench.run(&[Secondary::Listens, Secondary::Deaf]);
    assert_eq!(told(&RecordView::parse(&outcome.bytes).unwrap()), (0, false));
}

static BROKEN_EARLY: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

#[test]
fn a_stop_that_is_broken_off_reaches_who_was_not_signalled_yet() {
    let faults = Faults { ipi_panics: Some(&BROKEN_EARLY), ..Faults::default() };
    let bench = Bench::new(4, impatient(StopPolicy::IpiNmi), faults, registry(vec![]));
    BROKEN_EARLY.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[Secondary::Listens, Secondary::Listens, Secondary::Listens]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.steps()[..2], ["announce:done", "stop:failed"]);
    let told = outcome.events("stopped", &["who", "state", "rung"]);
    assert_eq!(told, ["1:parked:ipi", "2:parked:nmi", "3:parked:nmi"]);
}

static BROKEN_TWICE: OnceLock<&'static Panic<'static, Machine>> = OnceLock::new();

#[test]
fn a_stop_that_is_broken_off_twice_is_settled_all_the_same() {
    let faults =
        Faults { ipi_panics: Some(&BROKEN_TWICE), line_panics: Some(" stopped who="), ..Faults::default() };
    let bench = Bench::new(3, impatient(StopPolicy::IpiNmi), faults, registry(vec![]));
    BROKEN_TWICE.set(bench.panic).ok().unwrap();
    let outcome = bench.run(&[Secondary::Listens, Secondary::Deaf]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert_eq!(outcome.steps()[..2], ["announce:done", "stop:failed"]);
    // Said once, which broke it again; written down after that.
    assert_eq!(outcome.events("stopped", &["who", "state"]), ["1:parked"]);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    assert_ne!(view.word(crash_record::layout::header::STOPPED_AT), 0);
}

#[test]
fn a_console_that_takes_no_more_is_not_waited_for() {
    let faults = Faults { console_takes: Some(200), ..Faults::default() };
    let bench = Bench::new(2, config(KexecMode::Pre, StopPolicy::Nmi), faults, registry(vec![]));
    let outcome = bench.run(&[]);
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    assert!(outcome.console.len() <= 200);
    let view = RecordView::parse(&outcome.bytes).unwrap();
    let announce = view
        .entries()
        .map(Result::unwrap)
        .find(|entry| entry.step == Some(Step::Announce) && entry.outcome.is_some());
    assert_eq!(announce.unwrap().outcome, Some(Outcome::Truncated));
}

#[test]
fn a_message_too_long_is_cut_and_says_so() {
    let bench = Bench::new(1, config(KexecMode::Pre, StopPolicy::Nmi), Faults::default(), registry(vec![]));
    let outcome = bench.run_with(&[], &"m".repeat(5_000));
    assert_eq!(outcome.owner, End::Jumped(0x5000));
    let ends = outcome.events("end", &["step", "detail"]);
    assert!(ends[0].starts_with("announce:") && ends[0].ends_with("cut"), "{ends:?}");
}

#[test]
fn output_is_muted_from_the_claim_on_and_flushed_by_the_owner() {
    let bench = Bench::new(1, config(KexecMode::Off, StopPolicy::Nmi), Faults::default(), registry(vec![]));
    let (first, may_print) = bench.panic.log(b"printed before");
    assert!(may_print);
    bench.panic.printed(first);
    bench.panic.log(b"not printed before");
    let outcome = bench.run(&[]);
    assert!(!bench.panic.log(b"after").1);
    let flushed: Vec<_> = outcome.console.lines().filter(|line| line.starts_with("[flush]")).collect();
    assert_eq!(flushed.len(), 1, "{flushed:?}");
    assert!(flushed[0].ends_with("CPU 0: not printed before"));
}
