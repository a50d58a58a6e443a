//! Looking: what this machine has. Changes nothing.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::Result;

use super::plan::{Compiler, Emulation, Emulator, Probe, Rights};
use crate::machine::{HostTests, Machine};
use crate::toolchain::{self, Kit, Toolchain, on_path, output};

/// Looks for everything that the given machines need.
pub fn look(machines: &[&Machine]) -> Probe {
    let candidates = toolchain::candidates();
    let preferred = toolchain::with_library(&candidates)
        .or_else(|| candidates.iter().find(|candidate| candidate.new_enough()))
        .or_else(|| candidates.first());
    Probe {
        compiler: preferred.map(compiler),
        kit: Kit::find().map(|kit| kit.rung()),
        linker: preferred.and_then(toolchain::linker),
        emulators: machines.iter().map(|machine| emulator(machine)).collect(),
        emulations: Vec::new(),
        rustup: on_path("rustup"),
        apt: on_path("apt-get").is_some(),
        rights: rights(),
        linker_packages: {
            let all: BTreeSet<_> = machines.iter().flat_map(|machine| &machine.debian.linker).collect();
            all.into_iter().cloned().collect()
        },
    }
}

/// Looks for what the host's tests need to run as these machines' programs.
pub fn emulations(machines: &[&Machine]) -> Result<Vec<Emulation>> {
    let asked = machines.iter().filter_map(|machine| machine.host_tests.as_ref());
    let look = |settings: &HostTests| {
        Ok(Emulation {
            target: settings.target.clone(),
            lack: toolchain::lacks(settings)?,
            packages: settings.debian.clone(),
        })
    };
    asked.map(look).collect()
}

fn compiler(toolchain: &Toolchain) -> Compiler {
    Compiler {
        release: toolchain.release.clone(),
        new_enough: toolchain.new_enough(),
        rustup: toolchain.is_rustup(),
        package: output(Command::new("dpkg-query").arg("--search").arg(&toolchain.rustc))
            .and_then(|line| line.split_once(':').map(|(package, _)| package.to_owned())),
        library: toolchain.library().is_some(),
    }
}

fn emulator(machine: &Machine) -> Emulator {
    let named = std::env::var(&machine.qemu.environment).ok().filter(|program| !program.is_empty());
    let program = named.unwrap_or_else(|| machine.qemu.binary.clone());
    let found = on_path(&program).and_then(|path| {
        let version = output(Command::new(&path).arg("--version"))?;
        Some(format!("{}, {}", path.display(), version.lines().next().unwrap_or("of unknown version")))
    });
    Emulator {
        // A program that somebody named is not in a package.
        packages: if program == machine.qemu.binary { machine.debian.qemu.clone() } else { Vec::new() },
        binary: program,
        environment: machine.qemu.environment.clone(),
        found,
    }
}

/// How a command gets the rights to install here.
pub(super) fn rights() -> Rights {
    if rustix::process::geteuid().is_root() {
        Rights::Root
    } else if on_path("sudo").is_some() {
        Rights::Sudo
    } else {
        Rights::None
    }
}
