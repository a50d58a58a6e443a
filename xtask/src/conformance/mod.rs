//! `cargo xtask conformance`: how far a port has come, and what it does not do yet.
//!
//! * this module goes from tier to tier and says what came of it,
//! * [`tiers`] reads what a tier is, and where to look,
//! * [`machine`] runs a tier's scenarios on a machine,
//! * [`simulator`] asks the simulated machine, which is a port too.

mod machine;
mod simulator;
pub mod tiers;

use std::fmt::Write as _;

use anyhow::Result;

use crate::cli::ConformanceArgs;
use crate::data;
use crate::error::{unexpected, usage};
use crate::machine::Machine;
use crate::report::{BOLD, DIM, GREEN, RED, YELLOW, paint, say};
use crate::scenario::Scenario;
use crate::workspace::Workspace;
use tiers::Tiers;

/// The port that is no machine.
pub const SIMULATOR: &str = "sim";
/// Every port.
const ALL: &str = "all";

/// What came of a tier.
#[derive(Debug, Default)]
struct Attempt {
    /// Promises that are kept.
    promises: usize,
    /// Scenarios that ended as expected.
    scenarios: usize,
    /// What has no meaning there, and why.
    not_applicable: Vec<(String, String)>,
    /// What is not done.
    missing: Vec<Missing>,
}

/// Something that a port does not do.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Missing {
    /// A promise, a scenario, a capability.
    what: String,
    /// What was seen in its place.
    why: String,
    /// Files to look at.
    look: Vec<String>,
    /// A command that shows it; empty if there is none.
    again: String,
}

/// A port that is asked.
trait Port {
    /// Its name.
    fn name(&self) -> &str;
    /// The tier that it claims.
    fn claim(&self) -> Option<u8>;
    /// Tries a tier.
    fn attempt(&mut self, tier: u8) -> Result<Attempt>;
}

/// `cargo xtask conformance`
pub fn command(workspace: &Workspace, args: &ConformanceArgs) -> Result<()> {
    let scenarios = Scenario::all(workspace)?;
    let tiers = Tiers::read(workspace, &scenarios)?;
    let most = tiers.most();
    if let Some(tier) = args.tier.filter(|tier| *tier > most) {
        return Err(usage(format!("--tier {tier}: there are 0 to {most}")));
    }
    let machines = Machine::names(workspace)?;
    if args.list {
        println!("{}", list(&machines));
        return Ok(());
    }
    let asked = args.port.as_deref().unwrap_or_default();
    let mut known = machines.clone();
    known.extend([SIMULATOR.to_owned(), ALL.to_owned()]);
    if !known.iter().any(|name| name == asked) {
        return Err(data::unknown("no port", asked, &known));
    }
    let wanted = |name: &str| asked == ALL || asked == name;
    let mut results = Vec::new();
    for name in machines.iter().filter(|name| wanted(name)) {
        let mut port = machine::Tried::new(workspace, &tiers, &scenarios, name, args.jobs)?;
        results.push(climb(&mut port, &tiers, args.tier)?);
    }
    if wanted(SIMULATOR) {
        results.push(climb(&mut simulator::Tried::new(workspace, &tiers, &scenarios)?, &tiers, args.tier)?);
    }
    say!("\n{}", paint(BOLD, "Conformance"));
    for Climbed { port, reached, wanted, .. } in &results {
        let good = *reached >= *wanted;
        let mark = if good { paint(GREEN, "ok  ") } else { paint(RED, "FAIL") };
        say!("  {mark} {port}: {}, {}", shown("reaches", *reached), shown(results_word(args), *wanted));
    }
    let short: Vec<_> = results.iter().filter(|one| one.reached < one.wanted).map(|one| &*one.port).collect();
    if short.is_empty() {
        return Ok(());
    }
    Err(unexpected(format!("{}: {}", short.join(", "), "not as far as it has to be")))
}

/// The ports, as a workflow takes them.
fn list(machines: &[String]) -> String {
    let mut names = machines.to_vec();
    names.push(SIMULATOR.to_owned());
    format!("names={}\nmachines={}", serde_json::json!(names), serde_json::json!(machines))
}

fn results_word(args: &ConformanceArgs) -> &'static str {
    if args.tier.is_some() { "asked for" } else { "claims" }
}

fn shown(verb: &str, tier: Option<u8>) -> String {
    tier.map_or_else(|| format!("{verb} no tier"), |tier| format!("{verb} tier {tier}"))
}

/// How far a port came.
struct Climbed {
    port: String,
    reached: Option<u8>,
    wanted: Option<u8>,
}

