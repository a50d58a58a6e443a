//! `test.store=N`: the firmware store at work. Entries are written, read back and compared, and one of them
//! is cleared; event lines say what has to be found in the store afterwards.

use core::fmt::{Display, Write};

use crash_record::crc::crc32c;
use crash_record::store::{OVERHEAD, StoreEntry};
use hal::Platform;
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::store::{MOST_BYTES, Store, StoreError};
use spin::Mutex;

use crate::console::{self, BOOT};
use crate::first::Hex;
use crate::options::Options;
use crate::port::{self, PORT};

/// Room for an entry, for what is read back, and for a text. Not on the stack, which is short.
struct Rooms {
    entry: [u8; MOST_BYTES],
    back: [u8; MOST_BYTES],
    text: [u8; MOST_BYTES],
}

static ROOMS: Mutex<Rooms> =
    Mutex::new(Rooms { entry: [0; MOST_BYTES], back: [0; MOST_BYTES], text: [0; MOST_BYTES] });

/// Prepares the store, and tries it if the command line wants that. On the boot CPU, before others run.
pub fn start(options: &Options) {
    port::store::prepare();
    if options.store == 0 {
        return;
    }
    match PORT.store() {
        Ok(store) => {
            let mut rooms = ROOMS.lock();
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

fn exercise<S: Store>(store: &S, options: &Options, rooms: &mut Rooms) -> Result {
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
        let Rooms { entry, back, text } = rooms;
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
