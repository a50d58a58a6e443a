//! What the kernel put into the firmware store, held against the file that the emulator keeps it in.

use crash_record::crc::crc32c;
use crash_record::event::Stream;
use crash_record::store::StoreEntry;

use super::{Check, Facts};
use crate::events::Event;

/// The entries that the kernel says it left are in the store's file, each written by the CPU and in the run
/// that it names, with a checksum that holds, and nothing else of ours is. Or: the kernel says why it has no
/// store, and the file is as it was.
pub fn store(name: &'static str, facts: &Facts) -> Check {
    if let Some(count) = facts.expect.kept {
        return kept(name, facts, count);
    }
    match (facts.expect.store, facts.expect.store_unsupported) {
        (_, Some(true)) => unsupported(name, facts),
        (Some(count), _) => entries(name, facts, count),
        (None, _) => Check::none(name, "the scenario does not use the store"),
    }
}

/// Every entry that a CPU was told is in the store, before it was stopped, is there; and so is what the panic path says
/// that it left, no more and no less.
fn kept(name: &'static str, facts: &Facts, count: u32) -> Check {
    let expected = format!("the last entry of every CPU that wrote, and {count} of the panic path");
    let Some(inspection) = facts.inspection() else { return super::record::not_seen(name) };
    let Some((file, device)) = facts.evidence.store.as_ref().zip(facts.machine.store.as_ref()) else {
        return Check::fail(name, expected, "the run had no store");
    };
    let slots = match device.format.slots(&file.after) {
        Ok(slots) => slots,
        Err(problem) => return Check::fail(name, expected, problem),
    };
    let mut faults = Vec::new();
    let mut entries = 0;
    for (cpu, last) in inspection.stored.iter().enumerate().filter(|(_, last)| **last != 0) {
        entries += last;
        let of_cpu = |bytes: &[u8]| {
            StoreEntry::parse(bytes).is_ok_and(|entry| {
                (usize::from(entry.cpu), entry.sequence, entry.nonce) == (cpu, *last, facts.nonce)
            })
        };
        if !slots.values().any(|bytes| of_cpu(bytes)) {
            faults.push(format!("CPU {cpu} was told that its entry {last} is there"));
        }
    }
    if entries == 0 {
        faults.push("no CPU has written anything".to_owned());
    }
    let said: Vec<_> = facts.evidence.log.all(Stream::Panic, "kept").collect();
    if said.len() != count as usize {
        faults.push(format!("the panic path says that it left {}", said.len()));
    }
    for event in said {
        let slot = event.number("slot").and_then(|slot| u32::try_from(slot).ok());
        let fault = match slot.and_then(|slot| slots.get(&slot)) {
            Some(bytes) => compare(facts, event, bytes).err(),
            None => Some("not there".to_owned()),
        };
        faults.extend(fault.map(|fault| format!("slot {}: {fault}", event.text("slot"))));
    }
    let good =
        format!("{entries} entries written, the last of each CPU there, and {count} of the panic path");
    Check::without_faults(name, &expected, faults, good)
}

fn unsupported(name: &'static str, facts: &Facts) -> Check {
    let expected = "the reason why there is no store, and nothing stored";
    let log = &facts.evidence.log;
    let Some(event) = log.first(Stream::Boot, "store") else { return facts.missing(name, expected) };
    let mut faults = Vec::new();
    if event.text("state") != "unsupported" {
        faults.push(format!("the store is {}", event.text("state")));
    }
    if event.text("reason").is_empty() {
        faults.push("no reason".to_owned());
    }
    if log.first(Stream::Boot, "stored").is_some() {
        faults.push("an entry was stored all the same".to_owned());
    }
    // An emulator that sets up a blank file changes it too, but puts nothing of ours there.
    if let Some((file, device)) = facts.evidence.store.as_ref().zip(facts.machine.store.as_ref())
        && file.before != file.after
        && !device.format.slots(&file.after).is_ok_and(|slots| slots.is_empty())
    {
        faults.push("the store's file was changed".to_owned());
    }
    Check::without_faults(name, expected, faults, event.text("reason"))
}

fn entries(name: &'static str, facts: &Facts, count: u32) -> Check {
    let expected = format!("{count} entries in the store's file, as the kernel says they are");
    let log = &facts.evidence.log;
    if let Some(event) = log.first(Stream::Boot, "store").filter(|event| event.text("state") != "ready") {
        let found = format!("the store is {}: {}", event.text("state"), event.text("reason"));
        return Check::fail(name, expected, found);
    }
    let mut faults: Vec<_> = log
        .all(Stream::Boot, "store-fault")
        .map(|event| format!("the kernel says: slot {}: {}", event.text("slot"), event.text("what")))
        .collect();
    let mut claimed: Vec<&Event> = log.all(Stream::Boot, "stored").collect();
    for cleared in log.all(Stream::Boot, "cleared") {
        claimed.retain(|event| event.field("slot") != cleared.field("slot"));
    }
    if claimed.is_empty() && faults.is_empty() {
        return facts.missing(name, &expected);
    }
    if claimed.len() != count as usize {
        faults.push(format!("the kernel says that it left {}", claimed.len()));
    }
    let Some((file, device)) = facts.evidence.store.as_ref().zip(facts.machine.store.as_ref()) else {
        faults.push("the run had no store".to_owned());
        return Check::fail(name, expected, faults.join("; "));
    };
    match device.format.slots(&file.after) {
        Ok(mut slots) => {
            for event in claimed {
                let slot = event.number("slot").and_then(|slot| u32::try_from(slot).ok());
                let fault = match slot.and_then(|slot| slots.remove(&slot)) {
                    Some(bytes) => compare(facts, event, bytes).err(),
                    None => Some("not there".to_owned()),
                };
                faults.extend(fault.map(|fault| format!("slot {}: {fault}", event.text("slot"))));
            }
            faults.extend(slots.keys().map(|slot| format!("slot {slot}: nobody says that it was stored")));
        }
        Err(problem) => faults.push(problem),
    }
    Check::without_faults(name, &expected, faults, format!("{count} entries, whole and as claimed"))
}

/// The bytes of a slot are the entry that the event is about.
fn compare(facts: &Facts, event: &Event, bytes: &[u8]) -> Result<(), String> {
    let entry = StoreEntry::parse(bytes).map_err(|error| error.to_string())?;
    let pairs = [
        ("who", u64::from(entry.cpu)),
        ("sequence", entry.sequence),
        ("at", entry.at_ns),
        ("bytes", bytes.len() as u64),
    ];
    for (key, found) in pairs {
        if event.number(key) != Some(found) {
            return Err(format!("{key}: claimed {}, read {found}", event.text(key)));
        }
    }
    let crc = crc32c(entry.text.as_bytes());
    if event.hex("crc") != Some(crc.into()) {
        return Err(format!("crc: claimed {}, read {crc:08x}", event.text("crc")));
    }
    if entry.nonce != facts.nonce {
        return Err(format!("written in the run {:016x}, not {:016x}", entry.nonce, facts.nonce));
    }
    if u32::from(entry.cpu) >= facts.cpus || event.cpu != usize::from(entry.cpu) {
        return Err(format!("written by CPU {}, said by CPU {}", entry.cpu, event.cpu));
    }
    Ok(())
}
