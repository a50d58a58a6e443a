//! NMIs: a latch one deep, held off from the delivery to the handler's return or to
//! [`Nmi::unblock`].

use hal::CpuId;
use hal::nmi::{Nmi, SignalError, Strength};

use crate::faults::{Call, Faults, Lie, What};
use crate::oracle::Act;
use crate::platform::{Sim, call, faults};
use crate::scheduler;
use crate::world::with;

impl Nmi for Sim {
    fn send(&self, target: CpuId) -> Result<Strength, SignalError> {
        scheduler::hal_call(true);
        with(|world| world.act(Act::Nmi(target.index() as u8)));
        match call(Call::Nmi) {
            Some(What::Garbage) => return Err(SignalError::Refused(-1)),
            Some(_) => {}
            None => {
                with(|world| {
                    let faults = world.scenario.faults;
                    let it = &mut world.cpus[target.index() % crate::MAX_CPUS];
                    if !Faults::has(faults.deaf, target.index()) {
                        it.nmi_maskable = faults.maskable_nmi && (it.nmi_maskable || !it.nmi_pending);
                        it.nmi_pending = true;
                    }
                });
            }
        }
        Ok(match faults() {
            Faults { lie: Some(Lie::Nesting), .. } => Strength::NonMaskableNesting,
            Faults { maskable_nmi: true, lie: None, .. } => Strength::Maskable,
            _ => Strength::NonMaskable,
        })
    }
    fn unblock(&self) {
        with(|world| world.me().nmi_blocked = false);
        scheduler::hal_call(false);
        call(Call::Unblock);
    }
}
