//! The check of the HAL's promises.

use super::*;

/// A run in which these promises were looked at: name, outcome.
fn looked(promises: &[(&str, &str)], lacks: &[&'static str], ended: bool) -> Result<String, String> {
    looked_by("3", promises, lacks, ended)
}

/// The same, and as many CPUs were asked.
fn looked_by(
    asked: &str,
    promises: &[(&str, &str)],
    lacks: &[&'static str],
    ended: bool,
) -> Result<String, String> {
    let mut run = Run::good();
    run.scenario = run.scenario.replace("[expect]", "contract = [\"a-b\", \"c-d\"]\n[expect]");
    let said = |kind, fields: &[(&'static str, &str)]| {
        let fields = fields.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        (Stream::Boot, 0, 3, kind, fields)
    };
    run.said.push(said("contract", &[("cpus", asked)]));
    run.said.extend(lacks.iter().map(|what| said("lacks", &[("what", what), ("why", "made up")])));
    for (name, outcome) in promises {
        run.said.push(said("check", &[("name", name), ("outcome", outcome), ("found", "3, not 4")]));
    }
    if ended {
        run.said.push(said("checked", &[]));
    }
    let verdict = run.judge();
    let check = verdict.checks.iter().find(|check| check.name == "contract").unwrap();
    match check.outcome {
        Outcome::Ok => Ok(check.found.clone()),
        Outcome::Fail => Err(check.found.clone()),
        Outcome::NotApplicable => panic!("n/a: {}", check.found),
    }
}

#[test]
fn every_promise_is_looked_at_and_kept() {
    let lacks = ["timer"];
    let both = |one, other| looked(&[("a-b", one), ("c-d", other)], &lacks, true);
    assert_eq!(both("held", "held"), Ok("2 kept".into()));
    assert_eq!(both("held", "unsupported"), Ok("1 kept, 1 about what the machine lacks".into()));
    assert_eq!(both("held", "broken"), Err("c-d: 3, not 4".into()));
    assert_eq!(both("held", "nonsense"), Err("c-d: 3, not 4".into()));
    assert_eq!(looked(&[("a-b", "held")], &lacks, true), Err("c-d: was not looked at".into()));
    let more = looked(&[("a-b", "held"), ("c-d", "held"), ("e-f", "held")], &lacks, true);
    assert_eq!(more, Err("e-f: the scenario does not know it".into()));
    let cut = looked(&[("a-b", "held"), ("c-d", "held")], &lacks, false);
    assert_eq!(cut, Err("the checks did not come to an end".into()));
}

#[test]
fn what_is_lacking_is_what_the_machine_file_says() {
    let lacking = |lacks: &[&'static str]| looked(&[("a-b", "held"), ("c-d", "held")], lacks, true);
    let hidden = lacking(&[]).unwrap_err();
    assert_eq!(hidden, "timer: machines/m.toml lacks it, and the kernel has it");
    let unsaid = lacking(&["timer", "nmi"]).unwrap_err();
    assert_eq!(unsaid, "nmi: the kernel lacks it, and machines/m.toml does not say so");
}

#[test]
fn one_cpu_is_asked_or_all_of_them() {
    let asked = |cpus| looked_by(cpus, &[("a-b", "held"), ("c-d", "held")], &["timer"], true);
    assert_eq!((asked("1"), asked("3")), (Ok("2 kept".into()), Ok("2 kept".into())));
    assert_eq!(asked("2"), Err("CPUs that were asked: 2, not 3".into()));
}
