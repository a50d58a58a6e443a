//! On the host: what this kernel would do under a command line, and how long that may take at most.
//! `cargo xtask explain` and the documents are made of it.
//!
//! `kernel explain FORMAT CPUS DIGEST_MS [COMMAND LINE]`

use core_panic::config::{ConfigError, KEYS, Key, PREFIX, Values};
use core_panic::explain::{Ms, REENTRY_MS, Situation, TAKEOVER_MS, Until, class, words};
use core_panic::order::ORDER;
use crash_record::names::Class;

use crate::notifiers::{FAULTS, Which, wanted};
use crate::options::{NotifierFault, Options};

/// Takes the arguments after the program's name. An error is a sentence.
pub fn run(arguments: &[String]) -> Result<String, String> {
    let [command, format, cpus, digest_ms, line @ ..] = arguments else {
        return Err("usage: kernel explain FORMAT CPUS DIGEST_MS [COMMAND LINE]".into());
    };
    if command != "explain" {
        return Err(format!("no command `{command}`; there is `explain`"));
    }
    let number = |text: &String| text.parse::<usize>().map_err(|_| format!("`{text}` is not a number"));
    let (cpus, digest_ms) = (number(cpus)?, number(digest_ms)? as u64);
    let mut wrong = None;
    let mut complain = |key: &str, error: &ConfigError| {
        wrong.get_or_insert(format!("{key}: {error}"));
    };
    let mut options = Options::parse(&line.join(" "), &mut complain);
    options.fit(cpus, &mut complain);
    // A boot goes on with the default; whoever asks for numbers wants them for what was said. The bench
    // also gives nonsense on purpose, and then wants what the boot would do.
    if let Some(wrong) = wrong.filter(|_| format != "numbers") {
        return Err(wrong);
    }
    let situation = situation(&options, cpus, digest_ms);
    match format.as_str() {
        "text" => Ok(format!("{situation}\n{}", notifiers(&options))),
        "numbers" => Ok(format!(
            "jump_ms={} jump_total_ms={} end_ms={} end_total_ms={} reentry_ms={} takeover_ms={}\n{}",
            situation.undisturbed_ms(Until::Jump),
            situation.total_ms(Until::Jump),
            situation.undisturbed_ms(Until::End),
            situation.total_ms(Until::End),
            REENTRY_MS * u64::from(options.config.scale),
            TAKEOVER_MS * u64::from(options.config.scale),
            situation.budgets().map(|(step, ms)| format!("budget:{step}={ms}\n")).collect::<String>(),
        )),
        "order" => Ok(order()),
        "bounds" => Ok(bounds()),
        "config" => Ok(config()),
        other => Err(format!("no format `{other}`; there are text, numbers, order, bounds, config")),
    }
}

fn situation(options: &Options, cpus: usize, digest_ms: u64) -> Situation {
    let mut notifiers = [0; Class::ALL.len()];
    for (class, _, _) in wanted(options) {
        for (known, count) in Class::ALL.iter().zip(&mut notifiers) {
            *count += usize::from(*known == class);
        }
    }
    Situation { config: options.config, cpus, notifiers, digest_ms }
}

/// The registered notifiers, by class in the order in which they run.
fn notifiers(options: &Options) -> String {
    let mut text = String::from("notifiers, in the order in which they run\n");
    for class in Class::ALL {
        let mut all: Vec<(i16, Which)> =
            wanted(options).filter(|one| one.0 == *class).map(|one| (one.1, one.2)).collect();
        all.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let names: Vec<_> =
            all.iter().map(|(priority, which)| format!("{} (priority {priority})", which.name())).collect();
        let mut names = if names.is_empty() { "none".into() } else { names.join(", ") };
        let idle = |fault: &NotifierFault| !all.iter().any(|(_, which)| *which == Which::Wrong(*fault));
        if *class == Class::BeforeDump {
            let idle: Vec<_> =
                FAULTS.iter().filter(|fault| idle(fault)).map(|fault| Which::Wrong(*fault).name()).collect();
            if !idle.is_empty() {
                names.push_str(&format!(" (in the constant table and not armed: {})", idle.join(", ")));
            }
        }
        text.push_str(&format!("  {:<12} {names}\n", class.name()));
    }
    text
}

