//! Deciding: from what a machine has to what has to be done, without touching anything.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::toolchain::Lack;

/// What was found on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The compiler that would build guests if it had its library source.
    pub compiler: Option<Compiler>,
    /// The first toolchain that has everything, in one line.
    pub kit: Option<String>,
    /// LLD, for the compiler above.
    pub linker: Option<PathBuf>,
    /// The emulators that are wanted.
    pub emulators: Vec<Emulator>,
    /// Kinds of machines that the host's tests are to run as, if they were asked for.
    pub emulations: Vec<Emulation>,
    /// `rustup`, where it is installed.
    pub rustup: Option<PathBuf>,
    /// Whether packages come from apt here.
    pub apt: bool,
    /// How a command gets the rights to install.
    pub rights: Rights,
    /// Packages that bring a linker.
    pub linker_packages: Vec<String>,
}

/// A compiler, as far as the plan needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Such as `1.95.0`.
    pub release: String,
    /// At least as new as the workspace wants.
    pub new_enough: bool,
    /// Managed by rustup.
    pub rustup: bool,
    /// The distribution's package it belongs to, if it does.
    pub package: Option<String>,
    /// Its library source is there.
    pub library: bool,
}

/// An emulator that some machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulator {
    /// Program.
    pub binary: String,
    /// Environment variable that names another one.
    pub environment: String,
    /// Where it is and what it says of its version.
    pub found: Option<String>,
    /// Packages that bring it.
    pub packages: Vec<String>,
}

/// What the host's tests need to run as programs of another kind of machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emulation {
    /// Target triple.
    pub target: String,
    /// What is missing, if anything is.
    pub lack: Option<Lack>,
    /// Packages that bring the programs.
    pub packages: Vec<String>,
}

/// How a command gets the rights to install packages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// This process has them.
    Root,
    /// `sudo` is there.
    Sudo,
    /// There is no way.
    #[default]
    None,
}

/// A command that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Program and arguments.
    pub words: Vec<String>,
    /// It is given up after this.
    pub limit: Duration,
    /// The next step makes sense even if this one fails.
    pub optional: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

/// Something that is missing, and ways to get it, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// What, for a person.
    pub what: String,
    /// Each way is a list of steps; the next way is tried when the need is still there after one.
    pub ways: Vec<Vec<Step>>,
    /// Packages that bring it, for the case that something stands in their way.
    pub packages: Vec<String>,
    /// What a person can do where no way worked.
    pub advice: String,
}

const NETWORK_LIMIT: Duration = Duration::from_secs(120);
pub(super) const PACKAGE_LIMIT: Duration = Duration::from_secs(1200);

/// The distribution's newest toolchain under names of its own, with the library source.
const TOOLCHAIN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// What is missing, in the order in which it is best installed.
pub fn needs(probe: &Probe) -> Vec<Need> {
    let mut needs = Vec::new();
    if probe.kit.is_none()
        && !probe.compiler.as_ref().is_some_and(|compiler| compiler.new_enough && compiler.library)
    {
        needs.push(toolchain(probe));
    }
    // rustup's toolchain brings its own linker, so this is only asked of what is there now.
    if probe.kit.is_none() && probe.linker.is_none() {
        needs.push(Need {
            what: "LLD, the linker".into(),
            ways: packages(probe, &probe.linker_packages).into_iter().collect(),
            packages: probe.linker_packages.clone(),
            advice: advice(probe, &probe.linker_packages, "install LLD (program `ld.lld`)"),
        });
    }
    for emulator in probe.emulators.iter().filter(|emulator| emulator.found.is_none()) {
        needs.push(Need {
            what: format!("QEMU ({})", emulator.binary),
            ways: packages(probe, &emulator.packages).into_iter().collect(),
            packages: emulator.packages.clone(),
            advice: advice(
                probe,
                &emulator.packages,
                &format!(
                    "install QEMU so that `{}` is on PATH, or set {} to the program",
                    emulator.binary, emulator.environment
                ),
            ),
        });
    }
    for emulation in &probe.emulations {
        needs.extend(emulation.lack.as_ref().map(|lack| of_tests(probe, emulation, lack)));
    }
    needs
}

fn of_tests(probe: &Probe, emulation: &Emulation, lack: &Lack) -> Need {
    let target = &emulation.target;
    let add = probe.rustup.as_ref().map(|rustup| Step {
        words: vec![rustup.display().to_string(), "target".into(), "add".into(), target.clone()],
        limit: NETWORK_LIMIT,
        optional: false,
    });
    let need = |what, packages: &[String], ways, text| Need {
        what,
        ways,
        packages: packages.to_vec(),
        advice: advice(probe, packages, text),
    };
    match lack {
        Lack::Program(program) => {
            // The library may be missing, too; that is only seen once the programs are here.
            let add = add.map(|add| Step { optional: true, ..add });
            let ways = packages(probe, &emulation.packages).into_iter();
            let ways = ways.map(|way| way.into_iter().chain(add.clone()).collect()).collect();
            need(format!("`{program}`, to test as {target}"), &emulation.packages, ways, "install it")
        }
        Lack::Library(_) => {
            let ways = add.into_iter().map(|add| vec![add]).collect();
            need(format!("the standard library for {target}"), &[], ways, "add it to the toolchain")
        }
    }
}

