//! Looking at the guest from outside, while it holds still: memory and registers through QMP. What
//! is read here was not told by the guest, so the guest cannot lie about it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use crash_record::event::Stream;
use crash_record::layout;
use crash_record::names::{CpuState, Role};
use crash_record::view::{CpuSlot, RecordView};
use serde_json::{Value, json};

use super::session::Session;
use crate::error::{Classed, unexpected};
use crate::machine::{Machine, Registers};
use crate::scenario::{Damage, Expect};
use crate::symbols::Symbols;
use crate::verdict::cpus;

/// How long the guest runs between the two looks, in CPU time of the emulator: a busy host may give it no core for long, and
/// then nothing that runs away would be seen. Promised is 10 ms; twice that, since who holds spins meanwhile, too.
const BETWEEN: Duration = Duration::from_millis(20);

/// How often the guest runs on for [`BETWEEN`] until its parked CPUs have reached the park loop, at
/// the most. One that does not get there is red.
const SETTLING: usize = 50;

/// Symbols that a kernel gives to tools outside: its crash record, and for every CPU a word that is 1
/// while that CPU is out of its load's own section.
const RECORD: &str = "MAYDAY_RECORD";
const OUTSIDE: &str = "MAYDAY_OUTSIDE";
/// And bottom and top of every panic stack: two stacks for each CPU.
const PANIC_STACKS: &str = "MAYDAY_PANIC_STACKS";
/// And for every CPU the number of its last entry that the firmware store has, as it was told.
const STORED: &str = "MAYDAY_STORED";
/// And the state of a firmware that stands in front of the machine's own in a test.
const FIRMWARE: &str = "MAYDAY_FIRMWARE";
/// What a word of the panic stacks holds that was never used, as bytes.
const UNUSED: [u8; 8] = *b"unused  ";

/// How much of a CPU's stack is read: more than the load's call out can use.
const STACK_BYTES: u64 = 4096;

/// A piece of physical memory.
#[derive(Clone, Copy, Debug)]
struct Piece {
    physical: u64,
    bytes: usize,
}

/// What there is to read.
#[derive(Clone, Debug, Default)]
pub struct Target {
    record: Option<Piece>,
    outside: Option<Piece>,
    panic_stacks: Option<Piece>,
    firmware: Option<Piece>,
    stored: Option<Piece>,
    /// What the inputs damage, by their number.
    damages: Vec<Option<Damage>>,
    /// CPUs that are to park in the end, whatever the owner made of them.
    late: Vec<usize>,
    park: Option<(Range<u64>, Registers)>,
    /// The kernel's code.
    text: Option<Range<u64>>,
    /// Writable memory of the image, and what turns an address in it into a physical one.
    writable: Option<(Range<u64>, u64)>,
    registers: Option<Registers>,
}

impl Target {
    /// Finds it in an image that is loaded with this bias ([`crate::machine::Memory`]).
    pub fn find(symbols: &Symbols, machine: &Machine) -> Self {
        let bias = machine.memory.physical_bias;
        let piece = |name, bytes| symbols.physical(name, bias).map(|physical| Piece { physical, bytes });
        let shift = symbols.physical(RECORD, bias).zip(symbols.addresses.get(RECORD));
        Target {
            writable: symbols
                .writable()
                .zip(shift.map(|(physical, address)| physical.wrapping_sub(*address))),
            registers: Some(machine.registers.clone()),
            record: piece(RECORD, layout::RECORD_BYTES),
            outside: piece(OUTSIDE, layout::MAX_SLOTS * 4),
            damages: Vec::new(),
            late: Vec::new(),
            stored: piece(STORED, layout::MAX_SLOTS * 8),
            firmware: piece(FIRMWARE, FirmwareState::WORDS * 8),
            panic_stacks: piece(PANIC_STACKS, layout::MAX_SLOTS * 4 * 8),
            text: symbols.range("text"),
            park: symbols.range("park").map(|park| (park, machine.registers.clone())),
        }
    }

