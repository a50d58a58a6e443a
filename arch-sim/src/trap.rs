//! What a signal or a fault brings about: the handlers that a kernel would register.

use core_panic::Cause;
use core_panic::stop::Signal;
use crash_record::names::Rung;

use crate::action::Action;
use crate::faults::What;
use crate::registers;
use crate::world::{World, machine, with};

/// A signal arrived on the executing CPU.
pub fn handle(action: Action) {
    let snapshot = registers::snapshot();
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
    let claimed = with(|world| world.oracle.owner.is_some()) == Some(true);
    let signal = panic.on_signal(rung, &snapshot);
    with(|world| world.returned(claimed, signal == Signal::Counted, before));
    if signal == Signal::NotOurs
        && matches!(action, Action::External(_))
        && with(|world| world.scenario.button_panics) == Some(true)
    {
        with(|world| world.oracle.witness(world.current, snapshot.registers.number()));
        panic.enter(&Cause { reason: "nmi-button", message: &"somebody pressed it" }, &snapshot);
    }
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
