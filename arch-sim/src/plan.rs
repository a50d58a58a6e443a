//! What a CPU does with locks and firmware until it is stopped: a short program, part of the scenario.

use crate::lock::{self, Which};
use crate::oracle::Act;
use crate::platform::SIM;
use crate::random::Random;
use crate::scenario::Body;
use crate::services::{self, Id};
use crate::world::{World, with};
use crate::{scheduler, workload};
use hal::cpu::Cpu;

/// A step of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// Interrupts off.
    Mask,
    /// Interrupts on.
    Unmask,
    /// Takes a lock, and waits for it.
    Take(Which),
    /// Releases the lock taken last.
    Drop,
    /// Goes on for so many points.
    Work(u8),
    /// Goes on for so many polls: up to 10 ms each.
    Wait(u8),
    /// Goes on until the clock shows so many ms more.
    Until(u16),
    /// Waits until somebody is inside this lock's section.
    Await(Which),
    /// Goes on under the ordinary lock until the clock shows so many ms more, and says that it is there.
    Ordinary(u16),
    /// Waits until somebody says that he is where the scenario wants him.
    AwaitOne,
    /// Goes on until there is a panic, and so many ms more.
    After(u16),
    /// Is where the scenario wants it.
    Ready,
    /// Waits until everybody is there who says so.
    Gather,
    /// Never ends.
    Spin,
    /// A call into firmware.
    Call(Id),
    /// Points the console device's index register somewhere else.
    Away,
    /// Points it back.
    Home,
    /// Panics.
    Panic,
}

/// The most steps.
pub const MOST: usize = 12;

/// A program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Plan([Option<Op>; MOST]);

impl Plan {
    /// Of these steps; what goes beyond [`MOST`] is left out.
    pub const fn new(ops: &[Op]) -> Plan {
        let mut plan = [None; MOST];
        let mut at = 0;
        while at < ops.len() && at < MOST {
            plan[at] = Some(ops[at]);
            at += 1;
        }
        Plan(plan)
    }

    /// Whether this step is in it.
    pub fn has(&self, wanted: impl Fn(Op) -> bool) -> bool {
        self.0.iter().flatten().any(|op| wanted(*op))
    }

    /// Any program, from a seed: locks in their order, so that it does not deadlock without a panic.
    pub fn random(random: &mut Random) -> Plan {
        let mut ops = Vec::new();
        let masked = random.once_in(2);
        if masked {
            ops.push(Op::Mask);
        }
        let locks = &Which::ALL[..3];
        let first = random.below(3) as usize;
        let taken = random.below(3) as usize;
        let mut depth = 0;
        for which in locks.iter().skip(first).take(taken) {
            ops.push(Op::Take(*which));
            ops.extend(Plan::some(random));
            depth += 1;
        }
        if random.once_in(3) {
            ops.push(Op::Call(Id::ALL[random.below(Id::ALL.len() as u64) as usize]));
        }
        for _ in 0..depth {
            ops.push(Op::Drop);
            ops.extend(Plan::some(random));
        }
        if masked && !random.once_in(8) {
            ops.push(Op::Unmask);
        }
        if random.once_in(12) {
            ops.push(Op::Spin);
        }
        Plan::new(&ops)
    }

    fn some(random: &mut Random) -> Option<Op> {
        Some(match random.below(12) {
            0..=4 => Op::Work(1 + random.below(4) as u8),
            5 => Op::Wait(1 + random.below(3) as u8),
            6 => Op::Wait(15),
            7 if random.once_in(3) => Op::Panic,
            8 if random.once_in(3) => Op::Spin,
            _ => return None,
        })
    }

    /// Does it, from its beginning.
    pub fn run(&self) {
        run(&self.0);
    }
}

/// Works until it is so.
fn wait(so: impl Fn(&World) -> bool) {
    while with(|world| so(world)) == Some(false) {
        with(|world| world.act(Act::Work));
        scheduler::relax();
    }
}

/// Works until the clock shows so many ms more.
fn until(ms: u16) {
    let over = with(|world| world.now + u64::from(ms) * 1_000_000).unwrap_or(0);
    wait(|world| world.now >= over);
}

/// Up to the end, or the release of a lock; returns what comes after that.
fn run(mut ops: &[Option<Op>]) -> &[Option<Op>] {
    while let Some((Some(op), rest)) = ops.split_first() {
        ops = rest;
        match *op {
            Op::Drop => return rest,
            Op::Take(which) => ops = lock::hold(which, || run(rest)).unwrap_or(rest),
            Op::Mask => {
                SIM.mask_interrupts();
            }
            Op::Unmask => {
                // Not inside an NMI handler.
                with(|world| world.me().interrupts = !world.me().nmi_blocked);
                scheduler::hal_call(false);
            }
            Op::Work(points) => (0..points).for_each(|_| {
                with(|world| world.act(Act::Work));
                scheduler::hal_call(false);
            }),
            Op::Wait(polls) => (0..polls).for_each(|_| {
                with(|world| world.act(Act::Work));
                scheduler::relax();
            }),
            Op::Until(ms) => until(ms),
            Op::Await(which) => wait(|world| world.somebody_is_inside(which)),
            Op::Ordinary(ms) => lock::ordinary(|| {
                with(|world| world.ready |= 1 << world.current);
                until(ms);
            }),
            Op::AwaitOne => wait(|world| world.ready != 0),
            Op::After(ms) => {
                wait(|world| world.oracle.owner.is_some());
                until(ms);
            }
            Op::Ready => {
                with(|world| world.ready |= 1 << world.current);
            }
            Op::Gather => wait(|world| {
                let says = |plan: &Plan| plan.has(|op| op == Op::Ready);
                let bodies = world.scenario.cpus.iter().enumerate();
                let mut all = bodies.filter(|(_, body)| matches!(body, Body::Runs(plan) if says(plan)));
                all.all(|(cpu, _)| world.ready & 1 << cpu != 0)
            }),
            Op::Spin => loop {
                with(|world| world.act(Act::Work));
                scheduler::relax();
            },
            Op::Call(id) => services::work(id),
            Op::Away => device(|device| device.away = true),
            Op::Home => device(|device| device.away = false),
            Op::Panic => workload::panics(),
        }
    }
    &[]
}

/// The console driver's device: an index register, and a data register that writes to where that points.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Debug)]
pub struct Device {
    /// The index is not where the data belongs.
    pub away: bool,
    /// Bytes written.
    pub written: u8,
    /// Bytes that went somewhere else.
    pub astray: u8,
}

impl Device {
    /// The data register is written.
    pub fn write(&mut self) {
        let count = if self.away { &mut self.astray } else { &mut self.written };
        *count = count.saturating_add(1);
    }
}

/// Touches the device; others may come in between, and not in the middle of a register.
pub fn device(touch: impl FnOnce(&mut Device)) {
    with(|world| {
        world.act(Act::Work);
        touch(&mut world.device);
    });
    scheduler::hal_call(true);
}
