//! What the panic path decided about a lock that was held, or about a call into firmware that others were in the way
//! of: told to the sequence, which puts it into the record.

use hal::CpuId;

use crate::firmware::Forbidden;
use crate::panicking::Refused;
use crate::policy::Found;

/// What was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked {
    /// A lock; the name is the type of the value behind it.
    Lock(&'static str),
    /// A service of firmware, by its name.
    Firmware(&'static str),
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Taken from who held it. For a service: the lock in front of firmware was, and the call is made.
    Stolen {
        /// Who held it.
        from: CpuId,
        /// How that one ended.
        found: Found,
    },
    /// Passed over.
    Refused(Refused),
    /// It would have been waited for, without a token, and the step that asked is abandoned.
    Abandons {
        /// Who holds it.
        holder: CpuId,
    },
    /// The call is not made.
    Forbidden {
        /// Why.
        why: Forbidden,
        /// The name of the service that the CPU in `why` is in, if that is why.
        beside: Option<&'static str>,
    },
}

/// One decision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ruling {
    /// What was asked for.
    pub asked: Asked,
    /// What came of it.
    pub answer: Answer,
}
