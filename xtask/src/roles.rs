//! What the kernel command line tells single CPUs to do when the panic comes: `test.role`, and the grace.
//!
//! `CPU:INTERRUPTS/LOCK/US/THEN`, as the kernel's `roles.rs` has it. Read here for what a run is judged by, and
//! written for trials.

use std::collections::BTreeMap;
use std::fmt;

/// What one CPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Role {
    /// With interrupts on.
    pub interrupts: bool,
    /// The lock that it holds.
    pub lock: Option<u32>,
    /// How long it goes on after the moment of the panic, µs.
    pub us: u64,
    /// What comes then.
    pub then: Then,
}

/// What comes then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// It releases what it holds.
    End,
    /// It asks for this lock first.
    Ask(u32),
    /// It panics.
    Panic,
    /// Nothing, for ever.
    Loop,
}

impl Role {
    fn parse(value: &str) -> Option<(usize, Role)> {
        let (cpu, role) = value.split_once(':')?;
        let [interrupts, lock, us, then] = <[&str; 4]>::try_from(role.split('/').collect::<Vec<_>>()).ok()?;
        let role = Role {
            interrupts: interrupts == "on",
            lock: if lock == "none" { None } else { Some(lock.parse().ok()?) },
            us: us.parse().ok()?,
            then: match then {
                "end" => Then::End,
                "panic" => Then::Panic,
                "loop" => Then::Loop,
                other => Then::Ask(other.strip_prefix("ask-")?.parse().ok()?),
            },
        };
        Some((cpu.parse().ok()?, role))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", if self.interrupts { "on" } else { "off" })?;
        match self.lock {
            Some(lock) => write!(f, "{lock}/{}/", self.us)?,
            None => write!(f, "none/{}/", self.us)?,
        }
        match self.then {
            Then::End => f.write_str("end"),
            Then::Ask(lock) => write!(f, "ask-{lock}"),
            Then::Panic => f.write_str("panic"),
            Then::Loop => f.write_str("loop"),
        }
    }
}

/// The part of a kernel command line that is about this.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Roles {
    /// By CPU.
    pub of: BTreeMap<usize, Role>,
    /// `panic.grace`, ms, where it is said.
    pub grace_ms: Option<u64>,
}

impl Roles {
    /// Reads it. What is malformed is the kernel's to complain of.
    pub fn of(command_line: &str) -> Roles {
        let mut roles = Roles::default();
        for word in command_line.split_ascii_whitespace() {
            match word.split_once('=') {
                Some(("test.role", value)) => roles.of.extend(Role::parse(value)),
                Some(("panic.grace", value)) => roles.grace_ms = value.parse().ok(),
                _ => {}
            }
        }
        roles
    }

    /// Who holds a lock when the panic comes.
    pub fn holder(&self, lock: u32) -> Option<usize> {
        self.of.iter().find(|(_, role)| role.lock == Some(lock)).map(|(cpu, _)| *cpu)
    }

    /// How long after the moment of the panic `cpu` is through with what it does, by its role and, if it asks for
    /// a lock, by that of whoever holds it, µs; `None`: never. `owner` never gets anywhere.
    pub fn ends_us(&self, cpu: usize, owner: usize) -> Option<u64> {
        self.ends_within(cpu, owner, self.of.len())
    }

    /// `depth` ends what is a circle.
    fn ends_within(&self, cpu: usize, owner: usize, depth: usize) -> Option<u64> {
        let role = self.of.get(&cpu).filter(|_| cpu != owner && depth > 0)?;
        match role.then {
            Then::End => Some(role.us),
            Then::Ask(lock) => match self.holder(lock) {
                Some(holder) => Some(role.us.max(self.ends_within(holder, owner, depth - 1)?)),
                None => Some(role.us),
            },
            Then::Panic | Then::Loop => None,
        }
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.of.iter().map(|(cpu, role)| format!("test.role={cpu}:{role}")).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "test.role=1:off/0/250/end test.role=2:on/1/0/ask-0 test.role=3:off/none/0/loop \
                        test.role=4:on/none/7/ask-1 test.role=5:on/2/9/panic";

    #[test]
    fn what_is_written_is_what_is_read() {
        let roles = Roles::of(&format!("x=1 panic.grace=50 {LINE}"));
        assert_eq!((roles.to_string().as_str(), roles.grace_ms), (LINE, Some(50)));
        assert!(Roles::of("test.role=1:on/0/0 test.role=1:on/0/0/wait test.role=x:on/0/0/end").of.is_empty());
        let later = Roles::of("test.role=1:off/0/250/end test.role=1:on/none/0/end");
        assert_eq!(later.to_string(), "test.role=1:on/none/0/end");
    }

    #[test]
    fn who_waits_ends_after_whom_it_waits_for() {
        let roles = Roles::of(LINE);
        assert_eq!(
            [1, 2, 3, 4, 5, 6].map(|cpu| roles.ends_us(cpu, 0)),
            [Some(250), Some(250), None, Some(250), None, None]
        );
        // The owner does not release anything, and a circle does not end.
        assert_eq!(roles.ends_us(2, 1), None);
        let circle = Roles::of("test.role=1:on/0/0/ask-1 test.role=2:on/1/0/ask-0");
        assert_eq!(circle.ends_us(1, 0), None);
    }
}
