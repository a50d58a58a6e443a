//! Made-up cases that have everything the page draws, and text that must not do harm.

use crash_record::event::{LineWriter, Stream};

use crate::cases::{Case, Check, Cpu, Line, Outcome, Record, Run, Step};
use crate::events::{Event, EventLog};
use crate::verdict;

/// Text that ends a script, starts another one, and has an entity, a quote and a line separator.
pub const NASTY: &str =
    "</script><script>document.title='harm'</script><img src=x onerror=alert(1)> &amp; \"' \u{2028}";

/// Stream, CPU, clock in ns, kind, fields.
type Told<'a> = (Stream, usize, u64, &'a str, &'a [(&'a str, &'a str)]);

fn events(fields: &[Told]) -> Vec<Event> {
    let mut log = EventLog::default();
    let mut sequences = [0; 3];
    for (number, (stream, cpu, at, kind, fields)) in fields.iter().enumerate() {
        let sequence = &mut sequences[*stream as usize];
        let mut line = LineWriter::new(*stream, *sequence, *cpu, *at, kind);
        *sequence += 1;
        for (key, value) in *fields {
            line = line.field(key, value);
        }
        line.finish(|bytes| {
            log.feed(number, &String::from_utf8_lossy(bytes));
        });
    }
    assert_eq!(log.problems, Vec::<String>::new());
    log.events
}

fn run(events: Vec<Event>, failed: bool) -> Run {
    let check = |name: &str, failed: bool| Check {
        name: name.into(),
        outcome: if failed { verdict::Outcome::Fail } else { verdict::Outcome::Ok },
        expected: if failed { NASTY.into() } else { String::new() },
        found: "something".into(),
    };
    let mut console: Vec<_> = (0..events.len()).map(Line::Event).collect();
    console.insert(console.len().min(1), Line::Text(NASTY.into()));
    console.insert(console.len().min(3), Line::Named("***   0 0x100".into(), "a::<function>+0x10".into()));
    Run {
        nonce: "1".into(),
        scale: 10,
        ended: "exit status 33".into(),
        wall_ms: 1234,
        floor_ms: Some(617),
        qemu: NASTY.into(),
        checks: vec![check("events", false), check("steps", failed)],
        steps: steps(&events),
        events,
        console,
        ..Run::default()
    }
}

fn steps(events: &[Event]) -> Vec<Step> {
    let ends = events.iter().filter(|event| event.is("panic/end"));
    ends.map(|end| {
        let ns = end.number("ns").unwrap();
        let (name, outcome) = (end.text("step").into(), end.text("outcome").into());
        Step {
            name,
            outcome,
            began_ns: end.at_ns - ns,
            ns: Some(ns),
            budget_ms: Some(1000),
            detail: NASTY.into(),
        }
    })
    .collect()
}

fn case(scenario: &str, machine: &str, stop: &str, outcome: Outcome, run: Option<Run>) -> Case {
    let mut case = Case::not_run(&format!("{machine}/{scenario}/{stop}"), None, outcome, "");
    case.summary = format!("What {scenario} is about {NASTY}");
    case.axes = [("stop", stop), ("cpus", "3")].map(|(axis, value)| (axis.into(), value.into())).into();
    case.rerun = format!("cargo xtask qemu {machine}");
    case.run = run;
    case
}

/// A CPU of a record: its number, its state, and then signal, deferral and stop after the claim, ms.
fn cpu(cpu: usize, state: &str, role: &str, [signalled, deferred, saved]: [u64; 3], held: (u64, u64)) -> Cpu {
    let at = |ms: u64| if ms == 0 { 0 } else { (100 + ms) * 1_000_000 };
    Cpu {
        cpu,
        own_state: state.into(),
        state: state.into(),
        role: role.into(),
        rung: "nmi".into(),
        signalled_ns: at(signalled),
        deferred_ns: at(deferred),
        saved_ns: at(saved),
        held,
        orphan: if held.1 > 0 { "grace" } else { "none" }.into(),
        backtrace: vec![("0x100".into(), NASTY.into()), ("0x200".into(), String::new())],
        ..Cpu::default()
    }
}

