//! The lock's word, the list of what a CPU holds, the stop of a CPU that holds something, the theft, and the markers of
//! firmware: in every interleaving, with every value that the memory model allows, and with signals before every
//! operation.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p crash-lock --test loom --release`
#![cfg(loom)]

#[path = "loom/bench.rs"]
mod bench;

use std::mem::ManuallyDrop;
use std::sync::atomic::AtomicBool as Flag;
use std::sync::atomic::Ordering::SeqCst;

use bench::{
    Bench, DOMAIN, FIRMWARE, LOCK, OUTER, REPAIRS, SENT, authority, cpu, late_signals, model, on, over,
    parks, stays, until,
};
use crash_lock::firmware::{Block, Class, Forbidden, Service};
use crash_lock::{Kernel, Refused, State, Step};
use hal::sync::AtomicU32;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// Preemptions where signals come, too.
const PREEMPTIONS: usize = 4;
const NEVER: [usize; 2] = [usize::MAX; 2];

fn nothing(_: usize) {}

/// Runs `one` with a signal before the first operation, the second, and so on, until it says that the signal came after the
/// last. Returns how many there were before that.
fn before_each(one: impl Fn(usize, &'static Flag)) -> usize {
    for hit in 0..100 {
        let past: &'static Flag = Box::leak(Box::new(Flag::new(false)));
        one(hit, past);
        if past.load(SeqCst) {
            return hit;
        }
    }
    unreachable!("a critical section of a hundred operations");
}

/// Two CPUs and then a third, which owns a panic: whoever is inside is alone there, is named by the word, and sees what
/// the one before it wrote.
#[test]
fn one_holder_at_a_time_and_the_next_sees_what_it_wrote() {
    model(None, || {
        let visit = |me: usize| {
            on(me, NEVER, nothing, || {
                let mut guard = LOCK.lock();
                assert_eq!(LOCK.holder(), Some(cpu(me)));
                guard.add();
            });
        };
        let other = thread::spawn(move || visit(1));
        visit(0);
        other.join().unwrap();
        on(2, NEVER, nothing, || {
            authority().own(cpu(2), 1);
            let (step, authority) = (Step::new(), authority());
            let token = authority.token(&step, cpu(2)).unwrap();
            let mut guard = LOCK.enter(&token).unwrap();
            assert_eq!((guard.add(), LOCK.holder()), (3, Some(cpu(2))));
        });
    });
}

/// A CPU that owned the panic enters again and says so, while another one takes the panic over and says so: the words of
/// the one that owns it now stay, whoever wrote last.
#[test]
fn who_owned_the_panic_does_not_overwrite_who_owns_it_now() {
    model(None, || {
        let claim = loom::sync::Arc::new(AtomicUsize::new(0));
        authority().own(cpu(0), 1);
        let heir = {
            let claim = claim.clone();
            thread::spawn(move || {
                claim.store(1, Ordering::Release);
                authority().own_while(cpu(1), 2, || claim.load(Ordering::Acquire) == 1)
            })
        };
        authority().own_while(cpu(0), 3, || claim.load(Ordering::Acquire) == 0);
        assert!(heir.join().unwrap());
        assert_eq!(DOMAIN.owner(), Some((cpu(1), 2)));
    });
}

/// The handler of a stop signal, where stops are deferred.
fn deferring(_: usize) {
    let me = Bench::current();
    let holds = [LOCK.holder(), OUTER.holder()].contains(&Some(me));
    let first = DOMAIN.state(me) == State::Running;
    let deferred = DOMAIN.defer(me);
    assert_eq!(deferred, first && holds, "deferred without a lock, or cut off with one");
    if !deferred {
        parks();
    }
}

/// The handler of a stop signal, where they are not.
fn cutting(_: usize) {
    parks();
}

/// CPU 1: two critical sections, one in the other.
fn two_sections(past: &'static Flag) {
    // A CPU that is parked drops nothing.
    let mut outer = ManuallyDrop::new(OUTER.lock());
    outer.add();
    let mut inner = ManuallyDrop::new(LOCK.lock());
    inner.add();
    // SAFETY: once, and not used after.
    unsafe { ManuallyDrop::drop(&mut inner) };
    assert_ne!(DOMAIN.state(cpu(1)), State::Parked);
    // SAFETY: once, and not used after.
    unsafe { ManuallyDrop::drop(&mut outer) };
    assert!(!DOMAIN.pending(cpu(1)), "it went on");
    past.store(true, SeqCst);
    late_signals();
}

/// The stop signal comes before each operation of two nested sections: the CPU is deferred if it holds one, and only
/// then; it gets to the end of both; it parks there and goes no further; nothing is orphaned.
#[test]
fn a_signal_anywhere_parks_at_the_last_drop_or_finds_nothing_held() {
    let operations = before_each(|hit, past| {
        model(Some(PREEMPTIONS), move || {
            let other = thread::spawn(move || {
                on(1, [hit, usize::MAX], deferring, || two_sections(past));
            });
            on(0, NEVER, nothing, || {
                authority().own(cpu(0), 1);
                SENT.store(1, Ordering::Release);
                until(|| DOMAIN.state(cpu(1)) == State::Parked);
                assert!(!DOMAIN.held(cpu(1)).any(), "orphaned");
                let (step, authority) = (Step::new(), authority());
                let token = authority.token(&step, cpu(0)).unwrap();
                let mut outer = OUTER.enter(&token).unwrap();
                let mut inner = LOCK.enter(&token).unwrap();
                assert_eq!((outer.stolen(), inner.stolen()), (None, None));
                outer.add();
                inner.add();
            });
            over(other);
        });
    });
    assert!(operations > 12, "{operations} operations are no two sections");
}

/// A second signal, once the first was answered, before each later operation, those of the drop included: the stop is not
/// lost, and what the CPU still holds is what the words say.
#[test]
fn a_second_signal_anywhere_loses_neither_the_stop_nor_the_lock() {
    let section = |past: &'static Flag| {
        let mut guard = ManuallyDrop::new(LOCK.lock());
        guard.add();
        // SAFETY: once, and not used after.
        unsafe { ManuallyDrop::drop(&mut guard) };
        assert!(!DOMAIN.pending(cpu(1)), "it went on");
        past.store(true, SeqCst);
        late_signals();
    };
    let first = before_each(|first, past| {
        for second in first + 1..first + 12 {
            model(Some(PREEMPTIONS), move || {
                let other = thread::spawn(move || {
                    on(1, [first, second], deferring, || section(past));
                });
                on(0, NEVER, nothing, || {
                    authority().own(cpu(0), 1);
                    SENT.store(1, Ordering::Release);
                    until(|| DOMAIN.state(cpu(1)) != State::Running);
                    SENT.store(2, Ordering::Release);
                    until(|| DOMAIN.state(cpu(1)) == State::Parked);
                    let held = LOCK.holder() == Some(cpu(1));
                    assert_eq!(DOMAIN.held(cpu(1)).any(), held);
                    let (step, authority) = (Step::new(), authority());
                    let token = authority.token(&step, cpu(0)).unwrap();
                    let mut guard = LOCK.enter(&token).unwrap();
                    assert_eq!(guard.stolen().is_some(), held);
                    guard.add();
                });
                over(other);
            });
        }
    });
    assert!(first > 5, "{first} operations are no section");
}

