//! The promises, judged at the end of a run: how it ended, when, and whether the record tells the
//! truth about it.

use core_panic::config::{FinalAction, KexecMode};
use core_panic::order::{Action, ORDER, applies, grace_ms};
use crash_record::layout::{header, slot};
use crash_record::names::{CpuState, EntryKind, Outcome, Step};
use crash_record::view::RecordView;
use hal::CpuId;

use crate::contract;
use crate::faults::{Faults, What};
use crate::notifiers;
use crate::scenario::{Body, Does, Scenario};
use crate::world::{End, LEAP_NS, World};

const MS: u64 = 1_000_000;
/// In the word `panic_cpu`: no takeover any more.
const TAKEN_OVER: u64 = 1 << 33;

/// The most time, ns, that the path may take in this scenario: the budgets of the steps and notifiers
/// that it has; what a redirect, a takeover and a re-entry may add; what the host takes away.
pub fn bound_ns(scenario: &Scenario) -> u64 {
    if matches!(scenario.cpus[0], Body::Checks(_)) {
        return contract::BOUND_NS;
    }
    let config = &scenario.config;
    let mut bodies = 0;
    let mut total = 0;
    for spec in ORDER.iter().filter(|spec| applies(spec, config)) {
        let count = match spec.action {
            Action::Notify(class) => count(scenario, class),
            Action::Final => count(scenario, crash_record::names::Class::Terminal),
            _ => 1,
        };
        bodies += count;
        total += count * spec.budget_ms;
        if spec.action == Action::Stop {
            // The answer to the second signal, and what comes before it.
            total += grace_ms(spec, config) + 1_000;
        }
    }
    // The links of the final chain, and the answer to a redirect.
    bodies += 2;
    total += 2 * 1_000 + u64::from(config.timeout_s) * 1_000 + 1_000;
    // A takeover: two unanswered shots; the standby that has to notice first.
    total += 3 * 1_000;
    let steps = scenario.steps.iter().flatten().count() as u64;
    let injections = scenario.faults.injections.iter().flatten().count() as u64 + steps;
    // A shot that is on its way is waited for.
    total += 2_000 * (injections + u64::from(scenario.machine_checks) + 1);
    let mut total = total * MS * u64::from(config.scale);
    // Each body may be noticed two polls late.
    total += bodies * 30 * MS;
    total += u64::from(scenario.leaps) * 2 * LEAP_NS + u64::from(scenario.early_ticks) * 10 * MS;
    if scenario.faults.clock_stops != 0 {
        // Waits end by counting: a tick for what the machine says takes a tenth of one at least.
        total *= 11;
    }
    total
}

fn count(scenario: &Scenario, class: crash_record::names::Class) -> u64 {
    scenario.notifiers.iter().flatten().filter(|spec| spec.class == class).count() as u64
}

impl World {
    /// Judges a run that is over.
    pub fn judge(&mut self) {
        let Some(end) = self.end else { return };
        if matches!(end, End::Abandoned | End::Crashed) {
            return;
        }
        let allocations = crate::allocator::take_count();
        if allocations > 0 {
            self.violation("P7", format_args!("{allocations} allocations on the panic path"));
        }
        if end == End::Calm {
            return;
        }
        self.judge_end(end);
        let machine = self.machine;
        match RecordView::parse(machine.record_bytes()) {
            Ok(view) => self.judge_record(end, &view),
            Err(error) => self.violation("P5", format_args!("{error}")),
        }
    }

    /// Nobody could have helped an owner that hangs: nothing can reach it, or nothing is there to watch.
    fn helpless(&self) -> bool {
        let faults = &self.scenario.faults;
        let Some(owner) = self.oracle.owner else { return true };
        let deaf = Faults::has(faults.deaf, owner.into());
        let watcher =
            (0..self.count).any(|cpu| cpu != usize::from(owner) && self.oracle.acknowledged & 1 << cpu != 0);
        let lost =
            faults.injections.iter().flatten().any(|injection| {
                matches!(injection.call, crate::faults::Call::Arm | crate::faults::Call::Nmi)
            });
        let timer = !faults.no_timer && !faults.no_nmi && !deaf && !faults.maskable_nmi
            && !lost
            // By a clock that stands still the timer's NMI always comes too early.
            && faults.clock_stops == 0;
        // Whoever was dismissed before a jump that came back does not watch again.
        let dismissed = self.calls[crate::faults::Call::Quiesce as usize] > 0;
        let warden = !dismissed
            && watcher
            && !faults.no_nmi
            && !faults.maskable_nmi
            // A takeover happens once, also if the owner outlived it.
            && (!deaf || self.oracle.word & TAKEN_OVER == 0);
        !timer && !warden
    }