    /// Waits for the CPUs that a scenario expects to park after their time.
    pub fn awaiting(mut self, expect: &Expect) -> Self {
        let parked = expect.own_state.iter().filter(|(_, state)| *state == CpuState::Parked.name());
        self.late = parked.filter_map(|(cpu, _)| cpu.parse().ok()).collect();
        self
    }

    /// Whether a CPU is in the kernel's own code, by the text of `info registers -a`; it counts as there where that
    /// cannot be told. Elsewhere is firmware, which has the CPU for itself on some machines.
    pub fn in_kernel(&self, cpu: u32, registers: &str) -> bool {
        let (Some(text), Some(format)) = (&self.text, &self.registers) else { return true };
        cpus::program_counters(registers, format).get(&(cpu as usize)).is_none_or(|pc| text.contains(pc))
    }

    /// With what the inputs damage.
    pub fn damaged_by(mut self, damages: Vec<Option<Damage>>) -> Self {
        self.damages = damages;
        self
    }

    /// What this input damages.
    pub(super) fn damage(&self, input: usize) -> Option<&Damage> {
        self.damages.get(input)?.as_ref()
    }

    /// Where a CPU's stack lies, from its saved stack pointer up.
    fn stack(&self, sp: u64) -> Option<Piece> {
        let (writable, shift) = self.writable.as_ref()?;
        let bytes = writable.contains(&sp).then(|| (writable.end - sp).min(STACK_BYTES))?;
        Some(Piece { physical: sp.wrapping_add(*shift), bytes: bytes as usize })
    }

    /// The words that may point to a stack, each once, in their order.
    fn pointers(&self, words: &[u64]) -> Vec<u64> {
        let mut pointers = Vec::new();
        for &word in words.iter().filter(|&&word| word % 8 == 0 && self.stack(word).is_some()) {
            if pointers.len() < CANDIDATES && !pointers.contains(&word) {
                pointers.push(word);
            }
        }
        pointers
    }

    /// Whether every parked CPU is where parked CPUs stay: one that has just acknowledged may still be
    /// a few instructions away, for as long as the emulator does not let it run.
    fn settled(&self, look: &Look) -> bool {
        let (Some((park, format)), Some(record)) = (&self.park, &look.record) else { return true };
        let Ok(record) = RecordView::parse(record) else { return true };
        let counters = cpus::program_counters(&look.registers, format);
        let parked =
            |cpu| record.slots().any(|slot| slot.cpu == cpu && slot.state() == Some(CpuState::Parked));
        if !self.late.iter().all(|cpu| parked(*cpu)) {
            return false;
        }
        cpus::stays(&record)
            .filter(|slot| slot.role() == Some(Role::None))
            .all(|slot| counters.get(&slot.cpu).is_none_or(|pc| park.contains(pc)))
    }
}

/// What one `hold` showed.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Who held: the panicking kernel or the capture kernel.
    pub stream: Stream,
    /// The crash record's bytes. `None`: the image has none.
    pub record: Option<Vec<u8>>,
    /// The same, after the guest ran on for [`BETWEEN`].
    pub record_later: Option<Vec<u8>>,
    /// The words that say who was out of the load's section.
    pub outside: Option<Vec<u8>>,
    /// Text of `info registers -a`.
    pub registers: String,
    /// The same, later.
    pub registers_later: String,
    /// Physical addresses of what the panic's owner executed, one of each look where the emulator could tell.
    pub owner_at: Vec<u64>,
    /// The stacks of CPUs that were out of the load's section, from the saved stack pointer up; and, of a
    /// CPU that was in a handler, everything that may be the stack of what the handler interrupted.
    pub stacks: BTreeMap<usize, Vec<Vec<u8>>>,
    /// How far the panic stacks that were used were used.
    pub panic_stacks: Vec<StackUse>,
    /// The state of a test's firmware, if the image has one.
    pub firmware: Option<FirmwareState>,
    /// The number of the last entry of each CPU that the firmware store has, as that CPU was told; 0: none.
    pub stored: Vec<u64>,
}