/// A CPU is cut off by a signal before each operation, and the owner asks for its lock all the while: it is stolen once
/// that CPU has said that it is parked, and not before.
#[test]
fn nothing_is_stolen_before_the_acknowledgement() {
    let operations = before_each(|hit, past| {
        model(Some(PREEMPTIONS), move || {
            let other = thread::spawn(move || {
                on(1, [hit, usize::MAX], cutting, || {
                    // Taken without a look at the panic, as by whoever was past it when that began.
                    let Some(guard) = LOCK.try_lock() else { parks() };
                    let mut guard = ManuallyDrop::new(guard);
                    guard.add();
                    assert_eq!(LOCK.holder(), Some(cpu(1)), "robbed while it runs");
                    guard.add();
                    // SAFETY: once, and not used after.
                    unsafe { ManuallyDrop::drop(&mut guard) };
                    past.store(true, SeqCst);
                    late_signals();
                });
            });
            on(0, NEVER, nothing, || {
                authority().own(cpu(0), 1);
                SENT.store(1, Ordering::Release);
                let (step, authority) = (Step::new(), authority());
                let token = authority.token(&step, cpu(0)).unwrap();
                match LOCK.enter(&token) {
                    Ok(mut guard) => {
                        guard.add();
                        let stolen = guard.stolen().is_some();
                        assert!(!stolen || DOMAIN.state(cpu(1)) == State::Parked, "robbed while it runs");
                        assert_eq!(REPAIRS.load(Ordering::Relaxed), usize::from(stolen));
                    }
                    Err(refused) => assert_eq!(refused, Refused::Held { by: cpu(1), state: State::Running }),
                }
            });
            over(other);
        });
    });
    assert!(operations > 5, "{operations} operations are no section");
}

