//! Who is told about a panic.
//!
//! A table of fixed size, walked by number: it has no links, so it has no cycles. What was registered at
//! run time lies in memory that anything may have written to before the panic, so it is kept twice and
//! used only where both agree; a slot that does not hold is left out and named by its number, and the
//! others run. What runs before the dump is a constant.

use core::fmt;

use crash_lock::Panicking;
use crash_record::names::Class;
use hal::dump::BeforeDump;
use hal::sync::{AtomicU32, BindOnce, Look, Ordering};
use hal::{CpuId, MAX_CPUS, Platform};

use crate::sequence::Panic;

/// The most notifiers that can be registered at run time, all classes together: bounds the walk (P3, P7).
pub const MAX_NOTIFIERS: usize = 2 * MAX_CPUS;
/// The most notifiers of class `BeforeDump`.
pub const MAX_BEFORE_DUMP: usize = 32;

const _: () = assert!(MAX_NOTIFIERS <= 32, "a bit of a word for each");

/// Why a notifier did not do its work, in one line. It is recorded and the next one runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There was nothing to do, or it could not be done in this state.
    Skipped(&'static str),
    /// It tried and failed.
    Failed(&'static str),
}

/// What a notifier is given: its only way to speak.
pub trait Context {
    /// Puts a line into the log and onto the emergency console. What is longer than a log line is
    /// cut off.
    fn line(&self, text: fmt::Arguments<'_>);

    /// Writes an event line of this kind with these fields.
    fn event(&self, kind: &str, fields: &[(&str, &dyn fmt::Display)]);

    /// What [`crash_lock::CrashLock::enter`] wants: the proof that its caller is on the panic path. `None` if
    /// somebody else took the right to hand tokens out, which no lock can then be entered with.
    fn token(&self) -> Option<&Panicking<'_>>;

    /// Clock, ns.
    fn now_ns(&self) -> u64;

    /// One byte from the console, if one waits.
    fn read(&self) -> Option<u8>;

    /// One polite iteration of a busy wait.
    fn relax(&self);
}

/// Somebody who wants to know.
///
/// # Contract
///
/// *Context.* A notifier runs on the owner, on a panic stack, with interrupts masked and every other CPU
/// stopped or named as missing. It runs at most once in the life of the kernel. A panic, a fault or a
/// deadline inside it marks it as failed, and it is never returned to: whatever it held stays held, whatever
/// it was writing stays half written.
///
/// *It may* read memory, drive hardware that nobody else drives, call firmware by the rules of that firmware,
/// and speak through its [`Context`].
///
/// *It must not* block, allocate, take a lock that waits, wait for another CPU (nobody answers any more), enable
/// interrupts, return to a scheduler, or hand out addresses on its stack: a panic stack is small, a few
/// kilobytes, and is used again.
///
/// *Time.* It should finish within the budget of its step ([`crate::order`]): 10 ms before the dump, 50 ms for
/// the classes that inform and clean up, a second for the last one, each times `panic.scale`. After that it is
/// abandoned. Hardware that does not answer is what it has to expect.
///
/// *Result.* `Ok` is *done*; everything else says why ([`Refusal`]), and is in the record. It cannot keep the
/// others from running.
///
/// *A `Terminal` one may never return*, which is why they run last, after everything that a dump or a report
/// needs; the final action follows whether they return or not.
pub trait Notifier: Sync {
    /// A short name without spaces; it appears in the record.
    fn name(&self) -> &'static str;

    /// Does the work.
    fn notify(&self, context: &dyn Context) -> Result<(), Refusal>;
}

/// The classes that are registered at run time. There is no `BeforeDump` among them: that one is a constant
/// ([`Registry::with_before_dump`]).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateClass {
    /// Tells somebody.
    Inform,
    /// Cleans up before a reset.
    PreReboot,
    /// May never return, so it is last.
    Terminal,
}

impl LateClass {
    /// The class as the record knows it.
    pub const fn class(self) -> Class {
        match self {
            LateClass::Inform => Class::Inform,
            LateClass::PreReboot => Class::PreReboot,
            LateClass::Terminal => Class::Terminal,
        }
    }

    /// This class, if it can be registered at run time.
    pub const fn of(class: Class) -> Option<LateClass> {
        match class {
            Class::BeforeDump => None,
            Class::Inform => Some(LateClass::Inform),
            Class::PreReboot => Some(LateClass::PreReboot),
            Class::Terminal => Some(LateClass::Terminal),
        }
    }
}

/// A notifier with its place.
#[derive(Clone, Copy)]
pub struct Registration {
    /// When it runs. Fixed from here on.
    pub class: LateClass,
    /// Within the class: higher first, equal ones in the order of their registration.
    pub priority: i16,
    /// Who.
    pub notifier: &'static dyn Notifier,
}

/// A notifier that somebody vouched for.
pub trait BeforeDumpNotifier: Notifier + BeforeDump {}
impl<T: Notifier + BeforeDump> BeforeDumpNotifier for T {}

/// A notifier of class `BeforeDump` with its place: a line of a constant table.
pub struct BeforeDumpEntry {
    /// Within the class: higher first, equal ones in their order here.
    pub priority: i16,
    /// False: it runs only if the kernel has armed it ([`Registry::arm`]), such as when it has found the
    /// device that this is about.
    pub standing: bool,
    /// Who.
    pub notifier: &'static dyn BeforeDumpNotifier,
}

/// A registration as it is kept: twice, its number once with every bit turned over, so that a stretch of
/// memory which is filled with one value does not look like a registration. A plain number, since it has no
/// values that must not be.
#[derive(Clone, Copy)]
#[repr(C)] // the halves apart
struct Kept {
    notifier: &'static dyn Notifier,
    place: u32,
    turned: u32,
    copy: &'static dyn Notifier,
}

impl Kept {
    fn new(registration: &Registration) -> Kept {
        let class = u32::from(registration.class.class().number());
        let place = class << 16 | u32::from(registration.priority as u16);
        Kept { notifier: registration.notifier, place, turned: !place, copy: registration.notifier }
    }

    /// What was registered, if both halves say the same: class, priority, where the notifier is, and what is
    /// called.
    #[allow(ambiguous_wide_pointer_comparisons)] // two copies of one value
    fn found(&self) -> Option<Found> {
        let whole = self.place == !self.turned && core::ptr::eq(self.notifier, self.copy);
        let class =
            Class::from_number((self.place >> 16) as u16).filter(|class| *class != Class::BeforeDump)?;
        let priority = self.place as u16 as i16;
        whole.then_some(Found { class, priority, notifier: self.notifier })
    }
}

/// A notifier that may be called.
#[derive(Clone, Copy)]
struct Found {
    class: Class,
    priority: i16,
    notifier: &'static dyn Notifier,
}

/// Where a notifier comes in its class: by priority, then by number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place(u32);

impl Place {
    fn new(priority: i16, number: usize) -> Place {
        let later = (i32::from(i16::MAX) - i32::from(priority)) as u32;
        Place(later << 16 | number as u32)
    }

    /// The notifier's number.
    pub const fn number(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    /// As a word that is never 0, and back.
    pub(crate) const fn word(self) -> u32 {
        self.0.wrapping_add(1)
    }

    /// The place in a word; `None` for 0.
    pub(crate) fn from_word(word: u32) -> Option<Place> {
        word.checked_sub(1).map(Place)
    }
}

/// A slot or line as a bit of a word; no bit beyond the word.
const fn bit(number: usize) -> u32 {
    if number < 32 { 1 << number } else { 0 }
}

const _: () = assert!(MAX_NOTIFIERS + MAX_BEFORE_DUMP < 0xffff, "the word of a place does not overflow");

/// All notifiers. Registration allocates nothing and is refused when the table is full.
pub struct Registry {
    slots: [BindOnce<Kept>; MAX_NOTIFIERS],
    /// Slots that were given away, a bit each: one that is empty all the same was written over.
    given: AtomicU32,
    /// The constant table, and the same again.
    before_dump: [&'static [BeforeDumpEntry]; 2],
    /// Lines of the constant table that were armed, a bit each.
    armed: AtomicU32,
    /// Slots that were named as not whole, a bit each.
    named: AtomicU32,
    /// 1 once the constant table was named as not what it was.
    table_named: AtomicU32,
}

/// The table of notifiers is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Registry {
    hal::const_unless_loom! {
        /// Nobody.
        #[allow(clippy::new_without_default)] // a static's initialiser
        pub fn new() -> Self {
            Registry::with_before_dump(&[])
        }
    }

    /// Nobody but these, of class `BeforeDump`. What goes beyond [`MAX_BEFORE_DUMP`] is never called; a
    /// longer table does not compile where this is a constant.
    #[cfg(not(loom))]
    pub const fn with_before_dump(table: &'static [BeforeDumpEntry]) -> Self {
        assert!(table.len() <= MAX_BEFORE_DUMP);
        Registry {
            slots: [const { BindOnce::new() }; MAX_NOTIFIERS],
            given: AtomicU32::new(0),
            before_dump: [table; 2],
            armed: AtomicU32::new(0),
            named: AtomicU32::new(0),
            table_named: AtomicU32::new(0),
        }
    }

    /// Nobody but these.
    #[cfg(loom)]
    pub fn with_before_dump(table: &'static [BeforeDumpEntry]) -> Self {
        Registry {
            slots: core::array::from_fn(|_| BindOnce::new()),
            given: AtomicU32::new(0),
            before_dump: [table; 2],
            armed: AtomicU32::new(0),
            named: AtomicU32::new(0),
            table_named: AtomicU32::new(0),
        }
    }

    /// Adds a notifier. Its class is fixed from here on.
    pub fn register(&self, registration: Registration) -> Result<(), Full> {
        let kept = Kept::new(&registration);
        let number = self.slots.iter().position(|slot| slot.bind(kept)).ok_or(Full)?;
        self.given.fetch_or(bit(number), Ordering::AcqRel);
        Ok(())
    }

    /// From here on a line of the constant table that is not standing runs too. False if there is no such
    /// line.
    pub fn arm(&self, line: usize) -> bool {
        let there = self.table().is_some_and(|table| line < table.len());
        if there {
            self.armed.fetch_or(bit(line), Ordering::AcqRel);
        }
        there
    }

    /// The constant table, if the way to it is what it was.
    fn table(&self) -> Option<&'static [BeforeDumpEntry]> {
        let [table, copy] = self.before_dump;
        (core::ptr::eq(table, copy) && table.len() <= MAX_BEFORE_DUMP).then_some(table)
    }

    fn slot(&self, number: usize) -> Option<Found> {
        self.slots.get(number).and_then(BindOnce::get).and_then(Kept::found)
    }

    fn line(&self, line: usize, armed: u32) -> Option<Found> {
        let entry = self.table()?.get(line)?;
        let notifier: &'static dyn Notifier = entry.notifier;
        let runs = entry.standing || armed & bit(line) != 0;
        runs.then_some(Found { class: Class::BeforeDump, priority: entry.priority, notifier })
    }

    /// The notifiers of a class with their numbers. Numbers from 0 are slots; behind them come the lines of
    /// the constant table.
    fn of(&self, class: Class) -> impl Iterator<Item = (usize, Found)> + '_ {
        let (slots, lines) = match class {
            Class::BeforeDump => (0, MAX_BEFORE_DUMP),
            _ => (MAX_NOTIFIERS, 0),
        };
        let armed = if lines == 0 { 0 } else { self.armed.load(Ordering::Acquire) };
        let slots = (0..slots).filter_map(|number| Some((number, self.slot(number)?)));
        let lines = (0..lines).filter_map(move |line| Some((MAX_NOTIFIERS + line, self.line(line, armed)?)));
        slots.chain(lines).filter(move |(_, found)| found.class == class)
    }

    /// The notifier of `class` that comes after `previous`; the first one for `None`. Every walk by
    /// repeated calls ends and calls nobody twice, also if slots are written to meanwhile: places only grow.
    pub fn after(&self, class: Class, previous: Option<Place>) -> Option<Place> {
        self.of(class)
            .map(|(number, found)| Place::new(found.priority, number))
            .filter(|place| previous.is_none_or(|previous| *place > previous))
            .min()
    }

    /// The notifier with this number.
    pub fn notifier(&self, number: usize) -> Option<&'static dyn Notifier> {
        let found = match number.checked_sub(MAX_NOTIFIERS) {
            None => self.slot(number),
            Some(line) => self.line(line, self.armed.load(Ordering::Acquire)),
        };
        found.map(|found| found.notifier)
    }

    /// How many notifiers a class has.
    pub fn count(&self, class: Class) -> usize {
        // At most as many as there are slots; `count` would check for an overflow.
        self.of(class).fold(0, |count: usize, _| count.saturating_add(1))
    }

    /// Slots that are not whole and were not named before, a bit each: a stray write hit them, or a CPU was
    /// stopped while it registered. They count as named from here on.
    fn lost(&self) -> u32 {
        let (given, named) = (self.given.load(Ordering::Acquire), self.named.load(Ordering::Acquire));
        let mut lost = 0;
        for (number, slot) in
            (0..MAX_NOTIFIERS).zip(&self.slots).filter(|(number, _)| named & bit(*number) == 0)
        {
            let whole = match slot.look() {
                Look::Bound(kept) => kept.found().is_some(),
                Look::Empty => given & bit(number) == 0,
                Look::Neither => false,
            };
            if !whole {
                lost |= bit(number);
            }
        }
        if lost != 0 {
            self.named.fetch_or(lost, Ordering::AcqRel);
        }
        lost
    }
}

