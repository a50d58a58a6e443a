//! Rules about single source files, each with the reason it exists.

use super::source::Source;
use super::tree::{Problem, Tree};

/// The port that runs on the host: no kernel is built for it, and it brings the panic sequence along.
pub const SIMULATOR: &str = "arch-sim";

/// The port that new ones are copied from.
const TEMPLATE: &str = "arch-template";

/// Crates in which every atomic comes from `hal::sync`.
const FACADE: [&str; 3] = ["core-panic/src", "crash-lock/src", "crash-record/src"];
/// Crates that know no architecture.
const NEUTRAL: [&str; 6] = ["hal", "core-panic", "crash-image", "crash-lock", "crash-record", "xtask"];
/// Crates in which everything may run during a panic.
const PANIC_PATH: [&str; 3] = ["core-panic/src", "crash-lock/src", "hal/src"];
/// A comment that excuses a line of a port which no panic reaches.
const BOOT_ONLY: &str = "// boot only: ";
/// Longest source file, in lines.
const LONGEST: usize = 700;
/// Longest `ARCHITECTURE.md`, in lines (exclusive).
const ARCHITECTURE: usize = 200;

/// Applies every rule to every file.
pub fn check(tree: &Tree, machines: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (path, text) in tree.below("", ".rs") {
        if is_test_file(path) {
            continue;
        }
        let source = Source::new(text);
        atomics_facade(path, &source, &mut problems);
        no_target_arch(path, &source, &mut problems);
        no_static_mut(path, &source, &mut problems);
        panic_no_unwrap(path, &source, &mut problems);
        no_machine_name(path, &source, machines, &mut problems);
    }
    same_modules(tree, &mut problems);
    template_answers(tree, &mut problems);
    port_surface(tree, &mut problems);
    lengths(tree, &mut problems);
    local_paths(tree, &mut problems);
    toolchain_is_free(tree, &mut problems);
    problems
}

/// Compiled for tests as a whole.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs")
}

fn within(path: &str, folders: &[&str]) -> bool {
    folders.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
}

/// What is proven must be what runs: an atomic that does not come from the facade is one that no model checker
/// schedules.
fn atomics_facade(path: &str, source: &Source, problems: &mut Vec<Problem>) {
    if !within(path, &FACADE) {
        return;
    }
    for word in ["core::sync::atomic", "std::sync::atomic"] {
        for line in source.lines_with(word) {
            let message = format!("`{word}` here is invisible to the model checker; use `hal::sync`");
            problems.push(Problem::at("atomics-facade", path, line, message));
        }
    }
}

/// An architecture is chosen in one place, `kernel`; each port has its own gate.
fn no_target_arch(path: &str, source: &Source, problems: &mut Vec<Problem>) {
    if within(path, &NEUTRAL) {
        for line in source.lines_with("target_arch") {
            problems.push(Problem::at(
                "no-target-arch",
                path,
                line,
                "this crate is the same on every architecture",
            ));
        }
    }
}

fn no_static_mut(path: &str, source: &Source, problems: &mut Vec<Problem>) {
    for line in source.lines_with("static mut") {
        let message = "a panic can interrupt any writer: use an atomic or a cell that is bound once";
        problems.push(Problem::at("no-static-mut", path, line, message));
    }
}

/// A panic inside the panic path is a re-entry that costs a step.
fn panic_no_unwrap(path: &str, source: &Source, problems: &mut Vec<Problem>) {
    let simulator = path.starts_with(SIMULATOR);
    let port = path.starts_with("arch-") && path.contains("/src/") && !simulator;
    if !port && !within(path, &PANIC_PATH) {
        return;
    }
    let excused = |line: usize| {
        port && source.comments.iter().any(|(at, text)| {
            (*at == line || at + 1 == line)
                && text.strip_prefix(BOOT_ONLY).is_some_and(|why| !why.trim().is_empty())
        })
    };
    for word in [".unwrap()", ".expect(", "panic!(", "unreachable!("] {
        for line in source.lines_with(word).into_iter().filter(|&line| !excused(line)) {
            let hint = if port { "; where no panic can come from here, say `// boot only: why`" } else { "" };
            let message = format!("`{}` may panic on the panic path{hint}", word.trim_end_matches('('));
            problems.push(Problem::at("panic-no-unwrap", path, line, message));
        }
    }
}

