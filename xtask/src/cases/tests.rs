//! Made-up cases, and what is done with them.

use super::*;
use crate::events::EventLog;
use crate::events::tests::line;

/// A case with one step, which ended like this.
pub fn case(id: &str, outcome: Outcome, step: &str) -> Case {
    let mut case = Case::not_run(id, None, outcome, "");
    let mut log = EventLog::default();
    log.feed(1, &line(Stream::Panic, 0, "claim", &[("reason", "x")]));
    log.feed(2, &line(Stream::Panic, 1, "begin", &[("step", "stop")]));
    log.feed(3, &line(Stream::Panic, 2, "end", &[("step", "stop"), ("outcome", step), ("ns", "5")]));
    let found = outcome.name().to_owned();
    let bad = outcome == Outcome::Failed;
    let outcome = if bad { verdict::Outcome::Fail } else { verdict::Outcome::Ok };
    case.run = Some(Run {
        checks: vec![Check { name: "steps".into(), outcome, expected: String::new(), found }],
        steps: steps(&log.events, &[("stop".into(), 7)]),
        console: vec![Line::Text("hello".into()), Line::Event(0), Line::Event(1), Line::Event(2)],
        events: log.events,
        ..Run::default()
    });
    case
}

fn ids(cases: &[Case]) -> Vec<&str> {
    cases.iter().map(|case| case.id.as_str()).collect()
}

#[test]
fn what_is_written_is_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut cases = vec![case("m/a/x", Outcome::Passed, "done"), case("m/b/x", Outcome::Failed, "failed")];
    cases.push(Case::not_run("m/c", None, Outcome::NotApplicable, "it has no meaning </script>"));
    cases[0].run.as_mut().unwrap().record = Some(Record { owner: Some(1), ..Record::default() });
    let mut writer = Writer::create(folder.path()).unwrap();
    cases.iter().for_each(|case| writer.add(case).unwrap());
    let read = Cases::read(folder.path()).unwrap();
    assert_eq!((read.cases, read.warnings.len()), (cases, 0));
}

#[test]
fn a_cut_off_line_is_named_and_any_other_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path()).unwrap();
    writer.add(&case("m/a/x", Outcome::Passed, "done")).unwrap();
    let last = Case { reason: "für".into(), ..case("m/b/x", Outcome::Passed, "done") };
    writer.add(&last).unwrap();
    let file = folder.path().join(FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    let umlaut = text.find('ü').unwrap() + 1;
    for cut in [text.len() - 1, text.len() - 30, umlaut] {
        std::fs::write(&file, &text.as_bytes()[..cut]).unwrap();
        let read = Cases::read(folder.path()).unwrap();
        assert_eq!(ids(&read.cases), ["m/a/x"]);
        assert!(read.warnings[0].contains("cases.jsonl:2: the last line was cut off"), "{:?}", read.warnings);
    }
    let broken = |text: &str| {
        std::fs::write(&file, text).unwrap();
        format!("{:#}", Cases::read(folder.path()).unwrap_err())
    };
    assert!(broken(&text.replacen("\"id\"", "\"ID\"", 1)).contains("cases.jsonl:1: not a case"));
    assert!(broken(&text.replace("m/b/x", "m/a/x")).contains("cases.jsonl:2: `m/a/x` is in line 1 too"));
    let nowhere = format!("{:#}", Cases::read(&folder.path().join("nowhere")).unwrap_err());
    assert!(nowhere.contains("a report's folder has it"), "{nowhere}");
}

#[test]
fn parts_together_are_the_whole() {
    let all: Vec<_> = (0..9).map(|number| case(&format!("m/{number}/x"), Outcome::Passed, "done")).collect();
    let shard = |shard: usize| -> (std::path::PathBuf, Vec<Case>) {
        let every = all.iter().enumerate().filter(|(number, _)| number % 3 == shard);
        (format!("s{shard}").into(), every.map(|(_, case)| case.clone()).collect())
    };
    let merged = merge(vec![shard(2), shard(0), shard(1)]).unwrap();
    assert_eq!(differences(&merged, &all), Vec::<String>::new());
    assert_eq!(merge(vec![shard(0), shard(0)]).unwrap(), shard(0).1, "the same twice is the same");
    let mut other = shard(0);
    other.1[1].outcome = Outcome::Failed;
    let error = merge(vec![shard(0), other]).unwrap_err().to_string();
    assert!(error.contains("`m/3/x` is in s0 and in s0, and differs"), "{error}");
}

