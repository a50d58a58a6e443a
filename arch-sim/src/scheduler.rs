//! Who runs when.
//!
//! At a point ([`before`], [`hal_call`], a wait) the scheduler may let something else happen first;
//! what may happen is a list of [`Action`]s, and which one does is the chooser's decision. The first
//! one is always to go on, where that is possible.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};

use corosensei::stack::{DefaultStack, Stack};
use corosensei::{Coroutine, CoroutineResult, Yielder};
use hal::sync::explore::{Access, Hooks, Operation, set_hooks};
use hal::trap::Resume;

use crate::action::Action;
use crate::allocator;
use crate::choose::Actions;
use crate::faults::Faults;
use crate::random::mix;
use crate::world::{End, LEAP_NS, Status, TICK_NS, World, current, install, with};
use crate::{MAX_CPUS, trap, workload};

const STACK_BYTES: usize = 512 * 1024;
/// More of a stack than a run uses.
const USED_BYTES: usize = 64 * 1024;

thread_local! {
    static YIELDERS: Cell<[*const Yielder<(), ()>; MAX_CPUS]> = const { Cell::new([std::ptr::null(); MAX_CPUS]) };
    static STACKS: RefCell<[Option<DefaultStack>; MAX_CPUS]> = const { RefCell::new([const { None }; MAX_CPUS]) };
}

/// What comes next.
enum Next {
    /// This CPU runs, perhaps after taking a signal.
    Run(usize, Option<Action>),
    /// The run is over.
    Over,
    /// Time has passed: decide again.
    Again,
}

impl World {
    /// Whether this CPU takes a signal now that is on its way.
    pub fn deliverable(&self, cpu: usize) -> bool {
        let it = &self.cpus[cpu];
        it.status != Status::Gone && (self.takes_nmi(cpu) || (it.ipi_pending && it.interrupts))
    }

    /// Whether this CPU takes the NMI now that is on its way to it.
    fn takes_nmi(&self, cpu: usize) -> bool {
        let it = &self.cpus[cpu];
        it.nmi_pending && !it.nmi_blocked && (it.interrupts || !it.nmi_maskable)
    }

    /// Whether an NMI from outside or a machine check may come to this CPU now.
    pub fn disturbable(&self, cpu: usize) -> bool {
        (self.external_left > 0 || self.checks_left > 0) && self.cpus[cpu].status != Status::Gone
    }

    fn signals(&self, cpu: usize, actions: &mut Actions) {
        let (it, number) = (&self.cpus[cpu], cpu as u8);
        if it.status == Status::Gone {
            return;
        }
        if self.takes_nmi(cpu) {
            actions.push(Action::Nmi(number));
        }
        if it.ipi_pending && it.interrupts {
            actions.push(Action::Ipi(number));
        }
        let deaf = Faults::has(self.scenario.faults.deaf, cpu);
        let wanted = self.scenario.external_to.is_none_or(|to| to == number);
        if self.external_left > 0 && wanted && !it.nmi_blocked && !deaf {
            actions.push(Action::External(number));
        }
        if self.checks_left > 0 {
            actions.push(Action::MachineCheck(number));
        }
    }

    fn actions(&self, everybody: bool) -> Actions {
        let (me, mut actions) = (self.current, Actions::default());
        let goes_on = self.can_run(me);
        let others = || (0..self.count).filter(|cpu| *cpu != me);
        if goes_on {
            actions.push(Action::Run(me as u8));
        }
        // Nothing but time can get this machine any further.
        let still = (0..self.count).all(|cpu| !self.can_run(cpu) && !self.deliverable(cpu));
        let waits = (0..self.count)
            .any(|cpu| self.cpus[cpu].status == Status::Waiting || self.cpus[cpu].timer.is_some());
        if still {
            if waits && !self.over() {
                actions.push(Action::Tick);
            } else {
                if self.scenario.pressed && self.oracle.owner.is_none() {
                    (0..self.count).for_each(|cpu| self.signals(cpu, &mut actions));
                }
                return actions;
            }
        }
        self.signals(me, &mut actions);
        if everybody && (!goes_on || self.preemptions_left > 0) {
            for cpu in others() {
                if self.can_run(cpu) {
                    actions.push(Action::Run(cpu as u8));
                }
                self.signals(cpu, &mut actions);
            }
        }
        if everybody && waits {
            if !still && self.ticks_left > 0 {
                actions.push(Action::Tick);
            }
            if self.leaps_left > 0 {
                actions.push(Action::Leap);
            }
        }
        actions
    }

