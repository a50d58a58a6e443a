//! Which compiler, library source and linker build the guests: a ladder, climbed by itself.
//!
//! A guest needs `core` and `alloc` for a target that no distribution ships as this project needs it, so they
//! are built from the library source that belongs to the compiler. The first toolchain wins that is new enough
//! and has that source: the one that runs `xtask`, then the system's.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::error::Classed;
use crate::machine::HostTests;

/// The oldest compiler that builds the guests: PowerPC inline assembly is stable since then.
pub const OLDEST: (u32, u32) = (1, 95);

/// A compiler with its cargo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The cargo that belongs to it.
    pub cargo: PathBuf,
    /// The compiler itself, not a proxy that picks one.
    pub rustc: PathBuf,
    /// As the compiler states it, such as `1.95.0`.
    pub release: String,
    /// The triple it runs on.
    pub host: String,
    /// Its root folder.
    pub sysroot: PathBuf,
}

impl Toolchain {
    /// Asks a compiler for its facts; `None` if it does not run.
    fn ask(cargo: PathBuf, rustc: &Path) -> Option<Toolchain> {
        let verbose = output(Command::new(rustc).arg("-vV"))?;
        let sysroot = PathBuf::from(output(Command::new(rustc).args(["--print", "sysroot"]))?.trim());
        let field = |name: &str| verbose.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let (release, host) = (field("release: ")?, field("host: ")?);
        let own = |tool: &str, other: PathBuf| {
            let path = sysroot.join("bin").join(tool);
            if path.is_file() { path } else { other }
        };
        Some(Toolchain {
            cargo: own("cargo", cargo),
            rustc: own("rustc", rustc.to_path_buf()),
            release,
            host,
            sysroot,
        })
    }

    /// Whether it is new enough.
    pub fn new_enough(&self) -> bool {
        version(&self.release).is_some_and(|version| version >= OLDEST)
    }

    /// The folder of its library source, if that is installed.
    pub fn library(&self) -> Option<PathBuf> {
        let library = self.sysroot.join("lib/rustlib/src/rust/library");
        library.join("core/src/lib.rs").is_file().then_some(library)
    }

    /// The linker that comes with it, if one does.
    fn bundled_linker(&self) -> Option<PathBuf> {
        let linker = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/rust-lld");
        linker.is_file().then_some(linker)
    }

    /// `PATH` with this toolchain's programs first: cargo finds its subcommands there.
    pub fn search_path(&self) -> Option<std::ffi::OsString> {
        let own = self.rustc.parent().map(Path::to_path_buf);
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(own.into_iter().chain(std::env::split_paths(&path))).ok()
    }

    /// Whether it is managed by rustup.
    pub fn is_rustup(&self) -> bool {
        self.sysroot.join("lib/rustlib/multirust-channel-manifest.toml").is_file()
    }
}

/// What the guests are built with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kit {
    /// Compiler and cargo.
    pub toolchain: Toolchain,
    /// LLD, as a program that takes GNU-style arguments.
    pub linker: PathBuf,
}

impl Kit {
    /// The first rung that holds, or `None` when [`crate::setup`] has to do something.
    pub fn find() -> Option<Kit> {
        let toolchain = with_library(&candidates())?.clone();
        let linker = linker(&toolchain)?;
        Some(Kit { toolchain, linker })
    }

    /// One line that says which rung this is.
    pub fn rung(&self) -> String {
        let origin = if self.toolchain.is_rustup() { "rustup" } else { "system" };
        let linker = if self.linker.starts_with(&self.toolchain.sysroot) && origin == "rustup" {
            "its rust-lld".to_owned()
        } else {
            self.linker.display().to_string()
        };
        format!(
            "rustc {} ({origin}), core and alloc from its library source, linked by {linker}",
            self.toolchain.release
        )
    }
}

/// The first toolchain that is new enough and has its library source.
pub fn with_library(candidates: &[Toolchain]) -> Option<&Toolchain> {
    candidates.iter().find(|toolchain| toolchain.new_enough() && toolchain.library().is_some())
}

/// Toolchains in the order in which they are tried.
///
/// First the one that runs this program: cargo states its own path in `CARGO`, and `RUSTC` overrides the
/// compiler as it does for cargo. Then the system's, which packages can bring.
pub fn candidates() -> Vec<Toolchain> {
    let cargo = std::env::var_os("CARGO").map(PathBuf::from).or_else(|| on_path("cargo"));
    let beside = cargo.as_ref().map(|cargo| cargo.with_file_name("rustc")).filter(|rustc| rustc.is_file());
    let rustc = std::env::var_os("RUSTC").map(PathBuf::from).or(beside).or_else(|| on_path("rustc"));
    let system = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
    let mut found: Vec<Toolchain> = Vec::new();
    for (cargo, rustc) in cargo.zip(rustc).into_iter().chain([system]) {
        if let Some(toolchain) = Toolchain::ask(cargo, &rustc)
            && !found.iter().any(|other| other.sysroot == toolchain.sysroot)
        {
            found.push(toolchain);
        }
    }
    found
}

