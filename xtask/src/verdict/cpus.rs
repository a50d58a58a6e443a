//! Checks on every CPU: what the record says of it, and where it really is.

use std::collections::BTreeMap;

use crash_record::event::Stream;
use crash_record::layout::{header, slot};
use crash_record::names::{CpuState, Role, Rung};
use crash_record::view::{CpuSlot, RecordView, Saved};

use super::record::not_seen;
use super::{Check, Facts};
use crate::machine::{Capability, Registers};
use crate::scenario::Stop;

/// Everybody counts the same CPUs.
pub fn count(name: &'static str, facts: &Facts) -> Check {
    let log = &facts.evidence.log;
    let Some(boot) = log.first(Stream::Boot, "boot") else { return facts.missing(name, "a boot event") };
    let mut says = vec![("the boot event", boot.number("cpus"))];
    if let Some(ready) = log.first(Stream::Boot, "ready") {
        says.push(("the ready event", ready.number("cpus")));
    }
    if let Some(record) = facts.record() {
        says.push(("the record", Some(record.word(header::CPUS))));
    }
    if let Some(found) = log.first(Stream::Capture, "found") {
        says.push(("the capture kernel", found.number("cpus")));
    }
    let expected = u64::from(facts.cpus);
    let faults = says
        .into_iter()
        .filter(|(_, count)| *count != Some(expected))
        .map(|(who, count)| {
            format!("{who} says {}", count.map_or("nothing".into(), |count| count.to_string()))
        })
        .collect();
    Check::without_faults(name, &format!("{expected} CPUs"), faults, format!("{expected}"))
}

/// Every CPU's state is the expected one, by its own word, by the owner's, and in the events.
pub fn states(name: &'static str, facts: &Facts) -> Check {
    let Some(record) = facts.record() else { return not_seen(name) };
    let expect = facts.expect;
    let mut faults = Vec::new();
    let mut seen = BTreeMap::<&str, u32>::new();
    for slot in record.slots().filter(|slot| Some(slot.cpu) != record.owner()) {
        let cpu = slot.cpu;
        let own = expect.cpu_state.get(&cpu.to_string()).or(expect.cpu_states.as_ref());
        let wanted = own.map_or("parked", String::as_str);
        let by_owner = slot.owner_state().map_or("unknown", CpuState::name);
        let by_itself = slot.state().map_or("unknown", CpuState::name);
        *seen.entry(by_owner).or_default() += 1;
        if by_owner != wanted {
            faults.push(format!("CPU {cpu} is {by_owner}, not {wanted}"));
        }
        // A missing CPU says of itself that it runs; that is what makes it missing.
        if by_itself != by_owner && by_owner != CpuState::Missing.name() {
            faults.push(format!("CPU {cpu} is {by_owner} to the owner and {by_itself} to itself"));
        }
        if let Some(wanted) = expect.own_state.get(&cpu.to_string()).filter(|wanted| *wanted != by_itself) {
            faults.push(format!("CPU {cpu} says that it is {by_itself}, not {wanted}"));
        }
        faults.extend(wrong_rung(facts, &slot));
        let event = facts
            .evidence
            .log
            .all(Stream::Panic, "stopped")
            // What was cut short was said again.
            .filter(|event| event.number("who") == Some(cpu as u64))
            .last();
        // A latency that counts from no signal is no latency.
        let claimed = facts.evidence.log.first(Stream::Panic, "claim").map(|claim| claim.at_ns);
        if let Some((event, since)) = event.zip(claimed)
            && let Some(took) = event.number("ns").filter(|took| *took > event.at_ns.saturating_sub(since))
        {
            faults.push(format!("CPU {cpu} is said to have taken {took} ns, longer than there was a panic"));
        }
        match event.map(|event| event.text("state")) {
            Some(state) if state == by_owner => {}
            Some(state) => {
                faults.push(format!("CPU {cpu} is {by_owner} in the record, {state} in the events"))
            }
            // An owner from which the panic was taken is missing by that.
            None if taken_from(facts, cpu) && by_owner == CpuState::Missing.name() => {}
            None => faults.push(format!("no event says how CPU {cpu} stopped")),
        }
    }
    let seen: Vec<_> = seen.iter().map(|(state, count)| format!("{count} {state}")).collect();
    let good = if seen.is_empty() { "no other CPU".into() } else { seen.join(", ") };
    Check::without_faults(name, "every CPU in its expected state", faults, good)
}

