//! The memory orderings of the claim, of the handshake with CPUs that come up, and of the deadline, in
//! every interleaving and with every value that the memory model allows.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p core-panic --test loom --release`
#![cfg(loom)]

use core_panic::claim::{Claim, Entered};
use core_panic::deadline::{Deadline, Hit, State};
use hal::CpuId;
use hal::sync::{AtomicU64, BindOnce, Ordering, fence};
use loom::sync::Arc;
use loom::thread;

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).unwrap()
}

#[test]
fn one_of_three_wins() {
    loom::model(|| {
        let claim = Arc::new(Claim::new());
        let others: Vec<_> = [1, 2]
            .map(|number| {
                let claim = claim.clone();
                thread::spawn(move || claim.enter(cpu(number)) == Entered::Owner)
            })
            .into_iter()
            .collect();
        let mut winners = usize::from(claim.enter(cpu(0)) == Entered::Owner);
        winners += others.into_iter().map(|other| usize::from(other.join().unwrap())).sum::<usize>();
        assert_eq!(winners, 1);
    });
}

/// A CPU publishes `online` and then looks at the claim; the owner claims and then looks who is online.
/// One of the two has to see the other.
#[test]
fn a_cpu_that_comes_up_is_seen_or_sees() {
    loom::model(|| {
        let claim = Arc::new(Claim::new());
        let online = Arc::new(AtomicU64::new(0));
        let starting = {
            let (claim, online) = (claim.clone(), online.clone());
            thread::spawn(move || {
                online.store(1, Ordering::Release);
                claim.published().is_some()
            })
        };
        assert_eq!(claim.enter(cpu(0)), Entered::Owner);
        let seen = online.load(Ordering::Acquire) == 1;
        let parks = starting.join().unwrap();
        assert!(seen || parks, "a CPU slipped through");
    });
}

/// The same without the fences: loom finds the CPU that slips through, so the test above can fail.
#[test]
#[should_panic(expected = "a CPU slipped through")]
fn without_fences_one_slips_through() {
    loom::model(|| {
        let claim = Arc::new(AtomicU64::new(0));
        let online = Arc::new(AtomicU64::new(0));
        let starting = {
            let (claim, online) = (claim.clone(), online.clone());
            thread::spawn(move || {
                online.store(1, Ordering::Release);
                claim.load(Ordering::Acquire) != 0
            })
        };
        claim.store(1, Ordering::Release);
        let seen = online.load(Ordering::Acquire) == 1;
        assert!(seen || starting.join().unwrap(), "a CPU slipped through");
    });
}

/// The origin of a redirect withdraws while the target accepts: one of them goes on.
#[test]
fn withdrawing_and_accepting_exclude_each_other() {
    loom::model(|| {
        let claim = Arc::new(Claim::new());
        assert_eq!(claim.enter(cpu(0)), Entered::Owner);
        let target = {
            let claim = claim.clone();
            thread::spawn(move || claim.redirect(cpu(0), cpu(1)))
        };
        let withdrew = claim.redirect(cpu(0), cpu(0));
        assert_ne!(withdrew, target.join().unwrap());
    });
}

/// Two bodies, and a watcher that finds the first one late: its shot abandons the first or nothing.
#[test]
fn a_shot_never_hits_the_next_body() {
    loom::model(|| {
        let deadline = Arc::new(Deadline::new());
        let first = deadline.begin(0, 10);
        let watcher = {
            let deadline = deadline.clone();
            thread::spawn(move || {
                if deadline.fire(first) {
                    deadline.sent(first);
                    return true;
                }
                false
            })
        };
        let over = deadline.end(first, State::Done);
        if !over {
            // A shot is on its way: the owner takes it here, where it abandons nothing.
            assert_ne!(deadline.hit(5), Hit::Late);
            assert!(deadline.arrived(first));
            assert!(deadline.settle(first, State::Done), "nobody was taken for dead");
        }
        let second = deadline.begin(6, 10);
        assert_ne!(deadline.hit(7), Hit::Late, "the next body was hit");
        assert_eq!(watcher.join().unwrap(), !over);
        // Nothing that was meant for the first is left on the second.
        assert!(deadline.end(second, State::Done));
    });
}

/// A warden takes the owner for dead, which comes back to life: one of them goes on, whatever either does in between.
#[test]
fn who_comes_back_to_life_and_who_takes_over_exclude_each_other() {
    loom::model(|| {
        let (claim, deadline) = (Arc::new(Claim::new()), Arc::new(Deadline::new()));
        assert_eq!(claim.enter(cpu(0)), Entered::Owner);
        let first = deadline.begin(0, 10);
        assert!(deadline.fire(first));
        deadline.sent(first);
        let warden = {
            let (claim, deadline) = (claim.clone(), deadline.clone());
            thread::spawn(move || deadline.kill(first) && claim.take_over(cpu(0), cpu(1)))
        };
        let goes_on = deadline.settle(first, State::Done) || claim.outlive(cpu(0));
        assert_ne!(goes_on, warden.join().unwrap());
    });
}

#[test]
fn a_bound_value_is_seen_whole() {
    loom::model(|| {
        let cell = Arc::new(BindOnce::new());
        let reader = {
            let cell = cell.clone();
            thread::spawn(move || cell.get().copied())
        };
        assert!(cell.bind((1u64, 2u64)));
        assert!(matches!(reader.join().unwrap(), None | Some((1, 2))));
        fence(Ordering::SeqCst);
    });
}
