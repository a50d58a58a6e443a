//! The check of locks against roles.

use super::*;
use crash_record::names::Orphan;

const SIGNALLED: u64 = 1_100_000;
const DEFERRED: u64 = 1_200_000;

/// A run in which CPU 1, with this role, stopped with a lock held for this reason, under a policy that defers.
fn held(role: &str, orphan: Orphan, more: impl Fn(&mut Record)) -> Run {
    let mut run = Run::good();
    run.stop = Stop::Deferred;
    run.command_line = format!("panic.grace=10 {role}");
    run.spoil(|record| {
        record.set(1, slot::OWNER_SIGNALLED_AT, SIGNALLED);
        record.set(1, slot::HELD_LAST, u64::from(orphan != Orphan::None));
        record.set(1, slot::ORPHAN, orphan.number().into());
        more(record);
    });
    run
}

/// The check alone: other checks have their own opinion of such a record.
#[track_caller]
fn found(run: &Run) -> Result<String, String> {
    let verdict = run.judge();
    let check = verdict.checks.iter().find(|check| check.name == "roles").unwrap();
    match check.outcome {
        Outcome::Ok => Ok(check.found.clone()),
        Outcome::Fail => Err(check.found.clone()),
        Outcome::NotApplicable => panic!("n/a: {}", check.found),
    }
}

fn deferred(record: &mut Record) {
    record.set(1, slot::DEFERRED_AT, DEFERRED);
}

fn blocked_by(cpu: u64) -> impl Fn(&mut Record) {
    move |record| {
        deferred(record);
        record.set(1, slot::BLOCKED_BY, cpu + 1);
    }
}

#[test]
fn a_lock_may_stay_held_for_as_long_as_its_role_says() {
    let short = "test.role=1:off/1/10/end";
    let wrong = found(&held(short, Orphan::Grace, deferred)).unwrap_err();
    assert_eq!(wrong, "CPU 1: 1 locks stay held, reason grace: by its role its section was over in time");
    for role in ["1:off/1/20000/end", "1:on/1/0/loop", "1:on/1/30000/panic"] {
        found(&held(&format!("test.role={role}"), Orphan::Grace, deferred)).unwrap();
    }
    // Whoever was cut without having been deferred did not outlive anything.
    found(&held("test.role=1:off/1/20000/end", Orphan::Grace, |_| {})).unwrap_err();
    found(&held("test.role=1:off/1/20000/end", Orphan::Policy, |_| {})).unwrap_err();
    let mut run = held("test.role=1:off/1/20000/end", Orphan::Policy, |_| {});
    run.stop = Stop::Nmi;
    found(&run).unwrap();
}

#[test]
fn who_holds_nothing_by_its_role_holds_nothing() {
    for role in ["", "test.role=1:off/none/5/end", "test.role=1:off/none/0/loop"] {
        let role = format!("{role} test.role=2:on/none/0/end");
        found(&held(&role, Orphan::Grace, deferred)).unwrap_err();
        found(&held(&role, Orphan::None, deferred)).unwrap_err();
        found(&held(&role, Orphan::None, |_| {})).unwrap();
    }
}

#[test]
fn who_is_blocked_waits_for_one_that_does_not_go_on() {
    let chain = "test.role=1:on/1/0/ask-2 test.role=2:on/2/10/end";
    let wrong = found(&held(chain, Orphan::Blocked, blocked_by(2))).unwrap_err();
    assert!(wrong.ends_with("the holder of that lock was there to release it"), "{wrong}");
    let gone = |record: &mut Record| {
        blocked_by(2)(record);
        record.set(2, slot::HELD_LAST, 1);
        record.set(2, slot::ORPHAN, Orphan::Died.number().into());
    };
    let chain = "test.role=1:on/1/0/ask-2 test.role=2:on/2/10/panic";
    found(&held(chain, Orphan::Blocked, gone)).unwrap();
    found(&held(chain, Orphan::Blocked, blocked_by(0))).unwrap_err();
    let owner = "test.role=1:on/1/0/ask-2 test.role=0:on/2/0/end";
    found(&held(owner, Orphan::Blocked, blocked_by(0))).unwrap();
    // It had the whole grace to find out.
    found(&held(owner, Orphan::Grace, deferred)).unwrap_err();
    found(&held("test.role=1:on/1/0/end", Orphan::Blocked, blocked_by(0))).unwrap_err();
}

#[test]
fn who_died_was_to_panic() {
    found(&held("test.role=1:on/1/0/panic", Orphan::Died, |_| {})).unwrap();
    found(&held("test.role=1:on/1/0/end", Orphan::Died, |_| {})).unwrap_err();
}

/// The panic path's word that it did without the notifier's lock.
fn refusal(who: &str) -> fixture::Said {
    (Stream::Panic, 0, 1_900_000, "lock", vec![("name", "j".into()), ("who", who.to_owned())])
}

#[test]
fn the_word_on_the_lock_is_there_if_it_was_refused_and_names_its_holder() {
    let role = "test.role=1:off/0/90000/end test.role=2:on/1/0/end";
    let run = |entry: &str, who: &[&str]| {
        let mut run = held(role, Orphan::None, |_| {});
        run.say("trial", "entry", entry);
        run.said.extend(who.iter().map(|who| refusal(who)));
        found(&run)
    };
    run("written", &[]).unwrap();
    run("held by CPU 1, parked", &["1"]).unwrap();
    for (entry, who) in [("written", &["1"][..]), ("held", &[]), ("held", &["2"]), ("held", &["1", "1"])] {
        run(entry, who).unwrap_err();
    }
}

#[test]
fn the_entry_is_there_unless_the_roles_excuse_it() {
    let refused = |role: &str| {
        let mut run = held(role, Orphan::None, |_| {});
        run.say("trial", "entry", "held by CPU 1, parked");
        let who = if role.contains("0:on/0") { "0" } else { "1" };
        run.said.push(refusal(who));
        run
    };
    for role in ["test.role=1:off/0/10/end", "test.role=1:off/1/90000/end"] {
        found(&refused(role)).unwrap_err();
        let mut lax = refused(role);
        lax.stop = Stop::Nmi;
        assert_eq!(found(&lax).is_err(), role.contains("/1/"), "{role}");
    }
    found(&refused("test.role=1:off/0/90000/end")).unwrap();
    let own = "test.role=0:on/0/0/end test.role=1:on/1/0/end";
    found(&refused(own)).unwrap();
    found(&held(own, Orphan::None, |_| {})).unwrap_err();
}

#[test]
fn what_it_is_judged_by_has_to_be_there() {
    red(|run| run.forget("trial"), &["roles"]);
    red(|run| run.say("trial", "interrupts", "1"), &["roles"]);
    red(|run| run.command_line = "test.role=1:off/0/10/end".into(), &["roles"]);
    red(|run| run.say("trial", "entry", "held by CPU 1, parked"), &["roles"]);
}
