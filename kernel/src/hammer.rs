//! Secondaries that write to a journal under a lock, all the time and with interrupts off, and a notifier that
//! wants to write to it too: what a driver does that logs the panic through firmware.
//!
//! The same journal stands behind three ways to ask for it, so that they can be compared:
//!
//! * `mutex`: an ordinary spin lock, as such drivers have it;
//! * `lock`: a [`CrashLock`], asked without a token, as by code that does not know that it is on the panic path;
//! * `enter`: the same one, asked with the token that the sequence hands out;
//! * `store`: as `enter`, and the journal is the firmware store ([`crate::store`]).

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use core_panic::notifier::{Context, Refusal};
use crash_lock::{CrashLock, Skip};
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::{CpuId, MAX_CPUS};
use spin::Mutex;

use crate::options::Ask;
use crate::port::{self, PORT, Port};
use crate::state::options;
use crate::store;

/// Entries by CPU; between the two counts of one an entry is half written.
struct Journal {
    begun: [u64; MAX_CPUS],
    ended: [u64; MAX_CPUS],
}

impl Journal {
    const fn new() -> Self {
        Journal { begun: [0; MAX_CPUS], ended: [0; MAX_CPUS] }
    }

    /// Writes an entry, which takes `section_us`.
    fn write(&mut self, cpu: usize, section_us: u64) {
        if let Some(count) = self.begun.get_mut(cpu) {
            *count = count.wrapping_add(1);
        }
        work(section_us);
        if let Some(count) = self.ended.get_mut(cpu) {
            *count = count.wrapping_add(1);
        }
    }

    fn torn(&self) -> usize {
        self.begun.iter().zip(&self.ended).filter(|(begun, ended)| begun != ended).count()
    }

    /// Entries that a CPU was told are written, and that are not here.
    fn lost(&self) -> u64 {
        let written = WRITTEN.iter().map(|count| count.load(Ordering::Acquire));
        written.zip(&self.ended).map(|(written, ended)| written.saturating_sub(*ended)).sum()
    }
}

/// What a critical section does all the time.
fn work(section_us: u64) {
    let start = PORT.now_ns();
    BEGAN.store(start, Ordering::Release);
    while PORT.now_ns().wrapping_sub(start) < section_us.saturating_mul(1_000) {
        PORT.relax();
    }
}

static PLAIN: Mutex<Journal> = Mutex::new(Journal::new());
static CRASH: CrashLock<Journal, Port, Skip> = CrashLock::new(Journal::new());

/// Calls that came back, by CPU.
static WRITTEN: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// Entries that a CPU writes in a row.
const ROUND: u32 = 50;

/// Clock when the latest critical section began, ns; 0 before the first one.
static BEGAN: AtomicU64 = AtomicU64::new(0);

/// Whether a panic now finds a CPU in its critical section: one has begun, and most of it is left. Always, if the
/// command line wants none.
pub fn ready() -> bool {
    let options = options();
    let (began, section) = (BEGAN.load(Ordering::Acquire), options.section_us * 1_000);
    options.hammer.is_none() || (began != 0 && PORT.now_ns().saturating_sub(began) <= section / 8)
}

/// One round of `cpu`, if the command line wants that.
pub fn round(cpu: CpuId) {
    let options = options();
    let Some(ask) = options.hammer else { return };
    if options.cpu == cpu.index() {
        return;
    }
    for _ in 0..ROUND {
        PORT.mask_interrupts();
        match ask {
            Ask::Mutex => PLAIN.lock().write(cpu.index(), options.section_us),
            Ask::Lock | Ask::Enter => CRASH.lock().write(cpu.index(), options.section_us),
            Ask::Store => store::write(cpu, options.cpu, || work(options.section_us)),
        }
        if let Some(count) = WRITTEN.get(cpu.index()) {
            count.fetch_add(1, Ordering::AcqRel);
        }
        port::cpu::unmask_interrupts();
    }
}

/// The driver that logs the panic, as a notifier.
pub fn log(context: &dyn Context) -> Result<(), Refusal> {
    let me = PORT.current().index();
    let (torn, lost) = match options().hammer {
        Some(Ask::Mutex) => written(&mut PLAIN.lock(), me),
        Some(Ask::Lock) => written(&mut CRASH.lock(), me),
        Some(Ask::Enter) => {
            let Some(token) = context.token() else {
                return Err(Refusal::Failed("there is no token"));
            };
            match CRASH.enter(token) {
                Ok(mut journal) => written(&mut journal, me),
                Err(refused) => {
                    context.event("journal", &[("refused", &refused)]);
                    return Err(Refusal::Skipped("the journal's lock was refused"));
                }
            }
        }
        Some(Ask::Store) => return store::log(context),
        None => return Err(Refusal::Skipped("there is no journal")),
    };
    let fields: [(&str, &dyn fmt::Display); 2] = [("torn", &torn), ("lost", &lost)];
    context.event("journal", &fields);
    if lost == 0 { Ok(()) } else { Err(Refusal::Failed("entries that were written are not there")) }
}

fn written(journal: &mut Journal, me: usize) -> (usize, u64) {
    journal.write(me, 0);
    (journal.torn(), journal.lost())
}
