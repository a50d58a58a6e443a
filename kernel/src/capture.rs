//! The capture kernel: a second copy of this kernel, entered by kexec on the CPU that panicked. It
//! starts no other CPU. It reads the first kernel's record out of memory, says what it found in words
//! and in event lines, and ends the run.

use core::fmt::Display;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use core_panic::Cause;
use core_panic::report::Text;
use crash_record::layout::header;
use crash_record::names::{CpuState, EntryKind, Outcome, Ruling, Rung};
use crash_record::view::{RecordError, RecordView};
use hal::clock::Clock;
use hal::console::EmergencyConsole;
use hal::cpu::Cpu;
use hal::firmware::Firmware;
use hal::{CpuId, Platform};

use crate::console::{self, CAPTURE};
use crate::first::Hex;
use crate::options::Options;
use crate::port::{self, PORT};
use crate::traps;

/// Interrupts that came to a capture kernel, which has let none in: left behind by the kernel before it.
pub static STRAYS: AtomicU32 = AtomicU32::new(0);
/// What the bench types for [`listen`].
const TYPED: u8 = b'z';
/// How long an interrupt may take after the byte was seen that it is about, ms.
const LINGER_MS: u64 = 20;

static CAPTURING: AtomicBool = AtomicBool::new(false);

/// This is a capture kernel.
pub fn enter_mode() {
    CAPTURING.store(true, Ordering::Release);
}

/// Whether this is a capture kernel.
pub fn is_capture() -> bool {
    CAPTURING.load(Ordering::Acquire)
}

/// Lines of the first kernel's log that are shown.
const LOG_TAIL: usize = 12;

/// A panic in the capture kernel: nothing is left to hand over to, so say so and end.
#[inline(never)] // the image check ends here
pub fn died(cause: &Cause<'_>) -> ! {
    // What died may have been in the middle of a line, with the console's lock.
    console::break_lock();
    let text = Text::<160>::new(format_args!("{}", cause.message));
    let fields: [(&str, &dyn Display); 2] = [("check", &"capture-kernel-died"), ("detail", &text)];
    CAPTURE.event("fail", &fields);
    exit(false)
}

/// Reads, reports, ends.
pub fn run(options: &Options, address: u64, length: u64) -> ! {
    let verdict = match port::mmu::map_physical(address, length) {
        None => {
            fail("record", &"its address is not in memory");
            false
        }
        Some(bytes) => match RecordView::parse(bytes).map(|view| report(&view)) {
            Ok(Ok(())) => true,
            Ok(Err(Fault(check, error))) => {
                fail(check, &error);
                false
            }
            Err(error) => {
                fail("record", &error);
                false
            }
        },
    };
    if options.listen_ms != 0 {
        listen(options.listen_ms);
    }
    if options.hold_ms != 0 {
        CAPTURE.event("hold", &[("ms", &options.hold_ms)]);
        console::hold(options.hold_ms, || PORT.read());
    }
    exit(verdict)
}

/// Opens the door and counts who comes in: nobody, if the kernel before this one has masked what it had enabled. The
/// device that the bench types on may ask, and has a reason to.
fn listen(ms: u64) {
    port::console::raise_receive_interrupt();
    CAPTURE.event("listen", &[("ms", &ms)]);
    port::cpu::unmask_interrupts();
    let seen = || PORT.read() == Some(TYPED) || traps::LAST_BYTE.load(Ordering::Acquire) == u32::from(TYPED);
    let heard = console::wait(ms, seen);
    console::wait(LINGER_MS, || false);
    PORT.mask_interrupts();
    CAPTURE.event("stray", &[("count", &STRAYS.load(Ordering::Acquire)), ("heard", &heard)]);
}

fn fail(check: &str, detail: &dyn Display) {
    console::line(format_args!("capture: {check}: {detail}"));
    CAPTURE.event("fail", &[("check", &check), ("detail", detail)]);
}

