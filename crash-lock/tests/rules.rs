//! The table of the crate, line by line. Each test has a kernel of its own: CPUs are names that the test
//! changes, and what does not return leaves by unwinding.
#![cfg(not(loom))]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crash_lock::{
    Authority, CrashLock, Domain, Found, Interruptible, Kernel, Parking, Refused, State, Steal, Step,
};
use hal::CpuId;

/// How a CPU left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Left {
    Parked(Parking),
    Abandoned(usize),
}

thread_local! {
    static ME: Cell<usize> = const { Cell::new(0) };
    static WAITS: Cell<u32> = const { Cell::new(0) };
    /// Waits that a test takes for hanging; a busy host makes many where CPUs are threads.
    static MOST_WAITS: Cell<u32> = const { Cell::new(10_000) };
    static ON_RELAX: Cell<Option<fn()>> = const { Cell::new(None) };
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).unwrap()
}

fn on(number: usize) {
    ME.set(number);
}

fn left<T>(body: impl FnOnce() -> T) -> Option<Left> {
    let end = catch_unwind(AssertUnwindSafe(|| std::mem::forget(body())));
    end.err().map(|payload| *payload.downcast::<Left>().unwrap_or_else(|other| resume_unwind(other)))
}

macro_rules! kernel {
    () => {
        static DOMAIN: Domain = Domain::new();
        #[allow(dead_code)] // not every test asks it for everything
        struct Bench;
        impl Kernel for Bench {
            type Pin = ();
            const PATIENCE: u32 = 50;
            fn pin() {}
            fn current() -> CpuId {
                cpu(ME.get())
            }
            fn domain() -> &'static Domain {
                &DOMAIN
            }
            fn relax() {
                WAITS.set(WAITS.get() + 1);
                assert!(WAITS.get() < MOST_WAITS.get(), "it waits for ever");
                if let Some(next) = ON_RELAX.get() {
                    next();
                }
            }
            fn park(why: Parking) -> ! {
                DOMAIN.parked(Self::current());
                resume_unwind(Box::new(Left::Parked(why)))
            }
            fn abandon(holder: CpuId) -> ! {
                resume_unwind(Box::new(Left::Abandoned(holder.index())))
            }
        }
        #[allow(dead_code)]
        fn authority() -> Authority {
            DOMAIN.authority(1).unwrap()
        }
    };
}

/// Two halves that are equal unless somebody was stopped in between.
#[derive(Debug)]
struct Halves(u32, u32, Option<Found>);

// SAFETY: three integers and an enum, each of which is always valid.
unsafe impl Interruptible for Halves {
    fn repair(&mut self, found: Found) {
        self.1 = self.0;
        self.2 = Some(found);
    }
}

#[test]
fn off_the_panic_path_it_is_a_lock() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(1);
    on(0);
    let mut guard = LOCK.lock();
    *guard += 1;
    assert_eq!(LOCK.holder(), Some(cpu(0)));
    assert_eq!(DOMAIN.held(cpu(0)).locks, 1);
    assert!(LOCK.try_lock().is_none());
    drop(guard);
    assert_eq!((LOCK.holder(), DOMAIN.held(cpu(0)).locks), (None, 0));
    assert_eq!(LOCK.try_lock().map(|guard| *guard), Some(2));
}

#[test]
fn whoever_holds_nothing_parks_when_it_asks() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(1);
    authority().own(cpu(0), 1);
    on(1);
    assert_eq!(left(|| LOCK.lock()), Some(Left::Parked(Parking::Asked)));
    assert_eq!(left(|| LOCK.try_lock()), Some(Left::Parked(Parking::Asked)));
    assert_eq!((LOCK.holder(), DOMAIN.held(cpu(1)).any()), (None, false));
}