/// CPU 2 is parked with the lock. Its first owner of the panic was taken for dead and comes back in the middle of the
/// theft, while the heir asks, too: one of them gets it, and the other is refused.
#[test]
fn of_two_thieves_one_gets_it() {
    model(None, || {
        on(2, NEVER, nothing, || {
            std::mem::forget(LOCK.lock());
            DOMAIN.parked(cpu(2));
        });
        authority().own(cpu(0), 1);
        let steals = |me: usize| {
            let (step, authority) = (Step::new(), authority());
            let Some(token) = authority.token(&step, cpu(me)) else { return false };
            let Ok(mut guard) = LOCK.enter(&token) else { return false };
            guard.add();
            assert!(guard.stolen().is_some(), "it was never given back");
            std::mem::forget(guard);
            true
        };
        let dead = thread::spawn(move || {
            let got = on(0, NEVER, nothing, || steals(0)).unwrap();
            GOT.fetch_add(usize::from(got), Ordering::Relaxed);
        });
        on(1, NEVER, nothing, || {
            authority().missing(cpu(0));
            authority().own(cpu(1), 2);
            GOT.fetch_add(usize::from(steals(1)), Ordering::Relaxed);
        });
        over(dead);
        assert_eq!((GOT.load(Ordering::Relaxed), REPAIRS.load(Ordering::Relaxed)), (1, 1));
    });
}

macro_rules! service {
    ($name:ident, $number:literal, $class:ident) => {
        struct $name;
        impl Service for $name {
            const NAME: &'static str = stringify!($name);
            const NUMBER: u32 = $number;
            const CLASS: Class = Class::$class;
        }
    };
}

service!(Configure, 1, Serialized);
service!(IntOff, 2, SelfReentrant);
service!(SetXive, 3, SelfReentrant);
service!(Reboot, 4, CriticalRegionExempt);

loom::lazy_static! {
    static ref GOT: AtomicUsize = AtomicUsize::new(0);
    /// 1: somebody is inside firmware.
    static ref INSIDE: AtomicUsize = AtomicUsize::new(0);
    /// What firmware does in there, with a place for a signal.
    static ref WORK: AtomicU32 = AtomicU32::new(0);
    /// Contexts of the owner that were abandoned.
    static ref GONE: AtomicUsize = AtomicUsize::new(0);
}

fn firmware(block: Block) -> Block {
    INSIDE.store(1, Ordering::Relaxed);
    WORK.load(Ordering::Relaxed);
    INSIDE.store(0, Ordering::Relaxed);
    block
}

