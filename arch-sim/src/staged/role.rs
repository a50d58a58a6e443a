//! What one CPU does when the panic comes: `test.role=CPU:INTERRUPTS/LOCK/US/THEN`, as in `kernel/src/roles.rs`.

use super::NO_SUCH_VALUE;
use crate::lock::Which;
use crate::plan::{Op, Plan};

/// The locks that the panic path does without if they are held, by number.
const LOCKS: [Which; 2] = [Which::Skip, Which::Store];
/// The longest that a role goes on after the panic, µs: more does not fit the simulated clock.
const MOST_US: u32 = 60_000_000;

/// What one CPU does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Role {
    interrupts: bool,
    /// The lock that it holds.
    pub lock: Option<Which>,
    us: u32,
    then: Then,
}

/// What comes after that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    End,
    Ask(Which),
    Panic,
    Loop,
}

fn lock(number: &str) -> Result<Which, &'static str> {
    let number: usize = number.parse().map_err(|_| NO_SUCH_VALUE)?;
    LOCKS.get(number).copied().ok_or("there are two such locks")
}

impl Role {
    /// Reads `INTERRUPTS/LOCK/US/THEN`.
    pub fn read(text: &str) -> Result<Role, &'static str> {
        let parts: Vec<_> = text.split('/').collect();
        let [interrupts, held, us, then] = parts.as_slice() else { return Err(NO_SUCH_VALUE) };
        let interrupts = match *interrupts {
            "on" => true,
            "off" => false,
            _ => return Err(NO_SUCH_VALUE),
        };
        let held = if *held == "none" { None } else { Some(lock(held)?) };
        let us = us.parse().ok().filter(|us| *us <= MOST_US).ok_or(NO_SUCH_VALUE)?;
        let then = match *then {
            "end" => Then::End,
            "panic" => Then::Panic,
            "loop" => Then::Loop,
            other => Then::Ask(lock(other.strip_prefix("ask-").ok_or(NO_SUCH_VALUE)?)?),
        };
        if held.is_some_and(|held| then == Then::Ask(held)) {
            return Err(NO_SUCH_VALUE);
        }
        Ok(Role { interrupts, lock: held, us, then })
    }

    /// The lock that it asks for.
    pub fn asks(&self) -> Option<Which> {
        if let Then::Ask(which) = self.then { Some(which) } else { None }
    }

    /// As a program. `held`: somebody holds what it asks for, and is waited for.
    pub fn plan(&self, held: bool) -> Plan {
        let mut ops = Vec::new();
        ops.extend((!self.interrupts).then_some(Op::Mask));
        ops.extend(self.lock.map(Op::Take));
        ops.extend(self.asks().filter(|_| held).map(Op::Await));
        ops.push(Op::Ready);
        // Who asks after 0 µs is waiting already when the panic comes.
        if self.us != 0 || self.asks().is_none() {
            ops.push(Op::After(self.us.div_ceil(1_000) as u16));
        }
        match self.then {
            Then::End => {}
            Then::Ask(which) => ops.extend([Op::Take(which), Op::Drop]),
            Then::Panic => ops.push(Op::Panic),
            Then::Loop => ops.push(Op::Spin),
        }
        ops.extend(self.lock.map(|_| Op::Drop));
        ops.extend((!self.interrupts).then_some(Op::Unmask));
        Plan::new(&ops)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_is_a_program() {
        let role = Role::read("on/1/0/ask-0").expect("a role");
        let ops = [Op::Take(Which::Store), Op::Await(Which::Skip), Op::Ready, Op::Take(Which::Skip)];
        assert_eq!(role.plan(true), Plan::new(&[&ops[..], &[Op::Drop, Op::Drop]].concat()));
        let alone = Role::read("off/none/1500/loop").expect("a role");
        let ops = [Op::Mask, Op::Ready, Op::After(2), Op::Spin, Op::Unmask];
        assert_eq!(alone.plan(false), Plan::new(&ops));
        for odd in ["", "on/0/0", "on/0/0/end/x", "up/0/0/end", "on/9/0/end", "on/0/x/end", "on/0/0/ask-0"] {
            assert!(Role::read(odd).is_err(), "{odd}");
        }
    }
}
