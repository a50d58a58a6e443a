//! What the command line told each CPU to do when the panic comes, against what became of it.
//!
//! Who holds what, for how long yet and who waits for whom is known before the run. So a lock that stayed held can
//! be asked for its excuse without asking the stop: the record's reason has to be one that the CPU's role gives.

use crash_record::event::Stream;
use crash_record::layout::slot;
use crash_record::names::{CpuState, EntryKind, Orphan};
use crash_record::view::{CpuSlot, RecordView};

use super::record::not_seen;
use super::{Check, Facts};
use crate::events::EventLog;
use crate::roles::{Roles, Then};
use crate::scenario::Stop;

/// The lock that the bench's notifier wants.
pub const WANTED: u32 = 0;

/// What is known of a run from its roles, the moment of the panic, and nothing that the stop decided.
pub struct Told<'a> {
    roles: &'a Roles,
    stop: Stop,
    log: &'a EventLog,
    record: RecordView<'a>,
    owner: usize,
    /// Clock right before the panic, ns.
    moment: u64,
    /// ns.
    grace: u64,
    /// That CPUs took which were to finish a critical section and nothing else.
    interrupts: u64,
}

impl<'a> Told<'a> {
    /// `Err`: what is missing.
    pub fn new(
        roles: &'a Roles,
        stop: Stop,
        log: &'a EventLog,
        record: RecordView<'a>,
    ) -> Result<Self, &'static str> {
        let owner = record.owner().ok_or("an owner")?;
        let trial = log.first(Stream::Panic, "trial").ok_or("a word of the notifier")?;
        let moment = trial.number("moment").ok_or("the moment of the panic")?;
        let interrupts = trial.number("interrupts").ok_or("how many interrupts deferred CPUs took")?;
        let grace_ms = roles.grace_ms.ok_or("`panic.grace` on the command line")?;
        let scale = log.first(Stream::Panic, "claim").and_then(|claim| claim.number("scale")).unwrap_or(1);
        Ok(Told { roles, stop, log, record, owner, moment, grace: grace_ms * scale * 1_000_000, interrupts })
    }

    /// Slots of the CPUs that do not own the panic.
    pub fn others(&self) -> impl Iterator<Item = CpuSlot<'a>> + use<'a> {
        let owner = self.owner;
        self.record.slots().filter(move |slot| slot.cpu != owner)
    }

    /// Clock when `cpu` is through, by its role; `None`: never.
    fn ends(&self, cpu: usize) -> Option<u64> {
        self.roles.ends_us(cpu, self.owner).map(|us| self.moment + us * 1_000)
    }

    /// What may go by before anybody is late: the machine's host may be busy.
    fn slack(&self) -> u64 {
        self.grace / 4
    }

    /// When the first signal was sent, ns; `None` if everybody had stopped before.
    pub fn signalled(&self) -> Option<u64> {
        self.others().map(|slot| slot.word(slot::OWNER_SIGNALLED_AT)).filter(|at| *at != 0).min()
    }

    /// What was left at the first signal of what this policy waits for, ns: critical sections as far as the grace
    /// goes; with a polite rung, whatever runs with interrupts off. What never ends does not count.
    pub fn remaining(&self) -> u64 {
        let Some(signalled) = self.signalled() else { return 0 };
        let roles = self.roles.of.iter().filter(|(cpu, role)| match self.stop {
            Stop::Deferred => **cpu != self.owner && role.lock.is_some(),
            Stop::IpiNmi => **cpu != self.owner && !role.interrupts,
            Stop::Nmi | Stop::Linux => false,
        });
        let left = |cpu: usize| match self.ends(cpu) {
            Some(end) if self.stop == Stop::Deferred => end.saturating_sub(signalled).min(self.grace),
            Some(end) => end.saturating_sub(signalled),
            None if self.stop == Stop::Deferred => self.grace,
            None => 0,
        };
        roles.map(|(cpu, _)| left(*cpu)).max().unwrap_or(0)
    }

    /// Whether the notifier's entry has to be there, whatever the host did.
    pub fn entry_required(&self) -> bool {
        let Some(holder) = self.roles.holder(WANTED) else { return true };
        let signalled = self
            .others()
            .find(|slot| slot.cpu == holder)
            .map_or(0, |slot| slot.word(slot::OWNER_SIGNALLED_AT));
        // One that was not signalled had stopped before, by itself: with nothing held, or dead.
        let in_time = |end: u64| signalled == 0 || end + self.slack() < signalled + self.grace;
        self.stop == Stop::Deferred && self.ends(holder).is_some_and(in_time)
    }

    /// Whether the notifier wrote its entry.
    pub fn entry(&self) -> bool {
        let trial = self.log.first(Stream::Panic, "trial");
        trial.is_some_and(|event| event.text("entry") == "written")
    }

    /// What is wrong with the panic path's own word on the lock that the notifier wanted: it was refused once,
    /// because of a CPU that by its role holds it, or had asked for it, or not at all.
    fn misruled(&self) -> Option<String> {
        let said = self.log.all(Stream::Panic, EntryKind::Lock.name());
        let said: Vec<_> = said.map(|event| event.text("who").to_owned()).collect();
        let has_it = |who: &str| {
            let role = who.parse().ok().and_then(|cpu: usize| self.roles.of.get(&cpu));
            role.is_some_and(|role| role.lock == Some(WANTED) || role.then == Then::Ask(WANTED))
        };
        match (self.entry(), said.as_slice()) {
            (true, []) => None,
            (false, [who]) if has_it(who) => None,
            (entry, who) => {
                Some(format!("entry written: {entry}, refused because of CPUs [{}]", who.join(", ")))
            }
        }
    }

    /// Why this CPU may not have stopped as it did.
    fn unexplained(&self, slot: &CpuSlot) -> Option<String> {
        let orphan = slot.orphan()?;
        let role = self.roles.of.get(&slot.cpu);
        let deferred = slot.word(slot::DEFERRED_AT);
        let may_hold = role.is_some_and(|role| role.lock.is_some() || matches!(role.then, Then::Ask(_)));
        if !may_hold && (deferred != 0 || orphan != Orphan::None) {
            return Some("held a lock, and its role has none".into());
        }
        let role = role?;
        let gone = |cpu: usize| {
            let state = self.others().find(|slot| slot.cpu == cpu);
            cpu == self.owner
                || state.is_some_and(|slot| {
                    slot.owner_state() == Some(CpuState::Missing) || slot.word(slot::HELD_LAST) != 0
                })
        };
        let wrong = match orphan {
            Orphan::None => return None,
            Orphan::Grace => {
                // Who waits for what never comes gives up as soon as it asks.
                let end = self.ends(slot.cpu).or(match role.then {
                    Then::Ask(lock) if self.roles.holder(lock) == Some(self.owner) => {
                        Some(self.moment + role.us * 1_000)
                    }
                    _ => None,
                });
                let late = |end| end + self.slack() >= deferred + self.grace;
                if deferred != 0 && end.is_none_or(late) {
                    return None;
                }
                "its section was over in time"
            }
            Orphan::Blocked => match role.then {
                Then::Ask(lock) => match self.roles.holder(lock) {
                    Some(holder) if slot.word(slot::BLOCKED_BY) != holder as u64 + 1 => {
                        "another CPU held that lock"
                    }
                    Some(holder) if gone(holder) => return None,
                    _ => "the holder of that lock was there to release it",
                },
                _ => "it asks for no other lock",
            },
            Orphan::Died => match role.then {
                Then::Panic => return None,
                _ => "it does not panic",
            },
            // A context that cannot be resumed is the machine's doing; the record's registers say so.
            Orphan::LostContext => return None,
            Orphan::Policy if self.stop != Stop::Deferred => return None,
            Orphan::Policy => "the policy is to wait",
        };
        Some(format!("{} locks stay held, reason {orphan}: by its role {wrong}", slot.word(slot::HELD_LAST)))
    }
}

