//! Who may depend on whom: the direction of dependencies is the architecture.

use std::process::Command;

use anyhow::Result;
use serde::Deserialize;

use super::rules::SIMULATOR;
use super::tree::Problem;
use crate::error::{Classed, environment};
use crate::toolchain;
use crate::workspace::Workspace;

const CHECK: &str = "dependency-direction";

/// What `cargo metadata` says, as far as it matters.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Clone, Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Clone, Debug, Deserialize)]
struct Dependency {
    name: String,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    features: Vec<String>,
}

/// Asks cargo and applies the rules.
pub fn check(workspace: &Workspace) -> Result<Vec<Problem>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace.root()).args(["metadata", "--no-deps", "--format-version", "1"]);
    let text = toolchain::output(&mut command).ok_or_else(|| environment("`cargo metadata` fails here"))?;
    let metadata: Metadata =
        serde_json::from_str(&text).or_environment(|| "cannot read what `cargo metadata` prints".into())?;
    Ok(problems(&metadata.packages))
}

fn problems(packages: &[Package]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in packages {
        let place = format!("{}/Cargo.toml", package.name);
        for dependency in
            package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"))
        {
            if let Some(why) = objection(&package.name, dependency) {
                problems.push(Problem::of(
                    CHECK,
                    &place,
                    format!("may not depend on `{}`: {why}", dependency.name),
                ));
            }
        }
    }
    problems
}

/// Why a package may not have a dependency, or `None` if it may.
fn objection(package: &str, dependency: &Dependency) -> Option<&'static str> {
    let ours = dependency.path.is_some();
    let name = dependency.name.as_str();
    match package {
        "hal" if dependency.target.as_deref() == Some("cfg(loom)") && !ours => None,
        "hal" => Some("the contract depends on nothing (a crate for model tests stands under cfg(loom))"),
        "crash-record" if name == "hal" && dependency.optional => None,
        "crash-record" => Some("the formats depend on nothing but, optionally, the atomics of `hal`"),
        "crash-lock" if ours && name == "hal" => None,
        "crash-lock" => Some("a kernel that wants the lock alone gets `hal` with it, and nothing else"),
        "core-panic" if ours && matches!(name, "hal" | "crash-lock" | "crash-record") => None,
        "core-panic" => Some("the panic sequence knows `hal`, the lock and the record, and no machine"),
        "xtask" if ours && name == "crash-record" && dependency.features.is_empty() => None,
        "xtask" if ours && name == "crash-record" => {
            Some("the runner reads records; it has no use for features")
        }
        "xtask" if ours => Some("the runner shares formats with the kernel, not code"),
        "kernel" | "xtask" => None,
        // The simulator is a port and the bench that runs the sequence on it.
        SIMULATOR if matches!(name, "hal" | "core-panic" | "crash-lock" | "crash-record") || !ours => None,
        "crash-image" if !ours => None,
        "crash-image" => Some("the crash image is bytes, and this knows no other crate of this workspace"),
        port if port.starts_with("arch-") => match (ours, name) {
            (false, _) | (true, "hal" | "crash-lock" | "crash-image") => None,
            (true, "core-panic") => Some("a port does not know the panic sequence; `kernel` joins them"),
            (true, _) => {
                Some("a port knows `hal`, the lock and the crash image, and no other crate of this workspace")
            }
        },
        _ if ours => Some("this package has no rule yet; give it one in xtask/src/tidy/dependencies.rs"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dependency(name: &str, ours: bool) -> Dependency {
        Dependency {
            name: name.into(),
            path: ours.then(|| "here".into()),
            kind: None,
            optional: false,
            target: None,
            features: Vec::new(),
        }
    }

    fn refused(package: &str, dependency: Dependency) -> bool {
        !problems(&[Package { name: package.into(), dependencies: vec![dependency] }]).is_empty()
    }

    #[test]
    fn the_wrong_direction_is_refused() {
        for (package, name, ours) in [
            ("hal", "crash-record", true),
            ("hal", "spin", false),
            ("crash-record", "hal", true),
            ("crash-record", "zerocopy", false),
            ("core-panic", "arch-one", true),
            ("core-panic", "log", false),
            ("core-panic", "spin", false),
            ("crash-lock", "crash-record", true),
            ("crash-image", "hal", true),
            ("arch-sim", "arch-one", true),
            ("arch-one", "core-panic", true),
            ("arch-one", "arch-two", true),
            ("arch-one", "crash-record", true),
            ("xtask", "kernel", true),
            ("xtask", "hal", true),
            ("newcomer", "hal", true),
        ] {
            assert!(refused(package, dependency(name, ours)), "{package} -> {name}");
        }
    }

    #[test]
    fn the_right_direction_is_not() {
        for (package, name, ours) in [
            ("core-panic", "hal", true),
            ("core-panic", "crash-record", true),
            ("core-panic", "crash-lock", true),
            ("crash-lock", "hal", true),
            ("arch-one", "hal", true),
            ("arch-one", "spin", false),
            ("kernel", "arch-one", true),
            ("kernel", "core-panic", true),
            ("xtask", "crash-record", true),
            ("xtask", "clap", false),
        ] {
            assert!(!refused(package, dependency(name, ours)), "{package} -> {name}");
        }
    }

    #[test]
    fn conditions_are_part_of_the_rule() {
        let loom = Dependency { target: Some("cfg(loom)".into()), ..dependency("loom", false) };
        assert!(!refused("hal", loom));
        let optional = Dependency { optional: true, ..dependency("hal", true) };
        assert!(!refused("crash-record", optional));
        let writing = Dependency { features: vec!["write".into()], ..dependency("crash-record", true) };
        assert!(refused("xtask", writing));
        let test_only = Dependency { kind: Some("dev".into()), ..dependency("arch-one", true) };
        assert!(!refused("core-panic", test_only));
    }

    #[test]
    fn the_output_of_cargo_is_understood() {
        let text = r#"{"packages":[{"name":"hal","dependencies":[{"name":"spin","source":"registry","req":"*",
            "kind":null,"optional":false,"features":[],"target":null}]}],"workspace_root":"/x"}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        assert_eq!(problems(&metadata.packages)[0].check, CHECK);
    }
}
