//! A scenario file as the simulated machine is told of it: one line for each combination of its axes.

use crate::conformance::SIMULATOR;
use crate::scenario::{Expect, Input, Kexec, Scenario, Stop, value_name};
use crate::verdict::simulated;

/// CPUs that the simulated machine has at most.
const MOST_CPUS: u32 = 4;
/// What every budget is multiplied by, unless the file says it: as on the first accelerator of the machines.
const SCALE: u32 = 10;

/// One combination.
#[derive(Clone, Debug)]
pub struct Variant {
    /// When it jumps.
    pub kexec: Kexec,
    /// How it stops.
    pub stop: Stop,
    /// CPUs.
    pub cpus: u32,
    /// What has to come of it.
    pub expect: Expect,
    /// What the kernel is told.
    pub words: String,
}

impl Variant {
    /// The line that the simulator reads.
    pub fn line(&self) -> String {
        format!("{} {}", self.cpus, self.words)
    }

    /// As arguments of a command.
    pub fn arguments(&self) -> String {
        let (kexec, stop) = (value_name(self.kexec), value_name(self.stop));
        format!("--kexec {kexec} --stop {stop} --cpus {}", self.cpus)
    }
}

/// Every combination of a scenario; the error says why there is none.
pub fn variants(scenario: &Scenario) -> Result<Vec<Variant>, String> {
    // What is said of all other machines is not about one that is none.
    let own = scenario.on.get(SIMULATOR);
    if let Some(reason) = own.and_then(|on| on.not_applicable.clone()) {
        return Err(reason);
    }
    if scenario.cpus.minimum > MOST_CPUS {
        return Err(format!("it needs {} CPUs, there are up to {MOST_CPUS}", scenario.cpus.minimum));
    }
    let rest = words(&if own.is_some() { scenario.clone().on_machine(SIMULATOR) } else { scenario.clone() });
    let mut all = Vec::new();
    for &kexec in &scenario.kexec {
        let expect = scenario.expect.resolve(kexec);
        if let Some(key) = simulated::unjudged(&expect) {
            return Err(format!("expects `{key}`, which nothing here tells"));
        }
        for &stop in &scenario.stop {
            let axes = format!(
                "panic.kexec={} panic.stop={} panic.scale={SCALE}",
                value_name(kexec),
                value_name(stop)
            );
            let words = format!("{axes} {rest}").trim().to_owned();
            let counts = scenario.cpus.minimum.max(1)..=MOST_CPUS;
            all.extend(counts.map(|cpus| Variant {
                kexec,
                stop,
                cpus,
                expect: expect.clone(),
                words: words.clone(),
            }));
        }
    }
    Ok(all)
}

/// Everything that the file says is to happen: the command line, and what comes from outside it as words of the same
/// form.
fn words(scenario: &Scenario) -> String {
    let mut words = vec![scenario.command_line.clone()];
    words.extend(scenario.input.iter().map(|input| format!("input={}:{}", input.after, what(input))));
    words.extend(scenario.store.map(|before| format!("store={before:?}").to_lowercase()));
    words.extend((!scenario.qemu_arguments.is_empty()).then(|| "qemu_arguments=some".to_owned()));
    words.join(" ").trim().to_owned()
}

fn what(input: &Input) -> &str {
    match input {
        Input { qmp: Some(command), .. } => command,
        Input { send: Some(_), .. } => "send",
        Input { monitor: Some(_), .. } => "monitor",
        Input { derail: Some(_), .. } => "derail",
        _ => "corrupt",
    }
}
