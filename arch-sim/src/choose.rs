//! Who decides at a choice.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::MAX_CPUS;
use crate::action::{Action, Schedule};
use crate::random::Random;
use crate::world::World;

/// A short list of actions.
#[derive(Clone, Copy)]
pub struct Actions {
    list: [Action; 24],
    length: usize,
}

impl Default for Actions {
    fn default() -> Self {
        Actions { list: [Action::Tick; 24], length: 0 }
    }
}

impl Actions {
    /// Adds one.
    pub fn push(&mut self, action: Action) {
        if let Some(place) = self.list.get_mut(self.length) {
            *place = action;
            self.length += 1;
        }
    }
    /// All.
    pub fn list(&self) -> &[Action] {
        &self.list[..self.length]
    }
}

/// Decides at each choice.
#[derive(Default)]
pub enum Chooser {
    /// Always goes on; otherwise the first possibility.
    #[default]
    First,
    /// At random.
    Random(ByChance),
    /// By priorities that change now and then (Burckhardt and others, "A Randomized Scheduler with
    /// Probabilistic Guarantees of Finding Bugs", ASPLOS 2010).
    Priority(ByPriority),
    /// Everything, one after the other.
    Exhaustive(Box<Exhaustive>),
    /// As it was.
    Replay(Schedule, usize),
}

impl Chooser {
    /// At random, from a seed.
    pub fn random(seed: u64) -> Chooser {
        let mut random = Random::new(seed);
        let mean = [2, 4, 8, 16, 32, 64][random.below(6) as usize];
        let local = [32, 128, 512][random.below(3) as usize];
        let (shared_left, local_left) = (random.gap(mean), random.gap(local));
        Chooser::Random(ByChance { random, mean, local, shared_left, local_left })
    }

    /// By priorities, from a seed.
    pub fn priority(seed: u64) -> Chooser {
        let mut random = Random::new(seed);
        let mut priorities = [0; MAX_CPUS];
        for priority in &mut priorities {
            *priority = 16 + random.below(200) as u8;
        }
        let depth = 1 + random.below(4);
        let mut changes = [u32::MAX; 4];
        for change in changes.iter_mut().take(depth as usize) {
            let most = [200, 1_000, 4_000][random.below(3) as usize];
            *change = random.below(most) as u32;
        }
        changes.sort_unstable();
        let eager = random.draw() as u8;
        Chooser::Priority(ByPriority { random, priorities, changes, passed: 0, points: 0, eager })
    }

    /// Whether a replay has ended before its choices did: they belong to something else.
    pub fn left_over(&self) -> bool {
        matches!(self, Chooser::Replay(schedule, at) if *at < schedule.0.len())
    }

    /// A quick look: could anything but going on be wanted at this point? `everybody`: other CPUs could
    /// run here too.
    pub fn interested(&mut self, world: &World, everybody: bool) -> bool {
        let me = world.current;
        match self {
            Chooser::First => false,
            Chooser::Random(chance) => chance.interested(world, everybody),
            Chooser::Priority(priority) => priority.interested(world, everybody),
            Chooser::Exhaustive(_) => {
                (everybody && world.preemptions_left > 0) || world.deliverable(me) || world.disturbable(me)
            }
            Chooser::Replay(schedule, at) => {
                schedule.0.get(*at).is_some_and(|(point, _)| *point == world.point)
            }
        }
    }

    /// Picks one of `actions` (at least two); `None` gives the run up, since its future is known.
    pub fn choose(&mut self, world: &World, actions: &[Action], everybody: bool) -> Option<usize> {
        match self {
            Chooser::First => Some(0),
            Chooser::Random(chance) => Some(chance.choose(world, actions)),
            Chooser::Priority(priority) => Some(priority.choose(world, actions)),
            Chooser::Exhaustive(exhaustive) => exhaustive.choose(world, actions, everybody),
            Chooser::Replay(schedule, at) => match schedule.0.get(*at) {
                Some((point, action)) if *point == world.point => {
                    *at += 1;
                    // `None`: not a schedule of this scenario, or of another version of the code.
                    actions.iter().position(|possible| possible == action)
                }
                _ => Some(0),
            },
        }
    }
}

/// [`Chooser::Random`].
pub struct ByChance {
    random: Random,
    mean: u64,
    local: u64,
    shared_left: u64,
    local_left: u64,
}

fn weight(action: Action, owned: bool) -> u64 {
    match action {
        Action::Run(_) | Action::Nmi(_) | Action::Ipi(_) => 16,
        // Before there is a panic they mean little.
        Action::External(_) | Action::MachineCheck(_) => 1 + 5 * u64::from(owned),
        Action::Tick => 4,
        Action::Leap => 2,
    }
}

