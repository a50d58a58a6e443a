//! A made-up run that can be spoilt in one place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crash_record::crc::{Crc, crc32c};
use crash_record::event::{LineWriter, Stream};
use crash_record::layout::{self, entry, header, slot};
use crash_record::names::{CpuState, EntryKind, Outcome as StepOutcome, Ruling, Rung, Step};
use crash_record::store::StoreEntry;

use crate::events::EventLog;
use crate::explain::Bound;
use crate::qemu::inspect::{FirmwareState, StackUse};
use crate::qemu::{Fate, Input};
use crate::scenario::{Kexec, Scenario};
use crate::store::{Before, File, tests::records};
use crate::verdict::*;

pub const NONCE: u64 = 0x0123_4567_89ab_cdef;
pub const CPUS: usize = 3;
pub const OWNER: usize = 0;
pub const PARK: u64 = 0x1800;
pub const WORK: u64 = 0x1c00;
/// Scale included.
pub const BOUND: Bound = Bound { jump_ms: 10_000, end_ms: 40_000, reentry_ms: 6_000, takeover_ms: 8_000 };

pub const MACHINE: &str = r#"
name = "m"
summary = "made up"
[build]
target = "t"
[memory]
default_mib = 64
minimum_mib = 32
step_mib = 16
[cpus]
default = 4
maximum = 8
[qemu]
binary = "q"
environment = "Q"
kernel_arguments = []
command_line_max = 400
[[qemu.accel]]
name = "a"
[[qemu.firmware]]
name = "f"
[ending.capture]
exit = 33
[ending.off]
exit = 0
shutdown = "guest-shutdown"
[ending.stay]
stays = true
[registers]
cpu = "CPU#"
pc = "PC="
debugger_pc = 7
vectors = [0xa000, 0xb000]
[suite]
cpus = [1]
[store]
bytes = 0x10000
format = "erst"
arguments = []
[lacks]
timer = "made up"
"#;

const SCENARIO: &str = r#"
name = "s"
summary = "made up"
tiers = [4]
[expect]
reason = "rust-panic"
owner = 0
store = 1
stray = 0
firmware = 1
lock_price = 80
cpu_states = "parked"
ending = "capture"
capture = true
rulings = ["firmware/a:inside"]
steps = ["announce:done", "stop:done", "kexec-post:leaving"]
notifiers = ["inform/log:done"]
[expect.off]
capture = false
ending = "off"
action = "poweroff"
steps = ["announce:done", "stop:done", "flush:done"]
"#;

/// A grace of 20 ms at scale 2; who holds the lock that the notifier wants is through after 10 us.
pub const ROLES: &str = "panic.grace=10 test.role=1:off/0/10/end";

/// A record, word by word.
#[derive(Clone)]
pub struct Record(pub Vec<u64>);

impl Record {
    pub fn good() -> Self {
        let mut record = Record(vec![0; layout::RECORD_WORDS]);
        record.0[header::MAGIC] = u64::from_le_bytes(layout::MAGIC);
        record.0[header::VERSION] = layout::VERSION;
        record.0[header::ENDIAN] = layout::ENDIAN_MARK;
        record.0[header::BYTES] = layout::RECORD_BYTES as u64;
        record.0[header::SLOTS] = layout::MAX_SLOTS as u64;
        record.0[header::ENTRIES] = layout::ENTRIES as u64;
        record.0[header::LOG_SLOTS] = layout::LOG_SLOTS as u64;
        record.0[header::NONCE] = NONCE;
        record.0[header::CPUS] = CPUS as u64;
        record.seal_header();
        record.0[header::OWNER] = OWNER as u64 + 1;
        record.0[header::STOPPED_AT] = 2_000_000;
        for cpu in 0..CPUS {
            let state = if cpu == OWNER { CpuState::Owner } else { CpuState::Parked };
            record.set(cpu, slot::STATE, state.number().into());
            record.set(cpu, slot::OWNER_STATE, state.number().into());
            record.set(cpu, slot::HEARTBEAT, 1000 + cpu as u64);
            record.set(cpu, slot::OWNER_HEARTBEAT, 1000 + cpu as u64);
            let rung = if cpu == OWNER { Rung::None } else { Rung::Ipi };
            record.set(cpu, slot::RUNG, rung.number().into());
            record.registers(cpu, WORK + 4 * cpu as u64, cpu as u64 ^ NONCE);
        }
        record.entry(0, EntryKind::Reason, Step::Claim, StepOutcome::Done);
        record.entry(1, EntryKind::Step, Step::Announce, StepOutcome::Done);
        record.entry(2, EntryKind::Step, Step::Stop, StepOutcome::Done);
        record.entry(3, EntryKind::Step, Step::KexecPost, StepOutcome::Leaving);
        record.ruling(4, "a beside b", Ruling::Inside, 2);
        record
    }