/// Whether another CPU took the panic from this one.
fn taken_from(facts: &Facts, cpu: usize) -> bool {
    let mut owners = facts.evidence.log.all(Stream::Panic, "owner");
    owners.any(|event| event.number("from") == Some(cpu as u64) && event.text("why") == "takeover")
}

fn wrong_rung(facts: &Facts, slot: &CpuSlot) -> Option<String> {
    let (cpu, saved) = (slot.cpu, slot.saved().ok()??);
    if slot.owner_state() != Some(CpuState::Parked) {
        return None;
    }
    // Where there are no NMIs, the IPI takes their place.
    let nmis = !facts.machine.lacks.contains_key(&Capability::Nmi);
    if nmis && matches!(facts.stop, Stop::Nmi | Stop::Deferred) && saved.rung == Rung::Ipi {
        return Some(format!("CPU {cpu} was stopped by an IPI, which this ladder does not have"));
    }
    let mut owners = facts.evidence.log.all(Stream::Panic, "owner");
    let handed_over = owners.any(|event| event.number("from") == Some(cpu as u64));
    if saved.rung == Rung::None && !handed_over {
        return Some(format!("CPU {cpu} is parked and nothing brought it there"));
    }
    let wanted = facts.expect.rung.get(&cpu.to_string())?;
    (saved.rung.name() != wanted).then(|| format!("CPU {cpu} was stopped by {}, not {wanted}", saved.rung))
}

/// Every parked CPU's program counter, as the emulator shows it, is in the park loop; now and later.
pub fn parked_pc(name: &'static str, facts: &Facts) -> Check {
    let (Some(record), Some(inspection)) = (facts.record(), facts.inspection()) else {
        return not_seen(name);
    };
    let Some(park) = facts.symbols.range("park") else {
        return Check::fail(name, "a park section", "the image has no __park_start and __park_end");
    };
    let within = |name: &str, pc: u64| facts.symbols.range(name).is_some_and(|range| range.contains(&pc));
    let looks = [&inspection.registers, &inspection.registers_later]
        .map(|text| program_counters(text, &facts.machine.registers));
    let mut faults = Vec::new();
    let mut parked = 0;
    for slot in stays(&record) {
        // A warden polls until the owner has left: anywhere in kernel text but in the load.
        let watches = !matches!(slot.role(), Some(Role::None));
        let halted = facts.derailed.contains(&slot.cpu);
        let at_rest = |pc: u64| {
            park.contains(&pc)
                || (watches && within("text", pc) && !within("workload", pc))
                || (halted && pc == 0)
        };
        let [Some(first), Some(later)] = looks.each_ref().map(|counters| counters.get(&slot.cpu).copied())
        else {
            faults.push(format!("the emulator shows no CPU {}", slot.cpu));
            continue;
        };
        // One look may find it in the handler of a signal that it did not need any more; that is no way back to
        // its work.
        let astray = |pc: u64| within("workload", pc) && !park.contains(&pc);
        match [first, later].into_iter().find(|pc| astray(*pc)) {
            None if at_rest(first) || at_rest(later) => parked += 1,
            at => {
                let at = facts.symbols.describe(at.unwrap_or(first));
                faults.push(format!("CPU {} is at {at}", slot.cpu));
            }
        }
    }
    let good =
        if parked == 0 { "no CPU is parked".into() } else { format!("{parked} CPUs in the park loop") };
    Check::without_faults(name, "every parked CPU in the park loop", faults, good)
}

/// The program counter of every CPU in the text of `info registers -a`.
pub fn program_counters(text: &str, format: &Registers) -> BTreeMap<usize, u64> {
    let mut counters = BTreeMap::new();
    let mut cpu = None;
    for line in text.lines() {
        if let Some(at) = line.find(&format.cpu) {
            cpu = leading(&line[at + format.cpu.len()..], 10).map(|number| number as usize);
        }
        if let (Some(cpu), Some(at)) = (cpu, line.find(&format.pc))
            && let Some(pc) = leading(&line[at + format.pc.len()..], 16)
        {
            counters.entry(cpu).or_insert(pc);
        }
    }
    counters
}

fn leading(text: &str, radix: u32) -> Option<u64> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_digit(radix)).unwrap_or(text.len());
    u64::from_str_radix(&text[..end], radix).ok()
}

/// A CPU at work counts by the thousand in each round of its load, of which it does many before the panic.
const LEAST_BEATS: u64 = 100;

/// Whether a CPU was stopped while it did its work: one that panicked too, or was stopped on its way up,
/// was somewhere else.
fn from_work(facts: &Facts, saved: &Saved) -> bool {
    matches!(saved.rung, Rung::Ipi | Rung::Nmi) && facts.expect.workload != Some(false)
}

