//! The executing CPU.

use hal::CpuId;
use hal::cpu::Cpu;

use crate::platform::Sim;
use crate::scheduler;
use crate::world::{current, with};

impl Cpu for Sim {
    fn current(&self) -> CpuId {
        CpuId::new(current()).unwrap_or(CpuId::BOOT)
    }
    fn mask_interrupts(&self) -> bool {
        with(|world| std::mem::replace(&mut world.me().interrupts, false)).unwrap_or(false)
    }
    fn relax(&self) {
        scheduler::relax();
    }
    fn park_wait(&self) {
        scheduler::park();
    }
}
