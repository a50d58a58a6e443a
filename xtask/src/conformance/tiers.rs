//! What the tiers are: `docs/tiers.toml`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use crate::data;
use crate::machine::{Capability, Machine};
use crate::scenario::{Column, Scenario};
use crate::workspace::Workspace;

const FILE: &str = "docs/tiers.toml";
/// Where the modules are that every port has.
const SKELETON: &str = "arch-template/src";

/// The file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tiers {
    tier: Vec<Tier>,
    look: BTreeMap<String, Vec<String>>,
}

/// `[[tier]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// What a port does.
    pub title: String,
    /// What it must not lack for that.
    #[serde(default)]
    pub needs: Vec<Capability>,
    /// The modules that it is about.
    pub modules: Vec<String>,
}

impl Tiers {
    /// Reads them, and holds them against the scenarios and the skeleton's modules.
    pub fn read(workspace: &Workspace, scenarios: &[Scenario]) -> Result<Self> {
        let shown = Path::new(FILE);
        let text = data::text(&workspace.root().join(FILE), shown)?;
        let tiers: Tiers = data::parse(&text, shown)?;
        let there = |module: &str| {
            let folder = workspace.root().join(SKELETON);
            folder.join(format!("{module}.rs")).is_file() || folder.join(module).is_dir()
        };
        tiers.check(scenarios, there, &text, shown)?;
        Ok(tiers)
    }

    fn check(
        &self,
        scenarios: &[Scenario],
        there: impl Fn(&str) -> bool,
        text: &str,
        shown: &Path,
    ) -> Result<()> {
        let wrong = |key: &str, value: Option<&str>, message: String| {
            Err(data::mistake_in(text, shown, key, value, &message))
        };
        if self.tier.len() != Column::ALL.len() {
            return wrong("tier", None, format!("there have to be {}", Column::ALL.len()));
        }
        let modules = self.tier.iter().map(|tier| ("modules", &tier.modules));
        for (key, list) in modules.chain(self.look.iter().map(|(name, list)| (name.as_str(), list))) {
            if let Some(odd) = list.iter().find(|module| !there(module)) {
                return wrong(key, Some(odd), format!("{SKELETON} has no module `{odd}`"));
            }
        }
        let promises = || scenarios.iter().flat_map(|scenario| &scenario.contract);
        if let Some(odd) = self.look.keys().find(|name| !promises().any(|promise| promise == *name)) {
            return wrong(odd, None, format!("no scenario has a promise `{odd}` in its `contract`"));
        }
        if let Some(name) = promises().find(|promise| !self.look.contains_key(*promise)) {
            return wrong("look", None, format!("where to look for `{name}` is not said"));
        }
        Ok(())
    }

    /// The highest one.
    pub fn most(&self) -> u8 {
        self.tier.len().saturating_sub(1) as u8
    }

    /// One of them.
    pub fn tier(&self, number: u8) -> Option<&Tier> {
        self.tier.get(usize::from(number))
    }

    /// What a port does that reaches it.
    pub fn title(&self, number: u8) -> &str {
        self.tier(number).map_or("", |tier| &tier.title)
    }

    /// The modules that a promise is about; those of the tier, if it is none.
    pub fn modules(&self, promise: &str, number: u8) -> &[String] {
        let own = self.look.get(promise).map(Vec::as_slice);
        own.or_else(|| self.tier(number).map(|tier| tier.modules.as_slice())).unwrap_or_default()
    }
}

/// The files of some modules: a port's own, the trait that they answer, and what the other ports answer.
pub fn files(workspace: &Workspace, machine: &str, machines: &[Machine], modules: &[String]) -> Vec<String> {
    let root = workspace.root();
    let find = |folder: &str, module: &str| {
        [format!("{folder}/src/{module}.rs"), format!("{folder}/src/{module}/mod.rs")]
            .into_iter()
            .find(|file| root.join(file).is_file())
    };
    let mut lines = Vec::new();
    for module in modules {
        let own = find(&format!("arch-{machine}"), module);
        let hal = find("hal", module);
        let others = machines.iter().filter(|other| other.name != machine);
        let others = others.filter_map(|other| find(&format!("arch-{}", other.name), module));
        let rest: Vec<_> = hal.into_iter().chain(others).collect();
        match own {
            Some(own) if rest.is_empty() => lines.push(own),
            Some(own) => lines.push(format!("{own} ({})", rest.join(", "))),
            None => lines.extend(rest),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[[tier]]\ntitle = \"a\"\nmodules = [\"clock\"]\n";

    fn check(text: &str) -> String {
        let tiers: Tiers = toml::from_str(text).unwrap();
        let outcome = tiers.check(&[], |module| module == "clock", text, Path::new(FILE));
        outcome.map_or_else(|error| error.to_string(), |()| "good".into())
    }

    #[test]
    fn a_file_that_does_not_fit_is_refused_with_its_place() {
        let good = format!("{}[look]\n", GOOD.repeat(Column::ALL.len()));
        assert_eq!(check(&good), "good");
        assert!(check(&format!("{GOOD}[look]\n")).contains("there have to be 6"));
        let odd = good.replacen("clock", "clokc", 1);
        assert!(
            check(&odd).contains("docs/tiers.toml:3: modules: arch-template/src has no module `clokc`"),
            "{}",
            check(&odd)
        );
        let odd = format!("{good}clock-flies = [\"clock\"]\n");
        assert!(check(&odd).contains("no scenario has a promise `clock-flies`"), "{}", check(&odd));
    }
}