/// No parked CPU has counted on since the end of the stop, nor does it while the guest runs on.
pub fn heartbeats(name: &'static str, facts: &Facts) -> Check {
    let expected = "still since the end of the stop, 10 ms and more later";
    let (Some(record), Some(inspection)) = (facts.record(), facts.inspection()) else {
        return not_seen(name);
    };
    let later = inspection.record_later.as_deref().map(RecordView::parse);
    let Some(Ok(later)) = later else { return Check::fail(name, expected, "no second look") };
    if facts.cpus > 1 && record.word(header::STOPPED_AT) == 0 {
        return facts.missing(name, "the clock at the end of the stop in the record");
    }
    let mut faults = Vec::new();
    for slot in parked(&record) {
        let at_stop = slot.word(slot::OWNER_HEARTBEAT);
        let now = slot.word(slot::HEARTBEAT);
        let then = later.slots().find(|later| later.cpu == slot.cpu).map(|later| later.word(slot::HEARTBEAT));
        if now != at_stop || then != Some(at_stop) {
            let then = then.map_or("gone".into(), |then| then.to_string());
            faults.push(format!("CPU {}: {at_stop} at the stop, then {now}, then {then}", slot.cpu));
        }
        let stopped_at_work = slot.saved().ok().flatten().is_some_and(|saved| from_work(facts, &saved));
        if stopped_at_work && at_stop <= LEAST_BEATS {
            faults
                .push(format!("CPU {}: {at_stop} at the stop, which is not the work of its load", slot.cpu));
        }
    }
    Check::without_faults(name, expected, faults, format!("{} still", parked(&record).count()))
}

/// Slots of the CPUs that the owner saw parked.
pub fn parked<'r>(record: &RecordView<'r>) -> impl Iterator<Item = CpuSlot<'r>> + use<'r> {
    record.slots().filter(|slot| slot.owner_state() == Some(CpuState::Parked))
}

/// Slots of the CPUs that have acknowledged the stop, in time or not: they stay where they are (P6).
pub fn stays<'r>(record: &RecordView<'r>) -> impl Iterator<Item = CpuSlot<'r>> + use<'r> {
    record
        .slots()
        .filter(|slot| slot.owner_state() == Some(CpuState::Parked) || slot.state() == Some(CpuState::Parked))
}

/// Every parked CPU saved its registers, of a moment when it did its work.
pub fn registers(name: &'static str, facts: &Facts) -> Check {
    let expected = "saved registers of every parked CPU, from its work";
    let Some(record) = facts.record() else { return not_seen(name) };
    let mut faults = Vec::new();
    for slot in parked(&record) {
        match slot.saved() {
            Ok(Some(saved)) => faults.extend(misplaced(facts, &record, &slot, &saved)),
            Ok(None) => faults.push(format!("CPU {} saved none", slot.cpu)),
            Err(error) => faults.push(format!("CPU {}: {error}", slot.cpu)),
        }
    }
    Check::without_faults(name, expected, faults, format!("{} sets", parked(&record).count()))
}

fn misplaced(facts: &Facts, record: &RecordView, slot: &CpuSlot, saved: &Saved) -> Option<String> {
    let (cpu, symbols) = (slot.cpu, facts.symbols);
    let within = |name: &str, pc: u64| symbols.range(name).is_some_and(|range| range.contains(&pc));
    let at = symbols.describe(saved.pc);
    // A signal that hits a trap entry before it has saved anything finds the entry's own pc, which may
    // lie in a page of vectors outside the image. What was interrupted is lost, and the record says so. One that hits
    // it later finds the same page, and nothing is lost.
    let entering = facts.machine.registers.vectors.is_some_and(|[from, to]| (from..to).contains(&saved.pc));
    let known = if saved.lost || entering { saved.interrupted.map_or(0, |(pc, _)| pc) } else { saved.pc };
    if !within("text", known) {
        return Some(format!("CPU {cpu} was at {}, which is no kernel text", symbols.describe(known)));
    }
    if within("park", saved.pc) {
        return Some(format!("CPU {cpu} was at {at}: saved when it was parked already"));
    }
    if !saved.registers().any(|word| word == saved.pc) || !saved.registers().any(|word| word == saved.sp) {
        return Some(format!("CPU {cpu}: pc and sp are not among its register words"));
    }
    // In a trap entry the stack pointer may not be set up yet.
    if !saved.lost && !symbols.writable().is_some_and(|writable| writable.contains(&saved.sp)) {
        return Some(format!("CPU {cpu}: its stack pointer {:#x} is in no memory of the kernel", saved.sp));
    }
    if !from_work(facts, saved) {
        return None;
    }
    // Right behind one interrupt another one came: the last branch was the way back from the first.
    let lost = saved.lost && !within("park", known);
    let at_work = lost
        || within("workload", saved.pc)
        || saved.interrupted.is_some_and(|(pc, _)| within("workload", pc))
        || outside(facts, record, cpu);
    (!at_work).then(|| format!("CPU {cpu} was at {at}, not at its work"))
}

