//! The rows about locks and firmware: what is staged, and what is special about how it ends.

use core_panic::Config;
use core_panic::config::{KexecMode, StopPolicy};
use crash_record::names::{Class, CpuState, EntryKind, Orphan, Outcome, Step};

use super::{OFF, POST, expect, jumped, says, slot_of, state, view};
use crate::faults::{Call, Faults, What};
use crate::lock::Which;
use crate::plan::{Op, Plan};
use crate::scenario::{Body, Does, Scenario};
use crate::services::{Id, Kind};
use crate::world::{End, World};

/// Critical sections are cut.
pub(super) const CUT: Config = Config { stop: StopPolicy::Nmi, ..POST };
const CUT_OFF: Config = Config { kexec: KexecMode::Off, ..CUT };

const fn runs(ops: &[Op]) -> Body {
    Body::Runs(Plan::new(ops))
}

/// CPU 1 works under this lock for a while, with interrupts off; a notifier does this, and another one its work.
fn held(config: Config, which: Which, does: Does) -> Scenario {
    let ops =
        [Op::Mask, Op::Take(which), Op::Work(2), Op::Wait(2), Op::Work(2), Op::Drop, Op::Work(1), Op::Unmask];
    Scenario::new(2)
        .config(config)
        .cpu(1, runs(&ops))
        .notifier(Class::Inform, does)
        .notifier(Class::Inform, Does::Work)
}

pub(super) fn cut() -> Scenario {
    held(CUT, Which::Skip, Does::Enter(Which::Skip))
}

pub(super) fn deferred() -> Scenario {
    held(POST, Which::Skip, Does::Enter(Which::Skip))
}

pub(super) fn blocking() -> Scenario {
    held(CUT, Which::Skip, Does::Lock(Which::Skip))
}

pub(super) fn blocking_after_a_fault() -> Scenario {
    Scenario { machine_checks: 1, ..blocking() }
}

pub(super) fn stolen() -> Scenario {
    held(CUT, Which::Steal, Does::Enter(Which::Steal))
}

/// The owner panics under the lock that the second waits for, which holds what the third waits for.
pub(super) fn chain() -> Scenario {
    let one = [Op::Take(Which::Steal), Op::Work(2), Op::Take(Which::Never), Op::Drop, Op::Drop];
    let two = [
        Op::Mask,
        Op::Take(Which::Skip),
        Op::Work(2),
        Op::Take(Which::Steal),
        Op::Drop,
        Op::Drop,
        Op::Unmask,
    ];
    Scenario::new(3)
        .config(POST)
        .cpu(0, runs(&[Op::Take(Which::Never), Op::Work(1), Op::Panic]))
        .cpu(1, runs(&one))
        .cpu(2, runs(&two))
        .notifier(Class::Inform, Does::Enter(Which::Steal))
        .notifier(Class::Inform, Does::Work)
}

pub(super) fn too_long() -> Scenario {
    let long = [Op::Take(Which::Skip), Op::Wait(15), Op::Drop];
    let alone = [Op::Mask, Op::Spin];
    let scenario = held(POST, Which::Skip, Does::Enter(Which::Skip));
    Scenario { cpus: Scenario::new(3).cpus, early_ticks: 20, ..scenario }
        .cpu(1, runs(&long))
        .cpu(2, runs(&alone))
}

/// What outlasts the grace where there is nothing to cut it short with.
pub(super) fn uncut() -> Scenario {
    let long = [Op::Take(Which::Skip), Op::Wait(15), Op::Drop];
    let scenario = held(POST, Which::Skip, Does::Enter(Which::Skip)).cpu(1, runs(&long));
    Scenario { early_ticks: 20, ..scenario }.faults(Faults { no_nmi: true, ..Faults::NONE })
}

/// What it takes for a grace that is counted from the send to be too short.
pub(super) fn late_answer() -> Scenario {
    let ops = [Op::Take(Which::Skip), Op::Wait(8), Op::Drop];
    Scenario { early_ticks: 30, ..held(POST, Which::Skip, Does::Enter(Which::Skip)) }.cpu(1, runs(&ops))
}