    fn judge_end(&mut self, end: End) {
        let faults = self.scenario.faults;
        let broken = |call| faults.injections.iter().flatten().any(|injection| injection.call == call);
        match end {
            End::Stuck | End::Overdue => {
                let jumping = faults
                    .injections
                    .iter()
                    .flatten()
                    .any(|it| it.call == crate::faults::Call::Jump && it.what == What::Hang);
                // After the owner has retired nobody may interrupt it, so a jump that hangs hangs.
                let in_jump = jumping && self.calls[crate::faults::Call::Jump as usize] > 0;
                if !(self.helpless() || in_jump) {
                    let (owner, now) = (self.oracle.owner, self.now / MS);
                    self.violation("P3", format_args!("{end:?} after {now} ms, owner {owner:?}"));
                }
            }
            End::Jumped if self.scenario.config.kexec == KexecMode::Off => {
                self.violation("P3", format_args!("a jump that nobody configured"));
            }
            End::Halted => {
                let wanted = self.scenario.config.final_action == FinalAction::Halt;
                let chain = faults.no_firmware
                    || self.oracle.firmware.refused
                    || ((faults.reboot_fails
                        || faults.reboot_only_on != 0
                        || broken(crate::faults::Call::Reboot)
                        || self.scenario.config.final_action == FinalAction::PowerOff)
                        && (faults.power_fails || broken(crate::faults::Call::PowerOff)));
                let entries = self.reentries();
                // A link that was cut short counts as tried.
                if !wanted && !chain && entries == 0 {
                    self.violation("P3", format_args!("the machine halts, which is not configured"));
                }
            }
            _ => {}
        }
    }

    fn reentries(&self) -> u32 {
        let injected = self.scenario.faults.injections.iter().flatten().count() as u32;
        let notifiers = self.scenario.notifiers.iter().flatten();
        let bad = notifiers.filter(|spec| {
            matches!(
                spec.does,
                Does::Panic
                    | Does::Fault
                    | Does::Hang
                    | Does::Spin
                    | Does::Lock(_)
                    | Does::EnterAndPanic(_)
                    | Does::Call(_)
            )
        });
        // A leap is longer than any deadline at scale 1: what it hits is cut short.
        let leaps = u32::from(self.scenario.leaps);
        // Each NMI from outside costs a CPU that loses its context a re-entry.
        let lost = if self.scenario.faults.lost == 0 { 0 } else { u32::from(self.scenario.external_nmis) };
        injected + u32::from(self.scenario.machine_checks) + leaps + lost + bad.count() as u32
    }

