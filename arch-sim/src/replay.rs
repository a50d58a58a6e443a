//! A laboratory: a machine, and runs on it.

use hal::CpuId;

use crate::MAX_CPUS;
use crate::action::Schedule;
use crate::allocator;
use crate::choose::Chooser;
use crate::lock;
use crate::machine::Machine;
use crate::memory::Watched;
use crate::oracle::Violation;
use crate::scenario::{Body, Scenario};
use crate::scheduler;
use crate::world::{End, World};

/// A machine and what is needed to run it. One host thread may have several, and runs one at a time.
pub struct Lab {
    world: Box<World>,
    machine: &'static Machine,
    /// Keep what a state's hash needs.
    pub hashing: bool,
    found: bool,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What was not kept.
    pub violations: Vec<Violation>,
    /// The choices.
    pub schedule: Schedule,
    /// Time that it took, ns.
    pub took_ns: u64,
    /// What happened, if asked for.
    pub timeline: Vec<String>,
}

impl Default for Lab {
    fn default() -> Self {
        Lab::new()
    }
}

impl Lab {
    /// A new machine.
    pub fn new() -> Self {
        let (machine, memory) = Machine::new();
        Lab { world: Box::new(World::new(machine, memory)), machine, hashing: false, found: false }
    }

    /// Runs `scenario` once and judges it. The world stays as it is until the next run.
    pub fn run(&mut self, scenario: &Scenario, chooser: Chooser) -> &mut World {
        if !self.found {
            self.find();
        }
        // SAFETY: no simulated CPU is in the middle of anything: `run` has reset them all, and nothing of
        // the panic path is kept anywhere else.
        unsafe { self.machine.reset(&self.world.memory, scenario) };
        self.world.reset(scenario);
        self.world.hashing = self.hashing;
        self.boot(scenario);
        self.world.chooser = chooser;
        allocator::take_count();
        // SAFETY: the machine and the world were just reset, and the exclusive borrow of this lab keeps
        // everybody else away.
        unsafe { scheduler::run(&raw mut *self.world) };
        if self.world.chooser.left_over() {
            self.world.end = Some(End::Abandoned);
        }
        self.world.judge();
        &mut self.world
    }

    /// CPUs that are up before anything happens are published, with nobody to interleave.
    fn boot(&mut self, scenario: &Scenario) {
        for (number, body) in scenario.cpus.iter().enumerate().take(MAX_CPUS) {
            let Some(cpu) = CpuId::new(number) else { continue };
            match body {
                Body::Starts | Body::Never => self.machine.panic().starting(cpu),
                Body::Works
                | Body::Runs(_)
                | Body::Panics
                | Body::PanicsInNmi
                | Body::Fails(_)
                | Body::Handles(_)
                | Body::Checks(_)
                | Body::Serves => {
                    use crash_record::layout::slot;
                    use crash_record::names::CpuState;
                    self.machine.record.set_slot(cpu, slot::STATE, u64::from(CpuState::Online.number()));
                    self.world.oracle.online |= 1 << number;
                }
                Body::Absent | Body::PanicsEarly | Body::Unstarted => {}
            }
        }
    }

    /// Where words lie that mean something and that no layout tells: a look at the claim touches `panic_cpu`, and
    /// so on.
    fn find(&mut self) {
        let (machine, scenario) = (self.machine, Scenario::new(1));
        // SAFETY: nothing has run yet, or all of it was reset; as in `run`.
        unsafe { machine.reset(&self.world.memory, &scenario) };
        self.world.reset(&scenario);
        let world = &raw mut *self.world;
        // SAFETY: the exclusive borrow of this lab keeps everybody else away.
        let claim = unsafe { scheduler::probe(world, || machine.panic().claimed()) }.1;
        // SAFETY: the same.
        let last_call = unsafe { scheduler::probe(world, || machine.last_call()) }.1;
        // SAFETY: the same.
        let locks = unsafe { scheduler::probe(world, lock::words) }.0;
        let memory = &mut self.world.memory;
        for (id, what) in [(claim, Watched::Claim), (last_call, Watched::LastCall)] {
            memory.watch(id.expect("a word of this machine"), what);
        }
        for (number, address) in locks.into_iter().enumerate() {
            let id = address.and_then(|address| memory.id(address)).expect("a lock of this machine");
            memory.watch(id, Watched::Lock(number as u8));
        }
        self.found = true;
    }

    /// The world of the last run.
    pub fn world(&mut self) -> &mut World {
        &mut self.world
    }

    /// Runs with a timeline.
    pub fn show(&mut self, scenario: &Scenario, schedule: &Schedule) -> Outcome {
        self.world.timeline = Some(Vec::new());
        self.run(scenario, Chooser::Replay(schedule.clone(), 0));
        let timeline = self.world.timeline.take().unwrap_or_default();
        Outcome { timeline, ..self.outcome() }
    }

    /// What came of the last run.
    pub fn outcome(&self) -> Outcome {
        Outcome {
            end: self.world.end.unwrap_or(End::Stuck),
            violations: self.world.oracle.violations.clone(),
            schedule: self.world.schedule.clone(),
            took_ns: self.world.now,
            timeline: Vec::new(),
        }
    }
}
