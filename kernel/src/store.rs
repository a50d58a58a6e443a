//! `test.store=N`: the firmware store at work. Entries are written, read back and compared, and one of them
//! is cleared; event lines say what has to be found in the store afterwards.

use core::fmt::{Display, Write};

use core::sync::atomic::{AtomicU64, Ordering};
use crash_record::crc::crc32c;
use crash_record::store::{OVERHEAD, StoreEntry};

use core_panic::notifier::{Context, Notifier, Refusal};
use core_panic::report::Text;
use crash_lock::{CrashLock, Skip};
use crash_record::layout::{entry, header, slot};
use crash_record::names::CpuState;
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::store::{MOST_BYTES, Store, StoreError};
use hal::{CpuId, MAX_CPUS, Platform};

use crate::console::{self, BOOT};
use crate::first::Hex;
use crate::options::{Ask, Options};
use crate::port::{self, PORT, Port};
use crate::state::{MAYDAY_RECORD, PANIC};

/// What belongs to the store, and to one at a time: room for an entry, for what is read back, and for a text. Not on
/// the stack, which is short.
struct FirmwareStore {
    entry: [u8; MOST_BYTES],
    back: [u8; MOST_BYTES],
    text: [u8; MOST_BYTES],
}

/// The store's lock. A panic takes it where it is free, and does without the store where it is not: what a stopped CPU
/// was telling firmware is not known.
static STORE: CrashLock<FirmwareStore, Port, Skip> =
    CrashLock::new(FirmwareStore { entry: [0; MOST_BYTES], back: [0; MOST_BYTES], text: [0; MOST_BYTES] });

/// Sequence number of the last entry of each CPU that the store said it has; 0 before the first. Tools outside find it
/// by this name.
#[unsafe(no_mangle)]
pub static MAYDAY_STORED: [AtomicU64; MAX_CPUS] = [const { AtomicU64::new(0) }; MAX_CPUS];

/// CPUs that write at most: each has two slots, in turn, so that what is being written is never in the place of what was
/// the last.
const WRITERS: usize = 2;
/// Entries that a writer makes without delay, so that there are some when the panic comes.
const QUICK: u64 = 3;
/// The slot of the notifier that logs.
const LOG_SLOT: u32 = 2 * WRITERS as u32;
/// The slot of the record step.
const RECORD_SLOT: u32 = LOG_SLOT + 1;

/// Prepares the store, and tries it if the command line wants that. On the boot CPU, before others run.
pub fn start(options: &Options) {
    port::store::prepare();
    if options.hammer == Some(Ask::Store) {
        PANIC.keep_record_by(&Keeper);
    }
    if options.store == 0 {
        return;
    }
    match PORT.store() {
        Ok(store) => {
            let mut rooms = STORE.lock();
            if let Err((slot, what)) = exercise(store, options, &mut rooms) {
                fault(slot, &what);
            }
        }
        Err(unsupported) => {
            console::line(format_args!("store: {unsupported}"));
            BOOT.event("store", &[("state", &"unsupported"), ("reason", &unsupported.reason)]);
        }
    }
}

/// What went wrong.
enum Wrong {
    Store(&'static str, StoreError),
    Other(&'static str),
}

impl Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Wrong::Store(call, error) => write!(f, "{call}: {error:?}"),
            Wrong::Other(what) => f.write_str(what),
        }
    }
}

fn fault(slot: u32, what: &Wrong) {
    console::line(format_args!("store: slot {slot}: {what}"));
    BOOT.event("store-fault", &[("slot", &slot), ("what", what)]);
}

type Result<T = ()> = core::result::Result<T, (u32, Wrong)>;

fn exercise<S: Store>(store: &S, options: &Options, rooms: &mut FirmwareStore) -> Result {
    let capacity = store.capacity();
    let in_call = |slot, call| move |error| (slot, Wrong::Store(call, error));
    let count = || store.occupied(&mut []).map_err(in_call(0, "occupied"));
    let held = count()?;
    BOOT.event(
        "store",
        &[("state", &"ready"), ("slots", &capacity.slots), ("bytes", &capacity.bytes), ("held", &held)],
    );
    console::line(format_args!("store: {} slots of {} bytes", capacity.slots, capacity.bytes));
    for slot in 0..options.store {
        let most = capacity.bytes.min(MOST_BYTES).saturating_sub(OVERHEAD);
        let FirmwareStore { entry, back, text } = rooms;
        let text = make_text(text, slot, options.store, most);
        let what = StoreEntry {
            cpu: PORT.current().index() as u16,
            sequence: slot.into(),
            at_ns: PORT.now_ns(),
            nonce: options.nonce,
            text,
        };
        let bytes = what.encode(entry).ok_or((slot, Wrong::Other("the entry does not fit")))?;
        store.write(slot, bytes).map_err(in_call(slot, "write"))?;
        let length = store.read(slot, back).map_err(in_call(slot, "read"))?;
        if back.get(..length) != Some(bytes) {
            return Err((slot, Wrong::Other("other bytes are read than were written")));
        }
        BOOT.event(
            "stored",
            &[
                ("slot", &slot),
                ("who", &what.cpu),
                ("sequence", &what.sequence),
                ("at", &what.at_ns),
                ("bytes", &bytes.len()),
                ("crc", &Hex(crc32c(text.as_bytes()).into())),
            ],
        );
    }
    store.clear(0).map_err(in_call(0, "clear"))?;
    if store.read(0, &mut rooms.back) != Err(StoreError::Empty) {
        return Err((0, Wrong::Other("the slot was cleared and is not empty")));
    }
    BOOT.event("cleared", &[("slot", &0), ("holds", &count()?)]);
    Ok(())
}

