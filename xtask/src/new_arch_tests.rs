use super::*;
use crate::error::{Exit, class_of, one_line};

fn args(name: &str, target: Option<&str>) -> NewArchArgs {
    NewArchArgs { name: name.into(), target: target.map(str::to_owned), qemu: None, machine: None }
}

fn port(name: &str, arch: &str) -> Port {
    Port {
        name: name.into(),
        target: format!("{arch}-unknown-none"),
        arch: arch.into(),
        qemu: format!("qemu-system-{name}"),
        machine: "virt".into(),
    }
}

fn tree() -> Workspace {
    Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

fn refused(name: &str, target: Option<&str>) -> String {
    let compiler = Compiler::find().unwrap();
    let error = Port::new(&args(name, target), &compiler).unwrap_err();
    assert_eq!(class_of(&error), Exit::Usage);
    one_line(&error)
}

#[test]
fn a_new_port_is_registered_everywhere_and_nothing_else_changes() {
    let (workspace, port) = (tree(), port("novel", "loongarch64"));
    let files = port.files(&workspace).unwrap();
    let text = |end: &str| {
        let found = files.iter().find(|(path, _)| workspace.relative(path) == Path::new(end));
        found.unwrap_or_else(|| panic!("{end}")).1.as_str()
    };
    // Line by line: what was there is still there, and what is new names the port.
    for (path, lines) in [("Cargo.toml", 3), ("kernel/Cargo.toml", 3), (SELECTION, 2)] {
        let before = std::fs::read_to_string(workspace.root().join(path)).unwrap();
        let mut left = text(path).lines();
        for line in before.lines() {
            assert!(left.any(|new| new == line), "{path}: `{line}` is gone");
        }
        let more = text(path).lines().count() - before.lines().count();
        assert_eq!(more, lines, "{path}:\n{}", text(path));
    }
    // Beside its kind, and not under somebody else's comment.
    let lines: Vec<_> = text("Cargo.toml").lines().collect();
    for pair in lines.windows(2).filter(|pair| pair[1].starts_with("arch-novel = ")) {
        assert!(pair[0].starts_with("arch-"), "{pair:?}");
    }
    assert!(text("kernel/Cargo.toml").contains(
        "[target.'cfg(target_arch = \"loongarch64\")'.dependencies]\narch-novel.workspace = true\n"
    ));
    assert!(text(SELECTION).contains("\"loongarch64\")] {\n        pub use arch_novel::*;\n    } else {"));
    assert!(text("arch-novel/Cargo.toml").contains("name = \"arch-novel\""));
    assert!(text("arch-novel/link/kernel.ld").contains("ENTRY(novel_entry)"));
    assert!(text("arch-novel/src/boot.rs").contains("fn novel_entry()"));
    assert!(text("arch-novel/src/platform.rs").contains("\"novel\""));
    let machine = Machine::parse(text("machines/novel.toml"), Path::new("machines/novel.toml")).unwrap();
    assert_eq!((machine.qemu.binary.as_str(), machine.suite.cpus.len()), ("qemu-system-novel", 0));
    assert!(machine.qemu.kernel_arguments.contains(&"{kernel}".to_owned()));
}

#[test]
fn what_exists_is_left_alone() {
    let workspace = tree();
    for name in Machine::names(&workspace).unwrap() {
        let error = port(&name, "loongarch64").files(&workspace).unwrap_err();
        assert_eq!(one_line(&error), format!("there is a arch-{name} already; nothing was changed"));
    }
    let selection = std::fs::read_to_string(workspace.root().join(SELECTION)).unwrap();
    let taken = selection.split("target_arch = \"").nth(1).unwrap().split('"').next().unwrap();
    let error = port("novel", taken).files(&workspace).unwrap_err();
    assert!(
        one_line(&error).ends_with(&format!("builds for {taken} already; nothing was changed")),
        "{error}"
    );
}

#[test]
fn bad_names_and_targets_are_refused() {
    for name in ["", "Novel", "9novel", "no-vel", "../novel", "n\u{e4}", &"a".repeat(25), "all", "others"] {
        assert!(refused(name, None).contains("is no name for a port"), "{name}");
    }
    let error = refused("novel", Some("riscv64gc-unknown-nonesuch"));
    assert!(error.starts_with("the compiler knows no target `riscv64gc-unknown-nonesuch`"), "{error}");
    assert!(error.contains("riscv64gc-unknown-none-elf") && !error.contains("wasm"), "{error}");
    assert!(refused("novel", Some("riscv32i-unknown-none-elf")).contains("needs 64-bit pointers"));
    assert!(refused("novel", None).contains("no bare-metal target begins with `novel`"));
}

#[test]
fn the_target_that_anybody_would_take_needs_no_option() {
    let compiler = Compiler::find().unwrap();
    let made = |name: &str| {
        let port = Port::new(&args(name, None), &compiler).unwrap();
        (port.target, port.arch)
    };
    assert_eq!(made("aarch64"), ("aarch64-unknown-none-softfloat".into(), "aarch64".into()));
    assert_eq!(made("riscv64"), ("riscv64imac-unknown-none-elf".into(), "riscv64".into()));
}
