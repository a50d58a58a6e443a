//! `cargo xtask new-arch`: a folder for a port that does not exist yet, copied from the skeleton and registered where
//! ports are, so that it builds at once for its target and says of everything that it cannot do it.
//!
//! Everything is worked out before anything is written. Data, a linker script and the skeleton's sources are what
//! makes a port known: no line of this program changes for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use toml_edit::{DocumentMut, InlineTable, Item, Table, value};

use crate::cli::NewArchArgs;
use crate::data;
use crate::error::{Classed, environment, usage};
use crate::machine::Machine;
use crate::report::{BOLD, paint, say};
use crate::toolchain::{self, Kit};
use crate::workspace::Workspace;

/// The folder that is copied, and the word in it that becomes the port's name.
const SKELETON: &str = "arch-template";
const WORD: &str = "template";
/// The file of it that becomes the machine's.
const MACHINE: &str = "machine.toml";
/// Where the binary selects its port.
const SELECTION: &str = "kernel/src/port.rs";
/// What comes after the last port there.
const LAST: &str = "    } else {\n        compile_error!";

/// Words that stand beside the names of machines: every port, the simulator, every other machine (`[on.others]`), rows
/// that must fail, and what mutants are named after that break no machine.
const RESERVED: [&str; 6] = ["all", "sim", "others", "negative", "host", "image"];

/// Features that come with floating-point registers.
const FLOATS: [&str; 5] = ["f", "d", "neon", "sse", "altivec"];

/// A file with its new text.
type Written = (PathBuf, String);

/// `cargo xtask new-arch`
pub fn command(workspace: &Workspace, args: &NewArchArgs) -> Result<()> {
    let compiler = Compiler::find()?;
    let port = Port::new(args, &compiler)?;
    let made = port.files(workspace)?;
    for (path, text) in &made {
        let cannot = || format!("cannot write {}", workspace.relative(path).display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).or_environment(cannot)?;
        }
        std::fs::write(path, text).or_environment(cannot)?;
    }
    let Port { name, target, .. } = &port;
    say!("{} arch-{name}, for {target}: {} files written", paint(BOLD, "Made"), made.len());
    say!("  cargo xtask build {name}              builds its image now");
    say!("  cargo xtask tidy --fix             brings it into the generated tables");
    say!("  cargo xtask qemu {name}               boots nothing yet: PORTING.md has the order of work");
    Ok(())
}

/// What the compiler knows.
struct Compiler(PathBuf);

impl Compiler {
    fn find() -> Result<Self> {
        let kit = Kit::find().ok_or_else(|| {
            environment("no toolchain here can build a guest; `cargo xtask setup` finds or installs one")
        })?;
        Ok(Compiler(kit.toolchain.rustc))
    }

    fn print(&self, arguments: &[&str]) -> Result<Vec<String>> {
        // Else it keeps to itself what is not stable, floating-point registers among it.
        let mut command = Command::new(&self.0);
        let text = toolchain::output(command.args(arguments).env("RUSTC_BOOTSTRAP", "1"));
        let text =
            text.ok_or_else(|| environment(format!("cannot ask {} about targets", self.0.display())))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    fn targets(&self) -> Result<Vec<String>> {
        self.print(&["--print", "target-list"])
    }

    fn cfg(&self, target: &str) -> Result<Vec<String>> {
        self.print(&["--print", "cfg", "--target", target])
    }
}

/// A port to be made.
#[derive(Debug)]
struct Port {
    name: String,
    target: String,
    /// `target_arch` of the target: what the binary selects its port by.
    arch: String,
    qemu: String,
    machine: String,
}

impl Port {
    fn new(args: &NewArchArgs, compiler: &Compiler) -> Result<Self> {
        let name = args.name.clone();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(plain) || name.len() > 24
        {
            return Err(usage(format!(
                "`{name}` is no name for a port: up to 24 lower-case letters, digits and underscores, a letter first"
            )));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(usage(format!(
                "`{name}` is no name for a port: it means something else on command lines and in data"
            )));
        }
        let known = compiler.targets()?;
        let target = match &args.target {
            Some(target) if known.contains(target) => target.clone(),
            Some(target) => {
                let alike: Vec<_> = known.iter().filter(|known| relatives(known, target)).cloned().collect();
                return Err(data::unknown("the compiler knows no target", target, &some(alike, known)));
            }
            None => likely(&name, &known, compiler)?,
        };
        let cfg = compiler.cfg(&target)?;
        let said = |key: &str| {
            let found =
                cfg.iter().find_map(|line| line.strip_prefix(key)?.strip_prefix("=\"")?.strip_suffix('"'));
            found.unwrap_or_default().to_owned()
        };
        if said("target_pointer_width") != "64" || !cfg.iter().any(|line| line == "target_has_atomic=\"64\"")
        {
            return Err(usage(format!("--target {target}: a port needs 64-bit pointers and atomics")));
        }
        Ok(Port {
            arch: said("target_arch"),
            qemu: args.qemu.clone().unwrap_or_else(|| format!("qemu-system-{name}")),
            machine: args.machine.clone().unwrap_or_else(|| "virt".into()),
            name,
            target,
        })
    }