/// From tier to tier, up to the one that is asked for, or to the first that is not reached.
fn climb(port: &mut dyn Port, tiers: &Tiers, asked: Option<u8>) -> Result<Climbed> {
    say!("\n{} {} ({})", paint(BOLD, "Port"), port.name(), shown("claims", port.claim()));
    let mut reached = None;
    for number in 0..=asked.unwrap_or(tiers.most()) {
        let attempt = port.attempt(number)?;
        say!("{}", summary(number, tiers.title(number), &attempt));
        if !attempt.missing.is_empty() {
            say!("{}", after(number, tiers));
            break;
        }
        reached = Some(number);
    }
    if asked.is_none() && reached > port.claim() {
        let file = format!("machines/{}.toml", port.name());
        say!("{}: {file} may claim it: [conformance] tier", shown("It reaches", reached));
    }
    Ok(Climbed { port: port.name().to_owned(), reached, wanted: asked.or(port.claim()) })
}

/// A tier's part of the report.
fn summary(number: u8, title: &str, attempt: &Attempt) -> String {
    let Attempt { promises, scenarios, not_applicable, missing } = attempt;
    let (mark, state) = if missing.is_empty() { (GREEN, "reached") } else { (RED, "not reached") };
    let mut text = format!("{} {state}: {title}\n", paint(mark, format!("Tier {number}")));
    let _ = write!(text, "  {promises} promises kept, {scenarios} scenarios as expected");
    for (what, why) in not_applicable {
        let _ = write!(text, "\n  {} {what}: {why}", paint(YELLOW, "n/a"));
    }
    for Missing { what, why, look, again } in missing {
        let _ = write!(text, "\n  {} {what}: {why}", paint(RED, "missing"));
        if !look.is_empty() {
            let _ = write!(text, "\n      look at  {}", look.join("\n               "));
        }
        if !again.is_empty() {
            let _ = write!(text, "\n      {}", paint(DIM, again));
        }
    }
    text
}

/// What lies above a tier that is not reached.
fn after(number: u8, tiers: &Tiers) -> String {
    let mut text = String::from("Above it, not tried:");
    for above in number + 1..=tiers.most() {
        let _ = write!(text, "\n  tier {above}: {}", tiers.title(above));
    }
    if number == tiers.most() { String::new() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tiers() -> Tiers {
        let workspace = Workspace::at(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        Tiers::read(&workspace, &Scenario::all(&workspace).unwrap()).unwrap()
    }

    struct Fake(u8);

    impl Port for Fake {
        fn name(&self) -> &str {
            "fake"
        }

        fn claim(&self) -> Option<u8> {
            Some(1)
        }

        fn attempt(&mut self, tier: u8) -> Result<Attempt> {
            let missing = Missing {
                what: "clock-moves".into(),
                why: "the clock stands still".into(),
                look: vec!["arch-fake/src/clock.rs".into()],
                again: "cargo xtask qemu fake".into(),
            };
            let missing = if tier < self.0 { Vec::new() } else { vec![missing] };
            Ok(Attempt { promises: 3, scenarios: 2, missing, ..Attempt::default() })
        }
    }

    #[test]
    fn a_port_reaches_what_lies_below_the_first_thing_that_is_missing() {
        let climbed = |height, asked| climb(&mut Fake(height), &tiers(), asked).unwrap();
        assert_eq!(climbed(0, None).reached, None);
        assert_eq!(climbed(2, None).reached, Some(1));
        assert_eq!(climbed(9, None).reached, Some(5));
        assert_eq!(climbed(9, Some(3)).reached, Some(3));
        assert_eq!(climbed(1, Some(3)).wanted, Some(3));
        assert_eq!(climbed(1, None).wanted, Some(1));
        // Less than nothing at all is claimed.
        assert!(climbed(0, None).reached < Some(0));
    }

    #[test]
    fn a_workflow_gets_every_port_and_every_machine() {
        let machines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(list(&machines), "names=[\"a\",\"b\",\"sim\"]\nmachines=[\"a\",\"b\"]");
    }

    #[test]
    fn what_is_missing_is_named_with_where_to_look() {
        let attempt = Fake(0).attempt(0).unwrap();
        let text = anstream::adapter::strip_str(&summary(0, "boots", &attempt)).to_string();
        assert_eq!(
            text,
            "Tier 0 not reached: boots\n  3 promises kept, 2 scenarios as expected\n  missing clock-moves: the clock \
             stands still\n      look at  arch-fake/src/clock.rs\n      cargo xtask qemu fake"
        );
    }
}
