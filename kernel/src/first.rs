//! The first kernel: comes up, arms the panic, works until it happens.

use core::fmt::Display;
use core::sync::atomic::Ordering;

use core_panic::config::ConfigError;
use core_panic::report::Text;
use crash_record::layout::RECORD_BYTES;
use crash_record::names::CpuState;
use crash_record::write::Identity;
use hal::boot::BootInfo;
use hal::clock::Clock;
use hal::cpu::Cpu;
use hal::firmware::Firmware;
use hal::kexec::{Kexec, KexecError};
use hal::smp::Secondaries;
use hal::{CpuId, MAX_CPUS, Platform};

use crate::console::{self, BOOT};
use crate::options::{Options, Trigger};
use crate::port::{self, PORT};
use crate::state::{MAYDAY_RECORD, NOTIFIERS, OPTIONS, PANIC, SEQUENCE, paint_panic_stacks};
use crate::{capture, contract, firmware, load, measure, notify, store, traps};

/// How long a secondary may take from its start to its own Rust code, ms. Generous: on a loaded host
/// a virtual CPU may stand still for seconds.
const ONLINE_MS: u64 = 20_000;

#[unsafe(no_mangle)]
extern "Rust" fn mayday_main(boot: &'static BootInfo) -> ! {
    let mut capturing = false;
    let peek = Options::parse(boot.command_line, |_, _| {});
    if peek.capture.is_some() {
        capture::enter_mode();
        capturing = true;
    }
    port::lock::domain().bind(SEQUENCE);
    port::trap::set_handlers(&traps::HANDLERS);
    if peek.end_at_boot {
        turn_off()
    }
    let events = if capturing { &console::CAPTURE } else { &BOOT };
    let (base, build) = (Text::<20>::new(format_args!("{:#x}", boot.image_base)), Hex(boot.build_id));
    let kind = if capturing { "capture" } else { "boot" };
    let nonce = Hex(peek.nonce);
    events.event(
        kind,
        &[
            ("machine", &PORT.name()),
            ("cpus", &boot.cpus),
            ("memory", &boot.memory),
            ("base", &base),
            ("build", &build),
            ("nonce", &nonce),
        ],
    );
    let complain = |key: &str, problem: &ConfigError| {
        console::line(format_args!("command line: {key}: {problem}; passed over"));
        events.event("config", &[("key", &key), ("problem", problem)]);
    };
    let mut options = Options::parse(boot.command_line, complain);
    options.fit(boot.cpus.min(MAX_CPUS), complain);
    OPTIONS.call_once(|| options);
    if let Some((address, length)) = options.capture {
        capture::run(&options, address, length)
    }
    first(boot, &options)
}

/// Turns the machine off: the end of a run in which nobody panics.
pub fn turn_off() -> ! {
    let failed = match PORT.firmware() {
        Ok(firmware) => Text::<80>::new(format_args!("{:?}", firmware.power_off())),
        Err(unsupported) => Text::new(format_args!("{unsupported}")),
    };
    console::line(format_args!("could not power off: {failed}"));
    loop {
        PORT.relax();
    }
}

fn first(boot: &'static BootInfo, options: &Options) -> ! {
    let cpus = boot.cpus.min(MAX_CPUS);
    let record = port::mmu::phys_of(&raw const MAYDAY_RECORD);
    MAYDAY_RECORD.set_up(&Identity {
        nonce: options.nonce,
        build_id: boot.build_id,
        machine: PORT.name(),
        cpus: cpus as u64,
        image_base: boot.image_base,
        record_base: record,
    });
    paint_panic_stacks(cpus);
    PANIC.configure(options.config);
    PANIC.online();
    let place = Text::<20>::new(format_args!("{record:#x}"));
    BOOT.event("record", &[("phys", &place), ("len", &RECORD_BYTES)]);
    console::line(format_args!("Mayday on {}: {cpus} CPUs, {} MiB", PORT.name(), boot.memory >> 20));
    if boot.cpus_ignored != 0 {
        console::line(format_args!(
            "{} more CPUs than this kernel can use are left alone",
            boot.cpus_ignored
        ));
    }
    store::start(options);
    firmware::start(options);
    notify::register(options);
    crash_image(boot, options);
    contract::alone();
    if options.trigger == Trigger::Early {
        panic!("a panic before the secondaries are up");
    }
    if options.bench {
        measure::lock();
    }
    let mut up = 1;
    for cpu in CpuId::all().take(cpus).skip(1) {
        up += usize::from(start(cpu));
    }
    if options.trigger == Trigger::Console || options.listen_ms != 0 {
        match port::console::enable_receive_interrupt() {
            Ok(()) => traps::ARMED.store(true, Ordering::Release),
            Err(unsupported) => console::line(format_args!("console interrupt: {unsupported}")),
        }
    }
    if !load::start(up) {
        console::line(format_args!("a CPU is up and does not get to work"));
    }
    load::arm();
    BOOT.event(
        "ready",
        &[("cpus", &up), ("notifiers", &NOTIFIERS.count(crash_record::names::Class::Inform))],
    );
    load::run(CpuId::BOOT)
}

/// A second copy of this kernel goes into the crash region, to be entered when this one dies.
fn crash_image(boot: &BootInfo, options: &Options) {
    let state = |state: &str, reason: &dyn Display| {
        console::line(format_args!("crash image: {state}: {reason}"));
        let digest_ns =
            PORT.kexec().ok().and_then(|kexec| kexec.image().ok()).map_or(0, |image| image.digest_ns);
        BOOT.event("image", &[("state", &state), ("reason", reason), ("digest", &digest_ns)]);
    };
    if options.no_image {
        return state("none", &"test.image=none");
    }
    let Some(module) = port::kexec::crash_module() else {
        return state("none", &"no module was given at boot");
    };
    let line =
        Text::<128>::new(format_args!("run.hold={} run.listen={}", options.hold_ms, options.listen_ms));
    let line = core::str::from_utf8(line.bytes()).unwrap_or("");
    let loaded = port::kexec::load(module, port::kexec::region(), line);
    if options.flip_image && loaded.is_ok() {
        port::kexec::flip_byte();
    }
    match loaded {
        Ok(image) if image.build_id != boot.build_id => {
            state("loaded", &"not this kernel's build, which is allowed");
        }
        Ok(image) => {
            let entry = Text::<40>::new(format_args!("the same build, entry {:#x}", image.entry));
            state("loaded", &entry);
        }
        Err(KexecError::NoImage(reason) | KexecError::Failed(reason)) => state("none", &reason),
        Err(KexecError::Digest) => state("none", &"its digest changed while it was loaded"),
    }
}

fn start(cpu: CpuId) -> bool {
    PANIC.starting(cpu);
    if let Err(error) = PORT.start(cpu) {
        console::line(format_args!("CPU {cpu} did not start: {error:?}"));
        return false;
    }
    let since = PORT.now_ns();
    while MAYDAY_RECORD.state(cpu) != CpuState::Online {
        if PORT.now_ns().wrapping_sub(since) > ONLINE_MS * 1_000_000 {
            console::line(format_args!("CPU {cpu} was started and is not heard of"));
            return false;
        }
        PORT.relax();
    }
    BOOT.event("online", &[("who", &cpu)]);
    true
}

#[unsafe(no_mangle)]
extern "Rust" fn mayday_secondary(cpu: CpuId) -> ! {
    PANIC.online();
    load::run(cpu)
}

/// A number as 16 hexadecimal digits.
pub struct Hex(pub u64);

impl Display for Hex {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
