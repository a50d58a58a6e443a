//! Where CPUs meet: what one asks of another, and what signals each of them has taken.

use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{CpuId, MAX_CPUS, Platform};

use super::{Contract, PATIENCE_NS, QUIET_NS};
use crate::ipi::Ipi;
use crate::nmi::{Nmi, SignalError, Strength};

/// What a CPU is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    /// Say its number.
    Number = 1,
    /// Read the clock.
    Clock,
    /// Mask interrupts, say whether they were on, and serve with them off.
    Mask,
    /// Go on with interrupts as they were before `Mask`.
    Release,
    /// Send the stop IPI to the CPU of the operand.
    Ipi,
    /// Send an NMI there.
    Nmi,
    /// Park.
    Park,
}

impl Order {
    const ALL: [Order; 7] =
        [Order::Number, Order::Clock, Order::Mask, Order::Release, Order::Ipi, Order::Nmi, Order::Park];

    fn of(number: u32) -> Option<Order> {
        Order::ALL.into_iter().find(|order| *order as u32 == number)
    }
}

/// What an NMI handler is to do beside counting.
mod dwell {
    /// Nothing.
    pub const NO: u32 = 0;
    /// Stay.
    pub const ASKED: u32 = 1;
    /// It stays.
    pub const INSIDE: u32 = 2;
    /// Leave for a panic stack, and not come back.
    pub const LEAVE: u32 = 3;
    /// It has left, and takes NMIs again.
    pub const LEFT: u32 = 4;
}

/// One CPU's place.
struct Seat {
    /// Orders given so far, and carried out so far.
    given: AtomicU32,
    done: AtomicU32,
    order: AtomicU32,
    operand: AtomicU64,
    answer: AtomicU64,
    /// Rounds of serving.
    beats: AtomicU64,
    nmis: AtomicU32,
    ipis: AtomicU32,
    dwell: AtomicU32,
    /// Handlers that were left for a panic stack.
    exits: AtomicU32,
}

impl Seat {
    crate::const_unless_loom! {
        fn new() -> Self {
            Seat {
                given: AtomicU32::new(0),
                done: AtomicU32::new(0),
                order: AtomicU32::new(0),
                operand: AtomicU64::new(0),
                answer: AtomicU64::new(0),
                beats: AtomicU64::new(0),
                nmis: AtomicU32::new(0),
                ipis: AtomicU32::new(0),
                dwell: AtomicU32::new(dwell::NO),
                exits: AtomicU32::new(0),
            }
        }
    }
}

/// Where CPUs meet. One for a kernel.
pub struct Board {
    seats: [Seat; MAX_CPUS],
}

impl Default for Board {
    fn default() -> Self {
        Board::new()
    }
}

impl Board {
    crate::const_unless_loom! {
        /// An empty one.
        pub fn new() -> Self {
            Board { seats: crate::each!(Seat::new()) }
        }
    }

    fn seat(&self, cpu: CpuId) -> &Seat {
        &self.seats[cpu.index()]
    }

    /// The executing CPU, `me`, has taken the stop IPI: to be called by the handler.
    pub fn ipi(&self, me: CpuId) {
        self.seat(me).ipis.fetch_add(1, Ordering::AcqRel);
    }

    /// The executing CPU has taken an NMI: to be called by the handler. Comes back when the handler may return, which
    /// may take as long as a check wants it to.
    pub fn nmi<P: Platform>(&'static self, platform: &'static P) {
        let seat = self.seat(platform.current());
        seat.nmis.fetch_add(1, Ordering::AcqRel);
        let asked =
            |what, then| seat.dwell.compare_exchange(what, then, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if asked(dwell::ASKED, dwell::INSIDE) {
            while seat.dwell.load(Ordering::Acquire) == dwell::INSIDE {
                seat.beats.fetch_add(1, Ordering::AcqRel);
                platform.relax();
            }
        }
        if asked(dwell::LEAVE, dwell::NO) {
            let stack = seat.exits.fetch_add(1, Ordering::AcqRel);
            platform.switch(stack as usize, left, &Left { board: self, platform })
        }
    }

    /// Stop IPIs that a CPU has taken.
    pub(super) fn ipis(&self, cpu: CpuId) -> u64 {
        self.seat(cpu).ipis.load(Ordering::Acquire).into()
    }

    /// NMIs that a CPU has taken.
    pub(super) fn nmis(&self, cpu: CpuId) -> u64 {
        self.seat(cpu).nmis.load(Ordering::Acquire).into()
    }

    /// The next NMI handler of a CPU does not come back before [`Board::let_go`].
    pub(super) fn hold_in_nmi(&self, cpu: CpuId) {
        self.seat(cpu).dwell.store(dwell::ASKED, Ordering::Release);
    }

    /// Whether it is in there.
    pub(super) fn is_held(&self, cpu: CpuId) -> bool {
        self.seat(cpu).dwell.load(Ordering::Acquire) == dwell::INSIDE
    }

    /// The handler may come back.
    pub(super) fn let_go(&self, cpu: CpuId) {
        self.seat(cpu).dwell.store(dwell::NO, Ordering::Release);
    }

    /// The next NMI handler of a CPU leaves for a panic stack and unblocks NMIs there.
    pub(super) fn leave_from_nmi(&self, cpu: CpuId) {
        self.seat(cpu).dwell.store(dwell::LEAVE, Ordering::Release);
    }

    /// Whether it has.
    pub(super) fn has_left(&self, cpu: CpuId) -> bool {
        self.seat(cpu).dwell.load(Ordering::Acquire) == dwell::LEFT
    }
}

struct Left<P: 'static> {
    board: &'static Board,
    platform: &'static P,
}