#[test]
fn a_deferred_cpu_finishes_and_the_last_drop_parks_it() {
    kernel!();
    static OUTER: CrashLock<u32, Bench> = CrashLock::new(0);
    static INNER: CrashLock<u32, Bench> = CrashLock::new(0);
    on(1);
    let outer = OUTER.lock();
    authority().own(cpu(0), 1);
    assert!(DOMAIN.defer(cpu(1)), "it holds a lock");
    assert_eq!(DOMAIN.state(cpu(1)), State::Deferred);
    // A free lock is taken, and its release is not the last one.
    let inner = INNER.lock();
    assert_eq!(left(|| drop(inner)), None);
    assert_eq!(left(|| drop(outer)), Some(Left::Parked(Parking::Released)));
    assert_eq!((OUTER.holder(), INNER.holder()), (None, None), "nothing is orphaned");
}

/// An interrupt handler that tries the lock of the section which it interrupted.
#[test]
fn who_tries_a_lock_that_its_own_cpu_holds_gets_nothing_and_goes_on() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(0);
    on(1);
    let outer = LOCK.lock();
    authority().own(cpu(0), 1);
    assert_eq!(left(|| assert!(LOCK.try_lock().is_none())), None);
    assert!(DOMAIN.defer(cpu(1)));
    assert_eq!(left(|| assert!(LOCK.try_lock().is_none())), None);
    assert_eq!(left(|| drop(outer)), Some(Left::Parked(Parking::Released)));
    assert_eq!(LOCK.holder(), None, "nothing is orphaned");
}

#[test]
fn a_word_that_names_nobody_is_told_at_once() {
    kernel!();
    static LOCK: CrashLock<Halves, Bench, Steal> = CrashLock::new(Halves(0, 0, None));
    static MINE: CrashLock<u32, Bench> = CrashLock::new(0);
    on(1);
    std::mem::forget(LOCK.lock());
    let word = DOMAIN.locks(cpu(1)).next().unwrap();
    // SAFETY: the word of a lock in a static. What this breaks is what the test is about.
    unsafe { &*std::ptr::with_exposed_provenance::<AtomicU64>(word) }
        .store(0xdead_beef_ffff, Ordering::SeqCst);
    on(2);
    std::mem::forget(MINE.lock());
    authority().own(cpu(0), 1);
    assert_eq!(left(|| LOCK.lock()), Some(Left::Parked(Parking::Blocked)));
    on(0);
    let (step, authority) = (Step::new(), authority());
    let token = authority.token(&step, cpu(0)).unwrap();
    assert_eq!(LOCK.enter(&token).err(), Some(Refused::Destroyed));
    assert_eq!(left(|| LOCK.lock()), Some(Left::Abandoned(0)));
    assert_eq!(WAITS.get(), 0);
}

#[test]
fn a_second_signal_parks_a_deferred_cpu_where_it_is() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(0);
    on(1);
    let guard = LOCK.lock();
    assert!(DOMAIN.defer(cpu(1)));
    assert!(!DOMAIN.defer(cpu(1)), "once");
    let _ = left(|| drop(guard));
}

#[test]
fn after_the_last_call_nobody_is_deferred() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(0);
    on(1);
    std::mem::forget(LOCK.lock());
    authority().last_call();
    assert!(!DOMAIN.defer(cpu(1)));
}

#[test]
fn a_waiter_holds_nothing() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(0);
    on(0);
    std::mem::forget(LOCK.lock());
    on(1);
    // The signal comes while CPU 1 waits: its entry is listed, and the word names CPU 0.
    ON_RELAX.set(Some(|| {
        assert!(!DOMAIN.defer(cpu(1)), "a waiter is parked by the handler");
        resume_unwind(Box::new(Left::Parked(Parking::Asked)))
    }));
    assert_eq!(left(|| LOCK.lock()), Some(Left::Parked(Parking::Asked)));
    ON_RELAX.set(None);
    assert_eq!(DOMAIN.held(cpu(1)).locks, 0);
}