fn toolchain(probe: &Probe) -> Need {
    let mut ways = Vec::new();
    let mut what = "the library source of rustc".to_owned();
    match &probe.compiler {
        Some(compiler) if compiler.new_enough => {
            what = format!("{what} {}", compiler.release);
            if let (true, Some(rustup)) = (compiler.rustup, &probe.rustup) {
                ways.push(vec![Step {
                    words: [&rustup.display().to_string(), "component", "add", "rust-src"]
                        .map(str::to_owned)
                        .into(),
                    limit: NETWORK_LIMIT,
                    optional: false,
                }]);
            }
            if let Some(source) = compiler.package.as_deref().and_then(source_package) {
                ways.extend(packages(probe, &[source]));
            }
        }
        _ => what = "a Rust toolchain of at least 1.95 with its library source".to_owned(),
    }
    ways.extend(packages(probe, &TOOLCHAIN_PACKAGES.map(str::to_owned)));
    ways.dedup();
    Need {
        what,
        ways,
        packages: TOOLCHAIN_PACKAGES.map(str::to_owned).into(),
        advice: advice(
            probe,
            &TOOLCHAIN_PACKAGES.map(str::to_owned),
            "with rustup: `rustup component add rust-src`; else the distribution's package with the library source",
        ),
    }
}

/// What a person can do, with the command where only the rights to run it are missing.
fn advice(probe: &Probe, packages: &[String], text: &str) -> String {
    if probe.apt && probe.rights == Rights::None && !packages.is_empty() {
        return format!("{text}; as root: apt-get install --no-install-recommends {}", packages.join(" "));
    }
    text.to_owned()
}

/// The package with the library source that belongs to a compiler's package: `rustc-web` → `rust-web-src`.
fn source_package(compiler: &str) -> Option<String> {
    let rest = compiler.strip_prefix("rustc")?;
    Some(format!("rust{rest}-src"))
}

/// Installs packages one by one: where a distribution's resolver cannot place all of them together, each alone
/// often still fits. Never removes anything.
fn packages(probe: &Probe, packages: &[String]) -> Option<Vec<Step>> {
    if !probe.apt || probe.rights == Rights::None || packages.is_empty() {
        return None;
    }
    let step = |words: &[&str], limit, optional| {
        let sudo = (probe.rights == Rights::Sudo).then_some("sudo");
        Step {
            words: sudo.into_iter().chain(words.iter().copied()).map(str::to_owned).collect(),
            limit,
            optional,
        }
    };
    let mut steps = vec![step(&["apt-get", "update", "-q"], NETWORK_LIMIT, true)];
    for package in packages {
        let words = ["apt-get", "install", "-q", "-y", "--no-install-recommends", "--no-remove", package];
        steps.push(step(&words, PACKAGE_LIMIT, false));
    }
    Some(steps)
}

/// Whether commands that change this machine may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// They may.
    Go,
    /// A person is there and is asked.
    Ask,
    /// They may not.
    Refuse,
}

/// Who is there to consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// `--yes`
    pub yes: bool,
    /// `CI=true`
    pub ci: bool,
    /// Standard input and standard error are terminals.
    pub person: bool,
    /// This process is root.
    pub root: bool,
}

