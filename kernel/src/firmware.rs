//! `test.firmware`: firmware that takes its time, CPUs that call it all the time, and a notifier that calls it too. What
//! the panic path may still call then is what is looked at.

use core::sync::atomic::{AtomicBool, Ordering};

use core_panic::notifier::{Context, Refusal};
use hal::CpuId;
use hal::cpu::Cpu;
use hal::testload::{FirmwareService, FirmwareTest};

use crate::console;
use crate::options::{FirmwareLoad, Options, Slow};
use crate::port::{self, PORT};
use crate::state::options;

/// Somebody holds firmware's lock, and will not give it back.
static HELD: AtomicBool = AtomicBool::new(false);

/// Calls that a CPU makes in a row.
const ROUND: u32 = 50;

/// Prepares what the command line asks for. On the boot CPU, before others run.
pub fn start(options: &Options) {
    if options.firmware_console
        && let Err(unsupported) = port::console::through_firmware()
    {
        console::line(format_args!("console: {unsupported}"));
    }
    let Some(load) = options.firmware else { return };
    let own = 1 << options.cpu;
    let (slow, us) = match load.slow {
        Slow::Service(service, us) => (Some(service), us),
        Slow::Lock => (None, Some(0)),
    };
    let test = FirmwareTest { slow, us, cpus: if load.owner { own } else { !own } };
    if let Err(unsupported) = port::firmware::arm(&test) {
        console::line(format_args!("test.firmware: {unsupported}"));
    }
}

/// Whether a panic now finds what it is to find. Always, if the command line wants nothing.
pub fn ready() -> bool {
    match options().firmware {
        Some(FirmwareLoad { owner: false, slow: Slow::Lock }) => HELD.load(Ordering::Acquire),
        Some(FirmwareLoad { owner: false, slow: Slow::Service(..) }) => port::firmware::dwelling(),
        Some(FirmwareLoad { owner: true, .. }) | None => true,
    }
}

/// The panic is about to happen, on this CPU.
pub fn before_the_panic() {
    if let Some(FirmwareLoad { owner: true, slow: Slow::Lock }) = options().firmware {
        PORT.mask_interrupts();
        port::firmware::hold();
    }
}

/// One round of `cpu`, if the command line wants that.
pub fn round(cpu: CpuId) {
    let options = options();
    let Some(FirmwareLoad { owner: false, slow }) = options.firmware else { return };
    if options.cpu == cpu.index() {
        return;
    }
    match slow {
        Slow::Lock => hold(),
        Slow::Service(service, _) => (0..ROUND).for_each(|_| call(service)),
    }
}

/// As a driver calls firmware: with interrupts off.
fn call(service: FirmwareService) {
    PORT.mask_interrupts();
    // Whether it works does not matter.
    let _ = port::firmware::call(service);
    port::cpu::unmask_interrupts();
}

/// Takes the lock, and stays between it and firmware.
fn hold() -> ! {
    PORT.mask_interrupts();
    port::firmware::hold();
    HELD.store(true, Ordering::Release);
    loop {
        PORT.relax();
    }
}

/// A notifier that asks firmware for the time.
pub fn clock(_: &dyn Context) -> Result<(), Refusal> {
    port::firmware::call(FirmwareService::Clock).map_err(Refusal::Skipped)
}
