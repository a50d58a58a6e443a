//! What a scenario may expect: only names that the kernel knows, so that a misspelt one is a mistake in
//! the file and not a red run.

use std::path::Path;

use anyhow::Result;
use crash_record::layout::MAX_SLOTS;
use crash_record::names::{Class, CpuState, Orphan, Outcome, Ruling, Rung, Step};

use super::{Column, Expect, Kexec, Owner, Scenario, value_name};
use crate::data::{self, twice};
use crate::machine::Machine;

/// A mistake in `[expect]`: the key, the value in it if it is one of several, and a message.
#[derive(Debug)]
pub struct Mistake {
    pub key: &'static str,
    pub value: Option<String>,
    pub message: String,
}

/// Actions of the `final` event.
const ACTIONS: [&str; 3] = ["reboot", "poweroff", "halt"];

fn mistake(key: &'static str, value: Option<&str>, message: String) -> Result<(), Mistake> {
    Err(Mistake { key, value: value.map(str::to_owned), message })
}

/// Requires that a name is one of the known ones. `value` is what it is a part of.
fn known(key: &'static str, value: &str, what: &str, name: &str, all: &[&str]) -> Result<(), Mistake> {
    if all.contains(&name) {
        return Ok(());
    }
    mistake(key, Some(value), format!("no {what} `{name}`. There are: {}", all.join(", ")))
}

fn no_cpu(odd: &str) -> String {
    format!("{odd} is not the number of a CPU, 0 to {}", MAX_SLOTS - 1)
}

macro_rules! names {
    ($type:ident) => {
        &$type::ALL.iter().map(|value| value.name()).collect::<Vec<_>>()
    };
}

impl Expect {
    /// Finds what a run could not be judged by.
    pub(super) fn check(&self, kexec: Kexec, panics: bool) -> Result<(), Mistake> {
        let kexec = value_name(kexec);
        if self.ending.is_none() {
            let message = format!("missing for --kexec {kexec}: every run has to end in a known way");
            return mistake("ending", None, message);
        }
        if panics && self.steps.is_none() {
            return mistake("steps", None, format!("missing for --kexec {kexec}"));
        }
        for item in self.steps.iter().flatten() {
            let Some((step, outcome)) = item.split_once(':') else {
                return mistake("steps", Some(item), format!("`{item}` is not of the form name:outcome"));
            };
            known("steps", item, "step", step, names!(Step))?;
            known("steps", item, "outcome", outcome, names!(Outcome))?;
        }
        for item in self.notifiers.iter().flatten() {
            let parts = item.split_once('/').and_then(|(class, rest)| Some((class, rest.split_once(':')?)));
            let Some((class, (_, outcome))) = parts else {
                let message = format!("`{item}` is not of the form class/name:outcome");
                return mistake("notifiers", Some(item), message);
            };
            known("notifiers", item, "class", class, names!(Class))?;
            known("notifiers", item, "outcome", outcome, names!(Outcome))?;
        }
        for item in self.rulings.iter().flatten() {
            let parts = item.split_once('/').and_then(|(kind, rest)| Some((kind, rest.rsplit_once(':')?)));
            let Some((kind, (_, ruling))) = parts else {
                let message = format!("`{item}` is not of the form lock/NAME:ruling or firmware/NAME:ruling");
                return mistake("rulings", Some(item), message);
            };
            known("rulings", item, "kind", kind, &["lock", "firmware"])?;
            known("rulings", item, "ruling", ruling, names!(Ruling))?;
        }
        if let Some(state) = &self.cpu_states {
            known("cpu_states", state, "state", state, names!(CpuState))?;
        }
        let tables = [("cpu_state", &self.cpu_state), ("own_state", &self.own_state), ("rung", &self.rung)];
        for (key, table) in tables {
            // As it is looked up: `01` would be nobody's.
            let known = |cpu: &&String| (0..MAX_SLOTS).any(|number| number.to_string() == **cpu);
            if let Some(odd) = table.keys().find(|cpu| !known(cpu)) {
                return mistake(key, None, no_cpu(&format!("`{odd}`")));
            }
        }
        if let Some(Owner::Cpu(cpu)) = self.owner
            && cpu as usize >= MAX_SLOTS
        {
            return mistake("owner", None, no_cpu(&cpu.to_string()));
        }
        for (key, table) in &tables[..2] {
            for state in table.values() {
                known(key, state, "state", state, names!(CpuState))?;
            }
        }
        for rung in self.rung.values() {
            known("rung", rung, "rung", rung, names!(Rung))?;
        }
        if let Some(reason) = &self.orphans {
            known("orphans", reason, "reason", reason, names!(Orphan))?;
        }
        if let Some(action) = &self.action {
            known("action", action, "action", action, &ACTIONS)?;
        }
        Ok(())
    }
}