#[test]
fn a_chain_that_ends_at_a_stopped_cpu_is_given_up() {
    kernel!();
    static MINE: CrashLock<u32, Bench> = CrashLock::new(0);
    static THEIRS: CrashLock<u32, Bench> = CrashLock::new(0);
    on(2);
    std::mem::forget(THEIRS.lock());
    on(1);
    std::mem::forget(MINE.lock());
    let authority = authority();
    authority.own(cpu(0), 1);
    assert!(DOMAIN.defer(cpu(1)) && DOMAIN.defer(cpu(2)));
    // CPU 2 goes on for a while, then it is stopped for good.
    ON_RELAX.set(Some(|| {
        if WAITS.get() == 20 {
            DOMAIN.parked(cpu(2));
        }
    }));
    assert_eq!(left(|| THEIRS.lock()), Some(Left::Parked(Parking::Blocked)));
    ON_RELAX.set(None);
    assert!(WAITS.get() >= 20, "it waited while there was hope");
    assert_eq!(DOMAIN.blocked(cpu(1)).map(|blocked| blocked.by), Some(cpu(2)));
    assert_eq!(DOMAIN.held(cpu(1)).locks, 1, "orphaned");
}

#[test]
fn what_the_owner_holds_is_not_waited_for() {
    kernel!();
    static MINE: CrashLock<u32, Bench> = CrashLock::new(0);
    static OWNERS: CrashLock<u32, Bench> = CrashLock::new(0);
    on(0);
    std::mem::forget(OWNERS.lock());
    on(1);
    std::mem::forget(MINE.lock());
    authority().own(cpu(0), 1);
    assert_eq!(left(|| OWNERS.lock()), Some(Left::Parked(Parking::Blocked)));
    assert_eq!(WAITS.get(), 0);
}

#[test]
fn the_owner_never_waits_without_a_token() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(0);
    static FREE: CrashLock<u32, Bench> = CrashLock::new(0);
    on(1);
    std::mem::forget(LOCK.lock());
    authority().own(cpu(0), 1);
    on(0);
    assert_eq!(left(|| LOCK.lock()), Some(Left::Abandoned(1)));
    assert!(LOCK.try_lock().is_none());
    assert_eq!(left(|| drop(FREE.lock())), None);
}

#[test]
fn skip_takes_what_is_free_and_nothing_else() {
    kernel!();
    static LOCK: CrashLock<u32, Bench> = CrashLock::new(7);
    let (authority, step) = (authority(), Step::new());
    on(1);
    let guard = LOCK.lock();
    authority.own(cpu(0), 1);
    on(0);
    let token = authority.token(&step, cpu(0)).unwrap();
    let refused = |state| Some(Refused::Held { by: cpu(1), state });
    assert_eq!(LOCK.enter(&token).err(), refused(State::Running));
    assert_eq!(WAITS.replace(0), Bench::PATIENCE, "a bounded wait");
    authority.missing(cpu(1));
    assert_eq!(LOCK.enter(&token).err(), refused(State::Missing));
    DOMAIN.parked(cpu(1));
    assert_eq!(LOCK.enter(&token).err(), refused(State::Parked));
    assert_eq!(WAITS.get(), 0, "nothing to wait for");
    on(1);
    let _ = left(|| drop(guard));
    on(0);
    assert_eq!(LOCK.enter(&token).map(|guard| *guard).ok(), Some(7));
}

#[test]
fn an_orphan_is_stolen_and_repaired() {
    kernel!();
    static LOCK: CrashLock<Halves, Bench, Steal> = CrashLock::new(Halves(0, 0, None));
    let (authority, step) = (authority(), Step::new());
    on(1);
    let mut guard = LOCK.lock();
    guard.0 = 5;
    std::mem::forget(guard);
    authority.own(cpu(0), 1);
    on(0);
    let token = authority.token(&step, cpu(0)).unwrap();
    // Deferred is not stopped.
    assert!(DOMAIN.defer(cpu(1)));
    assert_eq!(LOCK.enter(&token).err(), Some(Refused::Held { by: cpu(1), state: State::Deferred }));
    DOMAIN.parked(cpu(1));
    let guard = LOCK.enter(&token).unwrap();
    assert_eq!((guard.0, guard.1, guard.2), (5, 5, Some(Found::Orphaned)));
    assert_eq!(guard.stolen(), Some(Found::Orphaned));
    drop(guard);
    assert_eq!(LOCK.holder(), None);
}

