//! What the machine does wrong.

use crate::MAX_CPUS;

/// A HAL call, or a piece of somebody else's code, where something can go wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Call {
    /// Output.
    Console,
    /// The message of the panic is formatted.
    Message,
    /// A stop IPI is sent.
    Ipi,
    /// An NMI is sent.
    Nmi,
    /// The image is looked for.
    Image,
    /// The image is checked.
    Verify,
    /// Interrupt sources are masked.
    Quiesce,
    /// The image is entered.
    Jump,
    /// The timer is armed.
    Arm,
    /// The reset call.
    Reboot,
    /// The power call.
    PowerOff,
    /// The clock is read.
    Clock,
    /// NMIs are let in again.
    Unblock,
    /// The store is used.
    Store,
    /// Firmware runs a service.
    Service,
}

impl Call {
    /// All.
    pub const ALL: [Call; 15] = [
        Call::Console,
        Call::Message,
        Call::Ipi,
        Call::Nmi,
        Call::Image,
        Call::Verify,
        Call::Quiesce,
        Call::Jump,
        Call::Arm,
        Call::Reboot,
        Call::PowerOff,
        Call::Clock,
        Call::Unblock,
        Call::Store,
        Call::Service,
    ];
}

/// What goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// A Rust panic in it.
    Panic,
    /// A fault that nobody can repair.
    Fault,
    /// A machine check.
    MachineCheck,
    /// It never ends.
    Hang,
    /// It is refused, or answers nonsense.
    Garbage,
    /// It says that it was done, and was not.
    Dropped,
}

/// One thing that goes wrong: in the `nth` (from 0) of these calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Injection {
    /// Where.
    pub call: Call,
    /// Which of them.
    pub nth: u16,
    /// What.
    pub what: What,
}

/// What a machine does not tell the truth about, for a whole run: for tests of the checks in `hal::contract`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lie {
    /// Its name is longer than a record has room for.
    Name,
    /// Every CPU says that it is CPU 1.
    Number,
    /// CPU 2 says so every other time that it is asked.
    NumberOfOne,
    /// The console says that it took less than it did.
    Written,
    /// The console waits for a byte to read.
    Read,
    /// The reason for an absence is not a line.
    Reason,
    /// The registers that it captures are an interrupt handler's.
    Capture,
    /// Interrupts stay on when they are masked.
    Mask,
    /// The stop IPI is said to be non-maskable.
    Ipi,
    /// The NMI is said to nest in its own handler.
    Nesting,
    /// The NMI is said to be non-maskable, and is a maskable message.
    Nmi,
    /// A timer that was taken back comes all the same.
    TakenBack,
    /// A parked CPU takes interrupts.
    Park,
}

/// The most injections in a run.
pub const MAX_INJECTIONS: usize = 3;

/// What is wrong with a machine for a whole run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Faults {
    /// CPUs (a bit each) that take no NMI.
    pub deaf: u8,
    /// CPUs that have maskable interrupts off from the start.
    pub masked: u8,
    /// CPUs that are inside an NMI handler of their own from the start and poll.
    pub in_nmi: u8,
    /// CPUs that lose their context when an NMI comes.
    pub lost: u8,
    /// There is no NMI.
    pub no_nmi: bool,
    /// The NMI is a maskable message, and says so.
    pub maskable_nmi: bool,
    /// There is no timer.
    pub no_timer: bool,
    /// The timer's clock is ahead: its shot comes before its time.
    pub early_timer: bool,
    /// There is no firmware.
    pub no_firmware: bool,
    /// Nobody loaded an image.
    pub no_image: bool,
    /// The image is not what was loaded.
    pub bad_digest: bool,
    /// The jump comes back.
    pub jump_fails: bool,
    /// Reset comes back.
    pub reboot_fails: bool,
    /// The power call comes back.
    pub power_fails: bool,
    /// CPUs on which reset works; 0 stands for all.
    pub reboot_only_on: u8,
    /// The clock stands still from the n-th reading on; 0: it does not.
    pub clock_stops: u16,
    /// What it lies about.
    pub lie: Option<Lie>,
    /// Single calls that go wrong.
    pub injections: [Option<Injection>; MAX_INJECTIONS],
}

impl Faults {
    /// None.
    pub const NONE: Faults = Faults {
        deaf: 0,
        masked: 0,
        in_nmi: 0,
        lost: 0,
        no_nmi: false,
        maskable_nmi: false,
        no_timer: false,
        early_timer: false,
        no_firmware: false,
        no_image: false,
        bad_digest: false,
        jump_fails: false,
        reboot_fails: false,
        power_fails: false,
        reboot_only_on: 0,
        clock_stops: 0,
        lie: None,
        injections: [None; MAX_INJECTIONS],
    };

    /// With one more injection; unchanged if there is no room.
    pub const fn with(mut self, call: Call, nth: u16, what: What) -> Faults {
        let mut at = 0;
        while at < MAX_INJECTIONS {
            if self.injections[at].is_none() {
                self.injections[at] = Some(Injection { call, nth, what });
                return self;
            }
            at += 1;
        }
        self
    }

    /// What goes wrong in this call.
    pub fn at(&self, call: Call, nth: u16) -> Option<What> {
        let hit = |injection: &&Injection| injection.call == call && injection.nth == nth;
        self.injections.iter().flatten().find(hit).map(|injection| injection.what)
    }

    /// Whether `cpu` is in a set of CPUs.
    pub fn has(set: u8, cpu: usize) -> bool {
        cpu < MAX_CPUS && set & (1 << cpu) != 0
    }
}
