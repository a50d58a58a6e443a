//! Registers: the CPU, and a number that no other set of a run has.

use hal::registers::{Registers, Snapshot};

use crate::world::with;

/// A register set, and whether what it was taken from can go on.
#[derive(Clone)]
pub struct Regs([u64; 3], bool);

impl Regs {
    /// The number of this set.
    pub fn number(&self) -> u64 {
        self.0[1]
    }
}

impl Registers for Regs {
    fn words(&self) -> &[u64] {
        &self.0
    }
    fn pc(&self) -> u64 {
        self.0[0]
    }
    fn sp(&self) -> u64 {
        self.0[1]
    }
    fn witness(&self) -> u64 {
        self.0[2]
    }
    fn resumable(&self) -> bool {
        self.1
    }
    fn backtrace(&self, out: &mut [u64]) -> usize {
        if let Some(first) = out.first_mut() {
            *first = self.0[0];
        }
        out.len().min(1)
    }
}

/// Registers of the executing CPU, here.
pub fn snapshot() -> Snapshot<Regs> {
    taken(true)
}

/// Registers of the executing CPU, as a signal's handler has them that may have destroyed what it interrupted.
pub fn taken(resumable: bool) -> Snapshot<Regs> {
    let (me, number) = with(|world| {
        let me = world.current;
        (me as u64, world.oracle.number(me))
    })
    .unwrap_or((0, 0));
    Snapshot { registers: Regs([0x1000 + me, number, me], resumable), interrupted: None }
}
