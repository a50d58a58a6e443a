//! What a lock costs that nobody else wants (`test.bench=lock`): the one that knows its holder beside an ordinary
//! one, on the boot CPU before there is any other, in the machine's own clock. Where an instruction takes a fixed
//! time this counts instructions.

use core::hint::black_box;

use crash_lock::{CrashLock, Skip};
use hal::clock::Clock;
use spin::Mutex;

use crate::console::BOOT;
use crate::port::{PORT, Port};

static PLAIN: Mutex<u64> = Mutex::new(0);
static CRASH: CrashLock<u64, Port, Skip> = CrashLock::new(0);

/// Locks and unlocks in a row.
const ROUNDS: u32 = 20_000;
/// Rounds are measured this often; the shortest counts, since a host may stop the machine in between.
const TIMES: u32 = 5;

/// One lock and one unlock of an ordinary lock. A function of its own, so that its code can be looked at.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mayday_bench_plain() {
    let mut value = PLAIN.lock();
    *value = value.wrapping_add(1);
}

/// The same of a lock that knows its holder.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mayday_bench_crash() {
    let mut value = CRASH.lock();
    *value = value.wrapping_add(1);
}

/// What is common to both: the call.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn mayday_bench_empty() {}

fn shortest(what: extern "C" fn()) -> u64 {
    let what = black_box(what);
    let once = || {
        let start = PORT.now_ns();
        for _ in 0..ROUNDS {
            what();
        }
        PORT.now_ns().saturating_sub(start)
    };
    (0..TIMES).map(|_| once()).min().unwrap_or(0)
}

/// Measures, and says what it found.
pub fn lock() {
    let [empty, plain, crash] = [mayday_bench_empty, mayday_bench_plain, mayday_bench_crash].map(shortest);
    BOOT.event("bench", &[("rounds", &ROUNDS), ("empty", &empty), ("plain", &plain), ("crash", &crash)]);
}