struct Fault(&'static str, RecordError);

/// Whether the other CPUs were accounted for: a stop that was never settled leaves CPUs that may still
/// run, and nothing can be vouched for beside those.
fn settled(view: &RecordView<'_>) -> bool {
    view.word(header::STOPPED_AT) != 0
}

/// Says what the record holds; the pass line is put together from nothing else.
fn report(view: &RecordView<'_>) -> Result<(), Fault> {
    let nonce = Hex(view.nonce());
    let digest = Text::<8>::new(format_args!("{:08x}", view.digest()));
    let mut entries = 0;
    for entry in view.entries() {
        entry.map_err(|error| Fault("entries", error))?;
        entries += 1;
    }
    let owner_text = match view.owner().and_then(CpuId::new) {
        Some(cpu) => Text::<8>::new(format_args!("{cpu}")),
        None => Text::<8>::new(format_args!("none")),
    };
    CAPTURE.event(
        "found",
        &[
            ("nonce", &nonce),
            ("machine", &view.machine()),
            ("cpus", &view.cpus()),
            ("owner", &owner_text),
            ("entries", &entries),
            ("crc", &digest),
        ],
    );
    console::line(format_args!("The first kernel died on CPU {owner_text} of {}.", view.cpus()));
    let mut steps = Steps::new();
    let mut rulings = 0;
    for entry in view.entries() {
        let entry = entry.map_err(|error| Fault("entries", error))?;
        let took = entry.ended_at.saturating_sub(entry.began_at) / 1000;
        match (entry.kind, entry.step, entry.outcome) {
            (EntryKind::Reason, ..) => {
                console::line(format_args!("  reason: {}", entry.text));
                steps.push(format_args!("claim:done"));
            }
            (EntryKind::Text, ..) => {
                for part in entry.text.split('\n') {
                    console::line(format_args!("    {part}"));
                }
            }
            (EntryKind::Step, Some(step), Some(outcome)) => {
                console::line(format_args!("  {step}: {outcome} in {took} us {}", entry.text));
                CAPTURE.event("step", &[("name", &step), ("outcome", &outcome), ("us", &took)]);
                steps.push(format_args!("{step}:{outcome}"));
            }
            (EntryKind::Notifier, ..) => {
                let class = entry.class().map_or("?", |class| class.name());
                let outcome = entry.outcome.map_or("?", Outcome::name);
                console::line(format_args!("    {class} {outcome} in {took} us: {}", entry.text));
            }
            (kind @ (EntryKind::Lock | EntryKind::Firmware), ..) => {
                let (ruling, who) = entry.ruling().unzip();
                let ruling = ruling.map_or("?", Ruling::name);
                let by = match who.flatten() {
                    Some(cpu) => Text::<16>::new(format_args!(", CPU {cpu}")),
                    None => Text::new(format_args!("")),
                };
                console::line(format_args!("    {kind}: {}: {ruling}{by}", entry.text));
                rulings += 1;
            }
            (kind, ..) => console::line(format_args!("    {kind}: {}", entry.text)),
        }
    }
    let parked = cpus(view)?;
    for line in view.log().skip(view.log().count().saturating_sub(LOG_TAIL)) {
        console::line(format_args!("  log {} us CPU {}: {}", line.at / 1000, line.cpu, line.text));
    }
    if !settled(view) {
        return Err(Fault(
            "stop",
            RecordError { what: "the stop was never settled", at: header::STOPPED_AT * 8 },
        ));
    }
    CAPTURE.event(
        "pass",
        &[
            ("nonce", &nonce),
            ("crc", &digest),
            ("cpus", &view.cpus()),
            ("parked", &parked),
            ("rulings", &rulings),
            ("steps", &steps.0),
        ],
    );
    Ok(())
}

/// Says where every CPU was; returns how many were parked.
fn cpus(view: &RecordView<'_>) -> Result<usize, Fault> {
    let mut parked = 0;
    for slot in view.slots() {
        let state = slot.owner_state().unwrap_or(CpuState::NeverOnline);
        parked += usize::from(state == CpuState::Parked);
        match slot.saved().map_err(|error| Fault("registers", error))? {
            Some(saved) => {
                let pc = Text::<20>::new(format_args!("{:#x}", saved.pc));
                let lost = if saved.lost { ", inside a trap entry: its context is lost" } else { "" };
                let by = match saved.rung {
                    Rung::None => Text::<16>::new(format_args!("")),
                    rung => Text::new(format_args!(" by {rung}")),
                };
                let registers = saved.registers().count();
                console::line(format_args!(
                    "  CPU {}: {state}{by}, pc {pc} sp {:#x}, {registers} registers{lost}",
                    slot.cpu, saved.sp
                ));
                CAPTURE.event(
                    "cpu",
                    &[("who", &slot.cpu), ("state", &state), ("pc", &pc), ("witness", &Hex(saved.witness))],
                );
            }
            None => {
                console::line(format_args!("  CPU {}: {state}, no registers", slot.cpu));
                CAPTURE.event("cpu", &[("who", &slot.cpu), ("state", &state)]);
            }
        }
    }
    Ok(parked)
}

/// The list of steps for the pass line.
struct Steps(Text<240>);

impl Steps {
    fn new() -> Self {
        Steps(Text::new(format_args!("")))
    }
    fn push(&mut self, step: core::fmt::Arguments<'_>) {
        use core::fmt::Write;
        let comma = if self.0.bytes().is_empty() { "" } else { "," };
        let _ = write!(self.0, "{comma}{step}");
    }
}

fn exit(success: bool) -> ! {
    CAPTURE.event("end", &[("success", &success), ("us", &(PORT.now_ns() / 1000))]);
    if let Ok(firmware) = PORT.firmware() {
        let error = firmware.emulator_exit(success);
        console::line(format_args!("could not end the run: {error:?}"));
        let error = firmware.power_off();
        console::line(format_args!("could not power off: {error:?}"));
    }
    loop {
        core::hint::spin_loop();
    }
}