    fn judge_record(&mut self, end: End, view: &RecordView<'_>) {
        let oracle = self.oracle.clone_flags();
        let done = matches!(end, End::Jumped | End::Rebooted | End::PoweredOff | End::Halted);
        if !done {
            return;
        }
        let mut last = None;
        let mut reasons = 0;
        let mut rulings = [0u8; 2];
        let mut named = [false; crate::scenario::MAX_NOTIFIERS];
        // Whose name took too much time is not asked for it again.
        let mut unnamed = false;
        for entry in view.entries() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.violation("P5", format_args!("{error}")),
            };
            match entry.kind {
                EntryKind::Reason => reasons += 1,
                EntryKind::Lock | EntryKind::Firmware => {
                    let count = &mut rulings[usize::from(entry.outcome != Some(Outcome::Done))];
                    *count = count.saturating_add(1);
                }
                EntryKind::Notifier => {
                    unnamed |= entry.text.starts_with('?');
                    for (number, named) in named.iter_mut().enumerate() {
                        *named |= entry.text.starts_with(notifiers::name(&self.scenario, number));
                    }
                }
                EntryKind::Step if entry.outcome != Some(Outcome::Leaving) => {
                    if last >= entry.step && !oracle.taken_over {
                        let step = entry.step.map_or("none", Step::name);
                        self.violation(
                            "P2",
                            format_args!("the record has step {step} out of order or again"),
                        );
                    }
                    last = last.max(entry.step);
                }
                _ => {}
            }
        }
        let faults = &self.scenario.faults;
        let quiet = self.scenario.machine_checks == 0 && faults.injections == [None; 3] && faults.lost == 0;
        if reasons != 1 && (quiet || reasons > 1) {
            self.violation("P5", format_args!("{reasons} reasons in the record"));
        }
        let undisturbed = quiet && !oracle.taken_over;
        let really = self.oracle.locks.rulings;
        // A deadline may come between the decision and what is noted of it here.
        let in_time = self.scenario.leaps == 0 && self.scenario.early_ticks == 0;
        if undisturbed && in_time && rulings != really {
            let what = format_args!("{really:?} locks were stolen and refused, the record says {rulings:?}");
            self.violation("P5", what);
        }
        if let Some(owner) = oracle.owner.filter(|_| undisturbed) {
            let recorded = view.owner();
            if recorded != Some(owner.into()) {
                self.violation("P5", format_args!("the owner is {owner}, the record says {recorded:?}"));
            }
        }
        for (number, named) in named.into_iter().enumerate() {
            let named = named || (unnamed && !in_time);
            if undisturbed && oracle.notified & 1 << number != 0 && !named {
                self.violation("P5", format_args!("notifier {number} ran and is not in the record"));
            }
        }
        let counted = view.word(header::SURPLUS_NMIS);
        let most = u64::from(oracle.counted) + 8;
        if counted < u64::from(oracle.counted) || counted > most {
            let really = oracle.counted;
            self.violation("P5", format_args!("{really} signals were counted, the record says {counted}"));
        }
        for slot in view.slots() {
            self.judge_cpu(&slot, view, oracle);
        }
    }

    fn judge_cpu(&mut self, cpu: &crash_record::view::CpuSlot<'_>, view: &RecordView<'_>, oracle: Flags) {
        let number = cpu.cpu;
        let bit = 1u8 << number;
        let has = |set: u8| set & bit != 0;
        let saved = match cpu.saved() {
            Ok(saved) => saved,
            Err(error) => return self.violation("P9", format_args!("{error}")),
        };
        self.judge_held(number);
        let first = self.oracle.first[number];
        let torn = self.oracle.torn & bit != 0;
        if let Some(saved) = saved.filter(|saved| saved.sp != first && first != 0 && !torn) {
            let (is, should) = (saved.sp as u32, first as u32);
            self.violation(
                "P9",
                format_args!("CPU {number}: registers number {is} were kept, number {should} came first"),
            );
        }
        let stopped = view.word(header::STOPPED_AT) != 0;
        if has(oracle.owned) && stopped && saved.is_none() {
            self.violation("P9", format_args!("CPU {number} owned the panic, its registers are not saved"));
        }
        if !stopped || has(oracle.owned) {
            return;
        }
        let says = cpu.owner_state();
        let parked = has(oracle.acknowledged);
        let wrong = match says {
            Some(CpuState::Parked) => !parked,
            // It may have answered late.
            Some(CpuState::Missing | CpuState::Deferred) => false,
            Some(CpuState::Starting) => !matches!(self.scenario.cpus[number], Body::Never | Body::Starts),
            Some(CpuState::NeverOnline) => !matches!(
                self.scenario.cpus[number],
                Body::PanicsEarly | Body::Starts | Body::Never | Body::Unstarted
            ),
            _ => true,
        };
        if wrong {
            self.violation("P5", format_args!("CPU {number}, parked: {parked}, the record says {says:?}"));
        }
        let unstopped = matches!(says, Some(CpuState::Missing | CpuState::Deferred));
        if has(oracle.online_at_claim) && !parked && !unstopped {
            self.violation("P5", format_args!("CPU {number} was never stopped, the record says {says:?}"));
        }
    }
}

/// The part of the oracle's memory that the verdict looks at.
#[derive(Clone, Copy)]
struct Flags {
    owner: Option<u8>,
    owned: u8,
    acknowledged: u8,
    online_at_claim: u8,
    taken_over: bool,
    notified: u32,
    counted: u32,
}

impl crate::oracle::Oracle {
    fn clone_flags(&self) -> Flags {
        Flags {
            owner: self.owner,
            owned: self.owned,
            acknowledged: self.acknowledged,
            online_at_claim: self.online_at_claim,
            taken_over: self.taken_over,
            notified: self.notified,
            counted: self.counted,
        }
    }
}

/// The state word of a CPU, for cases.
pub fn owner_state(world: &World, cpu: usize) -> Option<CpuState> {
    let cpu = CpuId::new(cpu)?;
    CpuState::from_number(world.machine.record.slot(cpu, slot::OWNER_STATE) as u16)
}
