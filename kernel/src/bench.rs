//! The port with something wrong: what the panic path of this kernel runs on. Everything is the port's own,
//! until a step begins that `test.step` names: then the step's own work panics, faults or hangs.
//!
//! The sequence does not know of this. That a step begins is read off the console, where the sequence says
//! so; the fault comes out of the clock the second time that the step asks for the time, which is inside
//! its body. A final action fails in the firmware.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use core_panic::report::Text;
use crash_record::layout::header;
use crash_record::names::Step;
use hal::clock::Clock;
use hal::console::EmergencyConsole;
use hal::cpu::Cpu;
use hal::firmware::{Firmware, FirmwareError};
use hal::registers::Snapshot;
use hal::stack::PanicStacks;
use hal::testload::Provoke;
use hal::{CpuId, Platform, Unsupported};

use crate::options::Fault;
use crate::port::{self, PORT, Port};
use crate::state::{MAYDAY_RECORD, options};

/// The port, as the panic path sees it here.
#[derive(Clone, Copy, Debug)]
pub struct Bench;

/// The one value of [`Bench`].
pub static BENCH: Bench = Bench;
static FIRMWARE: BenchFirmware = BenchFirmware;

/// Questions for the time until the fault; 0: no fault is due.
static DUE_IN: AtomicU32 = AtomicU32::new(0);
/// The CPU whose questions count, the one that goes through the steps.
static OWNER: AtomicU32 = AtomicU32::new(0);
/// The step that is to go wrong.
static STEP: AtomicU32 = AtomicU32::new(0);
/// CPUs in an NMI handler, a bit each.
static HANDLERS: AtomicU32 = AtomicU32::new(0);
/// A firmware call has gone wrong: once is enough.
static FIRMWARE_FAILED: AtomicBool = AtomicBool::new(false);

/// How often a step asks for the time until it is inside its body.
const INSIDE: u32 = 2;

/// The sequence writes a line: is it the beginning of a step that is to go wrong? A stop goes wrong once its
/// first signals are out: before that it would have stopped nobody.
fn listen(line: &[u8]) {
    for (step, _) in options().steps.iter().flatten().filter(|(step, _)| *step != Step::Final) {
        let signals = *step == Step::Stop && MAYDAY_RECORD.load(header::CPUS) > 1;
        let wanted = match signals {
            true => Text::<48>::new(format_args!(" rung rung=")),
            false => Text::new(format_args!(" begin step={step} ")),
        };
        if line.windows(wanted.bytes().len().max(1)).any(|part| part == wanted.bytes()) {
            OWNER.store(PORT.current().index() as u32, Ordering::Release);
            STEP.store(u32::from(step.number()), Ordering::Release);
            DUE_IN.store(if signals { 1 } else { INSIDE }, Ordering::Release);
        }
    }
}

/// The executing CPU is in an NMI handler, or has come out of it: what is asked there is not the step's question, and
/// what hangs there hangs where no watch reaches.
pub fn in_handler(inside: bool) {
    let me = PORT.current().bit();
    if inside {
        HANDLERS.fetch_or(me, Ordering::AcqRel);
    } else {
        HANDLERS.fetch_and(!me, Ordering::AcqRel);
    }
}

fn count() {
    if HANDLERS.load(Ordering::Acquire) & PORT.current().bit() != 0 {
        return;
    }
    if DUE_IN.load(Ordering::Acquire) == 0 || OWNER.load(Ordering::Acquire) != PORT.current().index() as u32 {
        return;
    }
    if DUE_IN.fetch_sub(1, Ordering::AcqRel) == 1
        && let Some(fault) =
            Step::from_number(STEP.load(Ordering::Acquire) as u16).and_then(|step| options().fault_in(step))
    {
        go_wrong(fault);
    }
}

/// Does what it says.
#[inline(never)] // the image check ends here
pub fn go_wrong(fault: Fault) {
    match fault {
        Fault::Panic => panic!("a panic on purpose, on the panic path"),
        Fault::Null => port::trap::provoke(Provoke::NullRead),
        // Now and then politely: an emulator that runs one CPU at a time goes on to the next one there.
        Fault::Hang => loop {
            for _ in 0..10_000 {
                core::hint::black_box(());
            }
            PORT.relax();
        },
    }
}

impl Clock for Bench {
    const LEAST_ITERATION_NS: u64 = Port::LEAST_ITERATION_NS;

    fn now_ns(&self) -> u64 {
        count();
        PORT.now_ns()
    }
}

impl EmergencyConsole for Bench {
    fn write(&self, bytes: &[u8]) -> usize {
        let taken = PORT.write(bytes);
        listen(bytes);
        taken
    }
    fn read(&self) -> Option<u8> {
        PORT.read()
    }
}

impl Cpu for Bench {
    fn current(&self) -> CpuId {
        PORT.current()
    }
    fn mask_interrupts(&self) -> bool {
        PORT.mask_interrupts()
    }
    fn relax(&self) {
        PORT.relax();
    }
    fn park_wait(&self) {
        PORT.park_wait();
    }
}

impl PanicStacks for Bench {
    const COUNT: usize = Port::COUNT;

    fn switch<T>(&self, index: usize, entry: fn(&T) -> !, argument: &T) -> ! {
        // The step that was to go wrong is abandoned: what comes next asks for the time, too.
        DUE_IN.store(0, Ordering::Release);
        in_handler(false);
        PORT.switch(index, entry, argument)
    }
}

impl Platform for Bench {
    type Registers = <Port as Platform>::Registers;
    type Ipi = <Port as Platform>::Ipi;
    type Nmi = <Port as Platform>::Nmi;
    type Kexec = <Port as Platform>::Kexec;
    type Firmware = BenchFirmware;
    type Timer = <Port as Platform>::Timer;
    type Store = <Port as Platform>::Store;

    fn name(&self) -> &'static str {
        PORT.name()
    }
    #[inline(always)]
    fn capture(&self) -> Snapshot<Self::Registers> {
        PORT.capture()
    }
    fn ipi(&self) -> Result<&Self::Ipi, Unsupported> {
        PORT.ipi()
    }
    fn nmi(&self) -> Result<&Self::Nmi, Unsupported> {
        PORT.nmi()
    }
    fn kexec(&self) -> Result<&Self::Kexec, Unsupported> {
        PORT.kexec()
    }
    fn store(&self) -> Result<&Self::Store, Unsupported> {
        PORT.store()
    }
    fn timer(&self) -> Result<&Self::Timer, Unsupported> {
        PORT.timer()
    }
    fn firmware(&self) -> Result<&BenchFirmware, Unsupported> {
        PORT.firmware().map(|_| &FIRMWARE)
    }
}

/// The port's firmware.
pub struct BenchFirmware;

fn call(service: impl FnOnce(&<Port as Platform>::Firmware) -> FirmwareError) -> FirmwareError {
    if let Some(fault) = options().fault_in(Step::Final)
        && !FIRMWARE_FAILED.swap(true, Ordering::AcqRel)
    {
        go_wrong(fault);
    }
    match PORT.firmware() {
        Ok(firmware) => service(firmware),
        Err(unsupported) => FirmwareError::Unsupported(unsupported),
    }
}

impl Firmware for BenchFirmware {
    fn reboot(&self) -> FirmwareError {
        call(Firmware::reboot)
    }
    fn power_off(&self) -> FirmwareError {
        call(Firmware::power_off)
    }
    fn emulator_exit(&self, success: bool) -> FirmwareError {
        call(|firmware| firmware.emulator_exit(success))
    }
}
