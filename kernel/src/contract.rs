//! `test.contract=TIER`: no panic, but what the HAL promises, asked of this machine ([`hal::contract`]).

use hal::Unsupported;
use hal::clock::Clock;
use hal::contract::{Board, Contract, Verdict, absences};
use hal::cpu::Cpu;
use spin::Once;

use crate::console::{self, BOOT};
use crate::first;
use crate::port::{self, PORT, Port};
use crate::state::options;

static BOARD: Board = Board::new();
static CONTRACT: Once<Contract<Port>> = Once::new();

/// The tier from which on CPUs need one another.
const TOGETHER: u8 = 2;
/// The first tier again whose checks need one CPU alone.
const ALONE_AGAIN: u8 = 4;

fn contract(cpus: usize) -> &'static Contract<Port> {
    CONTRACT.call_once(|| Contract {
        platform: &PORT,
        board: &BOARD,
        cpus,
        image: !options().no_image && port::kexec::crash_module().is_some(),
        damage: port::kexec::flip_byte,
        without: &[],
        report,
        end,
    })
}

/// The boot CPU has everything but the other CPUs: where these are not needed, it is checked now, and nothing comes
/// after that.
pub fn alone() {
    if let Some(tier @ (..TOGETHER | ALONE_AGAIN..)) = options().contract {
        begins(tier, 1);
        contract(1).run(tier)
    }
}

/// CPU 0 of `cpus` that are at work checks, the others serve. False if there is nothing to check.
pub fn round(cpus: usize) -> bool {
    let Some(tier) = options().contract else { return false };
    let contract = contract(cpus);
    if PORT.current().index() == 0 {
        begins(tier, cpus);
        contract.run(tier)
    }
    // Back to the load only where it turns interrupts on again: it is long until the next time.
    while !contract.serve() {
        PORT.relax();
    }
    true
}

/// The executing CPU took the stop IPI.
pub fn ipi() {
    if options().contract.is_some() {
        BOARD.ipi(PORT.current());
    }
}

/// The executing CPU took an NMI.
pub fn nmi() {
    if options().contract.is_some() {
        BOARD.nmi(&PORT);
    }
}

/// Says what this port lacks, whose absence no check may hide.
fn begins(tier: u8, cpus: usize) {
    BOOT.event("contract", &[("tier", &tier), ("cpus", &cpus)]);
    for (what, why) in absences(&PORT) {
        if let Some(Unsupported { reason }) = why {
            BOOT.event("lacks", &[("what", &what), ("why", &reason)]);
        }
    }
}

fn report(name: &'static str, verdict: &Verdict) {
    let outcome = match verdict {
        Verdict::Held => "held",
        Verdict::Unsupported(_) => "unsupported",
        Verdict::Broken(_) => "broken",
    };
    console::line(format_args!("contract: {name}: {verdict}"));
    BOOT.event("check", &[("name", &name), ("outcome", &outcome), ("found", verdict)]);
}

fn end() -> ! {
    BOOT.event("checked", &[("ns", &PORT.now_ns())]);
    let _ = PORT.mask_interrupts();
    first::turn_off()
}