/// The state of a firmware that stands in front of the machine's own in a test.
#[derive(Clone, Debug, Default)]
pub struct FirmwareState(pub Vec<u64>);

impl FirmwareState {
    /// Words that are read.
    pub const WORDS: usize = Self::INSIDE + 16;
    /// 1 once it stands there.
    pub const ARMED: usize = 0;
    /// Calls that were made although firmware does not bear them.
    pub const VIOLATIONS: usize = 1;
    /// The last of these: the token, and in the low half that of the call it came beside.
    pub const LAST_VIOLATION: usize = 2;
    /// Long calls after which a register was not what it was before.
    pub const DISTURBED: usize = 3;
    /// Long calls after which all were.
    pub const UNDISTURBED: usize = 4;
    /// The service that each CPU is in, from here on; 0: in none.
    pub const INSIDE: usize = 16;

    /// A word.
    pub fn word(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// CPUs that are inside.
    pub fn inside(&self) -> usize {
        self.0.iter().skip(Self::INSIDE).filter(|token| **token != 0).count()
    }
}

/// How far down a stack was used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StackUse {
    /// Whose.
    pub cpu: usize,
    /// Bytes that were used at most.
    pub used: u64,
    /// Bytes that it has.
    pub size: u64,
}

struct Look {
    record: Option<Vec<u8>>,
    outside: Option<Vec<u8>>,
    panic_stacks: Option<Vec<u8>>,
    firmware: Option<Vec<u8>>,
    stored: Option<Vec<u8>>,
    registers: String,
}

impl Inspection {
    /// Stops the machine, looks, lets it run for a moment, looks again, and lets it go on.
    pub fn take(session: &mut Session, target: &Target, stream: Stream, number: usize) -> Result<Self> {
        session.holding = true;
        let result = Self::look_twice(session, target, stream, number);
        let resumed = session.ask("cont", Value::Null);
        session.holding = false;
        let inspection = result?;
        resumed?;
        Ok(inspection)
    }

    /// Looks at a machine that is off, once: nothing changes there any more.
    pub fn at_the_end(session: &mut Session, target: &Target) -> Result<Self> {
        let look = look(session, target, "end")?;
        Ok(Inspection {
            stream: Stream::Panic,
            record_later: look.record.clone(),
            record: look.record,
            outside: look.outside,
            registers_later: look.registers.clone(),
            registers: look.registers,
            owner_at: Vec::new(),
            stacks: BTreeMap::new(),
            panic_stacks: Vec::new(),
            firmware: None,
            stored: Vec::new(),
        })
    }

    fn look_twice(session: &mut Session, target: &Target, stream: Stream, number: usize) -> Result<Self> {
        let mut first = look(session, target, &format!("hold{number}"))?;
        for _ in 0..SETTLING {
            if target.settled(&first) {
                break;
            }
            session.ask("cont", Value::Null)?;
            session.let_work(BETWEEN);
            first = look(session, target, &format!("hold{number}"))?;
        }
        let Followed { stacks, panic_stacks } = follow(session, target, &first, number)?;
        let mut owner_at = Vec::from_iter(place_of_owner(session, target, &first)?);
        let record = first.record.as_deref().and_then(|record| RecordView::parse(record).ok());
        let big_endian = record.is_some_and(|record| record.big_endian());
        let of_words = |bytes: &Vec<u8>| words(bytes, big_endian).collect();
        let stored = first.stored.as_ref().map(of_words).unwrap_or_default();
        let firmware = first.firmware.as_ref().map(|bytes| FirmwareState(of_words(bytes)));
        session.ask("cont", Value::Null)?;
        session.let_work(BETWEEN);
        let mut second = look(session, target, &format!("hold{number}-later"))?;
        // A CPU that was halted may have taken only now what was done to it from outside, and counted it. Once.
        if session.was_disturbed() && second.record != first.record {
            first = second;
            session.ask("cont", Value::Null)?;
            session.let_work(BETWEEN);
            second = look(session, target, &format!("hold{number}-later"))?;
        }
        owner_at.extend(place_of_owner(session, target, &second)?);
        Ok(Inspection {
            stream,
            record: first.record,
            record_later: second.record,
            outside: first.outside,
            registers: first.registers,
            registers_later: second.registers,
            owner_at,
            stacks,
            panic_stacks,
            firmware,
            stored,
        })
    }

