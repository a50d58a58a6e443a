//! The executing CPU.

use hal::CpuId;
use hal::cpu::Cpu;

use crate::faults::Lie;
use crate::platform::{Sim, faults, lies};
use crate::scheduler;
use crate::world::{current, with};

impl Cpu for Sim {
    fn current(&self) -> CpuId {
        let number = match faults().lie {
            Some(Lie::Number) => 1,
            Some(Lie::NumberOfOne) if current() == 2 => {
                with(|world| 2 - (world.point % 2) as usize).unwrap_or(2)
            }
            _ => current(),
        };
        CpuId::new(number).unwrap_or(CpuId::BOOT)
    }
    fn mask_interrupts(&self) -> bool {
        if lies(Lie::Mask) {
            return true;
        }
        with(|world| std::mem::replace(&mut world.me().interrupts, false)).unwrap_or(false)
    }
    fn relax(&self) {
        scheduler::relax();
    }
    fn park_wait(&self) {
        if lies(Lie::Park) {
            with(|world| world.me().interrupts = true);
        }
        scheduler::park();
    }
}