pub(super) fn never_answers() -> Scenario {
    let faults = Faults { deaf: 2, ..Faults::NONE };
    let ops = [Op::Take(Which::Steal), Op::Spin];
    held(POST, Which::Steal, Does::Enter(Which::Steal)).cpu(1, runs(&ops)).faults(faults)
}

/// It is given up on, answers after all, and is deferred then; nobody cuts it.
pub(super) fn answers_late() -> Scenario {
    let ops = [Op::Take(Which::Steal), Op::Spin];
    Scenario { leaps: 2, ..held(POST, Which::Steal, Does::Enter(Which::Steal)).cpu(1, runs(&ops)) }
}

/// Whoever comes later meets what an abandoned context left.
pub(super) fn abandoned(which: Which) -> Scenario {
    Scenario::new(2)
        .config(POST)
        .notifier(Class::Inform, Does::EnterAndPanic(which))
        .notifier(Class::Inform, Does::Enter(which))
        .notifier(Class::Inform, Does::EnterTwice(which))
}

pub(super) fn surplus() -> Scenario {
    // Nothing that waits: else the signals come while it does.
    let ops = [Op::Take(Which::Skip), Op::Work(2), Op::Drop, Op::Work(1)];
    Scenario { external_nmis: 2, external_to: Some(1), ..deferred().cpu(1, runs(&ops)) }
}

pub(super) fn maskable() -> Scenario {
    let ops = [Op::Take(Which::Skip), Op::Wait(2), Op::Work(2), Op::Drop];
    deferred().cpu(1, runs(&ops)).faults(Faults { maskable_nmi: true, ..Faults::NONE })
}

pub(super) fn lost_context() -> Scenario {
    deferred().faults(Faults { lost: 2, ..Faults::NONE })
}

/// CPU 1 calls firmware again and again.
fn in_firmware(config: Config, id: Id) -> Scenario {
    let scenario = Scenario::new(2).config(config).firmware(Kind::Rtas);
    Scenario { rounds: 2, ..scenario }.cpu(1, runs(&[Op::Call(id), Op::Work(1)]))
}

pub(super) fn firmware_cut() -> Scenario {
    in_firmware(CUT, Id::ConfigureConnector)
}

pub(super) fn firmware_deferred() -> Scenario {
    in_firmware(POST, Id::ConfigureConnector)
}

pub(super) fn own_firmware(wrong: What) -> Scenario {
    let faults = Faults::NONE.with(Call::Service, 0, wrong);
    Scenario::new(2).config(POST).firmware(Kind::Rtas).cpu(0, runs(&[Op::Call(Id::IntOff)])).faults(faults)
}

pub(super) fn self_reentrant() -> Scenario {
    in_firmware(CUT, Id::IntOff)
}

pub(super) fn hung_in_firmware() -> Scenario {
    in_firmware(POST, Id::ConfigureConnector).faults(Faults::NONE.with(Call::Service, 0, What::Hang))
}

pub(super) fn abandoned_in_firmware() -> Scenario {
    Scenario::new(2)
        .config(POST)
        .firmware(Kind::Rtas)
        .notifier(Class::Inform, Does::Call(Id::IntOff))
        .notifier(Class::Inform, Does::Call(Id::NvramStore))
        .faults(Faults::NONE.with(Call::Service, 0, What::Hang))
}

/// Each service that is called hangs, but the last one.
pub(super) fn swallowed() -> Scenario {
    let faults = Faults::NONE.with(Call::Service, 0, What::Hang).with(Call::Service, 1, What::Hang);
    Scenario::new(2)
        .config(OFF)
        .firmware(Kind::Rtas)
        .notifier(Class::Inform, Does::Call(Id::NvramStore))
        .notifier(Class::Inform, Does::Call(Id::NvramStore))
        .notifier(Class::Inform, Does::Call(Id::ConfigureConnector))
        .faults(faults)
}

pub(super) fn reboots(kind: Kind) -> Scenario {
    in_firmware(CUT_OFF, Id::ConfigureConnector).firmware(kind)
}

