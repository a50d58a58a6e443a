//! What a CPU does by itself.

use core::fmt;

use core_panic::Cause;
use crash_record::layout::{header, slot};
use hal::CpuId;
use hal::sync::Ordering;

use crate::faults::{Call, What};
use crate::oracle::Act;
use crate::scenario::{Body, Handler};
use crate::world::{current, machine, with};
use crate::{contract, registers, scheduler, trap};

/// The message of a panic: somebody else's code, which may fail in its turn.
pub struct Message;

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = with(|world| {
            world.act(Act::Message);
            world.call(Call::Message)
        });
        match wrong.flatten() {
            Some(What::Hang) => scheduler::hang(),
            Some(What::Garbage) => {
                for _ in 0..100 {
                    f.write_str("garbage\n")?;
                }
                Ok(())
            }
            Some(What::Dropped) => Err(fmt::Error),
            Some(what) => trap::fault(what),
            None => f.write_str("on purpose"),
        }
    }
}

/// The executing CPU panics.
pub fn panics() -> ! {
    let snapshot = registers::snapshot();
    with(|world| {
        world.oracle.witness(world.current, snapshot.registers.number());
        world.dies();
        world.tell(|| "panics".into());
    });
    machine().panic().enter(&Cause { reason: "rust-panic", message: &Message }, &snapshot)
}

fn work(cpu: usize) {
    let rounds = with(|world| world.scenario.rounds).unwrap_or(0);
    let Some(heartbeat) = CpuId::new(cpu).and_then(|cpu| machine().record.heartbeat(cpu)) else { return };
    for _ in 0..rounds {
        with(|world| world.act(Act::Work));
        heartbeat.fetch_add(1, Ordering::Relaxed);
    }
}

/// The executing CPU is in an NMI handler: until that returns, or the panic path parks it there.
fn handle(cpu: usize, handler: Handler) {
    let record = &machine().record;
    let wait = |signalled: &dyn Fn() -> bool| {
        while !signalled() {
            scheduler::relax();
        }
    };
    match handler {
        Handler::Busy => {
            let me = CpuId::new(cpu).unwrap_or(CpuId::BOOT);
            wait(&|| record.slot(me, slot::OWNER_SIGNALLED_AT) != 0);
            with(|world| (world.me().nmi_blocked, world.me().interrupts) = (false, true));
            scheduler::hal_call(true);
        }
        Handler::Late => wait(&|| record.load(header::STOPPED_AT) != 0),
        Handler::Deaf => scheduler::hang(),
    }
}

/// Runs on each CPU from its start. CPUs that are up at the start of a run were published before it.
pub fn body(cpu: usize) {
    let what = with(|world| world.scenario.cpus[cpu]).unwrap_or(Body::Absent);
    match what {
        Body::Absent | Body::Never | Body::Unstarted => {}
        Body::Fails(what) => trap::fault(what),
        Body::Handles(handler) => handle(cpu, handler),
        Body::Works => work(cpu),
        Body::Runs(plan) => {
            for _ in 0..with(|world| world.scenario.rounds).unwrap_or(0) {
                plan.run();
            }
        }
        Body::Panics => panics(),
        Body::PanicsInNmi => {
            with(|world| world.me().nmi_blocked = true);
            panics()
        }
        Body::PanicsEarly => panics(),
        Body::Checks(tier) => contract::run(tier),
        Body::Serves => contract::serve(),
        Body::Starts => {
            machine().panic().online();
            with(|world| {
                let me = world.current;
                world.oracle.online |= 1 << me;
            });
            work(cpu);
        }
    }
    loop {
        // A CPU that is inside an NMI handler of its own looks for the stop itself.
        let polls = with(|world| world.me().nmi_blocked) == Some(true);
        if polls {
            let panic = machine().panic();
            if panic.claimed() {
                let snapshot = registers::snapshot();
                let before = with(|world| world.oracle.witness(world.current, snapshot.registers.number()));
                trap::stop(crash_record::names::Rung::Nmi, &snapshot, false, before.unwrap_or(0));
            }
            scheduler::relax();
        } else {
            scheduler::idle();
        }
        let cpu = current();
        with(|world| world.act(Act::Work));
        debug_assert_eq!(cpu, current());
    }
}
