//! What the scheduler may do at a point, and how a schedule is written.

use std::fmt;
use std::str::FromStr;

/// What the scheduler may do at a point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// Run this CPU.
    Run(u8),
    /// Deliver the pending NMI to this CPU, and run it.
    Nmi(u8),
    /// Deliver the pending stop IPI to this CPU, and run it.
    Ipi(u8),
    /// An NMI from outside (a button) to this CPU.
    External(u8),
    /// A machine check on this CPU.
    MachineCheck(u8),
    /// A little time passes.
    Tick,
    /// A lot of time passes: the host did something else.
    Leap,
}

impl Action {
    /// The CPU that it is about.
    pub fn cpu(self) -> Option<usize> {
        match self {
            Action::Run(cpu)
            | Action::Nmi(cpu)
            | Action::Ipi(cpu)
            | Action::External(cpu)
            | Action::MachineCheck(cpu) => Some(cpu.into()),
            Action::Tick | Action::Leap => None,
        }
    }

    /// A small number for hashes and tables.
    pub fn code(self) -> u64 {
        match self {
            Action::Run(cpu) => u64::from(cpu),
            Action::Nmi(cpu) => 0x10 | u64::from(cpu),
            Action::Ipi(cpu) => 0x20 | u64::from(cpu),
            Action::External(cpu) => 0x30 | u64::from(cpu),
            Action::MachineCheck(cpu) => 0x40 | u64::from(cpu),
            Action::Tick => 0x50,
            Action::Leap => 0x60,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Run(cpu) => write!(f, "r{cpu}"),
            Action::Nmi(cpu) => write!(f, "n{cpu}"),
            Action::Ipi(cpu) => write!(f, "i{cpu}"),
            Action::External(cpu) => write!(f, "x{cpu}"),
            Action::MachineCheck(cpu) => write!(f, "m{cpu}"),
            Action::Tick => f.write_str("t"),
            Action::Leap => f.write_str("l"),
        }
    }
}

/// The choices of a run that differ from the first possibility (to go on), each with the number of the
/// point where it was made.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Schedule(pub Vec<(u32, Action)>);

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (point, action)) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{point}{action}")?;
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let bad =
                || format!("not a choice: `{part}` (a point and one of r n i x m with a CPU, or t or l)");
            let at = part.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(bad)?;
            if !part.is_ascii() {
                return Err(bad());
            }
            let (point, rest) = part.split_at(at);
            let point = point.parse().map_err(|_| bad())?;
            let (letter, cpu) = rest.split_at(1);
            let cpu = || cpu.parse().ok().filter(|cpu| usize::from(*cpu) < crate::MAX_CPUS).ok_or_else(bad);
            let action = match letter {
                "r" => Action::Run(cpu()?),
                "n" => Action::Nmi(cpu()?),
                "i" => Action::Ipi(cpu()?),
                "x" => Action::External(cpu()?),
                "m" => Action::MachineCheck(cpu()?),
                "t" => Action::Tick,
                "l" => Action::Leap,
                _ => return Err(bad()),
            };
            Ok((point, action))
        };
        text.split(',').filter(|part| !part.is_empty()).map(one).collect::<Result<_, _>>().map(Schedule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_reads_back() {
        let text = "3r1,17n0,18x2,40m1,41i3,90t,91l";
        assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        for bad in ["r1", "3", "3q", "3r9", "3é"] {
            assert!(bad.parse::<Schedule>().is_err(), "{bad}");
        }
    }
}