pub(super) fn console() -> Scenario {
    let ops = [Op::Take(Which::Console), Op::Away, Op::Home, Op::Work(2), Op::Drop];
    Scenario::new(2).config(CUT_OFF).cpu(1, runs(&ops)).notifier(Class::PreReboot, Does::Device)
}

pub(super) fn store(config: Config) -> Scenario {
    held(config, Which::Store, Does::Store)
}

/// Nobody but the record step wants the store.
pub(super) fn record() -> Scenario {
    let ops = [Op::Take(Which::Store), Op::Work(2), Op::Drop];
    Scenario { keeper: true, ..Scenario::new(2).config(CUT_OFF).cpu(1, runs(&ops)) }
}

fn ended(world: &World, name: &str, outcome: Outcome) -> Result<(), String> {
    let view = view(world)?;
    let found = view.entries().filter_map(Result::ok).any(|entry| {
        entry.kind == EntryKind::Notifier && entry.outcome == Some(outcome) && entry.text.starts_with(name)
    });
    expect(found, || format!("{name} ended as {outcome}"))
}

fn both_ran(world: &World) -> Result<(), String> {
    jumped(world)?;
    expect(world.oracle.notified & 3 == 3, || "both notifiers were called".into())?;
    ended(world, "n01", Outcome::Done)
}

/// The notifier does without the lock exactly if it is held, and the record says so.
pub(super) fn skipped_or_done(world: &World) -> Result<(), String> {
    both_ran(world)?;
    let refused = world.oracle.locks.refused != 0;
    expect(refused == (slot_of(world, 1, crash_record::layout::slot::HELD_LAST) != 0), || {
        "refused, if and only if CPU 1 was stopped with the lock".into()
    })?;
    ended(world, "n00", if refused { Outcome::Skipped } else { Outcome::Done })
}

/// Nobody's section is cut, so the notifier gets what it wants.
pub(super) fn gets_it(world: &World) -> Result<(), String> {
    both_ran(world)?;
    state(world, 1, CpuState::Parked)?;
    expect(orphan(world, 1) == 0, || "CPU 1 finishes its section".into())?;
    ended(world, "n00", Outcome::Done)
}

pub(super) fn abandoned_at_once(world: &World) -> Result<(), String> {
    both_ran(world)?;
    if world.oracle.locks.abandoned == 0 {
        return ended(world, "n00", Outcome::Done);
    }
    ended(world, "n00", Outcome::Failed)?;
    says(world, EntryKind::Reentry, "blocked-on-lock")?;
    // Not by a deadline: nobody waited.
    expect(world.now < 80_000_000, || format!("at once, and it took until {} ms", world.now / 1_000_000))
}

pub(super) fn robs(world: &World) -> Result<(), String> {
    both_ran(world)?;
    ended(world, "n00", Outcome::Done)
}

fn orphan(world: &World, cpu: usize) -> u64 {
    slot_of(world, cpu, crash_record::layout::slot::ORPHAN)
}

fn only(world: &World, cpu: usize, reason: Orphan) -> Result<(), String> {
    let why = orphan(world, cpu);
    expect(why == 0 || why == u64::from(reason.number()), || format!("CPU {cpu}: {reason}, and it is {why}"))
}

pub(super) fn chain_parks(world: &World) -> Result<(), String> {
    jumped(world)?;
    for cpu in [1, 2] {
        state(world, cpu, CpuState::Parked)?;
        only(world, cpu, Orphan::Blocked)?;
    }
    ended(world, "n00", Outcome::Done)
}

pub(super) fn outlived(world: &World) -> Result<(), String> {
    jumped(world)?;
    state(world, 1, CpuState::Parked)?;
    state(world, 2, CpuState::Parked)?;
    only(world, 1, Orphan::Grace)
}

pub(super) fn is_not_robbed(world: &World) -> Result<(), String> {
    both_ran(world)?;
    let holds = world.oracle.locks.refused != 0;
    // Or it asked for the lock when there was a panic.
    state(world, 1, if holds { CpuState::Missing } else { CpuState::Parked })?;
    ended(world, "n00", if holds { Outcome::Skipped } else { Outcome::Done })
}