impl ByChance {
    fn interested(&mut self, world: &World, everybody: bool) -> bool {
        if everybody {
            self.shared_left -= 1;
            if self.shared_left == 0 {
                self.shared_left = self.random.gap(self.mean);
                return true;
            }
        }
        self.local_left -= 1;
        if self.local_left == 0 {
            self.local_left = self.random.gap(self.local);
            return world.deliverable(world.current) || world.disturbable(world.current);
        }
        false
    }

    fn choose(&mut self, world: &World, actions: &[Action]) -> usize {
        let owned = world.oracle.owner.is_some();
        let total = actions.iter().map(|action| weight(*action, owned)).sum();
        let mut left = self.random.below(total);
        for (number, action) in actions.iter().enumerate() {
            let weight = weight(*action, owned);
            if left < weight {
                return number;
            }
            left -= weight;
        }
        0
    }
}

/// [`Chooser::Priority`].
pub struct ByPriority {
    random: Random,
    priorities: [u8; MAX_CPUS],
    changes: [u32; 4],
    passed: usize,
    points: u32,
    /// CPUs that take signals at once.
    eager: u8,
}

impl ByPriority {
    fn change_due(&self) -> bool {
        self.changes.get(self.passed).is_some_and(|change| self.points >= *change)
    }

    fn interested(&mut self, world: &World, everybody: bool) -> bool {
        let me = world.current;
        if !everybody {
            return world.deliverable(me) && self.eager & (1 << me) != 0;
        }
        self.points += 1;
        self.change_due()
            || (0..world.count).any(|cpu| {
                let signalled = world.deliverable(cpu) && self.eager & (1 << cpu) != 0;
                (cpu == me && signalled)
                    || (self.priorities[cpu] > self.priorities[me] && (signalled || world.can_run(cpu)))
            })
    }

    fn choose(&mut self, world: &World, actions: &[Action]) -> usize {
        if self.change_due() {
            self.passed += 1;
            self.priorities[world.current] = 8 - self.passed as u8;
            self.eager = self.random.draw() as u8;
            let rare = |action: &Action| {
                matches!(action, Action::External(_) | Action::MachineCheck(_) | Action::Leap | Action::Tick)
            };
            let count = actions.iter().filter(|action| rare(action)).count() as u64;
            if count > 0 && self.random.once_in(2) {
                let wanted = self.random.below(count) as usize;
                let mut rares = actions.iter().enumerate().filter(|(_, action)| rare(action));
                return rares.nth(wanted).map_or(0, |(number, _)| number);
            }
        }
        let rank = |action: &Action| match action {
            Action::Run(cpu) => 2 * u32::from(self.priorities[usize::from(*cpu)]),
            Action::Nmi(cpu) | Action::Ipi(cpu) => {
                let eager = self.eager & (1 << cpu) != 0;
                if eager { 2 * u32::from(self.priorities[usize::from(*cpu)]) + 1 } else { 2 }
            }
            Action::Tick => 1,
            _ => 0,
        };
        let best =
            actions.iter().enumerate().max_by_key(|(number, action)| (rank(action), usize::MAX - number));
        best.map_or(0, |(number, _)| number)
    }
}

/// [`Chooser::Exhaustive`]: depth first over all choices, each state once.
#[derive(Default)]
pub struct Exhaustive {
    path: Vec<(u8, u8)>,
    at: usize,
    /// The states seen, with the most early switches that were left at one.
    visited: HashMap<u64, u8, BuildHasherDefault<Same>>,
    remember: bool,
    /// Choices met.
    pub choices: u64,
    /// Runs given up since their future was known.
    pub pruned: u64,
}

/// The states are hashes already.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {}
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

impl Exhaustive {
    /// With or without remembering states.
    pub fn new(remember: bool) -> Self {
        Exhaustive { remember, ..Exhaustive::default() }
    }

    /// On to the next schedule. False when there is none.
    pub fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((chosen, count)) = self.path.pop() {
            if chosen + 1 < count {
                self.path.push((chosen + 1, count));
                return true;
            }
        }
        false
    }

    /// Forgets everything.
    pub fn restart(&mut self) {
        *self = Exhaustive::new(self.remember);
    }

    /// Distinct states at choices.
    pub fn states(&self) -> usize {
        self.visited.len()
    }

    fn choose(&mut self, world: &World, actions: &[Action], everybody: bool) -> Option<usize> {
        if let Some((chosen, _)) = self.path.get(self.at) {
            self.at += 1;
            return Some((*chosen).into());
        }
        self.choices += 1;
        if self.remember {
            let left = world.preemptions_left;
            let seen = self.visited.insert(world.state(everybody), left);
            if let Some(most) = seen.filter(|most| *most >= left) {
                self.visited.insert(world.state(everybody), most);
                self.pruned += 1;
                return None;
            }
        }
        self.path.push((0, actions.len() as u8));
        self.at += 1;
        Some(0)
    }
}
