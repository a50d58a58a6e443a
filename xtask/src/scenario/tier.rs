//! Conformance tiers: how a scenario is run as a part of one (PORTING.md says what each is about).

use super::{Kexec, Scenario};

/// How the scenarios of a tier are run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    /// On one CPU; otherwise on as many as the machine has by default.
    pub alone: bool,
    /// With a jump into a crash image, where the scenario has one; otherwise without.
    pub jumps: bool,
}

impl Column {
    /// Tier by tier.
    pub const ALL: [Column; 6] = [
        Column { alone: true, jumps: false },
        Column { alone: true, jumps: false },
        Column { alone: false, jumps: false },
        Column { alone: false, jumps: false },
        Column { alone: false, jumps: true },
        Column { alone: false, jumps: true },
    ];

    /// The column of a tier; `None` if there is no such tier.
    pub fn of(tier: u8) -> Option<Column> {
        Column::ALL.get(usize::from(tier)).copied()
    }

    /// The value of `--kexec` with which a scenario is run.
    pub fn kexec(self, scenario: &Scenario) -> Option<Kexec> {
        let mut values = scenario.kexec.iter().copied();
        let wanted = |kexec: &Kexec| (*kexec != Kexec::Off) == self.jumps;
        values.clone().find(wanted).or_else(|| values.next())
    }
}