pub(super) fn by_policy(world: &World, steals: bool) -> Result<(), String> {
    jumped(world)?;
    expect(world.oracle.notified == 7, || "all were called".into())?;
    ended(world, "n00", Outcome::Failed)?;
    let outcome = if steals { Outcome::Done } else { Outcome::Skipped };
    ended(world, "n01", outcome)?;
    ended(world, "n02", outcome)
}

pub(super) fn context_lost(world: &World) -> Result<(), String> {
    both_ran(world)?;
    state(world, 1, CpuState::Parked)?;
    only(world, 1, Orphan::LostContext)
}

/// All sources are masked, or it is said which are not.
pub(super) fn masked_or_said(world: &World) -> Result<(), String> {
    jumped(world)?;
    match world.oracle.firmware.has_called(&[Id::IntOff, Id::SetXive]) {
        true => Ok(()),
        false => says(world, EntryKind::Note, "could not be masked"),
    }
}

pub(super) fn masked(world: &World) -> Result<(), String> {
    jumped(world)?;
    let both = world.oracle.firmware.has_called(&[Id::IntOff, Id::SetXive]);
    expect(both, || "the sources are masked".into())
}

/// What is inside for good keeps everything out that it does not bear.
pub(super) fn not_masked(world: &World) -> Result<(), String> {
    jumped(world)?;
    expect(!world.oracle.firmware.has_called(&[Id::SetXive]), || {
        "nothing is called that is forbidden".into()
    })?;
    says(world, EntryKind::Note, "could not be masked")
}

pub(super) fn exempt_only(world: &World) -> Result<(), String> {
    not_masked(world)?;
    expect(world.oracle.firmware.has_called(&[Id::NvramStore]), || "what is exempt goes through".into())
}

pub(super) fn hung_inside(world: &World) -> Result<(), String> {
    only(world, 1, Orphan::Grace)?;
    if orphan(world, 1) != 0 {
        return not_masked(world);
    }
    // It never went in: the owner is the one that hangs there, in its first call.
    super::ends(world, End::Rebooted)
}

pub(super) fn powered_off(world: &World) -> Result<(), String> {
    super::ends(world, End::PoweredOff)?;
    ended(world, "n00", Outcome::Failed)?;
    ended(world, "n01", Outcome::Skipped)?;
    ended(world, "n02", Outcome::Skipped)
}

pub(super) fn rebooted(world: &World) -> Result<(), String> {
    super::ends(world, End::Rebooted)
}

/// Reset, or else the next link of the chain.
pub(super) fn next_link(world: &World, next: End) -> Result<(), String> {
    super::ends(world, if world.oracle.firmware.refused { next } else { End::Rebooted })
}

/// The announcement is there, and the device is written as it should be.
pub(super) fn heard(world: &World) -> Result<(), String> {
    super::ends(world, End::Rebooted)?;
    let text = String::from_utf8_lossy(&world.console);
    expect(text.contains("*** on purpose"), || "the message is on the console".into())
}

pub(super) fn repaired(world: &World) -> Result<(), String> {
    heard(world)?;
    let device = world.device;
    expect(device.written == 1 && device.astray == 0, || format!("a byte in its place: {device:?}"))
}

pub(super) fn stored_or_skipped(world: &World) -> Result<(), String> {
    skipped_or_done(world)?;
    let stored = !world.store.slot(0).is_empty();
    expect(stored == (world.oracle.locks.refused == 0), || "written, unless it was refused".into())
}

/// The record is kept, or the step says that it is not.
pub(super) fn kept_or_skipped(world: &World) -> Result<(), String> {
    super::ends(world, End::Rebooted)?;
    let refused = world.oracle.locks.refused != 0;
    expect(refused == (slot_of(world, 1, crash_record::layout::slot::HELD_LAST) != 0), || {
        "refused, if and only if CPU 1 was stopped with the lock".into()
    })?;
    expect(world.store.slot(0).is_empty() == refused, || "kept, unless it was refused".into())?;
    super::outcome(world, Step::Record, if refused { Outcome::Skipped } else { Outcome::Done })
}

pub(super) fn stored(world: &World) -> Result<(), String> {
    gets_it(world)?;
    expect(!world.store.slot(0).is_empty(), || "the entry is in the store".into())
}