#[test]
fn this_context_is_never_robbed_and_an_abandoned_one_is() {
    kernel!();
    static LOCK: CrashLock<Halves, Bench, Steal> = CrashLock::new(Halves(0, 0, None));
    let (authority, step) = (authority(), Step::new());
    on(0);
    authority.own(cpu(0), 1);
    let token = authority.token(&step, cpu(0)).unwrap();
    std::mem::forget(LOCK.enter(&token).unwrap());
    assert_eq!(LOCK.enter(&token).err(), Some(Refused::Recursive));
    // The owner enters again: what ran is abandoned.
    authority.own(cpu(0), 2);
    let token = authority.token(&step, cpu(0)).unwrap();
    assert_eq!(LOCK.enter(&token).unwrap().stolen(), Some(Found::Interrupted));
}

#[test]
fn a_repair_that_was_abandoned_is_not_tried_again() {
    kernel!();
    struct Bad;
    // SAFETY: there is nothing in it.
    unsafe impl Interruptible for Bad {
        fn repair(&mut self, _: Found) {
            resume_unwind(Box::new(Left::Abandoned(99)))
        }
    }
    static LOCK: CrashLock<Bad, Bench, Steal> = CrashLock::new(Bad);
    let (authority, step) = (authority(), Step::new());
    on(1);
    std::mem::forget(LOCK.lock());
    DOMAIN.parked(cpu(1));
    authority.own(cpu(0), 1);
    on(0);
    let token = authority.token(&step, cpu(0)).unwrap();
    assert_eq!(left(|| LOCK.enter(&token).is_ok()), Some(Left::Abandoned(99)));
    authority.own(cpu(0), 2);
    let token = authority.token(&step, cpu(0)).unwrap();
    assert!(matches!(LOCK.enter(&token).err(), Some(Refused::Held { .. })));
}

#[test]
fn only_the_owner_gets_a_token_and_only_one_sequence_hands_them_out() {
    kernel!();
    let (authority, step) = (authority(), Step::new());
    assert!(authority.token(&step, cpu(0)).is_none(), "there is no panic");
    authority.own(cpu(0), 1);
    assert!(authority.token(&step, cpu(1)).is_none());
    assert!(authority.token(&step, cpu(0)).is_some());
    assert!(DOMAIN.authority(2).is_none(), "it is another's");
    assert!(DOMAIN.authority(1).is_some(), "whose first question was cut short asks again");
}

#[test]
fn more_locks_than_the_list_has_room_for_are_taken_for_held() {
    kernel!();
    static LOCKS: [CrashLock<(), Bench>; crash_lock::MOST_HELD + 1] =
        [const { CrashLock::new(()) }; crash_lock::MOST_HELD + 1];
    on(1);
    let mut guards: Vec<_> = LOCKS.iter().map(CrashLock::lock).collect();
    assert_eq!((DOMAIN.held(cpu(1)).locks, DOMAIN.held(cpu(1)).unlisted), (8, 1));
    let last = guards.pop();
    drop(guards);
    assert!(DOMAIN.held(cpu(1)).any());
    drop(last);
    assert!(!DOMAIN.held(cpu(1)).any());
}

#[test]
fn it_excludes() {
    kernel!();
    static LOCK: CrashLock<u64, Bench> = CrashLock::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                on(number);
                MOST_WAITS.set(u32::MAX);
                ON_RELAX.set(Some(std::thread::yield_now));
                for _ in 0..10_000 {
                    WAITS.set(0);
                    *LOCK.lock() += 1;
                }
            });
        }
    });
    on(0);
    assert_eq!(*LOCK.lock(), 40_000);
}