/// Cases of two machines: passed, failed, without a meaning, skipped, and one that broke.
pub fn cases() -> Vec<Case> {
    const MS: u64 = 1_000_000;
    let (boot, panic, capture) = (Stream::Boot, Stream::Panic, Stream::Capture);
    let deferred = events(&[
        (boot, 0, 50 * MS, "boot", &[("cpus", "3"), ("machine", "m"), ("memory", "1")]),
        (panic, 0, 100 * MS, "claim", &[("reason", "rust-panic"), ("scale", "10")]),
        (panic, 0, 101 * MS, "begin", &[("step", "stop")]),
        (panic, 0, 102 * MS, "rung", &[("rung", "nmi"), ("targets", "2"), ("strength", NASTY)]),
        (
            panic,
            0,
            125 * MS,
            "stopped",
            &[("who", "1"), ("state", "parked"), ("rung", "nmi"), ("ns", "20000000")],
        ),
        (
            panic,
            0,
            126 * MS,
            "held",
            &[
                ("who", "1"),
                ("deferred", "1"),
                ("then", "1"),
                ("now", "0"),
                ("orphan", "none"),
                ("by", "none"),
                ("ns", "18000000"),
            ],
        ),
        (
            panic,
            0,
            127 * MS,
            "end",
            &[("step", "stop"), ("outcome", "done"), ("ns", "26000000"), ("detail", NASTY)],
        ),
        (panic, 0, 140 * MS, "end", &[("step", "kexec-post"), ("outcome", "leaving"), ("ns", "9000000")]),
        (capture, 0, 10 * MS, "capture", &[("base", "0x1")]),
        (capture, 0, 12 * MS, "pass", &[("cpus", "3"), ("parked", "2")]),
    ]);
    let record = |cpus: Vec<Cpu>| Record {
        read_in: "x".into(),
        owner: Some(0),
        claimed_ns: 100 * MS,
        cpus,
        ..Record::default()
    };
    let mut good = run(deferred, false);
    good.record = Some(record(vec![
        cpu(0, "owner", "none", [0, 0, 0], (0, 0)),
        cpu(1, "parked", "none", [2, 4, 22], (1, 0)),
        cpu(2, "parked", "none", [2, 0, 5], (0, 0)),
    ]));
    let hang = events(&[
        (boot, 0, 50 * MS, "boot", &[("cpus", "3")]),
        (panic, 0, 100 * MS, "claim", &[("reason", "rust-panic"), ("scale", "10")]),
        (panic, 0, 101 * MS, "begin", &[("step", "inform")]),
        (panic, 0, 9_101 * MS, "reentry", &[("step", "inform"), ("cause", "deadline"), ("depth", "1")]),
        (
            panic,
            0,
            9_102 * MS,
            "notifier",
            &[
                ("class", "inform"),
                ("name", NASTY),
                ("outcome", "failed"),
                ("ns", "9000000000"),
                ("detail", "deadline"),
            ],
        ),
        (panic, 0, 9_103 * MS, "end", &[("step", "inform"), ("outcome", "failed"), ("ns", "9002000000")]),
    ]);
    let mut bad = run(hang, true);
    bad.record = Some(record(vec![
        cpu(0, "owner", "none", [0, 0, 0], (0, 0)),
        cpu(1, "parked", "warden", [2, 0, 4], (1, 1)),
        cpu(2, "missing", "none", [2, 0, 0], (0, 0)),
    ]));
    let mut none = Case::not_run("m/other", None, Outcome::NotApplicable, NASTY);
    none.summary = "Other".into();
    vec![
        case("alpha", "m", "deferred", Outcome::Passed, Some(good.clone())),
        case("alpha", "m", "nmi", Outcome::Passed, Some(good.clone())),
        case("alpha", "n", "deferred", Outcome::Failed, Some(bad)),
        case("beta", "m", "deferred", Outcome::Failed, None),
        case("beta", "n", "deferred", Outcome::Passed, Some(run(Vec::new(), false))),
        case("beta", "n", "nmi", Outcome::Skipped, None),
        none,
    ]
}
