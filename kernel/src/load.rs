//! The load: every CPU takes a lock, sends IPIs, spends some time with interrupts off, and counts, so
//! that a panic hits something. The loop is the port's ([`hal::testload::Workload`]); here is what it
//! calls, and what makes the panic happen.

use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crash_record::layout::slot;
use crash_record::names::CpuState;
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::ipi::Ipi;
use hal::nmi::Nmi;
use hal::testload::{Provoke, Workload};
use hal::{CpuId, MAX_CPUS, Platform};
use spin::Once;

use crate::options::Trigger;
use crate::port::{self, PORT};
use crate::roles::Role;
use crate::state::{MAYDAY_RECORD, options};
use crate::{contract, firmware, hammer, nmis, traps, trial};

/// 1 while that CPU is out of the load's own section. Tools outside find it by this name.
#[unsafe(no_mangle)]
pub static MAYDAY_OUTSIDE: [AtomicU32; MAX_CPUS] = [const { AtomicU32::new(0) }; MAX_CPUS];

static LOCK: AtomicU32 = AtomicU32::new(0);
static SHARED: AtomicU64 = AtomicU64::new(0);
static WORKLOADS: [Once<Workload>; MAX_CPUS] = [const { Once::new() }; MAX_CPUS];
/// CPUs that take part; 0 until they may start.
static CPUS: AtomicU32 = AtomicU32::new(0);
/// Clock when the panic is due, ns.
static DUE: AtomicU64 = AtomicU64::new(u64::MAX);
/// When each CPU last nudged another one, ns.
static NUDGED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];
static FIRED: [AtomicBool; MAX_CPUS] = [const { AtomicBool::new(false) }; MAX_CPUS];

/// How long the others may take to get to work, ms. Generous: on a loaded host a virtual CPU may stand
/// still for seconds.
const AT_WORK_MS: u64 = 20_000;

/// The boot CPU's part of the start: lets the other CPUs go to work and waits until each has done some,
/// so that a panic finds all of them in the load. False if one of them did not get there in time.
pub fn start(cpus: usize) -> bool {
    CPUS.store(cpus as u32, Ordering::Release);
    let since = PORT.now_ns();
    for cpu in CpuId::all().take(cpus).skip(1) {
        let working = || MAYDAY_RECORD.slot(cpu, slot::HEARTBEAT) != 0;
        while MAYDAY_RECORD.state(cpu) == CpuState::Online && !working() {
            if PORT.now_ns().wrapping_sub(since) > AT_WORK_MS * 1_000_000 {
                return false;
            }
            PORT.relax();
        }
    }
    while nmis::awaited() {
        if PORT.now_ns().wrapping_sub(since) > AT_WORK_MS * 1_000_000 {
            return false;
        }
        PORT.relax();
    }
    true
}

/// From here on the panic is due in `test.delay`.
pub fn arm() {
    DUE.store(PORT.now_ns() + options().delay_ms * 1_000_000, Ordering::Release);
}

/// The load of one CPU: it begins with [`start`], and does not end.
pub fn run(cpu: CpuId) -> ! {
    while CPUS.load(Ordering::Acquire) == 0 {
        PORT.relax();
    }
    let options = options();
    let index = cpu.index();
    let heartbeat = MAYDAY_RECORD.heartbeat(cpu).unwrap_or(&SHARED);
    let workload = WORKLOADS[index].call_once(|| Workload {
        witness: index as u64 ^ options.nonce,
        heartbeat,
        lock: &LOCK,
        shared: &SHARED,
        outside: &MAYDAY_OUTSIDE[index],
        nudge,
        cpu: index,
        mode: u32::from(options.spin == Some(index)),
    });
    port::workload::run(workload)
}

/// An interrupt for the next CPU, now and then. One whose role it is to hold a lock with interrupts on gets none: what it
/// shows is how it is stopped in its section. Nor does any where the HAL's promises are looked at: there a system reset has
/// to be survived.
fn send_nudge(cpu: CpuId, cpus: usize) {
    let Some(next) = CpuId::new((cpu.index() + 1) % cpus) else { return };
    let (now, last) = (PORT.now_ns(), &NUDGED[cpu.index()]);
    // Not all of them at the same time.
    let period = options().nudge_us * (1_000 + 100 * cpu.index() as u64);
    let quiet = now.wrapping_sub(last.load(Ordering::Relaxed)) < period;
    let holds = |role: Role| role.interrupts && role.lock.is_some();
    if options().contract.is_some() || quiet || next == cpu || options().role(next).is_some_and(holds) {
        return;
    }
    last.store(now, Ordering::Relaxed);
    if let Ok(ipi) = PORT.ipi() {
        let _ = ipi.send_nudge(next);
    }
}

extern "C" fn nudge(index: usize) {
    let Some(cpu) = CpuId::new(index) else { return };
    let cpus = (CPUS.load(Ordering::Acquire) as usize).max(1);
    if DUE.load(Ordering::Acquire) != u64::MAX && contract::round(cpus) {
        return;
    }
    send_nudge(cpu, cpus);
    if DUE.load(Ordering::Acquire) != u64::MAX {
        firmware::round(cpu);
    }
    // An emulator that runs one CPU at a time goes on to the next one here, and else not for a long time.
    PORT.relax();
    hammer::round(cpu);
    trial::play(cpu);
    nmis::at_work(cpu);
    let options = options();
    let chosen = options.cpu == index || options.trigger == Trigger::All;
    let heard = options.listen_ms == 0 || traps::LAST_BYTE.load(Ordering::Acquire) != 0;
    // The CPU that booted gets to its work last, and on a loaded host late.
    let all_work = MAYDAY_RECORD.slot(CpuId::BOOT, slot::HEARTBEAT) != 0;
    let due = PORT.now_ns() >= DUE.load(Ordering::Acquire) && all_work;
    let due = due && heard && hammer::ready() && firmware::ready();
    if chosen && due && !FIRED[index].swap(true, Ordering::Relaxed) {
        firmware::before_the_panic();
        fire(cpu, options.trigger);
    }
}

/// A message that cannot be formatted.
struct Fails;

impl core::fmt::Display for Fails {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        panic!("a panic inside a Display impl")
    }
}

fn fire(cpu: CpuId, trigger: Trigger) {
    trial::gather(cpu);
    trial::begin();
    match trigger {
        Trigger::Rust => panic!("a panic on purpose, on CPU {cpu}"),
        Trigger::All => panic!("a panic on every CPU, this is CPU {cpu}"),
        Trigger::Null => port::trap::provoke(Provoke::NullRead),
        Trigger::Wild => port::trap::provoke(Provoke::WildWrite),
        Trigger::Undefined => port::trap::provoke(Provoke::Undefined),
        Trigger::Trap => port::trap::provoke(Provoke::TrapInstruction),
        Trigger::StackOverflow => port::trap::provoke(Provoke::StackOverflow),
        Trigger::WriteText => port::trap::provoke(Provoke::WriteText),
        Trigger::ExecuteData => port::trap::provoke(Provoke::ExecuteData),
        Trigger::Display => panic!("a message that fails: {}", Fails),
        Trigger::Nmi => {
            traps::NMI_PANICS.store(true, Ordering::Release);
            match PORT.nmi() {
                Ok(nmi) => {
                    if let Err(error) = nmi.send(cpu) {
                        panic!("the NMI was not sent: {error:?}");
                    }
                }
                Err(unsupported) => panic!("no NMI: {unsupported}"),
            }
        }
        Trigger::MachineCheck => port::trap::provoke(Provoke::MachineCheck),
        Trigger::Button | Trigger::Console | Trigger::Early | Trigger::None => {}
    }
}