/// The order as a table for the documents.
fn order() -> String {
    let mut lines = vec![
        "| step | class | what happens | budget | may be left out | needs |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
        format!(
            "| claim |  | {} | none: it waits for nothing | no |  |",
            words(crash_record::names::Step::Claim).what
        ),
    ];
    for spec in &ORDER {
        let words = words(spec.step);
        let class = class(spec);
        let each = if class.is_some() { " each" } else { "" };
        let more = if spec.action == core_panic::order::Action::Kexec {
            " + 4 × the digest's time at load"
        } else if core_panic::order::grace_ms(spec, &core_panic::Config::DEFAULT) != 0 {
            " + the grace, where a stop may be deferred"
        } else {
            ""
        };
        let class = class.map_or(String::new(), |class| format!("`{class}`"));
        let optional = if spec.optional { "yes" } else { "no" };
        let (step, what, budget, needs) = (spec.step, words.what, Ms(spec.budget_ms), words.needs);
        lines.push(format!("| {step} | {class} | {what} | {budget}{each}{more} | {optional} | {needs} |"));
    }
    lines.join("\n") + "\n"
}

/// The keys of the command line as a table for the documents.
fn config() -> String {
    let mut lines =
        vec!["| key | values | default | what it does |".to_owned(), "|---|---|---|---|".to_owned()];
    for Key { name, values, default, meaning, .. } in &KEYS {
        let values = match values {
            Values::Words(words) => {
                words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
            }
            Values::Number { least, most } => format!("{least} to {most}"),
        };
        let default = if *default == "none" { "none".to_owned() } else { format!("`{default}`") };
        lines.push(format!("| `{PREFIX}{name}` | {values} | {default} | {meaning} |"));
    }
    lines.join("\n") + "\n"
}

/// The bounds of some configurations as a table for the documents.
fn bounds() -> String {
    let mut lines = vec![
        "| configuration | CPUs | until the | if nothing is abandoned | abandonments, at most | whatever is abandoned |"
            .to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for (line, cpus) in [
        ("panic.kexec=pre", 1),
        ("panic.kexec=pre", 4),
        ("panic.kexec=post", 4),
        ("panic.kexec=off", 4),
        ("panic.kexec=off panic.final=halt", 4),
        ("panic.kexec=post panic.cpu=1 panic.scale=10", 4),
    ] {
        let options = Options::parse(line, |_, _| {});
        let situation = situation(&options, cpus, 0);
        for until in [Until::Jump, Until::End] {
            if until == Until::Jump && !situation.jumps() {
                continue;
            }
            lines.push(format!(
                "| `{line}` | {cpus} | {until} | {} | {} | {} |",
                Ms(situation.undisturbed_ms(until)),
                situation.reentries(until),
                Ms(situation.total_ms(until))
            ));
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explain(words: &[&str]) -> Result<String, String> {
        run(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn before_dump_is_empty_unless_somebody_asks() {
        let text = explain(&["explain", "text", "4", "0"]).unwrap();
        assert!(text.contains("before-dump  none"), "{text}");
        assert!(text.contains("terminal     log (priority 0), hold (priority -32768)"), "{text}");
        let text = explain(&["explain", "text", "4", "0", "test.notifier=inform:hang"]).unwrap();
        assert!(text.contains("inform       hangs (priority 10), log (priority 0)"), "{text}");
    }

    #[test]
    fn numbers_follow_the_command_line() {
        let of = |line: &[&str]| {
            let text = explain(&[&["explain", "numbers", "4", "0"], line].concat()).unwrap();
            let field = |key: &str| {
                let found = text.split_ascii_whitespace().find_map(|word| word.strip_prefix(key));
                found.unwrap().parse::<u64>().unwrap()
            };
            (field("jump_ms="), field("end_total_ms="))
        };
        let one = of(&["panic.kexec=pre"]);
        assert_eq!(of(&["panic.kexec=pre", "panic.scale=10"]), (one.0 * 10, one.1 * 10));
        let hung = of(&["panic.kexec=pre", "test.notifier=inform:hang"]);
        assert_eq!(hung.0, one.0, "it comes after the jump");
        assert!(hung.1 > one.1);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(
            explain(&["explain", "text", "4", "0", "panic.scale=0"]).unwrap_err().contains("panic.scale")
        );
        assert!(explain(&["explain", "text", "four", "0"]).is_err());
        assert!(explain(&["explain", "poem", "4", "0"]).is_err());
        assert!(explain(&[]).is_err());
    }
}
