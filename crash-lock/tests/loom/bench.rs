//! CPUs as loom's threads, and signals: what a model needs beside the crate.
//!
//! loom has no signals. A CPU here takes one before the operation that a model names, which is where a signal can be
//! told apart from one that comes earlier or later; the test goes through all of them, one model each. What was signalled
//! waits there until the signal was sent, so nobody is hit by what is still to come.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crash_lock::firmware::Firmware;
use crash_lock::{Authority, CrashLock, Domain, Found, Interruptible, Kernel, Parking, Steal};
use hal::CpuId;
use loom::sync::atomic::{AtomicUsize, Ordering};

pub fn cpu(number: usize) -> CpuId {
    CpuId::new(number).unwrap()
}

/// A word that loom watches: two who use it without an order between them are a finding.
#[derive(Default)]
pub struct Watched(loom::cell::UnsafeCell<u32>);

impl Watched {
    pub fn add(&mut self) -> u32 {
        // SAFETY: exclusive, which is what loom checks here.
        self.0.with_mut(|value| unsafe {
            *value += 1;
            *value
        })
    }
}

// SAFETY: an integer. Who may use it is what the models are about.
unsafe impl Send for Watched {}

// SAFETY: an integer and nothing else.
unsafe impl Interruptible for Watched {
    fn repair(&mut self, _: Found) {
        REPAIRS.fetch_add(1, Ordering::Relaxed);
        self.add();
    }
}

pub struct Bench;

loom::lazy_static! {
    pub static ref DOMAIN: Domain = Domain::new();
    pub static ref OUTER: CrashLock<Watched, Bench> = CrashLock::new(Watched::default());
    pub static ref LOCK: CrashLock<Watched, Bench, Steal> = CrashLock::new(Watched::default());
    pub static ref FIRMWARE: Firmware<Bench> = Firmware::new();
    /// Signals that were sent to CPU 1.
    pub static ref SENT: AtomicUsize = AtomicUsize::new(0);
    pub static ref REPAIRS: AtomicUsize = AtomicUsize::new(0);
    /// 1: the model has seen all it wants, and whoever is parked may end.
    static ref OVER: AtomicUsize = AtomicUsize::new(0);
}

/// What a CPU does when a signal comes.
pub type Handler = fn(usize);

/// A thread as a CPU.
struct Here {
    me: Cell<usize>,
    /// Before which operations signals come, in order.
    hits: Cell<[usize; 2]>,
    handler: Cell<Option<Handler>>,
    /// Operations so far.
    operations: Cell<usize>,
    /// Signals so far.
    taken: Cell<usize>,
    /// In a handler, or parked: no signals here.
    deaf: Cell<bool>,
}

loom::thread_local! {
    static HERE: Here = Here {
        me: Cell::new(0),
        hits: Cell::new([usize::MAX; 2]),
        handler: Cell::new(None),
        operations: Cell::new(0),
        taken: Cell::new(0),
        deaf: Cell::new(true),
    };
}

fn point() {
    HERE.with(|here| {
        if here.deaf.get() {
            return;
        }
        here.operations.set(here.operations.get() + 1);
        while here.hits.get().get(here.taken.get()).is_some_and(|hit| *hit < here.operations.get()) {
            signal(here);
        }
    });
}

fn signal(here: &Here) {
    let number = here.taken.get() + 1;
    here.taken.set(number);
    here.deaf.set(true);
    until(|| SENT.load(Ordering::Acquire) >= number);
    if let Some(handler) = here.handler.get() {
        handler(number);
    }
    here.deaf.set(false);
}

impl Kernel for Bench {
    type Pin = ();
    const PATIENCE: u32 = 2;
    fn pin() {}
    fn current() -> CpuId {
        cpu(HERE.with(|here| here.me.get()))
    }
    fn domain() -> &'static Domain {
        &DOMAIN
    }
    fn relax() {
        loom::thread::yield_now();
    }
    fn park(_: Parking) -> ! {
        parks()
    }
    fn abandon(_: CpuId) -> ! {
        stays()
    }
}

pub fn authority() -> Authority {
    DOMAIN.authority(1).unwrap()
}

pub fn until(mut there: impl FnMut() -> bool) {
    while !there() {
        loom::thread::yield_now();
    }
}

/// This CPU says that it is parked, and does nothing any more.
pub fn parks() -> ! {
    HERE.with(|here| here.deaf.set(true));
    DOMAIN.parked(Bench::current());
    stays()
}

/// This context does nothing any more, until the model is over.
pub fn stays() -> ! {
    HERE.with(|here| here.deaf.set(true));
    while OVER.load(Ordering::Acquire) == 0 {
        loom::thread::park();
    }
    // What is dropped on the way out finds no stop.
    authority().own(Bench::current(), u32::MAX);
    resume_unwind(Box::new(Left))
}

/// The payload of whoever stays somewhere.
struct Left;

/// Runs `body` here, as CPU `me`, with signals before the operations `hits`. `None` if it parked.
pub fn on<T>(me: usize, hits: [usize; 2], handler: Handler, body: impl FnOnce() -> T) -> Option<T> {
    HERE.with(|here| {
        here.me.set(me);
        here.hits.set(hits);
        here.handler.set(Some(handler));
        here.operations.set(0);
        here.taken.set(0);
        here.deaf.set(false);
    });
    let end = catch_unwind(AssertUnwindSafe(body));
    HERE.with(|here| here.deaf.set(true));
    match end {
        Ok(value) => Some(value),
        Err(left) if left.is::<Left>() => None,
        Err(other) => resume_unwind(other),
    }
}

/// Signals that come after everything else come here.
pub fn late_signals() {
    HERE.with(|here| {
        while here.hits.get().get(here.taken.get()).is_some_and(|hit| *hit != usize::MAX) {
            signal(here);
        }
    });
}

/// The model has seen all it wants.
pub fn over(parked: loom::thread::JoinHandle<()>) {
    OVER.store(1, Ordering::Release);
    parked.thread().unpark();
    parked.join().unwrap();
}

/// A model of CPUs that take signals, with at most so many preemptions; `None` for all.
pub fn model(preemptions: Option<usize>, body: impl Fn() + Sync + Send + 'static) {
    hal::sync::model::set_hook(point);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = preemptions;
    model.check(body);
}
