//! Building a machine's kernel: one child cargo with one set of flags.

mod output;

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::error::{Classed, environment, unexpected};
use crate::machine::Machine;
use crate::qemu::kill::Leash;
use crate::toolchain::{self, Kit};
use crate::workspace::Workspace;

/// The package that joins a port with the panic sequence.
const KERNEL: &str = "kernel";

/// What the child cargo is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Build,
    Lint,
}

/// Builds the kernel of a machine and returns the image's path. What cargo says goes to stderr.
pub fn kernel(workspace: &Workspace, machine: &Machine) -> Result<PathBuf> {
    kernel_in(workspace, machine, &workspace.root().join("target/metal"))
}

/// As [`kernel`], with the folder below which each machine gets a target folder of its own. Two trees that
/// share one also share the built `core`, but each build replaces the other's image.
pub fn kernel_in(workspace: &Workspace, machine: &Machine, targets: &Path) -> Result<PathBuf> {
    let kit = kit()?;
    let target = targets.join(&machine.name);
    relink_if_script_changed(workspace, machine, &target)?;
    eprintln!("building the {} kernel: {}", machine.name, kit.rung());
    run(workspace, machine, &kit, Action::Build, &target)?;
    let image = target.join(&machine.build.target).join("release").join(KERNEL);
    if !image.is_file() {
        return Err(unexpected(format!("cargo succeeded but left no {}", image.display())));
    }
    Ok(image)
}

/// Runs clippy over what only a guest build compiles.
pub fn lint(workspace: &Workspace, machine: &Machine) -> Result<()> {
    run(workspace, machine, &kit()?, Action::Lint, &workspace.root().join("target/metal").join(&machine.name))
}

fn kit() -> Result<Kit> {
    Kit::find().ok_or_else(|| {
        environment("no toolchain here can build a guest; `cargo xtask setup` finds or installs one")
    })
}

fn run(workspace: &Workspace, machine: &Machine, kit: &Kit, action: Action, target: &Path) -> Result<()> {
    let mut command = Command::new(&kit.toolchain.cargo);
    command.current_dir(workspace.root()).args(arguments(machine, action)).arg("--target-dir").arg(target);
    if action == Action::Lint {
        command.args(["--", "-D", "warnings"]);
    }
    toolchain::clean(&mut command)
        // Building `core` from source is an unstable feature of a stable compiler: allowed here, for this one
        // child, and nowhere else.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTC", &kit.toolchain.rustc)
        .env("CARGO_ENCODED_RUSTFLAGS", encode(&flags(machine, &kit.linker)));
    if let Some(path) = kit.toolchain.search_path() {
        command.env("PATH", path);
    }
    // Behind a pipe cargo would not use colour, so it is told what is at the other end.
    if std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let cannot = || format!("cannot run {}", kit.toolchain.cargo.display());
    let mut leash = Leash::spawn(command.stderr(Stdio::piped()), Vec::new()).or_environment(cannot)?;
    if let Some(stderr) = leash.child().stderr.take() {
        output::forward(stderr, std::io::stderr()).or_environment(cannot)?;
    }
    let status = leash.child().wait().or_environment(cannot)?;
    if status.success() {
        return Ok(());
    }
    let what = if action == Action::Build { "does not build" } else { "has clippy warnings" };
    Err(unexpected(format!(
        "the {} kernel {what}; the command was\n{}",
        machine.name,
        line(machine, kit, action, target)
    )))
}

fn arguments(machine: &Machine, action: Action) -> Vec<&str> {
    vec![
        if action == Action::Build { "build" } else { "clippy" },
        "--package",
        KERNEL,
        "--release",
        "--target",
        &machine.build.target,
        "-Zbuild-std=core,alloc,compiler_builtins",
        "-Zbuild-std-features=compiler-builtins-mem",
    ]
}

/// Flags for rustc: the machine's, and what is the same for all.
fn flags(machine: &Machine, linker: &Path) -> Vec<OsString> {
    let mut linker_flag = OsString::from("-Clinker=");
    linker_flag.push(linker);
    let mut flags: Vec<OsString> = machine.build.rustflags.iter().map(OsString::from).collect();
    flags.push(linker_flag);
    flags.extend(
        [
            "-Clinker-flavor=ld.lld",
            "-Clink-arg=--build-id=sha1",
            // What refers to what: `image_check` follows it.
            "-Clink-arg=--emit-relocs",
            "--cfg",
            "mayday_metal",
        ]
        .map(OsString::from),
    );
    flags
}