/// What the runner knows about a machine is data: a new port brings a file, not a change of the runner.
fn no_machine_name(path: &str, source: &Source, machines: &[String], problems: &mut Vec<Problem>) {
    if !within(path, &["xtask/src"]) {
        return;
    }
    for (line, text) in &source.strings {
        // A command that help shows as an example has to name something.
        let example = |line: &&str| line.trim_start().starts_with("cargo xtask ");
        let said: Vec<&str> = text.lines().filter(|line| !example(line)).collect();
        if let Some(name) = machines.iter().find(|name| said.iter().any(|line| line.contains(name.as_str())))
        {
            let message = format!("`{name}` belongs in machines/{name}.toml, not in the runner");
            problems.push(Problem::at("no-machine-name", path, *line, message));
        }
    }
}

/// Every port has the same modules: the difference between two ports is the index for the third.
fn same_modules(tree: &Tree, problems: &mut Vec<Problem>) {
    let modules = |port: &str| -> Vec<String> {
        let source = format!("{port}/src/");
        let mut modules: Vec<_> = tree
            .files()
            .filter_map(|(path, _)| path.strip_prefix(&source))
            .filter_map(|rest| rest.split('/').next())
            .map(|name| name.trim_end_matches(".rs").to_owned())
            .filter(|name| name != "lib")
            .collect();
        modules.dedup();
        modules
    };
    let wanted = modules(TEMPLATE);
    if wanted.is_empty() {
        problems.push(Problem::of("same-modules", TEMPLATE, "the skeleton port is missing"));
    }
    for port in tree.folders("arch-").into_iter().filter(|port| ![TEMPLATE, SIMULATOR].contains(port)) {
        let there = modules(port);
        for module in wanted.iter().filter(|module| !there.contains(module)) {
            let message = format!("has no module `{module}`, which every port has");
            problems.push(Problem::of("same-modules", port, message));
        }
    }
}

/// Each module of the skeleton says where the other ports answer its questions: functions that are there.
fn template_answers(tree: &Tree, problems: &mut Vec<Problem>) {
    const CHECK: &str = "template-answers";
    let ports: Vec<_> =
        tree.folders("arch-").into_iter().filter(|port| ![TEMPLATE, SIMULATOR].contains(port)).collect();
    for (path, text) in
        tree.below(&format!("{TEMPLATE}/src"), ".rs").filter(|(path, _)| !path.ends_with("/lib.rs"))
    {
        let mut answering = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let Some((file, functions)) =
                line.strip_prefix("//! * `arch-").and_then(|rest| rest.split_once("`: "))
            else {
                continue;
            };
            let file = format!("arch-{file}");
            let there = tree.get(&file).map(|text| Source::new(text).code).unwrap_or_default();
            for function in functions.split('`').skip(1).step_by(2) {
                let definition = format!("fn {function}");
                let defined = there
                    .match_indices(&definition)
                    .any(|(at, found)| !there[at + found.len()..].starts_with(is_identifier));
                if !defined {
                    let message = format!("{file} has no function `{function}`");
                    problems.push(Problem::at(CHECK, path, number + 1, message));
                }
            }
            answering.push(file);
        }
        // Two answers show what is the machine's and what is the contract's.
        let answers =
            ports.iter().filter(|port| answering.iter().any(|file| file.starts_with(&format!("{port}/"))));
        if ports.len() > 1 && answers.count() < 2 {
            problems.push(Problem::of(
                CHECK,
                path,
                "does not say where two other ports answer its questions",
            ));
        }
    }
}

