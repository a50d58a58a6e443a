//! What the scheduler knows about memory: which locations are shared, and a hash of what they hold.
//!
//! A read of a location that no other CPU writes in a run, and a write to one that no other CPU touches,
//! commute with everything that others do: a switch before them leads nowhere new. Which operations are
//! not like that is found out by running; the sets only grow, and an exhaustive search starts again
//! when they did.

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
    /// A word of what a CPU did at the signal that deferred it.
    First(u8),
    /// The word that says that this is whole.
    FirstCommit(u8),
    /// The word by which the owner ends a CPU's deferral.
    Cut(u8),
    /// The word of a lock.
    Lock(u8),
    /// The word that ends all deferral.
    LastCall,
}

#[derive(Clone, Copy, Default)]
struct Info {
    /// CPUs that read it in this run, a bit each.
    reads: u8,
    /// CPUs that wrote it in this run.
    writes: u8,
    /// CPUs that read it since their last wait.
    readers: u8,
    /// CPUs whose reads of it depend on what others do in the same run.
    dependent_reads: u8,
    /// CPUs whose writes to it do.
    dependent_writes: u8,
    /// Place + 1 in `watched`.
    watched: u16,
}

/// The locations of a machine, by dense numbers: offset from its start in units of four bytes.
pub struct Memory {
    base: usize,
    infos: Vec<Info>,
    touched: Vec<u32>,
    watched: Vec<Watched>,
    read: [Vec<u32>; MAX_CPUS],
    /// For each CPU a hash of what it read since its last wait.
    pub read_hash: [u64; MAX_CPUS],
    /// What is shared is settled: a run's points do not depend on the runs before it.
    pub frozen: bool,
    /// In this run an operation turned out to depend on another CPU's.
    pub grown: bool,
    /// Hash of what the locations hold; 0 at the start of a run.
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

    /// Whether an operation of `cpu` on this location may depend on one of another CPU.
    pub fn shared(&self, id: u32, cpu: usize, writes: bool) -> bool {
        let info = &self.infos[id as usize];
        let dependent = if writes { info.dependent_writes } else { info.dependent_reads };
        dependent & (1 << cpu) != 0
    }

    /// Locations with operations that depend on those of other CPUs.
    pub fn count(&self) -> usize {
        self.infos.iter().filter(|info| info.dependent_reads | info.dependent_writes != 0).count()
    }

    /// Forgets what depends on what.
    pub fn forget(&mut self) {
        for info in &mut self.infos {
            (info.dependent_reads, info.dependent_writes) = (0, 0);
        }
    }

    /// `cpu` touches a location.
    pub fn touch(&mut self, id: u32, cpu: usize, reads: bool, writes: bool) {
        let info = &mut self.infos[id as usize];
        let bit = 1 << cpu;
        let news = (reads && info.reads & bit == 0) || (writes && info.writes & bit == 0);
        if !news {
            return;
        }
        if info.reads | info.writes == 0 {
            self.touched.push(id);
        }
        info.reads |= if reads { bit } else { 0 };
        info.writes |= if writes { bit } else { 0 };
        if self.frozen {
            return;
        }
        // A CPU's reads depend on the writes of others, its writes on all that others do.
        let of_others = |set: u8, cpu: usize| set & !(1 << cpu) != 0;
        for cpu in 0..MAX_CPUS {
            let bit = 1 << cpu;
            let (reads, writes) = (info.reads & bit, info.writes & bit);
            let reads = if of_others(info.writes, cpu) { reads } else { 0 };
            let writes = if of_others(info.reads | info.writes, cpu) { writes } else { 0 };
            self.grown |= reads & !info.dependent_reads != 0 || writes & !info.dependent_writes != 0;
            info.dependent_reads |= reads;
            info.dependent_writes |= writes;
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
            let info = &mut self.infos[id as usize];
            (info.reads, info.writes) = (0, 0);
        }
        for cpu in 0..MAX_CPUS {
            self.waited(cpu);
        }
        self.grown = false;
        self.hash = 0;
    }
}