    /// Every file that is new or changes, with its text.
    fn files(&self, workspace: &Workspace) -> Result<Vec<Written>> {
        let root = workspace.root();
        let folder = root.join(format!("arch-{}", self.name));
        let machine = workspace.machines().join(format!("{}.toml", self.name));
        for taken in [&folder, &machine] {
            if taken.exists() {
                let shown = workspace.relative(taken).display();
                return Err(usage(format!("there is a {shown} already; nothing was changed")));
            }
        }
        let mut files = Vec::new();
        for path in below(&root.join(SKELETON))? {
            let shown = workspace.relative(&path);
            let text = data::text(&path, shown)?;
            let inside = path.strip_prefix(root.join(SKELETON)).unwrap_or(&path);
            if inside == Path::new(MACHINE) {
                files.push((machine.clone(), self.machine_file(&text, workspace.relative(&machine))?));
            } else {
                files.push((folder.join(inside), self.renamed(&text)));
            }
        }
        for (path, change) in [
            ("Cargo.toml", &Self::workspace_manifest as &dyn Fn(&Self, &mut DocumentMut) -> Option<()>),
            ("kernel/Cargo.toml", &Self::kernel_manifest),
        ] {
            let file = root.join(path);
            let text = data::text(&file, Path::new(path))?;
            let mut document: DocumentMut =
                text.parse().map_err(|error| usage(format!("{path}: {error}")))?;
            change(self, &mut document).ok_or_else(|| {
                usage(format!("{path}: the tables that list the ports are not where they were"))
            })?;
            files.push((file, document.to_string()));
        }
        let file = root.join(SELECTION);
        files.push((file.clone(), self.selection(&data::text(&file, Path::new(SELECTION))?)?));
        Ok(files)
    }

    fn renamed(&self, text: &str) -> String {
        let Port { name, .. } = self;
        text.replace(SKELETON, &format!("arch-{name}"))
            .replace(&format!("{WORD}_entry"), &format!("{name}_entry"))
            .replace(&format!("\"{WORD}\""), &format!("\"{name}\""))
    }

    fn machine_file(&self, text: &str, shown: &Path) -> Result<String> {
        let environment = format!("QEMU_{}", self.name.to_uppercase());
        let mut text = text.to_owned();
        for (key, value) in [
            ("{name}", &self.name),
            ("{target}", &self.target),
            ("{qemu}", &self.qemu),
            ("{environment}", &environment),
            ("{machine}", &self.machine),
        ] {
            if value.chars().any(|c| c.is_control() || c == '"' || c == '\\') {
                return Err(usage(format!("`{}` does not fit into a machine file", value.escape_debug())));
            }
            text = text.replace(key, value);
        }
        Machine::parse(&text, shown)?;
        Ok(text)
    }

    /// The crate is a member, known by its name, and built with the checks of the others.
    fn workspace_manifest(&self, document: &mut DocumentMut) -> Option<()> {
        let package = format!("arch-{}", self.name);
        let workspace = document.get_mut("workspace")?;
        let members = workspace.get_mut("members")?.as_array_mut()?;
        let at = members.iter().position(|member| member.as_str() == Some(SKELETON))?;
        let decor = members.get(at)?.decor().clone();
        members.insert(at, package.as_str());
        *members.get_mut(at)?.decor_mut() = decor;
        let mut path = InlineTable::new();
        path.insert("path", package.as_str().into());
        beside_the_ports(workspace.get_mut("dependencies")?.as_table_mut()?, &package, value(path));
        let mut checks = InlineTable::new();
        checks.insert("overflow-checks", true.into());
        let profile = document.get_mut("profile")?.get_mut("release")?.get_mut("package")?;
        beside_the_ports(profile.as_table_mut()?, &package, value(checks));
        Some(())
    }