/// Whether a CPU said that it was out of the load's own section.
fn outside(facts: &Facts, record: &RecordView, cpu: usize) -> bool {
    let flag = facts.inspection().and_then(|look| look.outside_flag(cpu, record.big_endian()));
    flag.unwrap_or(false)
}

/// Every CPU that was stopped in the load's own section has its own value in the witness register. One that
/// was in a call out of it has the value where the callee has kept it for its caller: in a register or on
/// the stack, which the runner reads out of memory itself. So every CPU at work is looked at.
pub fn witness(name: &'static str, facts: &Facts) -> Check {
    let expected = "CPU number xor nonce, kept by every CPU that was at work";
    let Some(record) = facts.record() else { return not_seen(name) };
    let Some(workload) = facts.symbols.range("workload") else {
        return Check::fail(
            name,
            "a workload section",
            "the image has no __workload_start and __workload_end",
        );
    };
    let mut faults = Vec::new();
    let mut looked = 0;
    for slot in parked(&record) {
        let Ok(Some(saved)) = slot.saved() else { continue };
        let wanted = slot.cpu as u64 ^ facts.nonce;
        let found = match saved.interrupted {
            _ if workload.contains(&saved.pc) => saved.witness,
            // The nearest place to a lost context may be the branch by which it left the section.
            Some((pc, witness))
                if workload.contains(&pc) && !(saved.lost && outside(facts, &record, slot.cpu)) =>
            {
                witness
            }
            _ if !from_work(facts, &saved) || !outside(facts, &record, slot.cpu) => continue,
            Some((_, witness)) if witness == wanted => witness,
            _ => {
                let kept = saved.registers().any(|word| word == wanted)
                    || facts
                        .inspection()
                        .is_some_and(|look| look.kept_for(&workload, slot.cpu, wanted, record.big_endian()));
                if !kept {
                    let what = "in no register and not on the stack of its call out of the load";
                    faults.push(format!("CPU {}: {wanted:016x} is {what}", slot.cpu));
                }
                looked += 1;
                continue;
            }
        };
        looked += 1;
        if found != wanted {
            faults.push(format!("CPU {}: {found:016x}, not {wanted:016x}", slot.cpu));
        } else if workload.contains(&saved.pc) && !saved.registers().any(|word| word == wanted) {
            faults.push(format!("CPU {}: its value is not among its register words", slot.cpu));
        }
    }
    let at_work = parked(&record)
        .filter_map(|slot| slot.saved().ok().flatten())
        .filter(|saved| from_work(facts, saved))
        .count();
    if looked == 0 && at_work > 0 {
        faults.push(format!("none of {at_work} CPUs could be looked at"));
    }
    Check::without_faults(name, expected, faults, format!("right on {looked} of {looked} at work"))
}

/// Parts of a panic stack, of four, that may be used: what is left is for what no run has shown.
const STACK_QUARTERS: u64 = 3;

/// How far down the panic path has used its stacks, as the runner read them out of memory.
pub fn panic_stack(name: &'static str, facts: &Facts) -> Check {
    let expected = format!("at most {STACK_QUARTERS} quarters of a panic stack in use");
    let Some(inspection) = facts.inspection() else { return not_seen(name) };
    let uses = &inspection.panic_stacks;
    if uses.is_empty() {
        return Check::fail(name, expected, "none was used, or they were not measured");
    }
    let faults = uses
        .iter()
        .filter(|stack| stack.used * 4 > stack.size * STACK_QUARTERS)
        .map(|stack| format!("CPU {}: {} of {} bytes", stack.cpu, stack.used, stack.size))
        .collect();
    let most = uses.iter().max_by_key(|stack| stack.used * 1024 / stack.size.max(1));
    let most = most.map_or_else(String::new, |stack| format!("{} of {} bytes", stack.used, stack.size));
    Check::without_faults(name, &expected, faults, most)
}
