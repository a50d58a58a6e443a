//! What came of the trials, in figures.

use std::fmt::Write;

use crash_record::names::Orphan;

use super::seed::Kind;
use super::trial::{Measured, Series, Trial};
use crate::report::nanoseconds;
use crate::roles::Roles;
use crate::scenario::{Stop, value_name};
use crate::verdict::roles::WANTED;

/// Everything that is printed of a series.
pub fn show(series: &Series, policies: &[Stop], trials: &[Trial]) -> String {
    let mut out = String::new();
    let Series { machine, accel, firmware, cpus, seed } = series;
    let _ = writeln!(out, "{machine}, {accel}, {firmware}, {cpus} CPUs, seed {seed}\n");
    let columns: Vec<_> = policies.iter().map(|policy| Column::of(*policy, trials)).collect();
    let mut row = |name: &str, cell: &dyn Fn(&Column) -> String| {
        let cells: Vec<_> = columns.iter().map(cell).collect();
        let _ = writeln!(out, "| {name} | {} |", cells.join(" | "));
    };
    row("trials", &|column| column.policy.clone());
    row("---", &|_| "---:".to_owned());
    row("run, as expected", &|column| format!("{}, {}", column.run, column.green));
    row("crash image entered", &|column| column.count(|it| it.kexec));
    row("record whole", &|column| column.count(|it| it.record));
    row("entry of the notifier there", &|column| column.count(|it| it.entry));
    row("… where another CPU held its lock", &|column| column.entries(|trial, _| wanted_is_held(trial)));
    row("… where nothing excuses a missing one", &|column| column.entries(|_, it| it.entry_required));
    for orphan in Orphan::ALL.iter().filter(|orphan| **orphan != Orphan::None) {
        row(&format!("CPUs stopped with a lock held: {}", orphan.name()), &|column| {
            let counts = column.measured.iter().filter_map(|it| it.orphans.get(orphan.name()));
            counts.sum::<u32>().to_string()
        });
    }
    row("CPUs deferred", &|column| column.sum(|it| it.deferred));
    row("CPUs signalled twice", &|column| column.sum(|it| it.second));
    row("CPUs missing", &|column| column.sum(|it| it.missing));
    row("stop, median", &|column| time(percentile(&column.times(|it| it.stop_ns), 50)));
    row("stop, p99", &|column| time(percentile(&column.times(|it| it.stop_ns), 99)));
    row("stop, longest", &|column| time(percentile(&column.times(|it| it.stop_ns), 100)));
    let beyond = |it: &Measured| it.stop_ns.saturating_sub(it.remaining_ns);
    row("beyond the sections, median", &|column| time(percentile(&column.times(beyond), 50)));
    row("beyond the sections, p99", &|column| time(percentile(&column.times(beyond), 99)));
    row("beyond the sections, longest", &|column| time(percentile(&column.times(beyond), 100)));
    for kind in Kind::ALL {
        row(&format!("stop, median of `{}`", kind.name()), &|column| {
            time(percentile(&stops(trials, column.stop, kind), 50))
        });
    }
    let _ = write!(out, "\n{}", questions(policies, trials));
    out
}

struct Column<'t> {
    stop: Stop,
    policy: String,
    run: usize,
    green: usize,
    trials: Vec<&'t Trial>,
    measured: Vec<&'t Measured>,
}

impl<'t> Column<'t> {
    fn of(stop: Stop, trials: &'t [Trial]) -> Self {
        let mine = || trials.iter().filter(|trial| trial.policy == stop);
        Column {
            stop,
            policy: value_name(stop),
            run: mine().count(),
            green: mine().filter(|trial| trial.red.is_empty()).count(),
            trials: mine().collect(),
            measured: mine().filter_map(|trial| trial.measured.as_ref()).collect(),
        }
    }

    fn count(&self, what: impl Fn(&Measured) -> bool) -> String {
        self.measured.iter().filter(|it| what(it)).count().to_string()
    }

    /// In how many of these trials the entry is there.
    fn entries(&self, which: impl Fn(&Trial, &Measured) -> bool) -> String {
        let all = self.trials.iter().filter_map(|trial| Some((trial, trial.measured.as_ref()?)));
        let chosen: Vec<_> = all.filter(|(trial, it)| which(trial, it)).collect();
        let there = chosen.iter().filter(|(_, it)| it.entry).count();
        format!("{there} of {}", chosen.len())
    }

    fn sum(&self, what: impl Fn(&Measured) -> u32) -> String {
        self.measured.iter().map(|it| what(it)).sum::<u32>().to_string()
    }

    fn times(&self, what: impl Fn(&Measured) -> u64) -> Vec<u64> {
        self.measured.iter().map(|it| what(it)).collect()
    }
}

fn stops(trials: &[Trial], policy: Stop, kind: Kind) -> Vec<u64> {
    let mine = trials.iter().filter(|trial| trial.policy == policy && trial.kind == kind.name());
    mine.filter_map(|trial| Some(trial.measured.as_ref()?.stop_ns)).collect()
}

fn time(ns: Option<u64>) -> String {
    ns.map_or_else(|| "–".to_owned(), nanoseconds)
}