/// The form that keeps flags with spaces in them whole.
fn encode(flags: &[OsString]) -> OsString {
    flags.join(std::ffi::OsStr::new("\x1f"))
}

/// The same command for a person to paste into a shell in the workspace root.
fn line(machine: &Machine, kit: &Kit, action: Action, target: &Path) -> String {
    let flags: Vec<_> =
        flags(machine, &kit.linker).iter().map(|flag| flag.to_string_lossy().into_owned()).collect();
    let mut line = format!(
        "RUSTC_BOOTSTRAP=1 RUSTC={} RUSTFLAGS='{}' {}",
        kit.toolchain.rustc.display(),
        flags.join(" "),
        kit.toolchain.cargo.display()
    );
    for argument in arguments(machine, action) {
        let _ = write!(line, " {argument}");
    }
    let _ = write!(line, " --target-dir {}", target.display());
    line
}

/// Cargo does not know that an image depends on its linker script. When the script differs from the one of the
/// last build, the linked files are removed, which makes cargo link again, and only that.
fn relink_if_script_changed(workspace: &Workspace, machine: &Machine, target: &Path) -> Result<()> {
    let scripts = linker_scripts(workspace.root(), &machine.build.rustflags);
    let mut text = Vec::new();
    for script in &scripts {
        text.extend(std::fs::read(script).or_environment(|| format!("cannot read {}", script.display()))?);
    }
    let stamp = target.join("linker-scripts.stamp");
    if std::fs::read(&stamp).is_ok_and(|last| last == text) {
        return Ok(());
    }
    let release = target.join(&machine.build.target).join("release");
    for folder in [release.clone(), release.join("deps")] {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let linked = name.to_str().is_some_and(|name| is_image(name, KERNEL));
            if linked && entry.path().is_file() {
                std::fs::remove_file(entry.path())
                    .or_environment(|| format!("cannot remove {}", entry.path().display()))?;
            }
        }
    }
    std::fs::create_dir_all(target)
        .and_then(|()| std::fs::write(&stamp, text))
        .or_environment(|| format!("cannot write {}", stamp.display()))
}

/// Whether a file in a target folder is a linked image of a package: `kernel`, `kernel-1a2b…`.
fn is_image(file: &str, package: &str) -> bool {
    match file.strip_prefix(package) {
        Some("") => true,
        Some(rest) => {
            rest.strip_prefix('-').is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        }
        None => false,
    }
}

/// The scripts that the flags name, and their neighbours, which they may include.
fn linker_scripts(root: &Path, rustflags: &[String]) -> Vec<PathBuf> {
    let mut scripts: Vec<PathBuf> = rustflags
        .iter()
        .filter_map(|flag| flag.strip_prefix("-Clink-arg=-T"))
        .filter_map(|script| root.join(script).parent().map(Path::to_path_buf))
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.flatten().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "ld"))
        .collect();
    scripts.sort();
    scripts.dedup();
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_linked_images_are_removed() {
        for image in ["kernel", "kernel-0123456789abcdef"] {
            assert!(is_image(image, KERNEL), "{image}");
        }
        for other in ["kernel.d", "kernel-0123.d", "libkernel.rlib", "kernels", "kernel-old"] {
            assert!(!is_image(other, KERNEL), "{other}");
        }
    }

    #[test]
    fn a_changed_script_is_noticed_once() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let tree = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let mut machine = Machine::load(&tree, &Machine::names(&tree).unwrap()[0]).unwrap();
        let target = folder.path().join("target");
        let release = target.join(&machine.build.target).join("release");
        std::fs::create_dir_all(&release).unwrap();
        std::fs::create_dir_all(folder.path().join("link")).unwrap();
        let script = folder.path().join("link/kernel.ld");
        let image = release.join(KERNEL);
        machine.build.rustflags = vec!["-Clink-arg=-Tlink/kernel.ld".into()];

        for (text, kept) in [("one", false), ("one", true), ("two", false)] {
            std::fs::write(&script, text).unwrap();
            std::fs::write(&image, "image").unwrap();
            relink_if_script_changed(&workspace, &machine, &target).unwrap();
            assert_eq!(image.exists(), kept, "{text}");
        }
    }

    #[test]
    fn flags_with_spaces_stay_whole() {
        let flags = [OsString::from("-Clinker=/a b/ld"), OsString::from("--cfg"), OsString::from("x")];
        assert_eq!(encode(&flags), OsString::from("-Clinker=/a b/ld\x1f--cfg\x1fx"));
    }
}
