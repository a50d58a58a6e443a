//! Which rows of the list of failure modes a scenario stages, how, and what differs from machine to machine.

use serde::Deserialize;

use super::{Input, Scenario};

/// Rows of the list of failure modes: 1 to this.
pub const ROWS: u32 = 48;

/// Who goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Staging {
    /// The machine, or the code that the row is about.
    Native,
    /// Code of the test kernel that stands in for what this machine cannot be made to do.
    Injected,
}

impl Staging {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Staging::Native => "native",
            Staging::Injected => "injected",
        }
    }
}

/// `[on.<machine>]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnMachine {
    /// Why it has no meaning there at all.
    #[serde(default)]
    pub not_applicable: Option<String>,
    /// Instead of the scenario's own.
    #[serde(default)]
    pub staging: Option<Staging>,
    /// Added to the kernel command line there.
    #[serde(default)]
    pub command_line: String,
    /// Further inputs there.
    #[serde(default)]
    pub input: Vec<Input>,
}

impl Scenario {
    /// The scenario as it is on this machine.
    pub fn on_machine(mut self, machine: &str) -> Scenario {
        let Some(on) = self.on.get(machine).cloned() else { return self };
        self.command_line = format!("{} {}", self.command_line, on.command_line).trim().to_owned();
        self.input.extend(on.input);
        self.staging = on.staging.or(self.staging);
        self
    }

    /// What a table says about its rows on this machine.
    pub fn staged_on(&self, machine: &str) -> String {
        let on = self.on.get(machine);
        match on.and_then(|on| on.not_applicable.as_deref()) {
            Some(reason) => format!("n/a: {reason}"),
            None => {
                let staging = on.and_then(|on| on.staging).or(self.staging);
                staging.map_or_else(String::new, |staging| staging.name().to_owned())
            }
        }
    }
}