/// Whether a CPU other than the one that panics holds the lock that the notifier wants.
fn wanted_is_held(trial: &Trial) -> bool {
    Roles::of(&trial.roles).holder(WANTED).is_some_and(|cpu| cpu != 0)
}

/// The smallest value that so many per cent of them do not exceed.
fn percentile(values: &[u64], percent: usize) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// What a deferred stop costs, trial by trial against the other policies.
fn questions(policies: &[Stop], trials: &[Trial]) -> String {
    let mut out = String::new();
    let has = |policy: Stop| policies.contains(&policy);
    let median = |policy, kind| percentile(&stops(trials, policy, kind), 50);
    let ratio = |over: Option<u64>, under: Option<u64>| match (over, under) {
        (Some(over), Some(under)) if under > 0 => format!("{:.2}", over as f64 / under as f64),
        _ => "–".to_owned(),
    };
    if has(Stop::Deferred) && has(Stop::Nmi) {
        let quiet = ratio(median(Stop::Deferred, Kind::Quiet), median(Stop::Nmi, Kind::Quiet));
        let _ =
            writeln!(out, "nobody holds a lock: the median stop of deferred is {quiet} times that of nmi");
        let (pairs, within, excess) = against_nmi(trials);
        let _ = writeln!(
            out,
            "somebody holds one: in {within} of {pairs} trials deferred took at most what nmi took and the rest of \
             the section; the longest beyond that: {}",
            time(excess)
        );
    }
    if has(Stop::Deferred) && has(Stop::IpiNmi) {
        let faster = ratio(median(Stop::IpiNmi, Kind::Loop), median(Stop::Deferred, Kind::Loop));
        let _ = writeln!(
            out,
            "one CPU loops with interrupts off: the median stop of ipi-nmi is {faster} times that of deferred"
        );
    }
    out
}

/// Trials in which a CPU was deferred: how many there are with both policies, in how many deferred took no longer than
/// nmi and the rest of the section, and by how much it was longer at most.
fn against_nmi(trials: &[Trial]) -> (usize, usize, Option<u64>) {
    let of = |policy: Stop, number: u32| {
        let mut all = trials.iter().filter(move |trial| trial.policy == policy && trial.trial == number);
        all.find_map(|trial| trial.measured.as_ref())
    };
    let deferred = trials.iter().filter(|trial| trial.policy == Stop::Deferred);
    let excesses: Vec<_> = deferred
        .filter_map(|trial| {
            let (mine, nmi) = (trial.measured.as_ref()?, of(Stop::Nmi, trial.trial)?);
            let most = nmi.stop_ns + mine.remaining_ns;
            (mine.deferred > 0).then(|| mine.stop_ns.saturating_sub(most))
        })
        .collect();
    let within = excesses.iter().filter(|excess| **excess == 0).count();
    (excesses.len(), within, excesses.iter().max().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let values: Vec<_> = (1..=200).rev().collect();
        assert_eq!(
            [1, 50, 99, 100].map(|percent| percentile(&values, percent)),
            [2, 100, 198, 200].map(Some)
        );
        assert_eq!((percentile(&[7], 50), percentile(&[], 50)), (Some(7), None));
    }

    fn trial(policy: Stop, number: u32, change: impl FnOnce(&mut Measured)) -> Trial {
        let mut measured = Measured { entry: true, record: true, kexec: true, ..Measured::default() };
        change(&mut measured);
        Trial {
            series: series(),
            policy,
            trial: number,
            kind: Kind::of(number).name().to_owned(),
            roles: String::new(),
            red: Vec::new(),
            measured: Some(measured),
        }
    }

    fn series() -> Series {
        Series { machine: "m".into(), accel: "a".into(), firmware: "f".into(), cpus: 4, seed: 1 }
    }

    #[test]
    fn the_figures_of_a_series() {
        let mut trials = vec![
            trial(Stop::Deferred, 0, |it| it.stop_ns = 120),
            trial(Stop::Nmi, 0, |it| it.stop_ns = 100),
            trial(Stop::Deferred, 1, |it| {
                (it.stop_ns, it.remaining_ns, it.deferred, it.entry_required) = (5_090, 5_000, 1, true);
            }),
            trial(Stop::Nmi, 1, |it| {
                (it.stop_ns, it.entry) = (100, false);
                it.orphans = BTreeMap::from([("policy".to_owned(), 1)]);
            }),
            trial(Stop::Deferred, 2, |it| it.stop_ns = 200),
            trial(Stop::IpiNmi, 2, |it| (it.stop_ns, it.second) = (40_000, 1)),
            trial(Stop::Deferred, 5, |it| (it.stop_ns, it.remaining_ns, it.deferred) = (6_130, 6_000, 1)),
            trial(Stop::Nmi, 5, |it| it.stop_ns = 100),
        ];
        let mut broken = trial(Stop::IpiNmi, 3, |_| {});
        (broken.measured, broken.red) = (None, vec!["ending".into()]);
        trials.push(broken);
        trials[2].roles = "test.role=1:on/0/5/end".into();
        trials[3].roles = trials[2].roles.clone();
        insta::assert_snapshot!(show(&series(), &[Stop::Deferred, Stop::Nmi, Stop::IpiNmi], &trials));
    }
}