impl Scenario {
    /// What no machine could run, or run only once.
    pub(super) fn impossible(&self) -> Option<Mistake> {
        let mistake = |key, value: Option<String>, message: String| Some(Mistake { key, value, message });
        if let Some(kexec) = twice(&self.kexec) {
            let name = value_name(*kexec);
            return mistake("kexec", Some(name.clone()), format!("`{name}` stands there twice"));
        }
        if let Some(stop) = twice(&self.stop) {
            let name = value_name(*stop);
            return mistake("stop", Some(name.clone()), format!("`{name}` stands there twice"));
        }
        let lists = [
            ("accels", &self.accels),
            ("accels", &self.suite.accels),
            ("firmwares", &self.firmwares),
            ("must_fail", &self.must_fail),
            ("contract", &self.contract),
        ];
        for (key, list) in lists {
            if let Some(name) = twice(list) {
                return mistake(key, Some(name.clone()), format!("`{name}` stands there twice"));
            }
        }
        if let Some(tier) = twice(&self.tiers) {
            return mistake("tiers", None, format!("{tier} stands there twice"));
        }
        if let Some(capability) = twice(&self.requires) {
            let name = capability.name();
            return mistake("requires", Some(name.into()), format!("`{name}` stands there twice"));
        }
        for tier in &self.tiers {
            let Some(column) = Column::of(*tier) else {
                let most = Column::ALL.len() - 1;
                return mistake("tiers", None, format!("there is no tier {tier}, only 0 to {most}"));
            };
            if column.alone && self.cpus.minimum > 1 {
                return mistake("tiers", None, format!("tier {tier} is about one CPU, and this needs more"));
            }
            if !column.jumps && !self.kexec.contains(&Kexec::Off) {
                let message = format!("tier {tier} is about kernels that do not jump, and this has no `off`");
                return mistake("tiers", None, message);
            }
        }
        if let Some(row) = twice(&self.rows) {
            return mistake("rows", None, format!("{row} stands there twice"));
        }
        if let Some(count) = twice(&self.suite.cpus) {
            return mistake("cpus", None, format!("{count} stands there twice"));
        }
        if !self.suite.cpus.is_empty() && !self.suite.sample {
            return mistake("cpus", None, "these are the columns of a sample, and it is none".into());
        }
        if !(1..=MAX_SLOTS as u32).contains(&self.cpus.minimum) {
            let message = format!("{} CPUs is not between 1 and {MAX_SLOTS}", self.cpus.minimum);
            return mistake("minimum", None, message);
        }
        for (name, over) in
            [("pre", &self.expect.pre), ("post", &self.expect.post), ("off", &self.expect.off)]
        {
            if over
                .as_ref()
                .is_some_and(|over| over.pre.is_some() || over.post.is_some() || over.off.is_some())
            {
                let message = format!("[expect.{name}] has no tables of its own");
                return mistake("expect", None, message);
            }
        }
        if let Some(odd) =
            self.suite.accels.iter().find(|name| !self.accels.is_empty() && !self.accels.contains(name))
        {
            let message = format!("`{odd}` is none of the scenario's own `accels`");
            return mistake("accels", Some(odd.clone()), message);
        }
        let tables = [
            (Kexec::Pre, "[expect.pre]", self.expect.pre.is_some()),
            (Kexec::Post, "[expect.post]", self.expect.post.is_some()),
            (Kexec::Off, "[expect.off]", self.expect.off.is_some()),
        ];
        for (kexec, table, there) in tables {
            if there && !self.kexec.contains(&kexec) {
                return mistake("kexec", None, format!("{table} is for a value that is not among these"));
            }
        }
        for &kexec in &self.kexec {
            let expect = self.expect.resolve(kexec);
            if expect.capture == Some(true) && kexec == Kexec::Off && self.must_fail.is_empty() {
                return mistake(
                    "capture",
                    None,
                    "with --kexec off nothing jumps into a capture kernel".into(),
                );
            }
        }
        None
    }