    /// The owner has stopped for good, and nothing is on its way to it; or nobody panics, and no timer is armed.
    fn over(&self) -> bool {
        if self.checks() || (self.oracle.owner.is_none() && self.scenario.awaits()) {
            return false;
        }
        let timers = self.cpus.iter().any(|cpu| cpu.timer.is_some());
        let stopped = |owner: u8| self.cpus[usize::from(owner)].status == Status::Parked;
        self.oracle.owner.map_or(!timers, |owner| stopped(owner) && !timers)
    }

    /// An operation is about to happen. `Some` if something may come before it; true if that may be
    /// another CPU's turn.
    fn arrive(&mut self, operation: &Operation) -> Option<bool> {
        self.point += 1;
        if operation.access == Access::Fence {
            return None;
        }
        let id = self.memory.id(operation.address);
        let writes = operation.access != Access::Load;
        let shared = !self.reduce || id.is_some_and(|id| self.memory.shared(id, self.current, writes));
        self.interested(shared)
    }

    fn interested(&mut self, everybody: bool) -> Option<bool> {
        let mut chooser = std::mem::take(&mut self.chooser);
        let interested = chooser.interested(self, everybody);
        self.chooser = chooser;
        interested.then_some(everybody)
    }

    /// An operation has happened.
    fn depart(&mut self, operation: &Operation, old: u64, new: u64) {
        let Some(id) = self.memory.id(operation.address).filter(|_| operation.access != Access::Fence) else {
            return;
        };
        self.last = Some(id);
        let me = self.current;
        let (reads, writes) = (operation.access != Access::Store, operation.access != Access::Load);
        self.memory.touch(id, me, reads, writes);
        if writes && old != new {
            if self.hashing {
                self.memory.change(id, old, new);
            }
            let readers = self.memory.readers(id) & !(1 << me);
            if readers != 0 {
                for (cpu, it) in self.cpus.iter_mut().enumerate() {
                    it.dirty |= readers & (1 << cpu) != 0;
                }
            }
        }
        if reads {
            self.memory.read(id, me);
        }
        if let Some(watched) = self.memory.watched(id) {
            self.watch(watched, reads, writes, old, new);
        }
    }

    /// What comes after the point where the current CPU is.
    fn decide(&mut self) -> Next {
        if self.end.is_some() {
            return Next::Over;
        }
        let everybody = self.everybody;
        let actions = self.actions(everybody);
        let number = match actions.list() {
            [] => {
                let calm = self.oracle.owner.is_none();
                let end = if calm {
                    End::Calm
                } else if self.over() {
                    End::Halted
                } else {
                    End::Stuck
                };
                return self.finish(end);
            }
            [_] => 0,
            list => {
                let mut chooser = std::mem::take(&mut self.chooser);
                let chosen = chooser.choose(self, list, everybody);
                self.chooser = chooser;
                match chosen {
                    Some(number) => number.min(list.len() - 1),
                    None => return self.finish(End::Abandoned),
                }
            }
        };
        let action = actions.list()[number];
        if number != 0 {
            self.schedule.0.push((self.point, action));
            self.schedule_hash = mix(mix(self.schedule_hash, u64::from(self.point)), action.code());
        }
        self.apply(action)
    }