    /// Whether a CPU said that it was out of the load's section.
    pub fn outside_flag(&self, cpu: usize, big_endian: bool) -> Option<bool> {
        flag(self.outside.as_deref(), cpu, big_endian)
    }

    /// Whether a word lies on the stack of a CPU that was out of the load's section, below a return address
    /// into that section: among what its call out of the load has kept for the load.
    pub fn kept_for(&self, load: &Range<u64>, cpu: usize, wanted: u64, big_endian: bool) -> bool {
        self.stacks.get(&cpu).into_iter().flatten().any(|stack| {
            let mut words = words(stack, big_endian);
            words.any(|word| word == wanted) && words.any(|word| load.contains(&word))
        })
    }
}

/// The words of a piece of memory.
fn words(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = u64> {
    let bytes = bytes.chunks_exact(8).filter_map(|word| <[u8; 8]>::try_from(word).ok());
    bytes.map(move |word| if big_endian { u64::from_be_bytes(word) } else { u64::from_le_bytes(word) })
}

fn flag(outside: Option<&[u8]>, cpu: usize, big_endian: bool) -> Option<bool> {
    let word = <[u8; 4]>::try_from(outside?.get(cpu * 4..cpu * 4 + 4)?).ok()?;
    Some(if big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) } == 1)
}

/// What the first look leads to.
#[derive(Default)]
struct Followed {
    /// The stacks of stopped CPUs.
    stacks: BTreeMap<usize, Vec<Vec<u8>>>,
    /// How far panic stacks were used.
    panic_stacks: Vec<StackUse>,
}

fn follow(session: &mut Session, target: &Target, look: &Look, number: usize) -> Result<Followed> {
    let mut found = Followed::default();
    let Some(Ok(record)) = look.record.as_deref().map(RecordView::parse) else { return Ok(found) };
    let outside = outside_of(target, look, &record, number);
    let panics = panics_of(target, look, &record, number);
    let mut commands: Vec<_> = outside.iter().map(|stack| stack.save.command(session)).collect();
    commands.extend(panics.iter().map(|(_, _, save)| save.command(session)));
    session.ask_all(&commands)?;
    for stack in &outside {
        found.stacks.entry(stack.cpu).or_default().push(stack.save.bytes(session)?);
    }
    for (cpu, size, save) in &panics {
        let used = used(&save.bytes(session)?);
        found.panic_stacks.extend((used > 0).then_some(StackUse { cpu: *cpu, used, size: *size }));
    }
    // A handler may have a stack of its own, with the pointer to the other one somewhere on it.
    let mut more = Vec::new();
    for cpu in outside.iter().filter(|stack| stack.handler).map(|stack| stack.cpu) {
        let own = found.stacks.get(&cpu).into_iter().flatten();
        let known: Vec<u64> = own.flat_map(|stack| words(stack, record.big_endian())).collect();
        let pieces = target.pointers(&known).into_iter().filter_map(|pointer| target.stack(pointer));
        more.extend(
            pieces.enumerate().map(|(place, piece)| (cpu, stack_file(number, cpu, place + 1, piece))),
        );
    }
    let commands: Vec<_> = more.iter().map(|(_, save)| save.command(session)).collect();
    session.ask_all(&commands)?;
    for (cpu, save) in &more {
        found.stacks.entry(*cpu).or_default().push(save.bytes(session)?);
    }
    Ok(found)
}

/// The stack of a parked CPU that was out of the load's section, from its saved stack pointer up.
struct Outside {
    cpu: usize,
    /// It was in a handler.
    handler: bool,
    save: Save,
}

