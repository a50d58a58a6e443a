//! `corrupt`: memory of the guest that is written over from outside.

use std::path::Path;

use anyhow::Result;
use serde::Deserialize;

use super::Scenario;
use crate::data;
use crate::qemu::plan::Plan;
use crate::symbols::Symbols;
use crate::workspace::Workspace;

/// The most bytes of one.
const MOST: u64 = 1 << 16;

/// Which bytes become which others.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corrupt {
    /// A symbol of the kernel that boots: as the image has it, or the path of a Rust item.
    #[serde(default)]
    pub symbol: Option<String>,
    /// Or a physical address, for what has no symbol.
    #[serde(default)]
    pub address: Option<u64>,
    /// Bytes behind that.
    #[serde(default)]
    pub offset: u64,
    /// What is written there, in their order in memory: two hexadecimal digits each.
    pub bytes: String,
    /// How often in a row.
    #[serde(default = "once")]
    pub times: u64,
}

fn once() -> u64 {
    1
}

/// The same in a run: a piece of physical memory, and what it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where.
    pub physical: u64,
    /// What.
    pub bytes: Vec<u8>,
}

impl Corrupt {
    /// What is wrong with it whatever the image is: the value, and why.
    pub(super) fn mistake(&self) -> Option<(&str, String)> {
        let named = self.symbol.as_deref().unwrap_or(&self.bytes);
        if self.symbol.is_some() == self.address.is_some() {
            return Some((named, "has one of `symbol` and `address`".into()));
        }
        if self.bytes.is_empty()
            || !self.bytes.len().is_multiple_of(2)
            || !self.bytes.bytes().all(|digit| digit.is_ascii_hexdigit())
        {
            let message = format!("`{}` is not one or more bytes of two hexadecimal digits each", self.bytes);
            return Some((&self.bytes, message));
        }
        if !(1..=MOST).contains(&self.times) || self.length() > MOST {
            let message =
                format!("{} bytes, {} times: from 1 to {MOST} in all", self.bytes.len() / 2, self.times);
            return Some((named, message));
        }
        None
    }

    fn length(&self) -> u64 {
        (self.bytes.len() as u64 / 2).saturating_mul(self.times)
    }

    fn written(&self) -> Vec<u8> {
        let digits = self.bytes.as_bytes().chunks_exact(2);
        let one: Vec<u8> =
            digits.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        one.repeat(self.times as usize)
    }

    /// Where it is in a machine that runs this image. The error is the value that is wrong, and why.
    fn place(&self, plan: &Plan, symbols: &Symbols) -> Result<Damage, (String, String)> {
        let (start, size, what) = match (&self.symbol, self.address) {
            (Some(name), _) => {
                let fault = |message: String| (name.clone(), message);
                let (raw, size) = symbols.object(name).map_err(fault)?;
                let physical = symbols.physical(raw, plan.machine.memory.physical_bias);
                let physical =
                    physical.ok_or_else(|| fault(format!("`{name}` is in no segment that is loaded")))?;
                (physical, size, format!("`{name}`, which has {size} bytes"))
            }
            (None, address) => {
                let memory = u64::from(plan.memory) << 20;
                let address = address.unwrap_or(0);
                // Below its beginning there is nothing either.
                let before = address.checked_sub(plan.machine.memory.start);
                let size = before.map_or(0, |before| memory.saturating_sub(before));
                (address, size, format!("the machine's {} MiB", plan.memory))
            }
        };
        if self.offset.saturating_add(self.length()) > size {
            let named = self.symbol.clone().unwrap_or_else(|| self.bytes.clone());
            let message = format!("{} bytes at offset {:#x} go beyond {what}", self.length(), self.offset);
            return Err((named, message));
        }
        Ok(Damage { physical: start.saturating_add(self.offset), bytes: self.written() })
    }
}

impl Scenario {
    /// What its inputs damage in a run with this image, by their number. An unknown symbol, and what goes beyond its
    /// object or the memory, is an error with file and line.
    pub fn damages(workspace: &Workspace, plan: &Plan, symbols: &Symbols) -> Result<Vec<Option<Damage>>> {
        let of = |corrupt: &Corrupt| {
            corrupt.place(plan, symbols).map_err(|(value, message)| {
                let path = workspace.scenarios().join(format!("{}.toml", plan.scenario.name));
                let shown = workspace.relative(&path);
                match data::text(&path, shown) {
                    Ok(text) => misplaced(&text, shown, &value, &message),
                    Err(error) => error,
                }
            })
        };
        plan.scenario.input.iter().map(|input| input.corrupt.as_ref().map(of).transpose()).collect()
    }
}

