//! What a signal or a fault brings about: the handlers that a kernel would register.

use core_panic::Cause;
use core_panic::stop::Signal;
use crash_record::names::Rung;
use hal::registers::Snapshot;

use hal::CpuId;
use hal::trap::Resume;

use crate::action::Action;
use crate::contract;
use crate::faults::What;
use crate::registers::{self, Regs};
use crate::world::{World, current, machine, with};

/// What a signal is to a handler.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The stop IPI.
    Interrupt,
    /// An NMI.
    Nmi,
}

/// A signal arrived on the executing CPU. Returns how what it interrupted is resumed.
pub fn handle(action: Action) -> Resume {
    let nmi = matches!(action, Action::Nmi(_) | Action::External(_));
    contract::took(if nmi { Kind::Nmi } else { Kind::Interrupt });
    let lost = nmi && with(World::loses_context) == Some(true);
    let snapshot = registers::taken(!lost);
    let panic = machine().panic();
    let before = with(|world| world.oracle.witness(world.current, snapshot.registers.number())).unwrap_or(0);
    let rung = match action {
        Action::Ipi(_) => Rung::Ipi,
        Action::MachineCheck(_) => {
            with(World::fails);
            panic.enter(&Cause { reason: "machine-check", message: &"a machine check" }, &snapshot)
        }
        _ => Rung::Nmi,
    };
    let signal = stop(rung, &snapshot, lost, before);
    if signal == Signal::NotOurs
        && matches!(action, Action::External(_))
        && with(|world| world.scenario.button_panics) == Some(true)
    {
        with(|world| world.oracle.witness(world.current, snapshot.registers.number()));
        with(|world| world.dies());
        panic.enter(&Cause { reason: "rust-panic", message: &"somebody pressed it" }, &snapshot);
    }
    let me = CpuId::new(current()).unwrap_or(CpuId::BOOT);
    if machine().locks().pending(me) { Resume::Masked } else { Resume::AsItWas }
}

/// What the panic path makes of a signal, watched. `before`: what the oracle said of this CPU's registers.
pub fn stop(rung: Rung, snapshot: &Snapshot<Regs>, lost: bool, before: u64) -> Signal {
    let deferred = with(|world| world.signalled(lost)).flatten() == Some(true);
    let claimed = with(|world| world.oracle.owner.is_some()) == Some(true);
    let signal = machine().panic().on_signal(rung, snapshot);
    let number = snapshot.registers.number();
    with(|world| world.returned(claimed, deferred, signal, before, number));
    signal
}

/// The executing CPU fails.
pub fn fault(what: What) -> ! {
    let snapshot = registers::snapshot();
    with(|world| {
        if what == What::MachineCheck {
            world.me().nmi_blocked = true;
        }
        world.oracle.witness(world.current, snapshot.registers.number());
        world.fails();
        world.tell(|| format!("{what:?}"));
    });
    let (reason, message) = match what {
        What::Panic => ("rust-panic", "injected"),
        What::MachineCheck => ("machine-check", "injected"),
        _ => ("data-access", "injected"),
    };
    machine().panic().enter(&Cause { reason, message: &message }, &snapshot)
}