fn stack_file(number: usize, cpu: usize, place: usize, piece: Piece) -> Save {
    Save { piece, file: format!("hold{number}-stack{cpu}-{place}.bin") }
}

fn outside_of(target: &Target, look: &Look, record: &RecordView, number: usize) -> Vec<Outside> {
    let stack = |slot: &CpuSlot| {
        let saved = slot.saved().ok()??;
        let out = flag(look.outside.as_deref(), slot.cpu, record.big_endian()) == Some(true);
        let piece = target.stack(saved.sp).filter(|_| out)?;
        let (cpu, handler) = (slot.cpu, saved.interrupted.is_some());
        Some(Outside { cpu, handler, save: stack_file(number, cpu, 0, piece) })
    };
    cpus::parked(record).filter_map(|slot| stack(&slot)).collect()
}

/// The panic stacks: CPU, bytes, and what reads them.
fn panics_of(target: &Target, look: &Look, record: &RecordView, number: usize) -> Vec<(usize, u64, Save)> {
    let Some((_, shift)) = &target.writable else { return Vec::new() };
    let table: Vec<u64> =
        words(look.panic_stacks.as_deref().unwrap_or_default(), record.big_endian()).collect();
    let stack = |(place, range): (usize, &[u64])| {
        let size = range[1].saturating_sub(range[0]);
        let there = range[0] != 0 && size <= MOST_STACK;
        let piece = Piece { physical: range[0].wrapping_add(*shift), bytes: size as usize };
        let file = format!("hold{number}-panic-stack{}-{}.bin", place / 2, place % 2);
        there.then_some((place / 2, size, Save { piece, file }))
    };
    table.chunks_exact(2).enumerate().filter_map(stack).collect()
}

/// Where the owner executes, in physical memory: the emulator translates its program counter by the page tables
/// that this CPU uses now, since the first kernel and the capture kernel may run at the same virtual addresses.
fn place_of_owner(session: &mut Session, target: &Target, look: &Look) -> Result<Option<u64>> {
    let record = look.record.as_deref().and_then(|record| RecordView::parse(record).ok());
    let owner = record.and_then(|record| record.owner());
    let pc = owner.zip(target.registers.as_ref()).and_then(|(owner, format)| {
        cpus::program_counters(&look.registers, format).get(&owner).map(|pc| (owner, *pc))
    });
    let Some((owner, pc)) = pc else { return Ok(None) };
    let arguments = json!({ "command-line": format!("gva2gpa {pc:#x}"), "cpu-index": owner });
    let answer = session.ask("human-monitor-command", arguments)?;
    Ok(answer.as_str().and_then(physical_in))
}

/// The address in the answer to the monitor command `gva2gpa`.
fn physical_in(answer: &str) -> Option<u64> {
    let (_, digits) = answer.split_once("gpa: 0x")?;
    u64::from_str_radix(digits.trim(), 16).ok()
}

/// How many places are read at most that may be the stack of what a handler interrupted.
const CANDIDATES: usize = 24;

/// More than any panic stack has.
const MOST_STACK: u64 = 1 << 20;

/// Bytes of a stack from the lowest one that was used to the top.
fn used(stack: &[u8]) -> u64 {
    let unused = stack.chunks_exact(8).take_while(|word| **word == UNUSED).count() * 8;
    (stack.len() - unused) as u64
}

/// Memory that goes into a file.
struct Save {
    piece: Piece,
    file: String,
}

impl Save {
    fn command(&self, session: &Session) -> (&'static str, Value) {
        let Piece { physical, bytes } = self.piece;
        let path = session.folder().file(&self.file);
        ("pmemsave", json!({ "val": physical, "size": bytes, "filename": path }))
    }