    /// Checks what this file says about machines. One that cannot be read is somebody else's mistake.
    pub fn fits(
        &self,
        machines: &[String],
        load: impl Fn(&str) -> Option<Machine>,
        text: &str,
        shown: &Path,
    ) -> Result<()> {
        if let Some(odd) =
            self.on.keys().find(|name| !machines.contains(name) && !Self::stands_for_no_machine(name))
        {
            let message = format!("no machine `{odd}`. There are: {}", machines.join(", "));
            return Err(data::mistake_in(text, shown, "on", Some(odd), &message));
        }
        if self.tiers.is_empty() == self.must_fail.is_empty() {
            let message = "every scenario is a part of some tier, unless it must fail";
            return Err(data::mistake(text, shown, "tiers", message));
        }
        let meant = |name: &&String| self.differing_on(name).is_none_or(|on| on.not_applicable.is_none());
        let machines: Vec<_> = machines.iter().filter(meant).filter_map(|name| load(name)).collect();
        let accels: Vec<_> = machines.iter().flat_map(|machine| &machine.qemu.accel).collect();
        let known = |name: &String| accels.iter().any(|accel| accel.name == *name);
        let named = self.accels.iter().chain(&self.suite.accels);
        if let Some(odd) = named.into_iter().find(|name| !accels.is_empty() && !known(name)) {
            let message = format!("no machine of this scenario has an accelerator `{odd}`");
            return Err(data::mistake_in(text, shown, "accels", Some(odd), &message));
        }
        let firmwares: Vec<_> = machines.iter().flat_map(|machine| &machine.qemu.firmware).collect();
        let known = |name: &String| firmwares.iter().any(|firmware| firmware.name == *name);
        if let Some(odd) = self.firmwares.iter().find(|name| !firmwares.is_empty() && !known(name)) {
            let message = format!("no machine of this scenario has a firmware `{odd}`");
            return Err(data::mistake_in(text, shown, "firmwares", Some(odd), &message));
        }
        // One that names none of a machine's columns would have no row there, and nobody would notice.
        let columns = || machines.iter().map(|machine| &machine.suite.cpus).filter(|cpus| !cpus.is_empty());
        let some = &self.suite.cpus;
        if !some.is_empty() && columns().any(|cpus| !cpus.iter().any(|count| some.contains(count))) {
            let message = "a machine of this scenario has no column with one of these numbers";
            return Err(data::mistake(text, shown, "cpus", message));
        }
        let least = self.cpus.minimum;
        if !machines.is_empty() && machines.iter().all(|machine| machine.cpus.maximum < least) {
            let message = format!("no machine of this scenario has {least} CPUs");
            return Err(data::mistake(text, shown, "minimum", &message));
        }
        let known = |count: &u32| *count >= self.cpus.minimum && columns().any(|cpus| cpus.contains(count));
        if let Some(odd) = some.iter().find(|count| columns().next().is_some() && !known(count)) {
            let message = format!("no machine of this scenario has a column with {odd} CPUs for it");
            return Err(data::mistake(text, shown, "cpus", &message));
        }
        for &kexec in &self.kexec {
            let ending = self.expect.resolve(kexec).ending.unwrap_or_default();
            if let Some(machine) = machines.iter().find(|machine| !machine.ending.contains_key(&ending)) {
                let known: Vec<_> = machine.ending.keys().map(String::as_str).collect();
                let message =
                    format!("machines/{}.toml has no `{ending}`; it has: {}", machine.name, known.join(", "));
                return Err(data::mistake_in(text, shown, "ending", Some(&ending), &message));
            }
        }
        Ok(())
    }
}
