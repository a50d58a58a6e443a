//! Firmware (P10): who is really inside, and what that bears. What is abandoned inside stays there for ever.

use crash_lock::firmware::{Block, Class};

use crate::random::mix;
use crate::services::{Id, Kind};
use crate::world::World;

/// More calls than can be under way.
const MOST: usize = 8;

/// A call that is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Inside {
    cpu: u8,
    id: Id,
    block: (u8, u8),
    /// Made by who owned the panic.
    owner: bool,
}

/// What is remembered.
#[derive(Clone, Debug, Default)]
pub struct Firmware {
    inside: [Option<Inside>; MOST],
    /// A reset or power call was not made, since it was forbidden.
    pub refused: bool,
    /// It was asked for more than it bears.
    pub corrupt: bool,
    /// Calls that went through on the panic path, a bit for each service.
    pub called: u16,
}

impl Firmware {
    /// Whether all of these were called on the panic path.
    pub fn has_called(&self, ids: &[Id]) -> bool {
        ids.iter().all(|id| self.called & 1 << *id as u8 != 0)
    }

    /// Stands for everything that is remembered.
    pub fn state(&self) -> u64 {
        let one = |call: &Inside| {
            let block = u64::from(call.block.0) << 8 | u64::from(call.block.1) << 16;
            1 + u64::from(call.cpu) + block + ((call.id as u64) << 24) + (u64::from(call.owner) << 32)
        };
        let hash = self.inside.iter().fold(0, |hash, call| mix(hash, call.as_ref().map_or(0, one)));
        mix(hash, u64::from(self.corrupt) | u64::from(self.called) << 1)
    }
}

impl World {
    /// The executing CPU enters firmware.
    pub fn firmware_begins(&mut self, id: Id, block: Block) {
        let me = self.current as u8;
        self.asked();
        let block = match block {
            Block::Own(cpu) => (0, cpu.index() as u8),
            Block::Emergency(cpu) => (1, cpu.index() as u8),
            Block::Spare(number) => (2, number as u8),
        };
        let owner = self.oracle.owned & 1 << me != 0;
        let new = Inside { cpu: me, id, block, owner };
        self.tell(|| format!("enters firmware: {id:?}, block {block:?}"));
        let others = self.oracle.firmware.inside;
        for other in others.iter().flatten() {
            if other.block == new.block {
                self.violation(
                    "P10",
                    format_args!("{id:?} of CPU {me} is given the block of {:?}", other.id),
                );
            }
            if other.cpu == me && owner {
                self.beside_abandoned(&new, other);
            } else if !self.bears(&new, other) {
                let (beside, cpu) = (other.id, other.cpu);
                self.oracle.firmware.corrupt = true;
                self.violation("P10", format_args!("{id:?} of CPU {me} beside {beside:?} of CPU {cpu}"));
            }
        }
        let firmware = &mut self.oracle.firmware;
        firmware.called |= u16::from(owner) << id as u8;
        if let Some(place) = firmware.inside.iter_mut().find(|place| place.is_none()) {
            *place = Some(new);
        }
    }

    /// The executing CPU comes out again.
    pub fn firmware_ends(&mut self, id: Id) {
        let me = self.current as u8;
        self.tell(|| format!("comes out of firmware: {id:?}"));
        let mut inside = self.oracle.firmware.inside.iter_mut().rev();
        // The latest: one that was abandoned before stays.
        let own = inside.find(|call| call.is_some_and(|call| call.cpu == me && call.id == id));
        if let Some(own) = own {
            *own = None;
        }
    }

    /// The owner calls, and has abandoned a call before.
    fn beside_abandoned(&mut self, new: &Inside, old: &Inside) {
        let (id, me, abandoned) = (new.id, new.cpu, old.id);
        if id == abandoned {
            self.violation("P10", format_args!("CPU {me} calls {id:?} again, which it abandoned"));
        } else if !self.exempt(new) && id.class() != Class::Unserialized {
            self.violation("P10", format_args!("CPU {me} calls {id:?} after it abandoned {abandoned:?}"));
        }
    }

    fn exempt(&self, call: &Inside) -> bool {
        let class = call.id.class() == Class::CriticalRegionExempt;
        class && call.owner && self.scenario.firmware != Kind::Strict
    }

    /// Whether firmware bears these two at once.
    fn bears(&self, one: &Inside, other: &Inside) -> bool {
        let free = |call: &Inside| call.id.class() == Class::Unserialized || self.exempt(call);
        let itself = one.id == other.id && one.id.class() == Class::SelfReentrant;
        free(one) || free(other) || itself
    }
}