    /// What is in it.
    fn bytes(&self, session: &Session) -> Result<Vec<u8>> {
        let path = session.folder().file(&self.file);
        let saved = std::fs::read(&path).or_environment(|| format!("cannot read {}", path.display()))?;
        if saved.len() != self.piece.bytes {
            return Err(unexpected(format!("pmemsave gave {} bytes of {}", saved.len(), self.piece.bytes)));
        }
        Ok(saved)
    }
}

/// Stops the machine and reads what it has at fixed places, and the registers.
fn look(session: &mut Session, target: &Target, name: &str) -> Result<Look> {
    let pieces = [
        (target.record, "record"),
        (target.outside, "outside"),
        (target.panic_stacks, "panic-stacks"),
        (target.firmware, "firmware"),
        (target.stored, "stored"),
    ];
    let saves =
        pieces.map(|(piece, what)| piece.map(|piece| Save { piece, file: format!("{name}-{what}.bin") }));
    let mut commands = vec![("stop", Value::Null)];
    commands.extend(saves.iter().flatten().map(|save| save.command(session)));
    commands.push(("human-monitor-command", json!({ "command-line": "info registers -a" })));
    let answer = session.ask_all(&commands)?.pop().unwrap_or_default();
    let registers = answer.as_str().unwrap_or_default().replace('\r', "");
    session.folder().write(&format!("{name}-registers.txt"), &registers)?;
    let mut read = Vec::new();
    for save in &saves {
        read.push(save.as_ref().map(|save| save.bytes(session)).transpose()?);
    }
    let [record, outside, panic_stacks, firmware, stored] = read.try_into().unwrap_or_default();
    Ok(Look { record, outside, panic_stacks, firmware, stored, registers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_translation_is_read() {
        assert_eq!(physical_in("gpa: 0x42115b6\r\n"), Some(0x0421_15b6));
        assert_eq!(physical_in("Unmapped\r\n"), None);
        assert_eq!(physical_in("unknown command: 'gva2gpa'"), None);
    }

    #[test]
    fn firmware_is_not_the_kernel() {
        let registers = Registers { cpu: "CPU#".into(), pc: "pc ".into(), debugger_pc: 0, vectors: None };
        let shown = "CPU#0\n pc 0000000000001200\nCPU#1\n pc 0000000000009000\n";
        let target =
            Target { text: Some(0x1000..0x2000), registers: Some(registers.clone()), ..Target::default() };
        assert!(target.in_kernel(0, shown) && !target.in_kernel(1, shown));
        // Where it cannot be told.
        assert!(target.in_kernel(2, shown) && target.in_kernel(1, ""));
        assert!(Target { registers: Some(registers), ..Target::default() }.in_kernel(1, shown));
    }

    #[test]
    fn a_stack_is_used_from_its_top_down() {
        let stack =
            |words: &[&[u8; 8]]| words.iter().flat_map(|word| word.iter().copied()).collect::<Vec<_>>();
        assert_eq!(used(&stack(&[&UNUSED, &UNUSED])), 0);
        assert_eq!(used(&stack(&[&UNUSED, b"a frame.", &UNUSED, b"a frame."])), 24);
        assert_eq!(used(&stack(&[b"a frame.", &UNUSED])), 16);
    }

    #[test]
    fn a_stack_is_read_up_to_the_end_of_the_image() {
        let target = Target { writable: Some((0x6000..0x8000, 0x1_0000)), ..Target::default() };
        let piece = |sp| target.stack(sp).map(|piece| (piece.physical, piece.bytes));
        assert_eq!(piece(0x6100), Some((0x1_6100, 4096)));
        assert_eq!(piece(0x7ff0), Some((0x1_7ff0, 0x10)));
        assert_eq!(piece(0x8000), None);
        assert_eq!(piece(0xdead), None);
        assert_eq!(target.pointers(&[1, 0x6100, 0x6101, 0x9000, 0x7000, 0x6100]), [0x6100, 0x7000]);
        let many: Vec<u64> = (0..100).map(|number| 0x6000 + number * 8).collect();
        assert_eq!(target.pointers(&many).len(), CANDIDATES);
    }
}