    fn finish(&mut self, end: End) -> Next {
        self.end = Some(end);
        self.tell(|| format!("the machine ends: {end:?}"));
        Next::Over
    }

    fn apply(&mut self, action: Action) -> Next {
        let me = self.current;
        if action != Action::Run(me as u8) {
            if action != Action::Tick {
                self.tell(|| format!("{action:?}"));
            }
            let what = match action {
                Action::Run(_) => 0,
                Action::Nmi(_) | Action::Ipi(_) => 1,
                Action::External(_) => 2,
                Action::MachineCheck(_) => 3,
                Action::Tick | Action::Leap => 7,
            };
            self.coverage[self.stage][what] += 1;
        }
        match action {
            Action::Run(_) => {}
            Action::External(_) => self.external_left -= 1,
            Action::MachineCheck(_) => self.checks_left -= 1,
            Action::Nmi(_) | Action::Ipi(_) => {}
            Action::Tick | Action::Leap => {
                self.point += 1;
                let still = (0..self.count).all(|cpu| !self.can_run(cpu) && !self.deliverable(cpu));
                if action == Action::Leap {
                    self.leaps_left -= 1;
                    self.pass(LEAP_NS);
                } else {
                    self.ticks_left -= u8::from(!still);
                    self.pass(TICK_NS);
                }
                return if self.now > self.bound { self.finish(End::Overdue) } else { Next::Again };
            }
        }
        let Some(target) = action.cpu() else { return Next::Again };
        if target != me && self.can_run(me) && self.scenario.preemptions.is_some() {
            self.preemptions_left = self.preemptions_left.saturating_sub(1);
        }
        let signal = !matches!(action, Action::Run(_));
        Next::Run(target, signal.then_some(action))
    }
}

/// Calls host code from the stack of a simulated CPU, a little apart from what lies there: so that
/// [`clear`] gets all that it leaves behind.
#[inline(never)]
fn apart<A, R>(work: fn(A) -> R, argument: A) -> R {
    std::hint::black_box(&[0u64; 16]);
    std::hint::black_box(work)(argument)
}

/// Clears what earlier calls left below this CPU's stack pointer: frames to come have bytes that nobody
/// writes, and what is in them must not tell equal states apart.
#[inline(never)]
fn clear() {
    // More than the deepest of what runs between two points.
    std::hint::black_box(&[0u64; 512]);
}

/// What is to be done at a point.
#[derive(Clone, Copy, Default)]
struct Point {
    /// A state's hash matters.
    hashing: bool,
    wanted: bool,
    everybody: bool,
}

impl Point {
    fn new(world: &World, wanted: Option<bool>) -> Point {
        Point { hashing: world.hashing, wanted: wanted.is_some(), everybody: wanted == Some(true) }
    }

    #[inline(always)]
    fn pass(self) {
        if self.hashing {
            clear();
        }
        if self.wanted {
            schedule(self.everybody, false, self.hashing);
            if self.hashing {
                clear();
            }
        }
    }
}

fn before(operation: &Operation) {
    fn arrives(operation: &Operation) -> Point {
        let look = |world: &mut World| {
            let wanted = world.arrive(operation);
            Point::new(world, wanted)
        };
        with(look).unwrap_or_default()
    }
    apart(arrives, operation).pass();
}

fn after(operation: &Operation, old: u64, new: u64) {
    fn departs((operation, old, new): (&Operation, u64, u64)) -> Point {
        let look = |world: &mut World| {
            world.depart(operation, old, new);
            Point::new(world, None)
        };
        with(look).unwrap_or_default()
    }
    apart(departs, (operation, old, new)).pass();
}

/// A HAL call. `shared`: others can notice it.
pub fn hal_call(shared: bool) {
    fn calls(shared: bool) -> Point {
        let look = |world: &mut World| {
            world.point += 1;
            let wanted = world.interested(shared || !world.reduce);
            Point::new(world, wanted)
        };
        with(look).unwrap_or_default()
    }
    apart(calls, shared).pass();
}

