//! The classes of firmware calls, row by row.
#![cfg(not(loom))]

use std::cell::{Cell, RefCell};

use crash_lock::firmware::{Block, Class, Firmware, Forbidden, Service};
use crash_lock::{Answer, Asked, Authority, Domain, Found, Kernel, Parking, Refused, Ruling, State};
use hal::CpuId;

thread_local! {
    static ME: Cell<usize> = const { Cell::new(0) };
    static TOLD: RefCell<Vec<Ruling>> = const { RefCell::new(Vec::new()) };
}

fn cpu(number: usize) -> CpuId {
    CpuId::new(number).unwrap()
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
service!(Interlock, 5, Unserialized);

macro_rules! kernel {
    () => {
        static DOMAIN: Domain = Domain::new();
        struct Bench;
        impl Kernel for Bench {
            type Pin = ();
            const PATIENCE: u32 = 5;
            fn pin() {}
            fn current() -> CpuId {
                cpu(ME.get())
            }
            fn domain() -> &'static Domain {
                &DOMAIN
            }
            fn relax() {}
            fn park(_: Parking) -> ! {
                unreachable!("a secondary calls firmware in a panic")
            }
            fn abandon(_: CpuId) -> ! {
                unreachable!("the owner waits")
            }
            fn ruled(ruling: &Ruling) {
                TOLD.with_borrow_mut(|told| told.push(*ruling));
            }
        }
        static FIRMWARE: Firmware<Bench> = Firmware::naming(&[(1, "Configure"), (2, "IntOff")]);
        /// A CPU enters a service and never comes back.
        #[allow(dead_code)]
        fn enters<S: Service>(number: usize) {
            std::thread::spawn(move || {
                ME.set(number);
                FIRMWARE.call::<S, ()>(|_| {
                    loop {
                        std::thread::park();
                    }
                });
            });
            while FIRMWARE.inside(cpu(number)) == 0 {
                std::thread::yield_now();
            }
        }
        #[allow(dead_code)]
        fn panics() -> Authority {
            let authority = DOMAIN.authority(1).unwrap();
            ME.set(0);
            authority.own(cpu(0), 1);
            authority
        }
        #[allow(dead_code)]
        fn owner<S: Service>() -> Result<Block, Forbidden> {
            FIRMWARE.call_by_owner::<S, Block>(|block| block)
        }
    };
}

#[test]
fn off_the_panic_path_each_call_has_its_own_block_and_its_marker() {
    kernel!();
    ME.set(3);
    let seen = FIRMWARE.call::<Configure, _>(|block| (block, FIRMWARE.inside(cpu(3))));
    assert_eq!(seen, (Block::Own(cpu(3)), 1));
    assert_eq!(FIRMWARE.inside(cpu(3)), 0);
    // A call inside a call, from a handler that the specification allows one to.
    let inner = FIRMWARE.call::<Configure, _>(|_| FIRMWARE.call::<Interlock, _>(|block| block));
    assert_eq!(inner, Block::Emergency(cpu(3)));
}

#[test]
fn with_nobody_inside_everything_is_allowed() {
    kernel!();
    let _authority = panics();
    assert_eq!(owner::<Configure>(), Ok(Block::Own(cpu(0))));
    assert_eq!(owner::<IntOff>(), Ok(Block::Own(cpu(0))));
    assert_eq!(owner::<Reboot>(), Ok(Block::Own(cpu(0))));
    assert_eq!(FIRMWARE.refusals(), 0);
}

#[test]
fn serialized_calls_are_refused_while_a_stopped_cpu_is_inside() {
    kernel!();
    enters::<Configure>(1);
    let authority = panics();
    // It may still come out.
    let running = Refused::Held { by: cpu(1), state: State::Running };
    assert_eq!(owner::<Configure>(), Err(Forbidden::Locked(running)));
    let inside = Err(Forbidden::Inside { cpu: cpu(1), service: 1 });
    authority.missing(cpu(1));
    assert_eq!(owner::<Configure>(), inside);
    DOMAIN.parked(cpu(1));
    assert_eq!(owner::<Configure>(), inside);
    assert_eq!(owner::<IntOff>(), inside, "re-entrant is not free");
    assert_eq!(owner::<Reboot>(), Ok(Block::Own(cpu(0))));
    assert_eq!(owner::<Interlock>(), Ok(Block::Own(cpu(0))));
    assert_eq!(FIRMWARE.refusals(), 4);
}