/// What the kernel calls by name in its port, every port has, the skeleton included: the traits cannot say so.
fn port_surface(tree: &Tree, problems: &mut Vec<Problem>) {
    let mut calls = std::collections::BTreeSet::new();
    for (_, text) in tree.below("kernel/src", ".rs") {
        let code = Source::new(text).code;
        for (at, _) in code.match_indices("port::").filter(|(at, _)| !code[..*at].ends_with(is_identifier)) {
            let mut path = code[at..].splitn(3, "::").skip(1);
            let (module, function) = (path.next().unwrap_or_default(), path.next().map(leading_identifier));
            if let Some(function) = function
                && !module.is_empty()
                && module.chars().all(is_identifier)
                && function.starts_with(|c: char| c.is_ascii_lowercase())
            {
                calls.insert((module.to_owned(), function.to_owned()));
            }
        }
    }
    for port in tree.folders("arch-").into_iter().filter(|port| *port != SIMULATOR) {
        for (module, function) in &calls {
            let file = format!("{port}/src/{module}.rs");
            let folder = format!("{port}/src/{module}");
            let definitions = [format!("pub fn {function}"), format!("pub const fn {function}")];
            let own = tree.get(&file).map(|text| (file.as_str(), text));
            let there = own.into_iter().chain(tree.below(&folder, ".rs"));
            if !there
                .map(|(_, text)| Source::new(text))
                .any(|source| definitions.iter().any(|definition| !source.lines_with(definition).is_empty()))
            {
                let message = format!("has no `pub fn {function}`, which the kernel calls");
                problems.push(Problem::of("port-surface", &file, message));
            }
        }
    }
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn leading_identifier(text: &str) -> &str {
    text.split(|c| !is_identifier(c)).next().unwrap_or_default()
}

fn lengths(tree: &Tree, problems: &mut Vec<Problem>) {
    for (path, text) in tree.files() {
        let lines = text.lines().count();
        let limit = match path {
            "ARCHITECTURE.md" => ARCHITECTURE - 1,
            _ if path.ends_with(".rs") || path.ends_with(".S") => LONGEST,
            _ => continue,
        };
        if lines > limit {
            problems.push(Problem::of("length", path, format!("has {lines} lines; the most is {limit}")));
        }
    }
}

/// A path that exists on one person's machine only.
fn local_paths(tree: &Tree, problems: &mut Vec<Problem>) {
    const ANYWHERE: [&str; 2] = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    const DOCS: [&str; 1] = [concat!("/tm", "p/")];
    for (path, text) in tree.files() {
        let docs: &[&str] = if path.ends_with(".md") { &DOCS } else { &[] };
        for (number, line) in text.lines().enumerate() {
            for local in ANYWHERE.iter().chain(docs).filter(|local| has_path(line, local)) {
                let message = format!("`{local}` is a path of one machine");
                problems.push(Problem::at("no-local-path", path, number + 1, message));
            }
        }
    }
}

/// Whether a line has an absolute path that starts so, rather than a longer one with it inside.
fn has_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '}' | '*' | '~'))
    })
}

