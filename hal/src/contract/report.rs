//! What comes of a check.

use core::fmt;

use crate::nmi::SignalError;
use crate::{CpuId, Unsupported};

/// What came of a check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The promise is kept.
    Held,
    /// The machine says that it lacks this.
    Unsupported(Unsupported),
    /// The promise is broken.
    Broken(Finding),
}

/// What was seen that must not be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Finding {
    /// What it is about.
    pub what: &'static str,
    /// On which CPU.
    pub cpu: Option<CpuId>,
    /// What had to be and what there was, where both are numbers.
    pub numbers: Option<(u64, u64)>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Verdict::Held => f.write_str("held"),
            Verdict::Unsupported(why) => why.fmt(f),
            Verdict::Broken(Finding { what, cpu, numbers }) => {
                if let Some(cpu) = cpu {
                    write!(f, "CPU {cpu}: ")?;
                }
                f.write_str(what)?;
                match numbers {
                    Some((wanted, found)) => write!(f, ": {found}, not {wanted}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// The answer of a look inside a check: how `?` gets out of one.
pub(super) type Look<T = ()> = Result<T, Verdict>;

/// A broken promise.
pub(super) fn broken<T>(what: &'static str, cpu: Option<CpuId>) -> Look<T> {
    Err(Verdict::Broken(Finding { what, cpu, numbers: None }))
}

/// A number that is not what it has to be.
pub(super) fn equal(what: &'static str, cpu: Option<CpuId>, wanted: u64, found: u64) -> Look {
    if wanted == found {
        return Ok(());
    }
    Err(Verdict::Broken(Finding { what, cpu, numbers: Some((wanted, found)) }))
}

/// Whether something is so.
pub(super) fn holds(so: bool, what: &'static str, cpu: Option<CpuId>) -> Look {
    if so { Ok(()) } else { broken(what, cpu) }
}

/// A capability, or what to say about its absence.
pub(super) fn there<T>(capability: Result<T, Unsupported>) -> Look<T> {
    capability.map_err(Verdict::Unsupported)
}

/// A signal that has to be sent.
pub(super) fn sent<T>(sent: Result<T, SignalError>, what: &'static str, cpu: CpuId) -> Look<T> {
    sent.map_err(|error| {
        let status = match error {
            SignalError::Refused(status) => Some((0, status as u64)),
            SignalError::NoSuchCpu | SignalError::Busy => None,
        };
        Verdict::Broken(Finding { what, cpu: Some(cpu), numbers: status })
    })
}

/// What all looks of a check come to.
pub(super) fn verdict(look: Look) -> Verdict {
    look.err().unwrap_or(Verdict::Held)
}
