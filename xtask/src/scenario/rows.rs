//! Which rows of the list of failure modes a scenario stages, how, and what differs from machine to machine.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Input, Scenario};
use crate::conformance::SIMULATOR;
use crate::machine::Capability;

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

/// The name that stands for every machine without a table of its own.
const OTHERS: &str = "others";

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
    /// What differs on this machine.
    pub fn differing_on(&self, machine: &str) -> Option<&OnMachine> {
        self.on.get(machine).or_else(|| self.on.get(OTHERS))
    }

    /// Whether `name` is one that a table can have beside those of machines: the simulated machine has one, too.
    pub fn stands_for_no_machine(name: &str) -> bool {
        name == OTHERS || name == SIMULATOR
    }

    /// The scenario as it is on this machine.
    pub fn on_machine(mut self, machine: &str) -> Scenario {
        let Some(on) = self.differing_on(machine).cloned() else { return self };
        self.command_line = format!("{} {}", self.command_line, on.command_line).trim().to_owned();
        self.input.extend(on.input);
        self.staging = on.staging.or(self.staging);
        self
    }

    /// What a table says about its rows on this machine. What the machine lacks is said by name: its reason is beside the
    /// machine.
    pub fn staged_on(&self, machine: &str, lacks: &BTreeMap<Capability, String>) -> String {
        let on = self.differing_on(machine);
        if let Some(reason) = on.and_then(|on| on.not_applicable.as_deref()) {
            return format!("n/a: {reason}");
        }
        if let Some(needed) = self.requires.iter().find(|needed| lacks.contains_key(needed)) {
            return format!("n/a: lacks `{}`", needed.name());
        }
        let staging = on.and_then(|on| on.staging).or(self.staging);
        staging.map_or_else(String::new, |staging| staging.name().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const TEXT: &str = r#"
name = "s"
summary = "made up"
tiers = [1]
command_line = "a=1"
[on.m]
command_line = "b=2"
[on.others]
not_applicable = "no such thing there"
[expect]
reason = "r"
ending = "e"
steps = ["announce:done"]
"#;

    #[test]
    fn others_are_those_without_a_table() {
        let scenario = Scenario::parse(TEXT, Path::new("scenarios/s.toml")).unwrap();
        let reason = |machine: &str| scenario.differing_on(machine)?.not_applicable.clone();
        assert_eq!(reason("m"), None);
        assert_eq!(reason("n").as_deref(), Some("no such thing there"));
        assert_eq!(scenario.staged_on("n", &BTreeMap::new()), "n/a: no such thing there");
        assert_eq!(scenario.clone().on_machine("m").command_line, "a=1 b=2");
        let fits = |machines: &[&str]| {
            let machines: Vec<_> = machines.iter().map(|name| name.to_string()).collect();
            scenario.fits(&machines, |_| None, TEXT, Path::new("scenarios/s.toml"))
        };
        assert!(fits(&["m", "n"]).is_ok());
        assert!(fits(&["n"]).unwrap_err().to_string().contains("no machine `m`"));
    }

    #[test]
    fn what_a_machine_lacks_is_not_staged_there() {
        let text = TEXT.replace("tiers = [1]", "tiers = [1]\nrequires = [\"nmi\"]\nstaging = \"native\"");
        let scenario = Scenario::parse(&text, Path::new("scenarios/s.toml")).unwrap();
        let staged = |capability| scenario.staged_on("m", &BTreeMap::from([(capability, "none".to_owned())]));
        assert_eq!(staged(Capability::Nmi), "n/a: lacks `nmi`");
        assert_eq!(staged(Capability::Store), "native");
    }
}