/// A pinned toolchain fails every cargo command where it cannot be fetched; a target file changes its meaning
/// with the compiler.
fn toolchain_is_free(tree: &Tree, problems: &mut Vec<Problem>) {
    for pinned in ["rust-toolchain", "rust-toolchain.toml"] {
        if tree.get(pinned).is_some() {
            let message = "no pinned toolchain: `rust-version` states the oldest one";
            problems.push(Problem::of("toolchain-is-free", pinned, message));
        }
    }
    for (path, text) in tree.below("", ".json") {
        if text.contains("\"llvm-target\"") {
            problems.push(Problem::of("toolchain-is-free", path, "built-in target triples only"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(files: &[(&str, &str)]) -> Vec<&'static str> {
        let mut all = files.to_vec();
        all.extend([("arch-template/src/boot.rs", ""), ("arch-template/src/asm/README.md", "")]);
        check(&Tree::of(&all), &["vax".into()]).into_iter().map(|problem| problem.check).collect()
    }

    #[test]
    fn atomics_past_the_facade_are_found() {
        let text = "use core::sync::atomic::AtomicU32;\n#[cfg(test)]\nmod tests { use std::sync::atomic::Ordering; }";
        assert_eq!(checks(&[("core-panic/src/claim.rs", text)]), ["atomics-facade"]);
        assert_eq!(checks(&[("crash-record/src/write.rs", text)]), ["atomics-facade"]);
        assert!(checks(&[("hal/src/sync.rs", text), ("core-panic/tests/loom.rs", text)]).is_empty());
    }

    #[test]
    fn architectures_in_neutral_crates_are_found() {
        let text = "#[cfg(target_arch = \"vax\")]\nfn f() {}";
        for path in ["hal/src/a.rs", "core-panic/src/a.rs", "crash-record/src/a.rs"] {
            assert_eq!(checks(&[(path, text)]), ["no-target-arch"], "{path}");
        }
        assert!(checks(&[("kernel/src/main.rs", text)]).is_empty());
    }

    #[test]
    fn static_mut_is_found_anywhere() {
        assert_eq!(checks(&[("kernel/src/a.rs", "static mut X: u8 = 0;")]), ["no-static-mut"]);
        assert!(checks(&[("kernel/src/a.rs", "fn f(x: &'static mut u8) {} // static mut")]).is_empty());
    }

    #[test]
    fn panics_on_the_panic_path_are_found() {
        assert_eq!(checks(&[("core-panic/src/a.rs", "fn f() { x.unwrap(); y.expect(\"\"); }")]).len(), 2);
        assert_eq!(checks(&[("hal/src/a.rs", "fn f() { x.expect(\"why\") }")]), ["panic-no-unwrap"]);
        assert!(checks(&[("core-panic/src/a.rs", "fn f() { x.unwrap_or(1); }")]).is_empty());
    }

    #[test]
    fn a_port_may_excuse_what_runs_at_boot_with_a_reason() {
        let port = |text| checks(&[("arch-vax/src/boot.rs", text), ("arch-vax/src/asm/a.S", "")]);
        assert_eq!(port("fn f() {\n x.unwrap() }"), ["panic-no-unwrap"]);
        assert!(port("fn f() {\n x.unwrap() } // boot only: before any trap").is_empty());
        assert!(port("fn f() {\n // boot only: before any trap\n x.unwrap() }").is_empty());
        assert_eq!(port("fn f() {\n // boot only: \n x.unwrap() }"), ["panic-no-unwrap"]);
    }

    #[test]
    fn a_machine_named_by_the_runner_is_found() {
        assert_eq!(checks(&[("xtask/src/a.rs", "fn f() { g(\"qemu-system-vax\") }")]), ["no-machine-name"]);
        assert!(checks(&[("xtask/src/a.rs", "/// such as vax\nfn f() {}")]).is_empty());
        assert!(
            checks(&[("xtask/src/a.rs", "const HELP: &str = \"Try:\n  cargo xtask qemu vax\";")]).is_empty()
        );
    }

    #[test]
    fn a_port_without_a_module_is_found() {
        assert_eq!(checks(&[("arch-vax/src/boot.rs", "")]), ["same-modules"]);
        assert!(checks(&[("arch-vax/src/boot/mod.rs", ""), ("arch-vax/src/asm/x.S", "")]).is_empty());
        let bare = check(&Tree::of(&[("README.md", "")]), &[]);
        assert_eq!(bare[0].check, "same-modules");
    }

    #[test]
    fn an_answer_that_is_nowhere_is_found() {
        let problems = |answers: &str| {
            let module = format!("//! Answers:\n{answers}fn f() {{}}\n");
            let files = [
                ("arch-template/src/boot.rs", module.as_str()),
                ("arch-vax/src/boot.rs", "fn start() {}\nfn started() {}\n"),
                ("arch-alpha/src/boot.rs", "// fn commented() {}\nfn begin() {}\n"),
            ];
            let found = check(&Tree::of(&files), &[]);
            let mine = found.into_iter().filter(|problem| problem.check == "template-answers");
            mine.map(|problem| problem.message).collect::<Vec<_>>()
        };
        let vax = "//! * `arch-vax/src/boot.rs`: `start`\n";
        assert!(problems(&format!("{vax}//! * `arch-alpha/src/boot.rs`: `begin`\n")).is_empty());
        assert_eq!(problems(vax), ["does not say where two other ports answer its questions"]);
        for gone in ["star", "commented"] {
            let alpha = format!("//! * `arch-alpha/src/boot.rs`: `begin`, `{gone}`\n");
            let message = format!("arch-alpha/src/boot.rs has no function `{gone}`");
            assert_eq!(problems(&format!("{vax}{alpha}")), [message]);
        }
    }

    #[test]
    fn a_port_without_a_function_that_the_kernel_calls_is_found() {
        let kernel = (
            "kernel/src/a.rs",
            "use crate::port::{self, PORT}; fn f() { port::boot::go(1); airport::boot::no(); }",
        );
        assert_eq!(checks(&[kernel]), ["port-surface"], "the skeleton has no such function");
        let port = |text| {
            let tree = Tree::of(&[kernel, ("arch-template/src/boot.rs", text)]);
            check(&tree, &[]).len()
        };
        assert_eq!(port("pub fn go(x: u8) {}"), 0);
        assert_eq!(port("fn go(x: u8) {} // pub fn go"), 1);
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(checks(&[("hal/src/a.rs", &"\n".repeat(701))]), ["length"]);
        assert_eq!(checks(&[("a.S", &"\n".repeat(701))]), ["length"]);
        assert_eq!(checks(&[("ARCHITECTURE.md", &"\n".repeat(200))]), ["length"]);
        assert!(checks(&[("ARCHITECTURE.md", &"\n".repeat(199)), ("a.rs", &"\n".repeat(700))]).is_empty());
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let home = concat!("see /ro", "ot/.cargo");
        assert_eq!(checks(&[("a.toml", home)]), ["no-local-path"]);
        assert_eq!(checks(&[("a.md", concat!("in /tm", "p/x"))]), ["no-local-path"]);
        assert!(checks(&[("a.rs", concat!("in /tm", "p/x")), ("b.md", "the ./ro\u{6f}t/file")]).is_empty());
    }

    #[test]
    fn pinned_toolchains_and_target_files_are_found() {
        assert_eq!(checks(&[("rust-toolchain.toml", "")]), ["toolchain-is-free"]);
        assert_eq!(checks(&[("a/vax.json", "{\"llvm-target\": \"vax\"}")]), ["toolchain-is-free"]);
    }
}
