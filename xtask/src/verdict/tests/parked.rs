//! The checks on parked CPUs.

use super::*;
use fixture::{NONCE, OWNER, PARK, Record, WORK};

#[test]
fn parked_pc() {
    let verdict = red(|run| run.registers = run.registers.replace("PC=1801", "PC=1c04"), &["parked-pc"]);
    assert_eq!(verdict.red().next().unwrap().found, "CPU 1 is at 0x1c04 (in workload)");
    red(|run| run.registers = run.registers.replace("CPU#2", "CPU#7"), &["parked-pc"]);
    // A warden may poll, but not work.
    let warden = |run: &mut Run| run.record.set(1, slot::ROLE, 1);
    red(
        |run| {
            warden(run);
            run.registers = run.registers.replace("PC=1801", "PC=2000");
        },
        &[],
    );
    red(
        |run| {
            warden(run);
            run.registers = run.registers.replace("PC=1801", "PC=1c04");
        },
        &["parked-pc"],
    );
    // One look may find it in the handler of a signal too many; two may not, and none at work.
    let at = |run: &mut Run, first: &str, later: &str| {
        run.registers_later = Some(run.registers.replace("PC=1801", later));
        run.registers = run.registers.replace("PC=1801", first);
    };
    red(|run| at(run, "PC=100", "PC=1801"), &[]);
    red(|run| at(run, "PC=1801", "PC=100"), &[]);
    red(|run| at(run, "PC=100", "PC=104"), &["parked-pc"]);
    red(|run| at(run, "PC=1801", "PC=1c04"), &["parked-pc"]);
    // The owner may be anywhere.
    red(|run| run.registers = run.registers.replace("PC=1800", "PC=9"), &[]);
    red(|run| run.symbols.retain(|(name, _)| *name != "__park_end"), &["parked-pc"]);
}

#[test]
fn heartbeats() {
    // It counts on between the stop and the first look, or only between the two looks.
    red(|run| run.record.set(1, slot::HEARTBEAT, 2000), &["heartbeats"]);
    red(|run| run.later.set(2, slot::HEARTBEAT, 2000), &["heartbeats"]);
    red(|run| run.spoil(|record| record.0[header::STOPPED_AT] = 0), &["heartbeats"]);
    // A CPU that was stopped at work has worked; one that panicked too need not have.
    let idle = |run: &mut Run, rung: Rung| {
        run.spoil(move |record| {
            record.set(1, slot::HEARTBEAT, 100);
            record.set(1, slot::OWNER_HEARTBEAT, 100);
            record.set(1, slot::RUNG, rung.number().into());
            record.seal(1);
        });
    };
    red(|run| idle(run, Rung::Ipi), &["heartbeats"]);
    red(|run| idle(run, Rung::LostClaim), &[]);
    // CPU 1 is not parked any more at the second look: CPU 2 is still compared with itself.
    red(|run| run.later.set(1, slot::OWNER_STATE, CpuState::Missing.number().into()), &["record-intact"]);
    // The owner's own may.
    red(|run| run.later.set(OWNER, slot::HEARTBEAT, 2000), &[]);
}