impl<P: Platform> Panic<'_, P> {
    /// Names the slots that will not be called, each once (P5). Their class is not known, so the first step
    /// that looks names them.
    pub(crate) fn name_lost_notifiers(&self, me: CpuId) {
        let Some(step) = self.current().map(|spec| spec.step) else { return };
        let lost = self.notifiers.lost();
        for number in (0..MAX_NOTIFIERS).filter(|number| lost & bit(*number) != 0) {
            self.note(
                me,
                step,
                format_args!("notifier slot {number} is left out: damaged, or not fully registered"),
            );
        }
        if self.notifiers.table().is_none() && self.notifiers.table_named.swap(1, Ordering::AcqRel) == 0 {
            self.note(me, step, format_args!("the table of before-dump notifiers is left out: damaged"));
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    struct Named(&'static str);
    impl Notifier for Named {
        fn name(&self) -> &'static str {
            self.0
        }
        fn notify(&self, _: &dyn Context) -> Result<(), Refusal> {
            Ok(())
        }
    }

    fn names(registry: &Registry, class: Class) -> Vec<&'static str> {
        let mut at = None;
        let mut names = Vec::new();
        while let Some(place) = registry.after(class, at) {
            names.push(registry.notifier(place.number()).unwrap().name());
            at = Some(place);
        }
        names
    }

    #[test]
    fn by_class_then_priority_then_order() {
        let registry = Registry::new();
        for (class, priority, notifier) in [
            (LateClass::Inform, 0, &Named("a")),
            (LateClass::Terminal, 0, &Named("t")),
            (LateClass::Inform, 5, &Named("b")),
            (LateClass::Inform, 0, &Named("c")),
            (LateClass::Inform, i16::MIN, &Named("d")),
            (LateClass::Inform, i16::MAX, &Named("z")),
        ] {
            registry.register(Registration { class, priority, notifier }).unwrap();
        }
        assert_eq!(names(&registry, Class::Inform), ["z", "b", "a", "c", "d"]);
        assert_eq!(names(&registry, Class::Terminal), ["t"]);
        assert_eq!(names(&registry, Class::BeforeDump), [] as [&str; 0]);
        assert_eq!(registry.count(Class::Inform), 5);
    }

    #[test]
    fn a_full_table_refuses() {
        let registry = Registry::new();
        let one = Registration { class: LateClass::Inform, priority: 0, notifier: &Named("x") };
        assert!((0..MAX_NOTIFIERS).all(|_| registry.register(one).is_ok()));
        assert_eq!(registry.register(one), Err(Full));
        assert_eq!(names(&registry, Class::Inform).len(), MAX_NOTIFIERS);
    }

    #[test]
    fn a_stray_number_is_not_whole() {
        let registry = Registry::new();
        let one = Registration { class: LateClass::Inform, priority: 0, notifier: &Named("x") };
        let whole = Kept::new(&one);
        for (number, kept) in [
            Kept { place: 0xffff_0000, turned: !0xffff_0000, ..whole },
            Kept { place: 0x0001_0000, turned: !0x0001_0000, ..whole },
            Kept { place: whole.place ^ 1, ..whole },
            Kept { copy: &Named("y"), ..whole },
        ]
        .into_iter()
        .enumerate()
        {
            registry.slots[number].bind(kept);
        }
        registry.register(one).unwrap();
        // Given away, and empty all the same.
        registry.given.fetch_or(1 << 9, Ordering::AcqRel);
        assert_eq!(names(&registry, Class::Inform), ["x"]);
        assert_eq!(names(&registry, Class::BeforeDump), [] as [&str; 0], "that class is not registered so");
        assert_eq!(registry.lost(), 0b10_0000_1111);
        assert_eq!(registry.lost(), 0, "each once");
    }
}
