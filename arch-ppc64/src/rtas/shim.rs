//! A firmware that stands in front of RTAS, for tests.
//!
//! The emulator's RTAS is a few instructions and a hypervisor call: nobody can be stopped inside, and it bears every
//! caller. This one (`asm/shim.S`) takes its time over one service on some CPUs, or never comes back from it, and it
//! enforces the rules: a service that is entered beside another CPU, or beside a call of this CPU which was cut off, and
//! does not bear that, is counted, and from then on everything fails. It knows the rules by a table of its own, so that
//! a caller who has them wrong is found out.

use core::sync::atomic::AtomicU64;
#[cfg(mayday_metal)]
use core::sync::atomic::Ordering;

#[cfg(mayday_metal)]
use super::Services;

/// Services that it knows the class of; all others bear nothing.
pub const MOST_CLASSES: usize = 16;

/// Its state, as the assembly knows it.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Shim {
    /// 1 once it stands there.
    pub armed: AtomicU64,
    /// Calls that firmware does not bear.
    pub violations: AtomicU64,
    /// Token of the last such call, and in the low half that of the one it came beside.
    pub last_violation: AtomicU64,
    /// Long calls after which a register was not what it was before.
    pub disturbed: AtomicU64,
    /// Long calls after which all were.
    pub undisturbed: AtomicU64,
    /// Where RTAS is.
    pub entry: AtomicU64,
    /// The service that takes its time.
    pub token: AtomicU64,
    /// How long, in ticks of the timebase; all ones: for ever.
    pub ticks: AtomicU64,
    /// On which CPUs: a bit each, by the low four bits of the hardware id.
    pub cpus: AtomicU64,
    /// Timebase when the latest long call began; 0 before the first.
    pub began: AtomicU64,
    spare: [AtomicU64; 6],
    /// The service that a CPU is in, by the low four bits of its hardware id; 0: it is not inside.
    pub inside: [AtomicU64; 16],
    /// Token in the high half, class in the low one: 1 bears itself, 2 everything.
    pub classes: [AtomicU64; MOST_CLASSES],
}

/// Its state. Tools outside find it by this name.
#[cfg(mayday_metal)]
#[unsafe(no_mangle)]
pub static MAYDAY_FIRMWARE: Shim = Shim {
    armed: AtomicU64::new(0),
    violations: AtomicU64::new(0),
    last_violation: AtomicU64::new(0),
    disturbed: AtomicU64::new(0),
    undisturbed: AtomicU64::new(0),
    entry: AtomicU64::new(0),
    token: AtomicU64::new(0),
    ticks: AtomicU64::new(0),
    cpus: AtomicU64::new(0),
    began: AtomicU64::new(0),
    spare: [const { AtomicU64::new(0) }; 6],
    inside: [const { AtomicU64::new(0) }; 16],
    classes: [const { AtomicU64::new(0) }; MOST_CLASSES],
};

/// What firmware bears (LoPAR, "RTAS Critical Regions" and "External Interrupt"): tokens and class.
#[cfg(mayday_metal)]
fn classes(services: &Services) -> [(Option<u32>, u64); 10] {
    [
        (services.set_xive, 1),
        (services.int_on, 1),
        (services.int_off, 1),
        (services.power_off, 2),
        (services.system_reboot, 2),
        (services.os_term, 2),
        (services.nvram_fetch, 2),
        (services.nvram_store, 2),
        (services.display_character, 2),
        // It ends the CPU that calls it, and QEMU's blob is what it comes to.
        (services.stop_self, 2),
    ]
}

/// Puts it in front of RTAS. The service `token` takes `ticks` (all ones: for ever) on the CPUs in `cpus`, a bit for
/// each hardware id.
#[cfg(mayday_metal)]
pub fn arm(services: &Services, token: u32, ticks: u64, cpus: u64) {
    let shim = &MAYDAY_FIRMWARE;
    shim.entry.store(services.entry.into(), Ordering::Relaxed);
    shim.token.store(token.into(), Ordering::Relaxed);
    shim.ticks.store(ticks, Ordering::Relaxed);
    shim.cpus.store(cpus, Ordering::Relaxed);
    let known = classes(services).into_iter().filter_map(|(token, class)| Some((token?, class)));
    for (place, (token, class)) in shim.classes.iter().zip(known) {
        place.store(u64::from(token) << 32 | class, Ordering::Relaxed);
    }
    for cpu in hal::CpuId::all() {
        crate::percpu::area(cpu).shim.store((&raw const *shim) as u64, Ordering::Relaxed);
    }
    shim.armed.store(1, Ordering::Release);
}

/// Where RTAS is entered: there, or here.
#[cfg(mayday_metal)]
pub(super) fn entry(services: &Services) -> u64 {
    match MAYDAY_FIRMWARE.armed.load(Ordering::Acquire) {
        0 => services.entry.into(),
        _ => crate::asm::symbols::shim(),
    }
}

/// Whether a CPU is in the middle of a long call now, and most of it is left.
#[cfg(mayday_metal)]
pub fn dwelling() -> bool {
    let shim = &MAYDAY_FIRMWARE;
    let (began, ticks) = (shim.began.load(Ordering::Acquire), shim.ticks.load(Ordering::Relaxed));
    began != 0 && crate::clock::ticks().wrapping_sub(began) <= ticks / 8
}