#[test]
fn registers() {
    red(|run| run.spoil(|record| record.set(1, slot::COMMIT, 0)), &["registers"]);
    let moved = |pc: u64| move |run: &mut Run| run.spoil(move |record| record.registers(1, pc, 1 ^ NONCE));
    red(moved(0x9000), &["registers"]);
    red(moved(PARK), &["registers"]);
    red(moved(0x2000), &["registers"]);
    // In kernel text but out of the load: only if the load says so, or if the load was interrupted.
    red(
        |run| {
            moved(0x2000)(run);
            run.outside[4] = 1;
        },
        &[],
    );
    let interrupted = |witness: u64| {
        move |record: &mut Record| {
            record.registers(1, 0x2000, 7);
            record.set(1, slot::INTERRUPTED, 1);
            record.set(1, slot::INTERRUPTED_PC, WORK);
            record.set(1, slot::INTERRUPTED_WITNESS, witness);
            record.seal(1);
        }
    };
    red(|run| run.spoil(interrupted(1 ^ NONCE)), &[]);
    red(|run| run.spoil(interrupted(7)), &["witness"]);
    // A signal inside a trap entry, which lies outside the image: only with a place in the load beside it.
    let entry = |pc: u64, how: u64, near: u64| {
        move |record: &mut Record| {
            record.registers(1, pc, 7);
            record.set(1, slot::INTERRUPTED, how);
            record.set(1, slot::INTERRUPTED_PC, near);
            record.set(1, slot::INTERRUPTED_WITNESS, 1 ^ NONCE);
            record.seal(1);
        }
    };
    let lost = |how: u64, near: u64| entry(0x9000, how, near);
    red(|run| run.spoil(lost(slot::LOST, WORK)), &[]);
    // The way back from the interrupt before this one is kernel text, too.
    red(|run| run.spoil(lost(slot::LOST, 0x2000)), &[]);
    red(|run| run.spoil(lost(slot::LOST, 0x9000)), &["registers"]);
    red(|run| run.spoil(lost(slot::IN_HANDLER, WORK)), &["registers"]);
    // In the machine's own page of trap entries, which comes back from there: with a place in the kernel beside it.
    let entering = |how: u64, near: u64| entry(0xa010, how, near);
    red(|run| run.spoil(entering(slot::IN_HANDLER, WORK)), &[]);
    red(|run| run.spoil(entering(slot::IN_HANDLER, 0x9000)), &["registers"]);
    red(|run| run.spoil(entering(0, WORK)), &["registers"]);
    // The nearest place may be the branch out of the section: then the value is where the callee has kept it.
    let left = |kept: u64| {
        move |run: &mut Run| {
            run.spoil(lost(slot::LOST, WORK));
            run.spoil(|record| {
                record.set(1, slot::INTERRUPTED_WITNESS, 7);
                record.seal(1);
            });
            run.outside[4] = 1;
            let stack = [0, kept, 0, WORK + 4];
            run.stacks.insert(1, vec![stack.iter().flat_map(|word| word.to_le_bytes()).collect()]);
        }
    };
    red(left(1 ^ NONCE), &[]);
    red(left(2 ^ NONCE), &["witness"]);
    // A stack pointer to nowhere.
    red(
        |run| {
            run.spoil(|record| {
                record.set(1, slot::SP, 0xdead);
                record.set(1, slot::REGISTERS + 2, 0xdead);
                record.seal(1);
            });
        },
        &["registers"],
    );
    red(|run| run.symbols.retain(|(name, _)| *name != "__data_end"), &["registers"]);
    // Somewhere in kernel text is enough where no load is expected, and for who panicked too.
    red(
        |run| {
            run.scenario = run.scenario.replace("owner = 0", "owner = 0\nworkload = false");
            moved(0x2000)(run);
        },
        &[],
    );
    red(
        |run| {
            run.spoil(|record| {
                record.set(1, slot::RUNG, Rung::LostClaim.number().into());
                record.registers(1, 0x2000, 0);
            });
        },
        &[],
    );
    // The words themselves are empty.
    red(
        |run| {
            run.spoil(|record| {
                record.set(1, slot::REGISTER_COUNT, 0);
                record.seal(1);
            });
        },
        &["registers", "witness"],
    );
}

#[test]
fn witness() {
    red(|run| run.spoil(|record| record.registers(1, WORK, 2 ^ NONCE)), &["witness"]);
    red(|run| run.symbols.retain(|(name, _)| *name != "__workload_end"), &["registers", "witness"]);
}

#[test]
fn witness_out_of_the_section() {
    // In a call out of the load, its own word says, the value is where the callee has kept it.
    let out = |run: &mut Run, witness: u64| {
        run.spoil(move |record| record.registers(1, 0x2000, witness));
        run.outside[4] = 1;
    };
    let good = [0, 1 ^ NONCE, 0, WORK + 4];
    let bad = [
        // Another CPU's; the value, but not below a return address into the load; no value.
        [0, 2 ^ NONCE, 0, WORK + 4],
        [WORK + 4, 0, 1 ^ NONCE, 0],
        [1 ^ NONCE, 0, 0, 0x2000],
        [0, 0, 0, WORK + 4],
    ];
    let cases = bad.iter().map(|stack| (vec![*stack], ["witness"].as_slice()));
    // The stack itself, or that of what a handler interrupted.
    for (stacks, expected) in cases.chain([(vec![good], [].as_slice()), (vec![bad[3], good], &[])]) {
        red(
            |run| {
                out(run, 7);
                let bytes = |stack: &[u64; 4]| stack.iter().flat_map(|word| word.to_le_bytes()).collect();
                run.stacks.insert(1, stacks.iter().map(bytes).collect());
            },
            expected,
        );
    }
}

#[test]
fn a_check_of_nothing_is_not_green() {
    // No CPU in the load's section, and none that says that it was out of it.
    let nowhere = |run: &mut Run| {
        run.spoil(|record| {
            record.registers(1, 0x2000, 7);
            record.registers(2, 0x2000, 7);
        });
    };
    red(nowhere, &["registers", "witness"]);
    red(
        |run| {
            nowhere(run);
            run.scenario = run.scenario.replace("owner = 0", "owner = 0\nworkload = false");
        },
        &[],
    );
    // Nothing but lies: wherever they were, they did not work, and nothing is left of their values.
    red(
        |run| {
            nowhere(run);
            (run.outside[4], run.outside[8]) = (1, 1);
        },
        &["witness"],
    );
}