#[test]
fn differences_are_those_of_outcomes_and_not_of_times() {
    let one = vec![case("m/a", Outcome::Passed, "done"), case("m/b", Outcome::Passed, "done")];
    let mut slower = one.clone();
    slower[0].run.as_mut().unwrap().wall_ms = 9;
    slower[0].run.as_mut().unwrap().steps[0].ns = Some(99);
    assert_eq!(differences(&one, &slower), Vec::<String>::new());
    let other = vec![case("m/a", Outcome::Passed, "failed"), case("m/c", Outcome::Failed, "done")];
    assert_eq!(
        differences(&one, &other),
        [
            "m/a: passed (stop:done) / passed (stop:failed)",
            "m/b: passed (stop:done) / not there",
            "m/c: not there / failed (stop:done)",
        ]
    );
}

#[test]
fn a_comparison_sorts_what_changed() {
    let old: Vec<_> = [("a", "failed"), ("b", "passed"), ("c", "failed"), ("d", "passed"), ("e", "passed")]
        .map(|(id, how)| case(id, if how == "failed" { Outcome::Failed } else { Outcome::Passed }, "done"))
        .into();
    let mut now = old.clone();
    now[0].outcome = Outcome::Passed;
    now[1].outcome = Outcome::Failed;
    now[3].run.as_mut().unwrap().steps[0].outcome = "failed".into();
    now[4].id = "f".into();
    let found = Comparison::of(&old, &now);
    assert_eq!((found.newly_green, found.newly_red), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_eq!(found.still_red, ["c"]);
    assert_eq!(found.other_steps, [("d".into(), "stop:done".into(), "stop:failed".into())]);
    assert_eq!((found.new, found.gone), (vec!["f".to_owned()], vec!["e".to_owned()]));
    assert_eq!(
        Comparison::of(&old, &old),
        Comparison { still_red: vec!["a".into(), "c".into()], ..Comparison::default() }
    );
}

#[test]
fn steps_are_those_that_began_and_those_that_were_left_out() {
    let mut log = EventLog::default();
    for (number, (kind, fields)) in [
        ("claim", vec![]),
        ("begin", vec![("step", "announce")]),
        ("reentry", vec![("step", "announce")]),
        ("end", vec![("step", "announce"), ("outcome", "failed"), ("ns", "40"), ("detail", "deadline")]),
        ("end", vec![("step", "inform"), ("outcome", "skipped"), ("ns", "0")]),
        ("begin", vec![("step", "final")]),
    ]
    .into_iter()
    .enumerate()
    {
        log.feed(number, &line(Stream::Panic, number as u64, kind, &fields));
    }
    let found = steps(&log.events, &[("announce".to_owned(), 1000)]);
    let words: Vec<_> =
        found.iter().map(|step| format!("{}:{}:{:?}", step.name, step.outcome, step.ns)).collect();
    assert_eq!(words, ["announce:failed:Some(40)", "inform:skipped:Some(0)", "final:unfinished:None"]);
    assert_eq!((found[0].budget_ms, found[2].budget_ms), (Some(1000), None));
}

#[test]
fn console_lines_are_text_or_events() {
    let symbols = Symbols::made_up(&[("first", 0x10_0000)]);
    let whole = line(Stream::Panic, 0, "claim", &[]);
    let second = line(Stream::Panic, 1, "begin", &[]);
    let lines = ["before", &format!("torn {whole}"), &second, &whole[..20], "pc 0x0000000000100004"]
        .map(str::to_owned);
    let mut log = EventLog::default();
    for (number, line) in lines.iter().enumerate() {
        log.feed(number, line);
    }
    let text = |text: &str| Line::Text(text.into());
    let expected = [
        text("before"),
        text("torn"),
        Line::Event(0),
        Line::Event(1),
        text(&whole[..20]),
        Line::Named("pc 0x0000000000100004".into(), "first+0x4".into()),
    ];
    assert_eq!(console(&lines, &log.events, &symbols), expected);
}