/// Every lock that stayed held has an excuse that the CPU's role gives, and the notifier's entry is there if the
/// roles allow it.
pub fn roles(name: &'static str, facts: &Facts) -> Check {
    if facts.roles.of.is_empty() {
        return Check::none(name, "the command line gives no CPU a role");
    }
    let Some(record) = facts.record() else { return not_seen(name) };
    let told = match Told::new(&facts.roles, facts.stop, &facts.evidence.log, record) {
        Ok(told) => told,
        Err(missing) => return facts.missing(name, missing),
    };
    let unexplained = |slot: CpuSlot| Some(format!("CPU {}: {}", slot.cpu, told.unexplained(&slot)?));
    let mut faults: Vec<_> = told.others().filter_map(unexplained).collect();
    if told.entry_required() && !told.entry() {
        faults.push("the notifier's entry is not there, and nothing was in its way".into());
    }
    if told.entry() && facts.roles.holder(WANTED) == Some(told.owner) {
        faults.push("the notifier took a lock that its own CPU was holding".into());
    }
    faults.extend(told.misruled());
    if told.interrupts != 0 {
        faults.push(format!("deferred CPUs took {} interrupts", told.interrupts));
    }
    let entry = match (told.entry(), told.entry_required()) {
        (true, true) => "entry written, as it had to be",
        (true, false) => "entry written",
        (false, _) => "no entry",
    };
    let orphaned = told.others().filter(|slot| slot.word(slot::HELD_LAST) != 0).count();
    let expected =
        "each lock that stays held explained by its CPU's role, and the entry if the roles allow it";
    let found = format!("{} roles, {orphaned} orphaned for their reasons, {entry}", facts.roles.of.len());
    Check::without_faults(name, expected, faults, found)
}