/// A CPU is cut off before each operation of a call, inside firmware or not; the owner calls all the while, and once more
/// when that CPU is parked: never while it is inside, and always when it is not even on its way.
#[test]
fn who_was_cut_off_inside_firmware_is_seen_there() {
    let operations = before_each(|hit, past| {
        model(Some(PREEMPTIONS), move || {
            let other = thread::spawn(move || {
                on(1, [hit, usize::MAX], cutting, || {
                    FIRMWARE.call::<IntOff, _>(firmware);
                    past.store(true, SeqCst);
                    late_signals();
                });
            });
            on(0, NEVER, nothing, || {
                authority().own(cpu(0), 1);
                SENT.store(1, Ordering::Release);
                let alone = |block| {
                    assert_eq!(INSIDE.load(Ordering::Relaxed), 0, "two in firmware");
                    block
                };
                let _ = FIRMWARE.call_by_owner::<SetXive, _>(alone);
                until(|| DOMAIN.state(cpu(1)) == State::Parked);
                let inside = INSIDE.load(Ordering::Relaxed) == 1;
                let marked = FIRMWARE.inside(cpu(1)) == IntOff::NUMBER;
                assert!(marked || !inside, "inside without a marker");
                let refused = Err(Forbidden::Inside { cpu: cpu(1), service: IntOff::NUMBER });
                let own = Ok(Block::Own(cpu(0)));
                let beside = FIRMWARE.call_by_owner::<SetXive, _>(alone);
                assert_eq!(beside, if marked { refused } else { own });
                assert_eq!(FIRMWARE.call_by_owner::<IntOff, _>(|block| block), own);
            });
            over(other);
        });
    });
    assert!(operations > 8, "{operations} operations are no call");
}

/// The handler of a shot: this context of the owner is abandoned where it is.
fn abandoning(_: usize) {
    GONE.fetch_add(1, Ordering::Release);
    stays();
}

/// The owner is abandoned before each operation of a call, and its next context before each of its own: the one after
/// that never calls the service again if it was inside, and holds firmware for dirty.
#[test]
fn what_was_abandoned_inside_firmware_stays_so() {
    let context = |generation: u32, hit: usize, past: &'static Flag| {
        let context = thread::spawn(move || {
            on(0, [hit, usize::MAX], abandoning, || {
                authority().own(cpu(0), generation);
                let _ = FIRMWARE.call_by_owner::<Configure, _>(firmware);
                past.store(true, SeqCst);
                late_signals();
            });
        });
        until(|| GONE.load(Ordering::Acquire) == generation as usize);
        context
    };
    let operations = before_each(|first, past| {
        before_each(|second, further| {
            model(Some(0), move || {
                SENT.store(1, Ordering::Release);
                let one = context(1, first, past);
                let inside = INSIDE.load(Ordering::Relaxed) == 1;
                let two = context(2, second, further);
                let inside = inside || INSIDE.load(Ordering::Relaxed) == 1;
                on(0, NEVER, nothing, || {
                    authority().own(cpu(0), 3);
                    let again = FIRMWARE.call_by_owner::<Configure, _>(|block| block);
                    let other = FIRMWARE.call_by_owner::<IntOff, _>(|block| block);
                    let exempt = FIRMWARE.call_by_owner::<Reboot, _>(|block| block);
                    let own = Ok(Block::Own(cpu(0)));
                    // Between the theft of firmware's lock and the call: it is not stolen a second time.
                    let locked = Err(Forbidden::Locked(Refused::Held { by: cpu(0), state: State::Parked }));
                    let dirty = (Err(Forbidden::Abandoned), Err(Forbidden::Dirty), Ok(Block::Spare(0)));
                    let seen = (again, other, exempt);
                    let clean = !inside && [(own, own, own), (locked, locked, own)].contains(&seen);
                    assert!(seen == dirty || clean, "inside: {inside}, {seen:?}");
                });
                over(one);
                over(two);
            });
        });
    });
    assert!(operations > 8, "{operations} operations are no call");
}