    fn crc(&self, from: usize, to: usize) -> u64 {
        let bytes: Vec<u8> = self.0[from..to].iter().flat_map(|word| word.to_le_bytes()).collect();
        u64::from(Crc::new().bytes(&bytes).finish()) | slot::COMMITTED
    }

    pub fn seal_header(&mut self) {
        self.0[header::COMMIT] = self.crc(0, header::COMMIT);
    }

    fn at(cpu: usize) -> usize {
        layout::SLOTS_AT + cpu * layout::SLOT_WORDS
    }

    pub fn set(&mut self, cpu: usize, word: usize, value: u64) {
        self.0[Self::at(cpu) + word] = value;
    }

    pub fn registers(&mut self, cpu: usize, pc: u64, witness: u64) {
        self.set(cpu, slot::PC, pc);
        self.set(cpu, slot::SP, 0x7000 + cpu as u64);
        self.set(cpu, slot::WITNESS, witness);
        self.set(cpu, slot::REGISTER_COUNT, 3);
        for (place, word) in [witness, pc, 0x7000 + cpu as u64].into_iter().enumerate() {
            self.set(cpu, slot::REGISTERS + place, word);
        }
        self.seal(cpu);
    }

    pub fn seal(&mut self, cpu: usize) {
        let at = Self::at(cpu);
        self.0[at + slot::COMMIT] = self.crc(at + slot::BODY, at + slot::BODY_END);
    }

    pub fn entry(&mut self, number: usize, kind: EntryKind, step: Step, outcome: StepOutcome) {
        let at = layout::ENTRIES_AT + number * layout::ENTRY_WORDS;
        self.0[at + entry::HEAD] = u64::from(kind.number()) << 48
            | u64::from(step.number()) << 32
            | u64::from(outcome.number()) << 16;
        self.0[at + entry::COMMIT] = self.crc(at + entry::HEAD, at + layout::ENTRY_WORDS);
    }

    /// An entry about firmware: what it says, and about whom.
    pub fn ruling(&mut self, number: usize, text: &str, ruling: Ruling, who: u64) {
        let at = layout::ENTRIES_AT + number * layout::ENTRY_WORDS;
        self.0[at + entry::ARGUMENT] = u64::from(ruling.number()) << 16 | (who + 1);
        self.text(number, text);
        self.entry(number, EntryKind::Firmware, Step::KexecPost, StepOutcome::Skipped);
    }

