//! What differs between two reports. Times never do.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Case, Outcome};

/// What is different from an earlier report, by id.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Comparison {
    /// Red now, and not before.
    pub newly_red: Vec<String>,
    /// Red before, and passed now.
    pub newly_green: Vec<String>,
    /// Red both times.
    pub still_red: Vec<String>,
    /// Not there before.
    pub new: Vec<String>,
    /// Not there any more.
    pub gone: Vec<String>,
    /// As good as before, but with other outcomes of its steps: id, before, now.
    pub other_steps: Vec<(String, String, String)>,
    /// Other changes of the outcome: id, before, now.
    pub other: Vec<(String, String, String)>,
}

impl Comparison {
    /// Compares.
    pub fn of(earlier: &[Case], now: &[Case]) -> Comparison {
        let before: BTreeMap<&str, &Case> = earlier.iter().map(|case| (case.id.as_str(), case)).collect();
        let mut out = Comparison::default();
        for case in now {
            let id = case.id.clone();
            let Some(old) = before.get(case.id.as_str()) else {
                out.new.push(id);
                continue;
            };
            match (old.outcome, case.outcome) {
                (Outcome::Failed, Outcome::Failed) => out.still_red.push(id),
                (_, Outcome::Failed) => out.newly_red.push(id),
                (Outcome::Failed, Outcome::Passed) => out.newly_green.push(id),
                (was, is) if was != is => out.other.push((id, was.name().into(), is.name().into())),
                _ => {
                    let (was, is) = (old.step_outcomes(), case.step_outcomes());
                    if was != is {
                        out.other_steps.push((id, was.join(", "), is.join(", ")));
                    }
                }
            }
        }
        let now: std::collections::BTreeSet<&str> = now.iter().map(|case| case.id.as_str()).collect();
        out.gone = before.keys().filter(|id| !now.contains(*id)).map(|id| (*id).to_owned()).collect();
        out
    }
}

/// Every difference in ids, outcomes and outcomes of steps, in words: nothing between a report and one that was put
/// together from its parts.
pub fn differences(one: &[Case], other: &[Case]) -> Vec<String> {
    let key = |case: &Case| (case.outcome, case.step_outcomes());
    let map = |cases: &[Case]| -> BTreeMap<String, _> {
        cases.iter().map(|case| (case.id.clone(), key(case))).collect()
    };
    let (one, other) = (map(one), map(other));
    let words = |key: Option<&(Outcome, Vec<String>)>| match key {
        Some((outcome, steps)) => format!("{} ({})", outcome.name(), steps.join(", ")),
        None => "not there".to_owned(),
    };
    let ids: std::collections::BTreeSet<_> = one.keys().chain(other.keys()).collect();
    let differ = ids.into_iter().filter(|id| one.get(*id) != other.get(*id));
    differ.map(|id| format!("{id}: {} / {}", words(one.get(id)), words(other.get(id)))).collect()
}
