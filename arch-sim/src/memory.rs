//! What the scheduler knows about memory: which locations are shared, and a hash of what they hold.
//!
//! An operation on a location that only one CPU touches in a run commutes with everything that others
//! do: a switch before it leads nowhere new. Which locations are shared is found out by running; the
//! set only grows, and an exhaustive search starts again when it did.

use crate::MAX_CPUS;
use crate::random::mix;

/// What somebody wants to be told about a location.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Watched {
    /// `panic_cpu`.
    Claim,
    /// A CPU's own state in the record.
    State(u8),
    /// A word of the registers that a CPU saved.
    Saved(u8),
    /// The word that says that they are whole.
    Commit(u8),
}

#[derive(Clone, Copy, Default)]
struct Info {
    /// CPUs that touched it in this run, a bit each; the highest bit: somebody wrote.
    touched: u8,
    /// CPUs that read it since their last wait, a bit each.
    readers: u8,
    /// It is shared.
    shared: bool,
    /// Place + 1 in `watched`.
    watched: u16,
}

const WROTE: u8 = 0x80;

/// The locations of a machine, by dense numbers: offset from its start in units of four bytes.
pub struct Memory {
    base: usize,
    infos: Vec<Info>,
    touched: Vec<u32>,
    watched: Vec<Watched>,
    shared: u32,
    read: [Vec<u32>; MAX_CPUS],
    /// For each CPU a hash of what it read since its last wait.
    pub read_hash: [u64; MAX_CPUS],
    /// What is shared is settled: a run's points do not depend on the runs before it.
    pub frozen: bool,
    /// A location turned out to be shared in this run.
    pub grown: bool,
    /// Hash of the shared locations; 0 at the start of a run.
    pub hash: u64,
}

impl Memory {
    /// For the bytes from `base` on.
    pub fn new(base: usize, bytes: usize) -> Self {
        Memory {
            base,
            infos: vec![Info::default(); bytes.div_ceil(4)],
            touched: Vec::with_capacity(bytes / 4),
            watched: Vec::new(),
            shared: 0,
            read: std::array::from_fn(|_| Vec::with_capacity(bytes / 4)),
            read_hash: [0; MAX_CPUS],
            frozen: false,
            grown: false,
            hash: 0,
        }
    }

    /// The number of an address; `None` for one elsewhere.
    pub fn id(&self, address: usize) -> Option<u32> {
        let id = address.wrapping_sub(self.base) / 4;
        (id < self.infos.len()).then_some(id as u32)
    }

    /// Reports operations on this location.
    pub fn watch(&mut self, id: u32, what: Watched) {
        self.watched.push(what);
        self.infos[id as usize].watched = self.watched.len() as u16;
    }

    /// What this location is watched as.
    pub fn watched(&self, id: u32) -> Option<Watched> {
        let place = self.infos[id as usize].watched;
        (place != 0).then(|| self.watched[place as usize - 1])
    }

    /// Whether it is shared.
    pub fn shared(&self, id: u32) -> bool {
        self.infos[id as usize].shared
    }

    /// Shared locations.
    pub fn count(&self) -> u32 {
        self.shared
    }

    /// Forgets which locations are shared.
    pub fn forget(&mut self) {
        self.infos.iter_mut().for_each(|info| info.shared = false);
        self.shared = 0;
    }

    /// `cpu` touches a location.
    pub fn touch(&mut self, id: u32, cpu: usize, writes: bool) {
        let info = &mut self.infos[id as usize];
        let bits = (1 << cpu) | if writes { WROTE } else { 0 };
        if info.touched & bits == bits {
            return;
        }
        if info.touched == 0 {
            self.touched.push(id);
        }
        info.touched |= bits;
        let cpus = info.touched & !WROTE;
        if !info.shared && !self.frozen && info.touched & WROTE != 0 && cpus & (cpus - 1) != 0 {
            self.shared += 1;
            info.shared = true;
            self.grown = true;
        }
    }

    /// `cpu` reads a location.
    pub fn read(&mut self, id: u32, cpu: usize) {
        let info = &mut self.infos[id as usize];
        if info.readers & (1 << cpu) == 0 {
            info.readers |= 1 << cpu;
            self.read[cpu].push(id);
            self.read_hash[cpu] ^= mix(2, u64::from(id));
        }
    }

    /// CPUs that read this location since their last wait, a bit each.
    pub fn readers(&self, id: u32) -> u8 {
        self.infos[id as usize].readers
    }

    /// `cpu` has waited: what it read before does not matter any more.
    pub fn waited(&mut self, cpu: usize) {
        for id in self.read[cpu].drain(..) {
            self.infos[id as usize].readers &= !(1 << cpu);
        }
        self.read_hash[cpu] = 0;
    }

    /// A value changed.
    pub fn change(&mut self, id: u32, old: u64, new: u64) {
        let id = u64::from(id);
        self.hash ^= mix(mix(1, id), old) ^ mix(mix(1, id), new);
    }

    /// Locations touched in this run.
    pub fn touched(&self) -> &[u32] {
        &self.touched
    }

    /// A new run.
    pub fn reset(&mut self) {
        for id in self.touched.drain(..) {
            self.infos[id as usize].touched = 0;
        }
        for cpu in 0..MAX_CPUS {
            self.waited(cpu);
        }
        self.grown = false;
        self.hash = 0;
    }
}