    /// What an entry is going to say: before [`Record::entry`], which seals it.
    pub fn text(&mut self, number: usize, text: &str) {
        let at = layout::ENTRIES_AT + number * layout::ENTRY_WORDS;
        for (word, part) in self.0[at + entry::TEXT..].iter_mut().zip(text.as_bytes().chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..part.len()].copy_from_slice(part);
            *word = u64::from_le_bytes(bytes);
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// An event before it has a sequence number: stream, CPU, time in ns, kind, fields.
pub type Said = (Stream, usize, u64, &'static str, Vec<(&'static str, String)>);

const TEXT: &str = "on purpose";
const STORED_AT: u64 = 12_345;

/// An entry of the firmware store.
pub fn stored(cpu: u16, sequence: u64, nonce: u64) -> Vec<u8> {
    let mut room = [0; 100];
    let entry = StoreEntry { cpu, sequence, at_ns: STORED_AT, nonce, text: TEXT };
    entry.encode(&mut room).unwrap().to_vec()
}

/// A run that can be spoilt in one place.
pub struct Run {
    pub said: Vec<Said>,
    /// Sequence numbers to leave out of the console.
    pub lost: Vec<usize>,
    pub record: Record,
    pub later: Record,
    pub registers: String,
    /// Where they are at the second look, if elsewhere.
    pub registers_later: Option<String>,
    pub outside: Vec<u8>,
    pub owner_at: Vec<u64>,
    pub stacks: BTreeMap<usize, Vec<Vec<u8>>>,
    /// How far the panic stacks were used.
    pub panic_stacks: Vec<StackUse>,
    pub firmware: Option<FirmwareState>,
    pub stored: Vec<u64>,
    pub ended: Ended,
    pub shutdowns: Vec<String>,
    pub stop: Stop,
    pub command_line: String,
    pub kexec: Kexec,
    pub held: bool,
    pub problems: Vec<String>,
    /// What became of the scenario's inputs.
    pub inputs: Vec<Input>,
    pub symbols: Vec<(&'static str, u64)>,
    pub scenario: String,
    pub machine: String,
    pub store: Option<File>,
}

impl Run {
    pub fn good() -> Self {
        let record = Record::good();
        let said = |stream, at, kind, fields: &[(&'static str, &str)]| -> Said {
            (stream, 0, at, kind, fields.iter().map(|(key, value)| (*key, (*value).to_owned())).collect())
        };
        let nonce = format!("{NONCE:016x}");
        let digest = format!("{:08x}", RecordView::parse(&record.bytes()).unwrap().digest());
        let steps = "claim:done,announce:done,stop:done,kexec-post:leaving";
        use Stream::{Boot, Capture, Panic};
        let entry = stored(0, 1, NONCE);
        let (at, bytes) = (STORED_AT.to_string(), entry.len().to_string());
        let crc = format!("{:x}", crc32c(TEXT.as_bytes()));
        let said = vec![
            said(Boot, 1, "boot", &[("cpus", "3"), ("nonce", &nonce), ("base", "0x200"), ("build", "b1")]),
            said(Boot, 2, "ready", &[("cpus", "3")]),
            said(Panic, 1_000_000, "claim", &[("reason", "rust-panic"), ("scale", "2")]),
            said(Panic, 1_100_000, "end", &[("step", "announce"), ("outcome", "done")]),
            said(Panic, 1_200_000, "stopped", &[("who", "1"), ("state", "parked"), ("ns", "400")]),
            said(Panic, 1_300_000, "stopped", &[("who", "2"), ("state", "parked"), ("ns", "400")]),
            said(Panic, 1_400_000, "end", &[("step", "stop"), ("outcome", "done")]),
            said(Panic, 1_500_000, "notifier", &[("class", "inform"), ("name", "log"), ("outcome", "done")]),
            said(Panic, 1_600_000, "end", &[("step", "kexec-post"), ("outcome", "leaving")]),
            said(Capture, 1, "capture", &[("base", "0x10200"), ("build", "b1")]),
            said(Capture, 1, "found", &[("nonce", &nonce), ("cpus", "3")]),
            said(
                Capture,
                2,
                "pass",
                &[
                    ("nonce", &nonce),
                    ("crc", &digest),
                    ("cpus", "3"),
                    ("parked", "2"),
                    ("rulings", "1"),
                    ("steps", steps),
                ],
            ),
            said(Capture, 2, "stray", &[("count", "0"), ("heard", "true")]),
            said(Capture, 3, "hold", &[]),
            said(Boot, 1, "store", &[("state", "ready"), ("reason", "")]),
            said(Boot, 1, "stored", &[("slot", "0")]),
            said(
                Boot,
                1,
                "stored",
                &[
                    ("slot", "1"),
                    ("who", "0"),
                    ("sequence", "1"),
                    ("at", &at),
                    ("bytes", &bytes),
                    ("crc", &crc),
                ],
            ),
            said(Boot, 1, "cleared", &[("slot", "0")]),
            said(
                Panic,
                1_700_000,
                "firmware",
                &[("name", "a"), ("ruling", "inside"), ("who", "2"), ("outcome", "skipped"), ("beside", "b")],
            ),
            said(
                Boot,
                1,
                "bench",
                &[("rounds", "100"), ("empty", "700"), ("plain", "1000"), ("crash", "5000")],
            ),
            said(
                Panic,
                1_800_000,
                "trial",
                &[("moment", "990000"), ("entry", "written"), ("interrupts", "0")],
            ),
        ];
        let registers =
            (0..CPUS).map(|cpu| format!("CPU#{cpu}\nAX=0 BX=1\nPC={:x} FL=2\n", PARK + cpu as u64)).collect();
        Run {
            said,
            lost: Vec::new(),
            later: record.clone(),
            record,
            registers,
            registers_later: None,
            outside: vec![0; layout::MAX_SLOTS * 4],
            owner_at: vec![0x10a00, 0x10a00],
            stacks: BTreeMap::new(),
            stored: Vec::new(),
            firmware: Some(FirmwareState({
                let mut words = vec![0; FirmwareState::WORDS];
                words[FirmwareState::ARMED] = 1;
                words[FirmwareState::INSIDE + 2] = 0x2001;
                words
            })),
            panic_stacks: vec![StackUse { cpu: 0, used: 3 << 10, size: 4 << 10 }],
            ended: Ended::Exit(33),
            shutdowns: Vec::new(),
            stop: Stop::IpiNmi,
            command_line: ROLES.to_owned(),
            kexec: Kexec::Post,
            held: true,
            problems: Vec::new(),
            inputs: ["boot/ready", "capture/listen"]
                .map(|after| Input { after: after.into(), fate: Fate::Given })
                .into(),
            symbols: vec![
                ("__image_start", 0x1000),
                ("__image_end", 0x9000),
                ("__data_start", 0x6000),
                ("__data_end", 0x8000),
                ("__text_start", 0x1000),
                ("__text_end", 0x3000),
                ("__park_start", PARK),
                ("__park_end", PARK + 0x40),
                ("__workload_start", WORK),
                ("__workload_end", WORK + 0x80),
            ],
            scenario: SCENARIO.to_owned(),
            machine: MACHINE.to_owned(),
            store: Some(File { before: Before::Blank.bytes(0x10000), after: records(&[(1, &entry)]) }),
        }
    }

    /// A field of the first event of a kind.
    pub fn say(&mut self, kind: &str, key: &str, value: &str) {
        let event = self.said.iter_mut().find(|event| event.3 == kind).unwrap();
        let field = event.4.iter_mut().find(|(name, _)| *name == key).unwrap();
        value.clone_into(&mut field.1);
    }

    pub fn forget(&mut self, kind: &str) {
        self.said.retain(|event| event.3 != kind);
    }

    /// Spoils both copies of the record, and keeps the capture kernel honest about it.
    pub fn spoil(&mut self, change: impl Fn(&mut Record)) {
        change(&mut self.record);
        change(&mut self.later);
        if let Ok(view) = RecordView::parse(&self.record.bytes()) {
            self.say("pass", "crc", &format!("{:08x}", view.digest()));
        }
    }

    /// The same run without a capture kernel.
    pub fn without_capture(mut self) -> Self {
        self.kexec = Kexec::Off;
        self.said.retain(|event| event.0 != Stream::Capture);
        self.say_last_step("flush", "done");
        let at = 2_000_000;
        self.said.push((Stream::Panic, 0, at, "hold", Vec::new()));
        self.said.push((Stream::Panic, 0, at, "final", vec![("action", "poweroff".into())]));
        (self.ended, self.shutdowns) = (Ended::Exit(0), vec!["guest-shutdown".into()]);
        for record in [&mut self.record, &mut self.later] {
            record.entry(3, EntryKind::Step, Step::Flush, StepOutcome::Done);
        }
        self
    }

    fn say_last_step(&mut self, step: &str, outcome: &str) {
        let event = self.said.iter_mut().rfind(|event| event.3 == "end").unwrap();
        event.4 = vec![("step", step.to_owned()), ("outcome", outcome.to_owned())];
    }

    pub fn judge(&self) -> Verdict {
        self.judged_by(judge)
    }

    pub fn judged_by(&self, judge: fn(&Facts) -> Verdict) -> Verdict {
        let mut log = EventLog::default();
        let mut next = [0u64; 3];
        for (number, (stream, cpu, at, kind, fields)) in self.said.iter().enumerate() {
            let sequence = &mut next[*stream as usize];
            let mut line = LineWriter::new(*stream, *sequence, *cpu, *at, kind);
            *sequence += 1;
            for (key, value) in fields {
                line = line.field(key, value);
            }
            if !self.lost.contains(&number) {
                line.finish(|bytes| {
                    log.feed(number + 1, &String::from_utf8_lossy(bytes));
                });
            }
        }
        let machine = Machine::parse(&self.machine, Path::new("m.toml")).unwrap();
        let scenario = Scenario::parse(&self.scenario, Path::new("s.toml")).unwrap();
        let expect = scenario.expect.resolve(self.kexec);
        let inspection = Inspection {
            stream: if self.kexec == Kexec::Off { Stream::Panic } else { Stream::Capture },
            record: Some(self.record.bytes()),
            record_later: Some(self.later.bytes()),
            outside: Some(self.outside.clone()),
            registers: self.registers.clone(),
            registers_later: self.registers_later.clone().unwrap_or_else(|| self.registers.clone()),
            owner_at: self.owner_at.clone(),
            stacks: self.stacks.clone(),
            panic_stacks: self.panic_stacks.clone(),
            firmware: self.firmware.clone(),
            stored: self.stored.clone(),
        };
        let evidence = Evidence {
            log,
            console: Vec::new(),
            ended: self.ended.clone(),
            shutdowns: self.shutdowns.clone(),
            inspections: if self.held { vec![inspection] } else { Vec::new() },
            inspection_problems: self.problems.clone(),
            inputs: self.inputs.clone(),
            store: self.store.clone(),
            stderr: String::new(),
            wall: Duration::from_secs(1),
        };
        let symbols = Symbols::made_up(&self.symbols);
        judge(&Facts {
            machine: &machine,
            contract: &scenario.contract,
            must_fail: &scenario.must_fail,
            derailed: Vec::new(),
            ending: &machine.ending[expect.ending.as_deref().unwrap()],
            expect: &expect,
            cpus: CPUS as u32,
            stop: self.stop,
            bound: BOUND,
            roles: Roles::of(&self.command_line),
            nonce: NONCE,
            symbols: &symbols,
            evidence: &evidence,
        })
    }
}