impl Presence {
    /// With `--yes` or in CI it goes on; a person is asked; root without a person goes on; else nothing runs.
    pub fn consent(self) -> Consent {
        match self {
            Presence { yes: true, .. } | Presence { ci: true, .. } => Consent::Go,
            Presence { person: true, .. } => Consent::Ask,
            Presence { root: true, .. } => Consent::Go,
            _ => Consent::Refuse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Probe {
        Probe {
            compiler: Some(Compiler {
                release: "1.95.0".into(),
                new_enough: true,
                rustup: true,
                package: None,
                library: true,
            }),
            kit: Some("rustc 1.95.0".into()),
            linker: Some("/toolchain/rust-lld".into()),
            emulators: vec![Emulator {
                binary: "qemu-system-one".into(),
                environment: "QEMU_ONE".into(),
                found: Some("/usr/bin/qemu-system-one, 7.2".into()),
                packages: vec!["qemu-one".into()],
            }],
            emulations: Vec::new(),
            rustup: Some("/bin/rustup".into()),
            apt: true,
            rights: Rights::Root,
            linker_packages: vec!["lld".into()],
        }
    }

    fn lines(needs: &[Need]) -> Vec<Vec<String>> {
        needs
            .iter()
            .flat_map(|need| &need.ways)
            .map(|way| way.iter().map(Step::to_string).collect())
            .collect()
    }

    #[test]
    fn a_complete_machine_needs_nothing() {
        assert_eq!(needs(&complete()), []);
    }

    #[test]
    fn rustup_comes_first_and_packages_second() {
        let mut probe = complete();
        probe.kit = None;
        probe.compiler.as_mut().unwrap().library = false;
        let needs = needs(&probe);
        assert_eq!(needs.len(), 1);
        assert_eq!(needs[0].what, "the library source of rustc 1.95.0");
        let lines = lines(&needs);
        assert_eq!(lines[0], ["/bin/rustup component add rust-src"]);
        assert_eq!(needs[0].ways[0][0].limit, Duration::from_secs(120));
        assert_eq!(lines[1].len(), 4, "update, then each package alone");
        assert!(lines[1][3].ends_with("--no-remove rust-web-src"));
    }

    #[test]
    fn tests_as_another_machine_need_programs_and_a_library() {
        let mut probe = complete();
        let mut lacking = |lack| {
            let packages = vec!["gcc-one".into()];
            probe.emulations = vec![Emulation { target: "one".into(), lack, packages }];
            let needs = needs(&probe);
            (needs.first().map(|need| need.what.clone()), lines(&needs))
        };
        assert_eq!(lacking(None), (None, Vec::new()));
        let (what, ways) = lacking(Some(Lack::Program("one-gcc".into())));
        assert_eq!(what.as_deref(), Some("`one-gcc`, to test as one"));
        assert!(ways[0][1].ends_with(" gcc-one"), "{ways:?}");
        assert_eq!(ways[0][2], "/bin/rustup target add one");
        let (what, ways) = lacking(Some(Lack::Library("one".into())));
        assert_eq!(what.as_deref(), Some("the standard library for one"));
        assert_eq!(ways, [["/bin/rustup target add one"]]);
    }

    #[test]
    fn a_packaged_compiler_gets_its_own_source_package() {
        let mut probe = complete();
        probe.kit = None;
        probe.rustup = None;
        probe.compiler = Some(Compiler {
            release: "1.96.0".into(),
            new_enough: true,
            rustup: false,
            package: Some("rustc-web".into()),
            library: false,
        });
        let lines = lines(&needs(&probe));
        assert_eq!(lines[0][0], "apt-get update -q");
        assert!(lines[0][1].ends_with(" rust-web-src"), "{lines:?}");
        assert_eq!(source_package("rustc"), Some("rust-src".into()));
        assert_eq!(source_package("clang"), None);
    }

    #[test]
    fn an_old_compiler_is_not_given_its_source_but_a_newer_toolchain() {
        let mut probe = complete();
        probe.kit = None;
        probe.compiler.as_mut().unwrap().new_enough = false;
        let needs = needs(&probe);
        assert!(needs[0].what.starts_with("a Rust toolchain of at least"));
        assert!(!lines(&needs)[0][0].contains("rustup"));
    }

    #[test]
    fn a_missing_emulator_and_linker_are_packages() {
        let mut probe = complete();
        probe.kit = None;
        probe.linker = None;
        probe.emulators[0].found = None;
        let needs = needs(&probe);
        let names: Vec<_> = needs.iter().map(|need| need.what.as_str()).collect();
        assert_eq!(names, ["LLD, the linker", "QEMU (qemu-system-one)"]);
        assert!(lines(&needs)[1][1].ends_with(" qemu-one"));
    }

    #[test]
    fn sudo_is_in_the_command_that_is_shown() {
        let mut probe = complete();
        probe.emulators[0].found = None;
        probe.rights = Rights::Sudo;
        assert!(lines(&needs(&probe))[0].iter().all(|line| line.starts_with("sudo apt-get ")));
    }

    #[test]
    fn without_rights_or_apt_there_is_only_advice() {
        for change in [|probe: &mut Probe| probe.rights = Rights::None, |probe: &mut Probe| probe.apt = false]
        {
            let mut probe = complete();
            probe.emulators[0].found = None;
            change(&mut probe);
            let needs = needs(&probe);
            assert_eq!(needs[0].ways, Vec::<Vec<Step>>::new());
            assert!(needs[0].advice.contains("QEMU_ONE"));
            assert_eq!(needs[0].advice.contains("as root: apt-get install"), probe.apt);
        }
    }

    #[test]
    fn who_is_asked() {
        let nobody = Presence::default();
        assert_eq!(nobody.consent(), Consent::Refuse);
        assert_eq!(Presence { root: true, ..nobody }.consent(), Consent::Go);
        assert_eq!(Presence { ci: true, ..nobody }.consent(), Consent::Go);
        assert_eq!(Presence { person: true, ..nobody }.consent(), Consent::Ask);
        assert_eq!(Presence { person: true, root: true, ..nobody }.consent(), Consent::Ask);
        assert_eq!(Presence { person: true, yes: true, ..nobody }.consent(), Consent::Go);
    }
}
