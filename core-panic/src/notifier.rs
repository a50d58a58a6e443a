//! Who is told about a panic.

use core::fmt;

use crash_record::names::Class;
use hal::MAX_CPUS;
use hal::sync::BindOnce;

/// The most notifiers that can be registered, all classes together: bounds the walk (P3, P7).
pub const MAX_NOTIFIERS: usize = 2 * MAX_CPUS;

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
/// A notifier runs on the owner, on a panic stack, with interrupts masked and every other CPU stopped
/// or named as missing. Locks that others held stay held. So it must not block, allocate, take a lock
/// that waits, or wait for another CPU. It should finish within the budget of its step
/// ([`crate::order`]); it runs at most once; if it panics or faults it is marked as failed and the next
/// one runs. It cannot keep the others from running.
pub trait Notifier: Sync {
    /// A short name without spaces; it appears in the record.
    fn name(&self) -> &'static str;

    /// Does the work. A `Terminal` notifier may never return.
    fn notify(&self, context: &dyn Context) -> Result<(), Refusal>;
}

/// A notifier with its place.
#[derive(Clone, Copy)]
pub struct Registration {
    /// When it runs.
    pub class: Class,
    /// Within the class: higher first, equal ones in the order of their registration.
    pub priority: i16,
    /// Who.
    pub notifier: &'static dyn Notifier,
}

/// All notifiers. Registration allocates nothing and is refused when the table is full.
pub struct Registry {
    slots: [BindOnce<Registration>; MAX_NOTIFIERS],
}

/// The table of notifiers is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

impl Registry {
    /// Nobody.
    #[cfg(not(loom))]
    #[allow(clippy::new_without_default)] // a static's initialiser
    pub const fn new() -> Self {
        Registry { slots: [const { BindOnce::new() }; MAX_NOTIFIERS] }
    }

    /// Nobody.
    #[cfg(loom)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Registry { slots: core::array::from_fn(|_| BindOnce::new()) }
    }

    /// Adds a notifier. Its class is fixed from here on.
    pub fn register(&self, registration: Registration) -> Result<(), Full> {
        if self.slots.iter().any(|slot| slot.bind(registration)) { Ok(()) } else { Err(Full) }
    }

    fn get(&self, number: usize) -> Option<&Registration> {
        self.slots.get(number).and_then(BindOnce::get)
    }

    /// The number of the notifier of `class` that comes after `previous` in the order of priority;
    /// the first one for `None`. Every walk by repeated calls ends: each number comes up once.
    pub fn after(&self, class: Class, previous: Option<usize>) -> Option<usize> {
        let rank = |number: usize, registration: &Registration| (-i32::from(registration.priority), number);
        let last =
            previous.and_then(|number| self.get(number).map(|registration| rank(number, registration)));
        (0..MAX_NOTIFIERS)
            .filter_map(|number| self.get(number).map(|registration| (number, registration)))
            .filter(|(_, registration)| registration.class == class)
            .map(|(number, registration)| rank(number, registration))
            .filter(|rank| last.is_none_or(|last| *rank > last))
            .min()
            .map(|(_, number)| number)
    }

    /// The notifier with this number.
    pub fn notifier(&self, number: usize) -> Option<&'static dyn Notifier> {
        self.get(number).map(|registration| registration.notifier)
    }

    /// How many notifiers a class has.
    pub fn count(&self, class: Class) -> usize {
        (0..MAX_NOTIFIERS)
            .filter(|number| self.get(*number).is_some_and(|found| found.class == class))
            .count()
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
        while let Some(number) = registry.after(class, at) {
            names.push(registry.notifier(number).unwrap().name());
            at = Some(number);
        }
        names
    }

    #[test]
    fn by_class_then_priority_then_order() {
        let registry = Registry::new();
        for (class, priority, notifier) in [
            (Class::Inform, 0, &Named("a")),
            (Class::Terminal, 0, &Named("t")),
            (Class::Inform, 5, &Named("b")),
            (Class::Inform, 0, &Named("c")),
            (Class::Inform, i16::MIN, &Named("d")),
        ] {
            registry.register(Registration { class, priority, notifier }).unwrap();
        }
        assert_eq!(names(&registry, Class::Inform), ["b", "a", "c", "d"]);
        assert_eq!(names(&registry, Class::Terminal), ["t"]);
        assert_eq!(names(&registry, Class::BeforeDump), [] as [&str; 0]);
        assert_eq!(registry.count(Class::Inform), 4);
    }

    #[test]
    fn a_full_table_refuses() {
        let registry = Registry::new();
        let one = Registration { class: Class::Inform, priority: 0, notifier: &Named("x") };
        assert!((0..MAX_NOTIFIERS).all(|_| registry.register(one).is_ok()));
        assert_eq!(registry.register(one), Err(Full));
        assert_eq!(names(&registry, Class::Inform).len(), MAX_NOTIFIERS);
    }
}
