//! What single CPUs do when the panic comes: `test.role`.
//!
//! `CPU:INTERRUPTS/LOCK/US/THEN` says that a CPU runs with interrupts `on` or `off`, holds the lock with this
//! number, or `none`, and does so for so many µs after the moment of the panic. Then comes the `end` of it, it
//! asks for another lock (`ask-N`), it panics itself (`panic`), or it never gets anywhere (`loop`). Who asks after
//! 0 µs is waiting already when the panic comes. Of the CPU that panics, only the lock matters.

use core_panic::config::ConfigError;

/// Locks that there are.
pub const LOCKS: usize = 4;

/// The longest that a role goes on after the panic, µs.
pub const MOST_US: u64 = 60_000_000;

/// What one CPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Role {
    /// Whether it does it with interrupts on.
    pub interrupts: bool,
    /// The lock that it holds.
    pub lock: Option<usize>,
    /// How long it goes on after the moment of the panic, µs.
    pub us: u64,
    /// What comes then.
    pub then: Then,
}

/// What comes after that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// `end`: it releases what it holds, and goes back to the load.
    End,
    /// `ask-N`: it asks for another lock, and when it has it, it is the end.
    Ask(usize),
    /// `panic`: it panics.
    Panic,
    /// `loop`: it goes on for ever.
    Loop,
}

const EXPECTED: ConfigError = ConfigError::Expected(
    "CPU:INTERRUPTS/LOCK/US/THEN: on or off; none or 0 to 3; end, ask-N, panic or loop",
);

/// Reads the value of a `test.role`: the CPU and what it does.
pub fn parse(value: &str) -> Result<(usize, Role), ConfigError> {
    let (cpu, role) = value.split_once(':').ok_or(EXPECTED)?;
    let mut parts = role.split('/');
    let mut next = || parts.next().ok_or(EXPECTED);
    let interrupts = match next()? {
        "on" => true,
        "off" => false,
        _ => return Err(EXPECTED),
    };
    let lock = match next()? {
        "none" => None,
        number => Some(lock(number)?),
    };
    let us = number(next()?).filter(|us| *us <= MOST_US).ok_or(EXPECTED)?;
    let then = match next()? {
        "end" => Then::End,
        "panic" => Then::Panic,
        "loop" => Then::Loop,
        other => Then::Ask(lock_asked(other, lock)?),
    };
    if parts.next().is_some() {
        return Err(EXPECTED);
    }
    let cpu = number(cpu).filter(|cpu| *cpu < hal::MAX_CPUS as u64).ok_or(EXPECTED)?;
    Ok((cpu as usize, Role { interrupts, lock, us, then }))
}

fn lock_asked(text: &str, held: Option<usize>) -> Result<usize, ConfigError> {
    let other = lock(text.strip_prefix("ask-").ok_or(EXPECTED)?)?;
    // Nobody waits for what it holds itself.
    if held == Some(other) { Err(EXPECTED) } else { Ok(other) }
}

fn lock(text: &str) -> Result<usize, ConfigError> {
    number(text).filter(|lock| *lock < LOCKS as u64).map(|lock| lock as usize).ok_or(EXPECTED)
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_kind() {
        let role = |interrupts, lock, us, then| Role { interrupts, lock, us, then };
        assert_eq!(parse("1:off/0/250/end"), Ok((1, role(false, Some(0), 250, Then::End))));
        assert_eq!(parse("15:on/none/0/ask-3"), Ok((15, role(true, None, 0, Then::Ask(3)))));
        assert_eq!(parse("2:off/none/0/loop"), Ok((2, role(false, None, 0, Then::Loop))));
        assert_eq!(parse("0:on/3/9/panic"), Ok((0, role(true, Some(3), 9, Then::Panic))));
    }

    #[test]
    fn refuses_the_rest() {
        for value in [
            "",
            "1",
            "1:",
            "x:on/0/0/end",
            "16:on/0/0/end",
            "1:maybe/0/0/end",
            "1:on/4/0/end",
            "1:on/0/-1/end",
            "1:on/0/60000001/end",
            "1:on/0/0/ask-0",
            "1:on/0/0/ask",
            "1:on/0/0/wait",
            "1:on/0/0/end/on",
        ] {
            assert_eq!(parse(value), Err(EXPECTED), "{value}");
        }
    }
}
