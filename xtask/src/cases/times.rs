//! What cases take, beside what they take at least.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Case;

/// The cases of a machine whose floor was measured.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Times {
    /// Machine.
    pub machine: String,
    /// How many.
    pub cases: usize,
    /// Median of their wall time, ms.
    pub wall_ms: u64,
    /// Median of their floors, ms.
    pub floor_ms: u64,
    /// Median of the one by the other.
    pub ratio: f64,
}

impl Times {
    /// Of each machine, in the order of their names.
    pub fn of(cases: &[Case]) -> Vec<Self> {
        let mut pairs: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for (case, run) in cases.iter().filter_map(|case| Some((case, case.run.as_ref()?))) {
            if let Some(floor) = run.floor_ms.filter(|floor| *floor > 0) {
                pairs.entry(&case.machine).or_default().push((run.wall_ms, floor));
            }
        }
        let times = pairs.into_iter().map(|(machine, pairs)| Times {
            machine: machine.to_owned(),
            cases: pairs.len(),
            wall_ms: median(pairs.iter().map(|(wall, _)| *wall)),
            floor_ms: median(pairs.iter().map(|(_, floor)| *floor)),
            // By the thousandth, so that it has an order.
            ratio: median(pairs.iter().map(|(wall, floor)| wall * 1_000 / floor)) as f64 / 1_000.0,
        });
        times.collect()
    }

    /// For people.
    pub fn words(&self) -> String {
        let Times { machine, cases, wall_ms, floor_ms, ratio } = self;
        format!(
            "{machine}: a case takes {wall_ms} ms, at least {floor_ms} ms, {ratio:.2} times that (medians of {cases})"
        )
    }
}

/// The middle one; of an even number the lower one of the two.
fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{Outcome, Run};

    #[test]
    fn each_case_counts_by_its_own_floor() {
        let case = |machine: &str, wall_ms, floor_ms| {
            let mut case = Case::not_run(&format!("{machine}/s"), None, Outcome::Passed, "");
            case.run = Some(Run { wall_ms, floor_ms, ..Run::default() });
            case
        };
        let cases = [
            case("m", 300, Some(100)),
            case("m", 500, Some(400)),
            case("m", 900, Some(450)),
            case("m", 7, None),
            case("n", 10, Some(0)),
            Case::not_run("n/s", None, Outcome::Skipped, ""),
        ];
        let times = Times::of(&cases);
        let expected = Times { machine: "m".into(), cases: 3, wall_ms: 500, floor_ms: 400, ratio: 2.0 };
        assert_eq!(times, [expected]);
        assert_eq!(
            times[0].words(),
            "m: a case takes 500 ms, at least 400 ms, 2.00 times that (medians of 3)"
        );
        assert_eq!(median([4, 1].into_iter()), 1);
    }
}