/// Asks the scheduler; comes back when it is this CPU's turn, in a wait also after a signal.
///
/// The decision itself is made on the host's stack, so that what lies on a CPU's stack is that CPU's
/// state and little else.
fn schedule(everybody: bool, waits: bool, hashing: bool) {
    fn asks(everybody: bool) -> usize {
        let look = |world: &mut World| {
            world.everybody = everybody;
            world.current
        };
        with(look).unwrap_or(0)
    }
    loop {
        let me = apart(asks, everybody);
        if !suspend(me, hashing) || waits {
            return;
        }
    }
}

/// Gives the host thread back to [`run`]; comes back when this CPU runs again. True if it took a
/// signal first.
fn suspend(me: usize, hashing: bool) -> bool {
    fn mark((me, here): (usize, usize)) {
        with(|world| world.cpus[me].sp = here);
    }
    fn signal((): ()) -> Option<Action> {
        with(|world| world.deliver.take()).flatten()
    }
    let here = 0u8;
    apart(mark, (me, std::ptr::from_ref(&here).addr()));
    if hashing {
        clear();
    }
    let yielder = YIELDERS.get()[me];
    // SAFETY: the yielder of the coroutine that is executing this very call; it lives as long.
    unsafe { (*yielder).suspend(()) };
    match apart(signal, ()) {
        Some(action) => {
            deliver(me, action);
            true
        }
        None => false,
    }
}

/// Runs the handler of a signal, on top of what this CPU was doing.
fn deliver(me: usize, action: Action) {
    let before = with(|world| {
        let it = &mut world.cpus[me];
        let before = (it.interrupts, it.nmi_blocked, it.status, it.nesting);
        it.status = Status::Ready;
        it.interrupts = false;
        it.nesting = it.nesting.saturating_add(1);
        match action {
            Action::Nmi(_) => (it.nmi_pending, it.nmi_blocked) = (false, true),
            Action::External(_) | Action::MachineCheck(_) => it.nmi_blocked = true,
            _ => it.ipi_pending = false,
        }
        before
    });
    let resume = trap::handle(action);
    with(|world| {
        if let Some((interrupts, blocked, status, nesting)) = before {
            let it = &mut world.cpus[me];
            // The frame that is returned to has a mask of its own.
            let interrupts = interrupts && resume == Resume::AsItWas;
            (it.interrupts, it.nmi_blocked, it.status, it.nesting) = (interrupts, blocked, status, nesting);
        }
        // What is decided next is not decided inside the handler: a schedule must tell the two apart.
        world.point += 1;
    });
}

fn wait(status: Status) {
    fn begins(status: Status) -> bool {
        let look = |world: &mut World| {
            world.point += 1;
            world.me().status = status;
            world.hashing
        };
        with(look).unwrap_or(false)
    }
    fn ends(status: Status) -> Point {
        let look = |world: &mut World| {
            let it = world.me();
            it.status = Status::Ready;
            if status == Status::Waiting {
                it.dirty = false;
                it.turns = it.turns.saturating_add(1);
                let me = world.current;
                world.memory.waited(me);
            }
            Point::new(world, None)
        };
        with(look).unwrap_or_default()
    }
    let hashing = apart(begins, status);
    if hashing {
        clear();
    }
    schedule(true, true, hashing);
    apart(ends, status).pass();
}

/// A polite iteration of a busy wait: others' turn, until something that this CPU looked at since the
/// last one has changed, or time has passed.
pub fn relax() {
    wait(Status::Waiting);
}

/// Nothing to do until a signal comes. Comes back after each one.
pub fn idle() {
    wait(Status::Idle);
}

/// In the park loop. Comes back after each signal.
pub fn park() {
    wait(Status::Parked);
}

/// Hangs: signals are taken, and nothing else ever happens.
pub fn hang() -> ! {
    loop {
        wait(Status::Hung);
    }
}

