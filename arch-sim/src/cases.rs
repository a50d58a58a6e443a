//! The rows of the list of failure modes, staged on the simulated machine.
//!
//! A native row has a scenario, and on top of the promises, which hold for every run, a check of what is
//! special about it: under every schedule. A pending row names the mechanism that it waits for.

mod locks;

use core_panic::Config;
use core_panic::config::{FinalAction, KexecMode, StopPolicy};
use crash_record::layout::{header, slot};
use crash_record::names::{Class, CpuState, EntryKind, Outcome, Rung, Step};
use crash_record::view::RecordView;
use hal::CpuId;

use crate::faults::{Call, Faults, What};
use crate::lock::Which;
use crate::scenario::{Body, Does, Scenario};
use crate::services::Kind;
use crate::world::{End, World};

/// Looks at a run that is over.
pub type Check = fn(&World) -> Result<(), String>;

/// How far a row is.
#[derive(Clone, Copy)]
pub enum Status {
    /// Staged here.
    Native(fn() -> Scenario, Check),
    /// Waits for this mechanism.
    Pending(&'static str),
}

/// A row.
#[derive(Clone, Copy)]
pub struct Case {
    /// Number in the list; a letter tells variants apart.
    pub id: &'static str,
    /// What is injected.
    pub title: &'static str,
    /// How far it is.
    pub status: Status,
}

const fn native(id: &'static str, title: &'static str, scenario: fn() -> Scenario, check: Check) -> Case {
    Case { id, title, status: Status::Native(scenario, check) }
}

const fn pending(id: &'static str, title: &'static str, mechanism: &'static str) -> Case {
    Case { id, title, status: Status::Pending(mechanism) }
}

const OFF: Config = Config { kexec: KexecMode::Off, ..Config::DEFAULT };
const POST: Config = Config { kexec: KexecMode::Post, ..Config::DEFAULT };
const POLITE: Config = Config { stop: StopPolicy::IpiNmi, ..Config::DEFAULT };
const REDIRECT: Config = Config { cpu: Some(1), ..Config::DEFAULT };

/// All rows in their order.
pub const CASES: &[Case] = &[
    native(
        "1",
        "a stopped CPU holds a driver lock that a notifier wants",
        locks::cut,
        locks::skipped_or_done,
    ),
    native("1b", "the same, and the stop is deferred", locks::deferred, locks::gets_it),
    native(
        "1c",
        "the same, and the notifier does not know better",
        locks::blocking,
        locks::abandoned_at_once,
    ),
    native("1d", "the same, and the lock may be stolen", locks::stolen, locks::robs),
    native("1e", "a chain of waiting CPUs ends at the owner", locks::chain, locks::chain_parks),
    native("1f", "the section is longer than the grace", locks::too_long, locks::outlived),
    native("1g", "the answer comes late, and then the section takes its time", locks::late_answer, done),
    native("1h", "the holder never answers", locks::never_answers, locks::is_not_robbed),
    native(
        "1i",
        "a notifier panics under a lock that may be stolen",
        || locks::abandoned(Which::Steal),
        |world| locks::by_policy(world, true),
    ),
    native(
        "1j",
        "a notifier panics under a lock that may not be",
        || locks::abandoned(Which::Skip),
        |world| locks::by_policy(world, false),
    ),
    native("1k", "the signal destroys what the holder did", locks::lost_context, locks::context_lost),
    native(
        "1l",
        "a fault anywhere, and the notifier does not know better",
        locks::blocking_after_a_fault,
        done,
    ),
    native("1m", "the holder answers after it was given up on", locks::answers_late, done),
    native("2", "a stopped CPU holds the firmware lock", locks::firmware_cut, locks::masked_or_said),
    native("2b", "the same, and the stop is deferred", locks::firmware_deferred, locks::masked),
    native(
        "3",
        "the panicking CPU holds the firmware lock",
        || locks::own_firmware(What::Panic),
        locks::not_masked,
    ),
    native("4", "a CPU is stopped inside a firmware call", locks::self_reentrant, locks::masked_or_said),
    native("4b", "a CPU hangs inside firmware", locks::hung_in_firmware, locks::hung_inside),
    native("4c", "the owner hangs inside firmware", locks::abandoned_in_firmware, locks::exempt_only),
    native("4d", "the owner hangs in firmware twice", locks::swallowed, locks::powered_off),
    native("5", "reboot with the firmware lock held", || locks::reboots(Kind::Rtas), locks::rebooted),
    native("6", "a stopped CPU holds the console lock", locks::console, locks::heard),
    native(
        "7",
        "the message panics while it is formatted",
        || message(What::Panic),
        jumps_after_a_failed_announce,
    ),
    native(
        "7b",
        "the message faults while it is formatted",
        || message(What::Fault),
        jumps_after_a_failed_announce,
    ),
    native("7c", "the message never ends", || message(What::Hang), jumps_after_a_failed_announce),
    native("8", "console take-over in an unsafe register section", locks::console, locks::repaired),
    native(
        "9",
        "a runtime firmware lock is held",
        || locks::reboots(Kind::Runtime),
        |world| locks::next_link(world, End::PoweredOff),
    ),
    native(
        "9b",
        "the same, and no service is exempt",
        || locks::reboots(Kind::Strict),
        |world| locks::next_link(world, End::Halted),
    ),
    native("10", "a store's buffer lock is held", || locks::store(locks::CUT), locks::stored_or_skipped),
    native("10b", "the same, and the stop is deferred", || locks::store(POST), locks::stored),
    native("10c", "the same, and the record step wants it", locks::record, locks::kept_or_skipped),
    native("11", "the target spins with interrupts off", masked, |world| {
        jumped(world)?;
        parked(world, 1, Rung::Nmi)?;
        let signals = slot_of(world, 1, slot::OWNER_SIGNALS);
        expect(signals == (1 << 32 | 1), || format!("both rungs were tried, the record says {signals:#x}"))
    }),
    native(
        "12",
        "the target ignores NMIs too",
        || Scenario::new(3).faults(Faults { deaf: 2, ..Faults::NONE }),
        |world| {
            jumped(world)?;
            state(world, 1, CpuState::Missing)?;
            parked(world, 2, Rung::Nmi)
        },
    ),
    native(
        "13",
        "the NMI is a maskable message",
        || Scenario::new(2).faults(Faults { maskable_nmi: true, ..Faults::NONE }),
        |world| {
            jumped(world)?;
            says(world, EntryKind::Note, "maskable")
        },
    ),
    native("13b", "the same, and it finds a critical section", locks::maskable, locks::gets_it),
    native("13c", "there is no NMI, and a critical section outlasts the grace", locks::uncut, |world| {
        jumped(world)?;
        let signals = slot_of(world, 1, slot::OWNER_SIGNALS);
        // None, where it had not come up yet.
        expect(signals <= 1, || format!("one IPI at the most was sent, the record says {signals:#x}"))
    }),
    native(
        "14",
        "the target is in an NMI handler already",
        || Scenario::new(2).faults(Faults { in_nmi: 2, ..Faults::NONE }),
        |world| {
            jumped(world)?;
            state(world, 1, CpuState::Parked)
        },
    ),
    native(
        "15",
        "NMIs merge in the latch",
        || Scenario { external_nmis: 2, external_to: Some(1), ..Scenario::new(2) },
        |world| {
            jumped(world)?;
            state(world, 1, CpuState::Parked)
        },
    ),
    native("15b", "the same, in a critical section and its release", locks::surplus, locks::gets_it),
    pending("16", "the target is in a guest", "virtualisation"),
    pending("17", "the target is a hypervisor root", "virtualisation"),
    native(
        "18",
        "an answer after the time to answer",
        || Scenario { leaps: 2, early_ticks: 30, ..Scenario::new(3) },
        done,
    ),
    native(
        "19",
        "a CPU comes online during the stop",
        || Scenario::new(3).cpu(1, Body::Starts).cpu(2, Body::Starts),
        jumped,
    ),
    native(
        "20",
        "two CPUs panic in the same cycle",
        || Scenario::new(2).cpu(1, Body::Panics),
        |world| {
            jumped(world)?;
            expect(world.oracle.committed == 3, || "registers of both are saved".into())
        },
    ),
    native(
        "20b",
        "three CPUs panic, one in an NMI",
        || Scenario::new(3).cpu(1, Body::Panics).cpu(2, Body::PanicsInNmi),
        jumped,
    ),
    native(
        "21",
        "an NMI that panics hits the owner",
        || Scenario { external_nmis: 2, external_to: Some(0), button_panics: true, ..Scenario::new(2) },
        jumped,
    ),
    native(
        "22",
        "an NMI between the choice to redirect and the signal",
        || Scenario { external_nmis: 1, external_to: Some(0), ..Scenario::new(2).config(REDIRECT) },
        |world| {
            jumped(world)?;
            expect(world.oracle.owner == Some(1), || "the redirect arrives".into())
        },
    ),
    native(
        "23",
        "the loser of a redirect races ahead",
        || Scenario::new(3).config(REDIRECT).cpu(2, Body::Panics),
        |world| {
            jumped(world)?;
            expect(world.oracle.owner == Some(1), || "the target goes on".into())
        },
    ),
    native(
        "24",
        "the redirect target takes no signal",
        || Scenario::new(3).config(REDIRECT).faults(Faults { deaf: 2, ..Faults::NONE }),
        |world| {
            jumped(world)?;
            expect(world.oracle.owner == Some(0), || "the origin goes on".into())?;
            says(world, EntryKind::Note, "did not answer")?;
            state(world, 1, CpuState::Missing)
        },
    ),
    native(
        "24b",
        "the redirect target answers in the last moment",
        || Scenario { leaps: 2, early_ticks: 30, ..Scenario::new(2).config(REDIRECT) },
        done,
    ),
    native(
        "25",
        "registers of the origin of a redirect",
        || Scenario::new(2).config(REDIRECT),
        |world| {
            jumped(world)?;
            expect(world.oracle.committed == 3, || "registers of origin and heir are saved".into())
        },
    ),
    native("26", "a notifier faults", || bad(Does::Fault), contained),
    native("27", "a notifier panics", || bad(Does::Panic), contained),
    native("28", "a notifier spins", || bad(Does::Spin), contained),
    native(
        "28b",
        "a notifier hangs, alone on the machine",
        || Scenario { cpus: Scenario::new(1).cpus, ..bad(Does::Hang) },
        contained,
    ),
    native(
        "28d",
        "a notifier hangs, alone on the machine, and the timer's shot comes early",
        || {
            let faults = Faults { early_timer: true, ..Faults::NONE };
            Scenario { cpus: Scenario::new(1).cpus, ..bad(Does::Hang) }.faults(faults)
        },
        contained,
    ),
    pending("28c", "the console hangs between two steps", "a watch over what lies between two bodies"),
    native(
        "29",
        "a terminal notifier never returns",
        || {
            Scenario::new(2)
                .config(OFF)
                .notifier(Class::Terminal, Does::Hang)
                .notifier(Class::Inform, Does::Work)
        },
        |world| {
            ends(world, End::Rebooted)?;
            expect(world.oracle.notified == 3, || "both were called".into())
        },
    ),
    native(
        "30",
        "a notifier wants to silence the others",
        || bad(Does::Skip),
        |world| {
            ends(world, End::Jumped)?;
            expect(world.oracle.notified == 7, || "all were called".into())
        },
    ),
    pending("31", "the list of notifiers is corrupted", "stray writes in the simulator"),
    native(
        "32",
        "the host is told before the jump",
        || Scenario::new(2).config(POST).notifier(Class::Inform, Does::Work),
        |world| {
            jumped(world)?;
            expect(world.oracle.notified == 1, || "the host was told".into())
        },
    ),
    pending("33", "the image is being replaced", "two image slots"),
    native(
        "34",
        "the image's digest does not match",
        || Scenario::new(2).faults(Faults { bad_digest: true, ..Faults::NONE }),
        |world| {
            ends(world, End::Rebooted)?;
            outcome(world, Step::KexecPre, Outcome::Failed)
        },
    ),
    native(
        "35",
        "the stop step is cut short and others were stopped",
        || Scenario { machine_checks: 1, ..Scenario::new(3) },
        |world| {
            done(world)?;
            expect(world.machine.record.load(header::STOPPED_AT) != 0, || {
                "it is written down what became of every CPU".into()
            })
        },
    ),
    native(
        "36",
        "one CPU enters the crash path alone by a button",
        || Scenario { external_nmis: 1, button_panics: true, ..Scenario::new(2).cpu(0, Body::Works) },
        |world| {
            let calm = world.end == Some(End::Calm);
            expect(calm || world.end == Some(End::Jumped), || format!("{:?}", world.end))
        },
    ),
    native(
        "37",
        "the owner dies after it won",
        || {
            Scenario::new(3)
                .config(POST)
                .faults(Faults { deaf: 1, ..Faults::NONE })
                .notifier(Class::Inform, Does::Hang)
                .notifier(Class::PreReboot, Does::Work)
        },
        |world| {
            jumped(world)?;
            expect(world.oracle.owner != Some(0) && world.oracle.taken_over, || "somebody took over".into())?;
            says(world, EntryKind::Ownership, "takeover")?;
            expect(world.oracle.notified == 3, || "the path went on with the next notifier".into())
        },
    ),
    native(
        "37b",
        "the owner was only slow, comes back after somebody took over, and the heir fails",
        || {
            let faults = Faults { deaf: 1, ..Faults::NONE }.with(Call::Verify, 0, What::Hang);
            let slow = Scenario::new(3).config(POST).faults(faults).notifier(Class::Inform, Does::Slow);
            let slow = slow.notifier(Class::Inform, Does::Slow).notifier(Class::Inform, Does::Work);
            Scenario { leaps: 3, early_ticks: 20, ..slow }
        },
        done,
    ),
    native(
        "37c",
        "the owner dies, and an NMI from outside reaches the CPU that takes over",
        || {
            let dies = Scenario::new(2).config(POST).faults(Faults { deaf: 1, ..Faults::NONE });
            let dies = dies.notifier(Class::Inform, Does::Hang).notifier(Class::PreReboot, Does::Work);
            Scenario { external_nmis: 2, external_to: Some(1), ..dies }
        },
        |world| {
            jumped(world)?;
            expect(world.oracle.owner == Some(1) && world.oracle.taken_over, || "CPU 1 took over".into())?;
            expect(world.oracle.notified == 3, || "the path went on with the next notifier".into())?;
            let again = view(world)?.entries().flatten().any(|entry| entry.kind == EntryKind::Reentry);
            expect(!again, || "the shots at the dead owner hit nobody else".into())
        },
    ),
    native(
        "38",
        "the time base stands still",
        || Scenario::new(3).faults(Faults { clock_stops: 1, deaf: 2, ..Faults::NONE }),
        |world| {
            jumped(world)?;
            state(world, 1, CpuState::Missing)
        },
    ),
    native(
        "38b",
        "one reading of the clock is an hour ahead, and the message never ends",
        || {
            let ahead = |faults: Faults, nth| faults.with(Call::Clock, nth, What::Garbage);
            Scenario::new(1).faults(ahead(ahead(message(What::Hang).faults, 4), 5))
        },
        jumps_after_a_failed_announce,
    ),
    pending("39", "a hardware watchdog fires during the dump", "watchdog hardware"),
    pending("40", "the watchdog is off and the path hangs", "watchdog hardware"),
    native(
        "41",
        "the dump hangs after the stop",
        || Scenario::new(2).faults(Faults::NONE.with(Call::Verify, 0, What::Hang)),
        |world| {
            ends(world, End::Rebooted)?;
            outcome(world, Step::KexecPre, Outcome::Failed)
        },
    ),
    native(
        "41b",
        "the jump comes back, the watchers are about to leave, and a notifier hangs",
        || {
            let faults = Faults { jump_fails: true, ..Faults::NONE };
            Scenario::new(2).faults(faults).notifier(Class::Inform, Does::Hang)
        },
        |world| {
            ends(world, End::Rebooted)?;
            outcome(world, Step::Inform, Outcome::Failed)
        },
    ),
    native(
        "42",
        "a fault at any point, twice",
        || {
            let scenario = Scenario { machine_checks: 2, ..Scenario::new(2).config(POST) };
            scenario.notifier(Class::Inform, Does::Talk).notifier(Class::PreReboot, Does::Work)
        },
        done,
    ),
    native("43", "a panic before anything is up", || Scenario::new(1).cpu(0, Body::PanicsEarly), jumped),
    pending("44", "a stack overflow is the cause", "stacks: only metal has them"),
    native(
        "45",
        "the final action works on the boot CPU only",
        || {
            let faults = Faults { reboot_only_on: 1, ..Faults::NONE };
            Scenario::new(2).config(OFF).cpu(0, Body::Works).cpu(1, Body::Panics).faults(faults)
        },
        |world| ends(world, End::PoweredOff),
    ),
    pending("46", "a panic loop across boots", "persistence"),
    native(
        "47",
        "stopped from a CPU that did not boot",
        || Scenario::new(3).cpu(0, Body::Works).cpu(2, Body::Panics),
        |world| {
            jumped(world)?;
            parked(world, 0, Rung::Nmi)?;
            parked(world, 1, Rung::Nmi)
        },
    ),
    native(
        "48",
        "the panic's own output panics",
        || {
            Scenario::new(2).faults(Faults::NONE.with(Call::Console, 1, What::Panic).with(
                Call::Console,
                9,
                What::Panic,
            ))
        },
        jumped,
    ),
    native(
        "48b",
        "a final action other than the default, reached by failures",
        || {
            let config = Config { final_action: FinalAction::PowerOff, ..OFF };
            Scenario::new(2).config(config).faults(Faults::NONE.with(Call::Message, 0, What::Panic))
        },
        |world| ends(world, End::PoweredOff),
    ),
];

/// The row with this id.
pub fn case(id: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.id == id)
}