#[test]
fn a_self_reentrant_service_bears_itself_and_nothing_else() {
    kernel!();
    enters::<IntOff>(1);
    let _authority = panics();
    DOMAIN.parked(cpu(1));
    assert_eq!(owner::<IntOff>(), Ok(Block::Own(cpu(0))));
    let inside = Err(Forbidden::Inside { cpu: cpu(1), service: 2 });
    assert_eq!(owner::<SetXive>(), inside);
    assert_eq!(owner::<Configure>(), inside);
    assert_eq!(FIRMWARE.inside(cpu(1)), 2, "its marker stays");
}

#[test]
fn a_lock_whose_holder_was_stopped_outside_is_stolen() {
    kernel!();
    // Stopped between the lock and the marker, or between the marker and the release: the body is over.
    std::thread::spawn(|| {
        ME.set(1);
        FIRMWARE.hold();
    })
    .join()
    .unwrap();
    let _authority = panics();
    DOMAIN.parked(cpu(1));
    assert_eq!(owner::<Configure>(), Ok(Block::Own(cpu(0))));
}

#[test]
fn what_was_abandoned_is_never_called_again_and_firmware_is_dirty() {
    kernel!();
    let authority = panics();
    // The owner hangs in a service; the warden abandons that, and the owner enters again.
    std::thread::spawn(|| {
        ME.set(0);
        let _ = FIRMWARE.call_by_owner::<SetXive, ()>(|_| {
            loop {
                std::thread::park();
            }
        });
    });
    while FIRMWARE.inside(cpu(0)) == 0 {
        std::thread::yield_now();
    }
    authority.own(cpu(0), 2);
    assert_eq!(owner::<SetXive>(), Err(Forbidden::Abandoned));
    assert_eq!(owner::<IntOff>(), Err(Forbidden::Dirty));
    assert_eq!(owner::<Configure>(), Err(Forbidden::Dirty));
    assert_eq!(owner::<Reboot>(), Ok(Block::Spare(0)), "not the block of the call that was cut off");
}

#[test]
fn the_exemption_can_be_switched_off() {
    kernel!();
    enters::<Configure>(1);
    let _authority = panics();
    DOMAIN.parked(cpu(1));
    FIRMWARE.exempt_anywhere(false);
    assert_eq!(owner::<Reboot>(), Err(Forbidden::Inside { cpu: cpu(1), service: 1 }));
    FIRMWARE.exempt_anywhere(true);
    assert_eq!(owner::<Reboot>(), Ok(Block::Own(cpu(0))));
}

#[test]
fn each_decision_is_told_once_with_its_reason() {
    let told = || TOLD.take();
    {
        kernel!();
        std::thread::spawn(|| {
            ME.set(2);
            FIRMWARE.hold();
        })
        .join()
        .unwrap();
        let _authority = panics();
        DOMAIN.parked(cpu(2));
        assert_eq!(owner::<IntOff>(), Ok(Block::Own(cpu(0))));
        let answer = Answer::Stolen { from: cpu(2), found: Found::Orphaned };
        let stolen = Ruling { asked: Asked::Firmware("IntOff"), answer };
        assert_eq!(told(), [stolen], "the lock in front of firmware");
        assert_eq!(owner::<IntOff>(), Ok(Block::Own(cpu(0))));
        assert_eq!(told(), [], "nobody was in the way");
    }
    kernel!();
    enters::<IntOff>(1);
    let _authority = panics();
    DOMAIN.parked(cpu(1));
    assert!(owner::<IntOff>().is_ok() && owner::<Reboot>().is_ok());
    assert_eq!(told(), []);
    assert!(owner::<SetXive>().is_err());
    let why = Forbidden::Inside { cpu: cpu(1), service: 2 };
    let answer = Answer::Forbidden { why, beside: Some("IntOff") };
    assert_eq!(told(), [Ruling { asked: Asked::Firmware("SetXive"), answer }]);
}