/// A mistake in a value of `corrupt`, which may be in a table of any machine.
pub(super) fn misplaced(text: &str, shown: &Path, value: &str, message: &str) -> anyhow::Error {
    data::mistake_in(text, shown, "corrupt", Some(value), message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::RunArgs;
    use crate::error::one_line;
    use crate::machine::Machine;
    use crate::qemu::plan::Planned;
    use crate::verdict::tests::fixture::MACHINE;

    fn scenario(corrupt: &str) -> String {
        format!(
            "name = \"s\"\nsummary = \"s\"\n[[input]]\nafter = \"hold\"\ncorrupt = {{ {corrupt} }}\n\
             [expect]\nending = \"capture\"\nsteps = []\n"
        )
    }

    fn damage(corrupt: &str) -> String {
        damage_on(MACHINE, corrupt)
    }

    fn damage_on(machine: &str, corrupt: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("scenarios")).unwrap();
        let text = scenario(corrupt);
        std::fs::write(root.path().join("scenarios/s.toml"), &text).unwrap();
        let scenario = match Scenario::parse(&text, Path::new("scenarios/s.toml")) {
            Ok(scenario) => scenario,
            Err(error) => return one_line(&error),
        };
        let machine = Machine::parse(machine, Path::new("m.toml")).unwrap();
        let args = RunArgs { accel: "auto".into(), ..RunArgs::default() };
        let Planned::Run(plan) = Plan::make(machine, scenario, &args).unwrap() else { panic!() };
        let two = ["_RNvNtCs8o5fNFnFjcF_6kernel6hammer5CRASH", "RECORD"];
        let symbols = Symbols::made_up(&[(two[0], 0x1100), (two[1], 0x1200), ("AWAY", 0xf0000)]);
        match Scenario::damages(&Workspace::at(root.path()), &plan, &symbols) {
            Ok(damages) => format!("{:x?}", damages[0].as_ref().unwrap()),
            Err(error) => one_line(&error),
        }
    }

    #[test]
    fn memory_may_begin_anywhere() {
        let machine = MACHINE.replace("[memory]", "[memory]\nstart = 0x80000000");
        let at = |address: &str| damage_on(&machine, &format!("address = {address}, bytes = \"01\""));
        assert!(at("0x80000000").contains("80000000"), "{}", at("0x80000000"));
        for outside in ["0x7fffffff", "0x84000000", "0x2000"] {
            assert!(at(outside).contains("go beyond"), "{outside}");
        }
    }

    #[test]
    fn bytes_have_a_place() {
        let all = [
            damage("symbol = \"RECORD\", offset = 0xc, bytes = \"00ffA5\""),
            damage("symbol = \"kernel::hammer::CRASH\", bytes = \"a5\", times = 3"),
            damage("address = 0x2000, offset = 1, bytes = \"01\""),
            damage("symbol = \"RECORDS\", bytes = \"00\""),
            damage("symbol = \"AWAY\", bytes = \"00\""),
            damage("symbol = \"RECORD\", offset = 0xe, bytes = \"00ffa5\""),
            damage("symbol = \"RECORD\", offset = 0x7fffffffffffffff, bytes = \"00\""),
            damage("address = 0x7fffffff0000, bytes = \"cc\""),
            damage("bytes = \"00\""),
            damage("symbol = \"RECORD\", address = 1, bytes = \"00\""),
            damage("symbol = \"RECORD\", bytes = \"\""),
            damage("symbol = \"RECORD\", bytes = \"0\""),
            damage("symbol = \"RECORD\", bytes = \"0x\""),
            damage("symbol = \"RECORD\", bytes = \"00\", times = 0"),
            damage("symbol = \"RECORD\", bytes = \"0000\", times = 40000"),
            damage("symbol = \"RECORD\", bytes = \"00\", time = 1"),
            damage("symbol = \"RECORD\""),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
