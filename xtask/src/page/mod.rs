//! What people look at and other tools take, made of cases and of what the mutants name: `report.html`, one page that needs
//! nothing beside itself, and `junit.xml`.
//!
//! The page is drawn in the browser, by the script beside this file, from what is put into it here: a list of the
//! cases, and the cases themselves, [`PACK`] at a time, packed. Text of a guest never becomes markup: in
//! the page's source it is packed or has its `<` escaped, and the script only ever makes text of it.

mod command;
mod junit;
mod writing;

#[cfg(test)]
mod browser;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cases::{Case, Comparison, Outcome, Times};
use crate::error::Classed;
use crate::mutants::named::Named;
use crate::report::toned;

pub use command::command;
use command::finish;
pub use writing::Writing;

/// The page's file.
pub const PAGE: &str = "report.html";
/// The file for other tools.
const JUNIT: &str = "junit.xml";

/// Cases that are packed together: enough that they share what they have in common, few enough that looking at one
/// does not take long.
const PACK: usize = 24;

const SHELL: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In this order, within one function.
const SCRIPTS: [&str; 6] = [
    include_str!("core.js"),
    include_str!("overview.js"),
    include_str!("lanes.js"),
    include_str!("timeline.js"),
    include_str!("case.js"),
    include_str!("route.js"),
];

/// An earlier report.
pub struct Earlier<'a> {
    /// Where it is, as a person typed it.
    pub shown: String,
    /// What differs from it.
    pub comparison: &'a Comparison,
}

/// Writes what is made of the cases into a report's folder.
pub fn write(
    folder: &Path,
    cases: &[Case],
    warnings: &[String],
    earlier: Option<&Earlier>,
    named: &Named,
) -> Result<()> {
    let save = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::create_dir_all(folder)
            .and_then(|()| std::fs::write(&path, text))
            .or_environment(|| format!("cannot write {}", path.display()))
    };
    save(JUNIT, &junit::of(cases)?)?;
    save(PAGE, &page(cases, warnings, earlier, named)?)
}

/// The page.
pub fn page(cases: &[Case], warnings: &[String], earlier: Option<&Earlier>, named: &Named) -> Result<String> {
    let script = format!("(() => {{\n\"use strict\";\n{}\n}})();", SCRIPTS.join("\n"));
    with_script(cases, warnings, earlier, named, &script)
}

fn with_script(
    cases: &[Case],
    warnings: &[String],
    earlier: Option<&Earlier>,
    named: &Named,
    script: &str,
) -> Result<String> {
    let summaries: BTreeMap<&str, &str> = cases
        .iter()
        .filter(|case| !case.summary.is_empty())
        .map(|case| (case.scenario.as_str(), case.summary.as_str()))
        .collect();
    let shown = shown(cases, MANY);
    let ran = cases.iter().filter(|case| matches!(case.outcome, Outcome::Passed | Outcome::Failed));
    let coverage = named.coverage(ran.map(|case| (case.machine.as_str(), case.scenario.as_str())));
    let index = json!({
        "cases": shown.iter().copied().map(row).collect::<Vec<_>>(),
        "left_out": cases.len() - shown.len(),
        "summaries": summaries,
        "pack": PACK,
        "mutants": coverage,
        "times": Times::of(cases),
        "warnings": warnings,
        "comparison": earlier.map(|earlier| earlier.comparison),
        "compared": earlier.map(|earlier| &earlier.shown),
    });
    let mut packs = String::new();
    for (number, some) in shown.chunks(PACK).enumerate() {
        let whole = some.iter().copied().map(details).collect::<Result<Vec<_>>>()?;
        let packed = base64(&gzip(&serde_json::to_vec(&whole)?)?);
        packs.push_str(&format!(
            "<script type=\"application/gzip+base64\" id=\"pack-{number}\">{packed}</script>\n"
        ));
    }
    // `<` is the only character that could end a script element, and within JSON it is only in strings.
    let index = index.to_string().replace('<', "\\u003c");
    Ok(filled(&[("style", STYLE), ("index", &index), ("details", &packs), ("script", script)]))
}

/// Runs that are too many for a browser: twenty rounds of all rows are.
const MANY: usize = 4000;

/// The cases that the page has: all of them, unless they are too many. Then a row that was repeated and went the same way each
/// time, by its steps too, has its first run there, and any other row has all of them.
fn shown(cases: &[Case], many: usize) -> Vec<&Case> {
    fn row(case: &Case) -> &str {
        case.id.split('#').next().unwrap_or_default()
    }
    if cases.len() <= many {
        return cases.iter().collect();
    }
    let mut first = BTreeMap::new();
    let mut differ = BTreeSet::new();
    for case in cases {
        let ways = (case.outcome, case.step_outcomes());
        if case.outcome == Outcome::Failed || *first.entry(row(case)).or_insert_with(|| ways.clone()) != ways
        {
            differ.insert(row(case));
        }
    }
    cases.iter().filter(|case| !case.id.contains('#') || differ.contains(row(case))).collect()
}

/// The shell with its places filled, each once, in their order: what is filled in is not looked at again.
fn filled(parts: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = SHELL;
    for (name, text) in parts {
        let (before, after) = rest.split_once(&format!("{{{{{name}}}}}")).unwrap_or((rest, ""));
        out.push_str(before);
        out.push_str(text.trim_end());
        rest = after;
    }
    out + rest
}

/// What the lists need of a case.
fn row(case: &Case) -> Value {
    json!({
        "id": case.id, "outcome": case.outcome, "machine": case.machine, "scenario": case.scenario, "axes": case.axes,
        "red": case.red().collect::<Vec<_>>(), "why": case.reason, "wall": case.run.as_ref().map(|run| run.wall_ms),
    })
}

/// All of a case, and its events in words.
fn details(case: &Case) -> Result<Value> {
    let mut whole = serde_json::to_value(case)?;
    let events = case.run.iter().flat_map(|run| &run.events);
    whole["words"] =
        events.map(|event| toned(event).map_or(Value::Null, |(tone, words)| json!([tone, words]))).collect();
    Ok(whole)
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}