    /// The binary depends on it where it is built for it.
    fn kernel_manifest(&self, document: &mut DocumentMut) -> Option<()> {
        let targets = document.get_mut("target")?.as_table_mut()?;
        let mut dependency = Table::new();
        dependency.set_dotted(true);
        dependency.insert("workspace", value(true));
        let mut dependencies = Table::new();
        dependencies.insert(&format!("arch-{}", self.name), Item::Table(dependency));
        let mut target = Table::new();
        target.set_implicit(true);
        target.insert("dependencies", Item::Table(dependencies));
        targets.insert(&format!("cfg(target_arch = \"{}\")", self.arch), Item::Table(target));
        Some(())
    }

    /// One more arm where the binary selects its port.
    fn selection(&self, text: &str) -> Result<String> {
        let Port { name, arch, .. } = self;
        let condition = format!("#[cfg(target_arch = \"{arch}\")]");
        if let Some(at) = text.find(&condition) {
            let port = text[at..].lines().nth(1).unwrap_or_default().trim();
            return Err(usage(format!(
                "{SELECTION}: `{port}` is what this workspace builds for {arch} already; nothing was changed"
            )));
        }
        let at = text.find(LAST).ok_or_else(|| {
            usage(format!("{SELECTION}: the arm that refuses an unknown architecture is gone"))
        })?;
        let arm = format!("    }} else if {condition} {{\n        pub use arch_{name}::*;\n");
        Ok(format!("{}{arm}{}", &text[..at], &text[at..]))
    }
}

/// Adds a key behind those of the other ports, where a person would. What follows keeps its order and its comments.
fn beside_the_ports(table: &mut Table, package: &str, item: Item) {
    let keys: Vec<_> = table.iter().map(|(key, _)| key.to_owned()).collect();
    let behind = keys.iter().rposition(|key| key.starts_with("arch-")).map_or(keys.len(), |last| last + 1);
    let later: Vec<_> = keys[behind..].iter().filter_map(|key| table.remove_entry(key)).collect();
    table.insert(package, item);
    for (key, item) in later {
        table.insert_formatted(&key, item);
    }
}

/// Targets for the same instruction set, by the beginning of their names.
fn relatives(known: &str, wanted: &str) -> bool {
    let first = |text: &str| text.split('-').next().unwrap_or_default().to_owned();
    let (known, wanted) = (first(known), first(wanted));
    !wanted.is_empty() && (known.starts_with(&wanted) || wanted.starts_with(&known))
}

fn some(alike: Vec<String>, known: Vec<String>) -> Vec<String> {
    if alike.is_empty() { known } else { alike }
}

/// The bare-metal target of an architecture, if there is one that a person would take without thinking: by exactly
/// this name if there is any, with nothing below it, atomics, and no floating-point registers to be saved.
fn likely(name: &str, known: &[String], compiler: &Compiler) -> Result<String> {
    let bare: Vec<_> =
        known.iter().filter(|target| relatives(target, name) && target.contains("-none")).collect();
    let exact = |target: &&&String| target.split('-').next() == Some(name);
    let exact: Vec<_> = bare.iter().filter(exact).copied().collect();
    let candidates = if exact.is_empty() { &bare } else { &exact };
    let mut fit = Vec::new();
    for target in candidates {
        let cfg = compiler.cfg(target)?;
        let has = |line: &str| cfg.iter().any(|known| known == line);
        let floats = FLOATS.iter().any(|feature| has(&format!("target_feature=\"{feature}\"")));
        if has("target_has_atomic=\"64\"") && !floats {
            fit.push(target.as_str());
        }
    }
    match fit.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Err(usage(format!("no bare-metal target begins with `{name}`: name one with --target TRIPLE"))),
        several => Err(usage(format!("which target? Name one with --target: {}", several.join(", ")))),
    }
}

/// Every file below a folder, in order.
fn below(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).or_environment(|| format!("cannot list {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() { files.extend(below(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

#[cfg(test)]
#[path = "new_arch_tests.rs"]
mod tests;