/// A text for the entry in `slot`: the last one is as long as an entry can be, the first one short.
fn make_text(room: &mut [u8], slot: u32, slots: u32, most: usize) -> &str {
    let length = (most * (slot as usize + 1) / slots.max(1) as usize).min(room.len());
    let mut text = Cut { room, used: 0, most: length };
    let _ = write!(text, "entry {slot} of {slots} on {}", PORT.name());
    for number in 0.. {
        if write!(text, " {number}").is_err() {
            break;
        }
    }
    let Cut { room, used, .. } = text;
    room.get(..used).and_then(|bytes| core::str::from_utf8(bytes).ok()).unwrap_or("")
}

struct Cut<'a> {
    room: &'a mut [u8],
    used: usize,
    most: usize,
}

impl Write for Cut<'_> {
    /// Takes what fits.
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for byte in text.bytes() {
            let place = self.room.get_mut(self.used).filter(|_| self.used < self.most);
            *place.ok_or(core::fmt::Error)? = byte;
            self.used += 1;
        }
        Ok(())
    }
}

impl FirmwareStore {
    /// Puts an entry of the executing CPU into `slot`; returns what it says, or why it is not there.
    fn put(&mut self, slot: u32, sequence: u64, text: &str) -> core::result::Result<Put, &'static str> {
        let store = PORT.store().map_err(|unsupported| unsupported.reason)?;
        let what = StoreEntry {
            cpu: PORT.current().index() as u16,
            sequence,
            at_ns: PORT.now_ns(),
            nonce: crate::state::options().nonce,
            text,
        };
        let bytes = what.encode(&mut self.entry).ok_or("the entry does not fit")?;
        let put = Put {
            slot,
            cpu: what.cpu,
            sequence,
            at_ns: what.at_ns,
            bytes: bytes.len(),
            crc: crc32c(text.as_bytes()),
        };
        store.write(slot, bytes).map_err(|_| "the store did not take it")?;
        Ok(put)
    }
}

/// An entry that the store has.
struct Put {
    slot: u32,
    cpu: u16,
    sequence: u64,
    at_ns: u64,
    bytes: usize,
    crc: u32,
}

/// An entry of `cpu`, if it is one of those that write, as a driver writes it: `work` is what it does first, under the
/// lock.
pub fn write(cpu: CpuId, panics: usize, work: impl FnOnce()) {
    let writer = CpuId::all().filter(|cpu| cpu.index() != panics).take(WRITERS).position(|one| one == cpu);
    let (Some(writer), Some(stored)) = (writer, MAYDAY_STORED.get(cpu.index())) else { return };
    let mut store = STORE.lock();
    let sequence = stored.load(Ordering::Acquire) + 1;
    if sequence > QUICK {
        work();
    }
    let slot = 2 * writer as u32 + (sequence & 1) as u32;
    if store.put(slot, sequence, "a driver's entry").is_ok() {
        stored.store(sequence, Ordering::Release);
    }
}

/// Puts an entry into the store on the panic path, and says so.
fn keep(context: &dyn Context, slot: u32, text: &str) -> core::result::Result<(), Refusal> {
    let token = context.token().ok_or(Refusal::Failed("there is no token"))?;
    let mut store = STORE.enter(token).map_err(|_| Refusal::Skipped("the store's lock was refused"))?;
    let put = store.put(slot, slot.into(), text).map_err(Refusal::Failed)?;
    drop(store);
    let fields: [(&str, &dyn Display); 6] = [
        ("slot", &put.slot),
        ("who", &put.cpu),
        ("sequence", &put.sequence),
        ("at", &put.at_ns),
        ("bytes", &put.bytes),
        ("crc", &Hex(put.crc.into())),
    ];
    context.event("kept", &fields);
    Ok(())
}

/// The driver that logs the panic through firmware, as a notifier.
pub fn log(context: &dyn Context) -> core::result::Result<(), Refusal> {
    keep(context, LOG_SLOT, "a panic is under way")
}

/// Who keeps the record: what there is room for, which is why there was a panic and what became of the CPUs.
struct Keeper;

impl Notifier for Keeper {
    fn name(&self) -> &'static str {
        "store"
    }

    fn notify(&self, context: &dyn Context) -> core::result::Result<(), Refusal> {
        let mut reason = [0; entry::TEXT_BYTES];
        let first = crash_record::layout::ENTRIES_AT + entry::TEXT;
        for (place, at) in reason.chunks_exact_mut(8).zip(first..) {
            place.copy_from_slice(&MAYDAY_RECORD.load(at).to_ne_bytes());
        }
        let reason = reason.split(|byte| *byte == 0).next().and_then(|text| core::str::from_utf8(text).ok());
        let in_state = |state: CpuState| {
            let word = u64::from(state.number());
            CpuId::all().filter(|cpu| MAYDAY_RECORD.slot(*cpu, slot::OWNER_STATE) == word).count()
        };
        let text = Text::<256>::new(format_args!(
            "{} on CPU {}: {} parked, {} missing, {} entries in the record at {:#x}",
            reason.unwrap_or("?"),
            PORT.current(),
            in_state(CpuState::Parked),
            in_state(CpuState::Missing),
            MAYDAY_RECORD.load(header::NEXT_ENTRY),
            MAYDAY_RECORD.load(header::RECORD_BASE),
        ));
        keep(context, RECORD_SLOT, core::str::from_utf8(text.bytes()).unwrap_or(""))
    }
}
