//! The check `store`.

use crash_record::event::Stream;

use super::fixture::{NONCE, Run, stored};
use super::{only, red};
use crate::store::Before;
use crate::store::tests::records;

/// The fault that `store` alone names when the file is this.
#[track_caller]
fn fault(after: Vec<u8>) -> String {
    let verdict = red(|run| run.store.as_mut().unwrap().after = after, &["store"]);
    verdict.red().next().unwrap().found.clone()
}

#[test]
fn entries_are_what_the_kernel_says() {
    let entry = stored(0, 1, NONCE);
    assert_eq!(fault(records(&[])), "slot 1: not there");
    assert!(fault(records(&[(1, &entry), (0, &stored(0, 0, NONCE))])).starts_with("slot 0: nobody says"));
    assert_eq!(fault(records(&[(2, &entry)])).matches("slot").count(), 2);
    assert!(fault(records(&[(1, &stored(0, 1, 5))])).contains("written in the run 0000000000000005"));
    assert!(fault(records(&[(1, &stored(1, 1, NONCE))])).starts_with("slot 1: who: claimed 0, read 1"));
    assert!(fault(records(&[(1, &stored(0, 2, NONCE))])).contains("sequence: claimed 1, read 2"));
    for at in 0..entry.len() {
        let mut bad = entry.clone();
        bad[at] ^= 1;
        fault(records(&[(1, &bad)]));
    }
    assert!(fault(records(&[(1, &entry[..entry.len() - 1])])).contains("cut off"));
    assert!(fault(vec![0; 0x10000]).contains("header"));
}

#[test]
fn what_the_kernel_says_is_held_against_the_scenario() {
    red(|run| run.scenario = run.scenario.replace("store = 1", "store = 2"), &["store"]);
    red(|run| run.forget("stored"), &["store"]);
    red(|run| run.forget("cleared"), &["store"]);
    red(|run| run.say("store", "state", "unsupported"), &["store"]);
    red(|run| run.store = None, &["store"]);
    // Another entry than it says, and the same one from another CPU than it says.
    let last = |run: &mut Run, key: &str, value: &str| {
        let event = run.said.iter_mut().rfind(|event| event.3 == "stored").unwrap();
        let field = event.4.iter_mut().find(|(name, _)| *name == key).unwrap();
        value.clone_into(&mut field.1);
    };
    for (key, value) in [("crc", "0"), ("at", "1"), ("bytes", "9"), ("sequence", "4"), ("who", "1")] {
        red(|run| last(run, key, value), &["store"]);
    }
    red(
        |run| run.said.iter_mut().filter(|event| event.3 == "stored").for_each(|event| event.1 = 2),
        &["store"],
    );
    let mut run = Run::good();
    run.say("store", "state", "ready");
    let event = run.said.iter_mut().find(|event| event.3 == "cleared").unwrap();
    event.3 = "store-fault";
    event.4.push(("what", "read: Empty".to_owned()));
    let verdict = only(&run, &["store"]);
    assert!(verdict.red().next().unwrap().found.contains("the kernel says: slot 0: read: Empty"));
}

#[test]
fn a_store_that_is_not_there_needs_a_reason() {
    let absent = || {
        let mut run = Run::good();
        run.scenario = run.scenario.replace("store = 1", "store_unsupported = true");
        run.forget("stored");
        run.forget("cleared");
        run.say("store", "state", "unsupported");
        run.say("store", "reason", "no such table");
        run.store = None;
        run
    };
    only(&absent(), &[]);
    let mut run = absent();
    run.say("store", "reason", "");
    only(&run, &["store"]);
    let mut run = absent();
    run.say("store", "state", "ready");
    only(&run, &["store"]);
    let mut run = absent();
    run.forget("store");
    only(&run, &["store"]);
    // A damaged store has to be left as it was; a blank one may have been set up by the emulator.
    let mut run = absent();
    run.store = Run::good().store;
    only(&run, &["store"]);
    let file = run.store.as_mut().unwrap();
    file.after = records(&[]);
    only(&run, &[]);
    let file = run.store.as_mut().unwrap();
    file.before = Before::Damaged.bytes(64);
    file.after.clone_from(&file.before);
    only(&run, &[]);
    run.store.as_mut().unwrap().after[9] ^= 1;
    only(&run, &["store"]);
}

/// A run in which CPU 2 wrote two entries until it was stopped, and the panic path one.
fn journal() -> Run {
    let mut run = Run::good();
    run.scenario = run.scenario.replace("store = 1", "kept = 1");
    run.stored = vec![0, 0, 2];
    let mut kept = run.said.iter().rfind(|event| event.3 == "stored").unwrap().clone();
    (kept.0, kept.2, kept.3) = (Stream::Panic, 1_800_000, "kept");
    run.said.push(kept);
    let (mine, last) = (stored(0, 1, NONCE), stored(2, 2, NONCE));
    run.store.as_mut().unwrap().after = records(&[(1, &mine), (4, &last)]);
    run
}

#[test]
fn what_a_cpu_was_told_before_it_was_stopped_is_there() {
    only(&journal(), &[]);
    let red = |spoil: &dyn Fn(&mut Run)| {
        let mut run = journal();
        spoil(&mut run);
        only(&run, &["store"]);
    };
    let mine = stored(0, 1, NONCE);
    let file = |slots: &[(u32, &[u8])]| records(slots);
    let other = |entry: Vec<u8>| file(&[(1, &mine), (4, &entry)]);
    red(&|run| run.store.as_mut().unwrap().after = file(&[(1, &mine)]));
    red(&|run| run.store.as_mut().unwrap().after = other(stored(2, 1, NONCE)));
    red(&|run| run.store.as_mut().unwrap().after = other(stored(1, 2, NONCE)));
    red(&|run| run.store.as_mut().unwrap().after = other(stored(2, 2, 7)));
    red(&|run| run.store.as_mut().unwrap().after = file(&[(4, &stored(2, 2, NONCE))]));
    red(&|run| run.stored = vec![0, 0, 3]);
    red(&|run| run.stored = vec![0; 3]);
    red(&|run| run.forget("kept"));
    red(&|run| run.store = None);
}