/// On a panic stack, out of the NMI handler, for good.
fn left<P: Platform>(left: &Left<P>) -> ! {
    let Left { board, platform } = left;
    if let Ok(nmi) = platform.nmi() {
        nmi.unblock();
    }
    let seat = board.seat(platform.current());
    seat.dwell.store(dwell::LEFT, Ordering::Release);
    loop {
        seat.beats.fetch_add(1, Ordering::AcqRel);
        platform.relax();
    }
}

/// A signal's fate as a number, so that another CPU's answer can carry it.
fn pack(sent: Result<Strength, SignalError>) -> u64 {
    match sent {
        Ok(Strength::Maskable) => 0,
        Ok(Strength::NonMaskable) => 1,
        Ok(Strength::NonMaskableNesting) => 2,
        Err(SignalError::NoSuchCpu) => 3,
        Err(SignalError::Busy) => 4,
        Err(SignalError::Refused(status)) => 5 | (status as u64) << 8,
    }
}

fn unpack(answer: u64) -> Result<Strength, SignalError> {
    match answer & 0xff {
        0 => Ok(Strength::Maskable),
        1 => Ok(Strength::NonMaskable),
        2 => Ok(Strength::NonMaskableNesting),
        3 => Err(SignalError::NoSuchCpu),
        4 => Err(SignalError::Busy),
        _ => Err(SignalError::Refused(answer as i64 >> 8)),
    }
}

impl<P: Platform> Contract<P> {
    /// Does what the executing CPU was asked to do, if anything: to be called again and again, with interrupts on.
    /// Between [`Order::Mask`] and [`Order::Release`] it does not come back. Returns whether interrupts may be off now
    /// and are to be on at the next call.
    pub fn serve(&self) -> bool {
        let me = self.platform.current();
        let seat = self.board.seat(me);
        let mut masked = false;
        loop {
            seat.beats.fetch_add(1, Ordering::AcqRel);
            let given = seat.given.load(Ordering::Acquire);
            let mut released = false;
            if given != seat.done.load(Ordering::Acquire) {
                let order = Order::of(seat.order.load(Ordering::Acquire));
                match order {
                    Some(Order::Mask) => masked = true,
                    Some(Order::Release) => (masked, released) = (false, true),
                    _ => {}
                }
                let answer =
                    order.map_or(0, |order| self.carry_out(order, seat.operand.load(Ordering::Acquire)));
                seat.answer.store(answer, Ordering::Release);
                seat.done.store(given, Ordering::Release);
                if order == Some(Order::Park) {
                    loop {
                        self.platform.park_wait();
                    }
                }
            }
            if !masked {
                return released;
            }
            self.platform.relax();
        }
    }

    fn carry_out(&self, order: Order, operand: u64) -> u64 {
        let cpu = CpuId::new(operand as usize).unwrap_or(CpuId::BOOT);
        match order {
            Order::Number => self.platform.current().index() as u64,
            Order::Clock => self.platform.now_ns(),
            Order::Mask | Order::Park => self.platform.mask_interrupts().into(),
            Order::Release => 0,
            Order::Ipi => pack(self.send_ipi(cpu)),
            Order::Nmi => pack(self.send_nmi(cpu)),
        }
    }

    fn send_ipi(&self, cpu: CpuId) -> Result<Strength, SignalError> {
        self.platform.ipi().map_or(Err(SignalError::NoSuchCpu), |ipi| ipi.send_stop(cpu))
    }

    fn send_nmi(&self, cpu: CpuId) -> Result<Strength, SignalError> {
        self.platform.nmi().map_or(Err(SignalError::NoSuchCpu), |nmi| nmi.send(cpu))
    }

    /// Has a CPU carry out an order, and says what it answered; `None` if it does not. The calling CPU does it itself,
    /// where it is asked.
    pub(super) fn ask(&self, cpu: CpuId, order: Order, operand: u64) -> Option<u64> {
        if cpu == self.platform.current() {
            return Some(self.carry_out(order, operand));
        }
        let seat = self.board.seat(cpu);
        let number = seat.given.load(Ordering::Acquire).wrapping_add(1);
        seat.order.store(order as u32, Ordering::Release);
        seat.operand.store(operand, Ordering::Release);
        seat.given.store(number, Ordering::Release);
        let done = || seat.done.load(Ordering::Acquire) == number;
        self.wait(PATIENCE_NS, done).then(|| seat.answer.load(Ordering::Acquire))
    }

    /// Has `from` send the stop IPI or an NMI to `to`; `None` if `from` does not answer.
    pub(super) fn signal(
        &self,
        from: CpuId,
        order: Order,
        to: CpuId,
    ) -> Option<Result<Strength, SignalError>> {
        self.ask(from, order, to.index() as u64).map(unpack)
    }

    /// Rounds of serving, waiting in a handler or running after one; a parked CPU makes none.
    pub(super) fn beats(&self, cpu: CpuId) -> u64 {
        self.board.seat(cpu).beats.load(Ordering::Acquire)
    }

    /// Lets a CPU go on for long enough that what can reach it has. False if it does not go on.
    pub(super) fn quiet(&self, cpu: CpuId) -> bool {
        /// Rounds in which what is pending strikes.
        const ROUNDS: u64 = 16;
        let beats = || self.beats(cpu);
        let (me, before) = (self.platform.current(), beats());
        self.pass(QUIET_NS);
        cpu == me || self.wait(PATIENCE_NS, || beats().wrapping_sub(before) >= ROUNDS)
    }

    /// Lets time pass.
    pub(super) fn pass(&self, ns: u64) {
        self.wait(ns, || false);
    }
}