fn message(what: What) -> Scenario {
    Scenario::new(2).faults(Faults::NONE.with(Call::Message, 0, what))
}

fn masked() -> Scenario {
    Scenario::new(2).config(POLITE).faults(Faults { masked: 2, ..Faults::NONE })
}

/// A notifier of this kind between two good ones.
fn bad(does: Does) -> Scenario {
    Scenario::new(2)
        .config(POST)
        .notifier(Class::Inform, Does::Talk)
        .notifier(Class::Inform, does)
        .notifier(Class::Inform, Does::Work)
}

fn contained(world: &World) -> Result<(), String> {
    jumped(world)?;
    expect(world.oracle.notified == 7, || "all were called".into())?;
    let view = view(world)?;
    let failed = view.entries().filter_map(Result::ok).any(|entry| {
        entry.kind == EntryKind::Notifier
            && entry.outcome == Some(Outcome::Failed)
            && entry.text.starts_with("n01")
    });
    expect(failed, || "the record names the one that failed".into())
}

fn jumps_after_a_failed_announce(world: &World) -> Result<(), String> {
    jumped(world)?;
    outcome(world, Step::Announce, Outcome::Failed)?;
    // What comes after it is done all the same.
    if world.count > 1 { state(world, 1, CpuState::Parked) } else { Ok(()) }
}