/// This CPU ends the machine.
pub fn leave(end: End) -> ! {
    let me = current();
    with(|world| {
        world.cpus[me].status = Status::Gone;
        world.finish(end);
    });
    loop {
        suspend(me, false);
    }
}

/// What `look` says, in a world that does not run, and the last location that it touches.
///
/// # Safety
/// `world` belongs to this host thread alone.
pub(crate) unsafe fn probe<T>(world: *mut World, look: impl FnOnce() -> T) -> (T, Option<u32>) {
    set_hooks(Hooks { before, after });
    install(world);
    let result = look();
    let id = with(|world| world.last).flatten();
    install(std::ptr::null_mut());
    (result, id)
}

/// Runs one schedule of what `world` was reset for.
///
/// # Safety
/// The world's machine was reset too, and `world` belongs to this host thread alone.
pub(crate) unsafe fn run(world: *mut World) {
    set_hooks(Hooks { before, after });
    install(world);
    let count = with(|world| world.count).unwrap_or(0);
    let mut coroutines: [Option<Coroutine<(), (), (), DefaultStack>>; MAX_CPUS] = Default::default();
    for (cpu, place) in coroutines.iter_mut().enumerate().take(count) {
        // The same stack for the same CPU in every run: addresses on it are part of a state.
        let stack = STACKS
            .with(|stacks| stacks.borrow_mut()[cpu].take())
            .unwrap_or_else(|| DefaultStack::new(STACK_BYTES).expect("memory for a coroutine's stack"));
        let top = stack.base().get();
        let hashing = with(|world| {
            (world.cpus[cpu].top, world.cpus[cpu].sp) = (top, top);
            world.hashing
        });
        if hashing == Some(true) {
            // What the last run left there would tell equal states apart.
            // SAFETY: the topmost bytes of a stack that is larger, belongs to this function and is not in use.
            unsafe { std::ptr::write_bytes((top - USED_BYTES) as *mut u8, 0, USED_BYTES) };
        }
        *place = Some(Coroutine::with_stack(stack, move |yielder: &Yielder<(), ()>, ()| {
            let mut yielders = YIELDERS.get();
            yielders[cpu] = yielder;
            YIELDERS.set(yielders);
            if let Some(action) = with(|world| world.deliver.take()).flatten() {
                deliver(cpu, action);
            }
            workload::body(cpu);
        }));
    }
    let first = with(|world| {
        world.current = (0..count).find(|cpu| world.can_run(*cpu)).unwrap_or(0);
        world.everybody = true;
    });
    debug_assert!(first.is_some());
    loop {
        let cpu = match with(World::decide) {
            Some(Next::Run(cpu, signal)) => {
                with(|world| (world.current, world.deliver) = (cpu, signal));
                cpu
            }
            Some(Next::Again) => continue,
            Some(Next::Over) | None => break,
        };
        let Some(coroutine) = coroutines[cpu].as_mut() else { break };
        allocator::in_guest(true);
        let result = catch_unwind(AssertUnwindSafe(|| coroutine.resume(())));
        allocator::in_guest(false);
        if !matches!(result, Ok(CoroutineResult::Yield(()))) {
            with(|world| {
                world.violation("P7", format_args!("CPU {cpu} crashed"));
                world.finish(End::Crashed)
            });
            break;
        }
    }
    install(std::ptr::null_mut());
    for (cpu, coroutine) in coroutines.into_iter().enumerate() {
        let Some(mut coroutine) = coroutine else { continue };
        if !coroutine.done() {
            // SAFETY: what is on that stack owns nothing that must be given back: the sequence neither
            // allocates nor locks, and the bodies of the CPUs hold references only.
            unsafe { coroutine.force_reset() };
        }
        STACKS.with(|stacks| stacks.borrow_mut()[cpu] = Some(coroutine.into_stack()));
    }
}