/// The linker for a toolchain: its own, else the system's LLD.
pub fn linker(toolchain: &Toolchain) -> Option<PathBuf> {
    toolchain.bundled_linker().or_else(|| on_path("ld.lld"))
}

/// A program by name: as given if it has a slash, else from `PATH`.
pub fn on_path(name: impl AsRef<OsStr>) -> Option<PathBuf> {
    let name = Path::new(name.as_ref());
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_path_buf());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|candidate| candidate.is_file())
}

/// What a command prints, if it runs and succeeds.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(std::process::Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Major and minor of a release such as `1.95.0` or `1.97.0-nightly`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Makes a child cargo independent of the cargo that runs this program: a variable that cargo or rustup sets
/// for its children, or that changes what is built, is removed. Where crates come from and how cargo talks to
/// people is kept.
pub fn clean(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(leaks) {
            command.env_remove(name);
        }
    }
    command
}

/// As [`clean`], but leaves the choice of toolchain: for `rustup`, which is to add to the one in use.
pub fn clean_for_rustup(command: &mut Command) -> &mut Command {
    let toolchain = std::env::var_os("RUSTUP_TOOLCHAIN");
    clean(command);
    if let Some(toolchain) = toolchain {
        command.env("RUSTUP_TOOLCHAIN", toolchain);
    }
    command
}

fn leaks(name: &str) -> bool {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "CARGO_BUILD_JOBS",
        "CARGO_TARGET_DIR",
    ];
    const REMOVED: [&str; 6] = ["CARGO", "RUSTC", "RUSTDOC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "__CARGO"];
    REMOVED.iter().any(|prefix| name.starts_with(prefix))
        && !KEPT.iter().any(|prefix| name.starts_with(prefix))
}

/// What is missing for tests that run as another kind of machine's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// This program.
    Program(String),
    /// The standard library for this target.
    Library(String),
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lack::Program(program) => write!(f, "`{program}` is not here"),
            Lack::Library(target) => write!(f, "the standard library for {target} is not here"),
        }
    }
}

/// The first thing that is missing for these tests, programs first.
pub fn lacks(settings: &HostTests) -> Result<Option<Lack>> {
    let mut programs = settings.runner.first().into_iter().chain([&settings.linker]);
    if let Some(absent) = programs.find(|program| on_path(program).is_none()) {
        return Ok(Some(Lack::Program(absent.clone())));
    }
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(&rustc)
        .args(["--print", "target-libdir", "--target", &settings.target])
        .output()
        .or_environment(|| format!("cannot run {}", rustc.display()))?;
    let library = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let there = output.status.success() && library.is_dir();
    Ok((!there).then(|| Lack::Library(settings.target.clone())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let settings = |runner: &str, target: &str| HostTests {
            target: target.into(),
            linker: "true".into(),
            runner: vec![runner.into()],
            debian: Vec::new(),
            exclude: Vec::new(),
        };
        let gone = |runner, target| lacks(&settings(runner, target)).unwrap().map(|lack| lack.to_string());
        assert_eq!(gone("no-such-program", "any").as_deref(), Some("`no-such-program` is not here"));
        let library = gone("true", "no-such-target");
        assert_eq!(library.as_deref(), Some("the standard library for no-such-target is not here"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("1.95.0"), Some((1, 95)));
        assert_eq!(version("1.100.0-nightly"), Some((1, 100)));
        assert!(version("1.100.0") > Some(OLDEST));
        assert!(version("1.63.0") < Some(OLDEST));
        assert_eq!(version("unknown"), None);
    }

    #[test]
    fn the_parent_cargo_does_not_leak_and_settings_survive() {
        for name in ["CARGO", "CARGO_PKG_NAME", "CARGO_MANIFEST_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"]
        {
            assert!(leaks(name), "{name}");
        }
        for name in ["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "CARGO_BUILD_RUSTFLAGS", "RUSTC_BOOTSTRAP"] {
            assert!(leaks(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "PATH", "RUSTUP_HOME"] {
            assert!(!leaks(name), "{name}");
        }
    }

    #[test]
    fn the_toolchain_that_runs_the_tests_is_found() {
        let found = candidates();
        assert!(found[0].new_enough(), "{found:?}");
        assert!(found[0].rustc.is_file() && found[0].cargo.is_file());
    }

    #[test]
    fn a_toolchain_without_source_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let with = |name: &str, release: &str| Toolchain {
            cargo: "cargo".into(),
            rustc: "rustc".into(),
            release: release.into(),
            host: "host".into(),
            sysroot: folder.path().join(name),
        };
        let all = [with("bare", "1.99.0"), with("old", "1.63.0"), with("good", "1.96.0")];
        for name in ["old", "good"] {
            let source = folder.path().join(name).join("lib/rustlib/src/rust/library/core/src");
            std::fs::create_dir_all(&source).unwrap();
            std::fs::write(source.join("lib.rs"), "").unwrap();
        }
        assert_eq!(with_library(&all), Some(&all[2]));
        assert_eq!(with_library(&all[..2]), None);
    }
}