fn done(world: &World) -> Result<(), String> {
    let done = [End::Jumped, End::Rebooted, End::PoweredOff, End::Halted];
    expect(world.end.is_some_and(|end| done.contains(&end)), || format!("{:?}", world.end))
}

fn jumped(world: &World) -> Result<(), String> {
    ends(world, End::Jumped)
}

fn ends(world: &World, end: End) -> Result<(), String> {
    expect(world.end == Some(end), || format!("{end:?}, and it was {:?}", world.end))
}

fn slot_of(world: &World, cpu: usize, word: usize) -> u64 {
    CpuId::new(cpu).map_or(0, |cpu| world.machine.record.slot(cpu, word))
}

fn state(world: &World, cpu: usize, expected: CpuState) -> Result<(), String> {
    let number = slot_of(world, cpu, slot::OWNER_STATE);
    expect(number == u64::from(expected.number()), || format!("CPU {cpu} {expected}, and it was {number}"))
}

fn parked(world: &World, cpu: usize, rung: Rung) -> Result<(), String> {
    state(world, cpu, CpuState::Parked)?;
    let number = slot_of(world, cpu, slot::RUNG);
    expect(number == u64::from(rung.number()), || format!("CPU {cpu} stopped by {rung}, and it was {number}"))
}

fn view(world: &World) -> Result<RecordView<'_>, String> {
    RecordView::parse(world.machine.record_bytes()).map_err(|error| error.to_string())
}

fn says(world: &World, kind: EntryKind, what: &str) -> Result<(), String> {
    let view = view(world)?;
    let found =
        view.entries().filter_map(Result::ok).any(|entry| entry.kind == kind && entry.text.contains(what));
    expect(found, || format!("the record says `{what}`"))
}

fn outcome(world: &World, step: Step, outcome: Outcome) -> Result<(), String> {
    let view = view(world)?;
    let found = view.entries().filter_map(Result::ok).any(|entry| {
        entry.kind == EntryKind::Step && entry.step == Some(step) && entry.outcome == Some(outcome)
    });
    expect(found, || format!("step {step} ended as {outcome}"))
}

fn expect(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("expected: {}", what())) }
}
