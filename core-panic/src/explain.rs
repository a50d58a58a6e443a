//! The order and its bound, for people: what `cargo xtask explain` prints and the documents quote.
//!
//! Nothing here runs on the panic path, and a kernel that does not call it does not contain it. The
//! numbers are the ones that the path uses: [`ORDER`] and the limits beside it.

use core::fmt;

use crash_record::names::{Class, Step};

use crate::config::{Config, FinalAction, KexecMode};
use crate::order::{Action, ORDER, StepSpec, applies, grace_ms, settle_ms};
use crate::sequence::{MESSAGE_MS, MOST_REENTRIES, NAME_MS, ONLY_FINAL_AT};
use crate::{depart, stop, succession, warden};

/// What is said between two bodies, ms: two event lines at most, 800 bytes, at 115200 baud.
pub const BETWEEN_MS: u64 = 100;
/// What one re-entry costs at most, ms: a shot that is not answered and one that is, and what there is
/// to say about it: the name of the notifier that was abandoned, and the message.
pub const REENTRY_MS: u64 = 2 * warden::ANSWER_MS + NAME_MS + MESSAGE_MS;
/// What a change of the owner by death costs at most, ms: a warden that dies over its first shot, a standby that has
/// to notice that, and two unanswered shots of its own.
pub const TAKEOVER_MS: u64 = 4 * warden::ANSWER_MS;
/// How often it is tried to settle a stop that was broken off.
const SETTLINGS: u64 = stop::SETTLED as u64;
/// What an answer to a redirect may take, ms.
pub const REDIRECT_MS: u64 = succession::ANSWER_MS;
/// What a link of the final chain may take, ms.
pub const LINK_MS: u64 = depart::LINK_MS;

/// What a step is, in words.
pub struct Words {
    /// What happens in it.
    pub what: &'static str,
    /// What it needs of the machine or of the kernel; empty if nothing.
    pub needs: &'static str,
}

/// The words for a step.
pub fn words(step: Step) -> Words {
    let (what, needs) = match step {
        Step::Claim => ("mask interrupts, win `panic_cpu`; whoever loses parks", ""),
        Step::Announce => ("reason, message, registers, raw backtrace, to the log and the console", ""),
        Step::Stop => ("the ladder of signals, then what became of every CPU", "IPI or NMI; alone, neither"),
        Step::BeforeDump => ("notifiers for what would spoil the dump", "a const registration"),
        Step::KexecPre | Step::KexecPost => {
            ("verify the image, mask interrupt sources, jump", "a crash image that was loaded")
        }
        Step::Inform => ("notifiers that tell somebody", "a registration"),
        Step::Cleanup => ("notifiers that clean up before a reset", "a registration"),
        Step::Record => ("the record goes where it survives a reset", "a keeper that was registered"),
        Step::Flush => ("what never reached the console", ""),
        Step::Final => {
            ("notifiers that may not return; then restart, power off or halt", "firmware, but to halt")
        }
    };
    Words { what, needs }
}

/// The class whose notifiers a step calls.
pub fn class(spec: &StepSpec) -> Option<Class> {
    match spec.action {
        Action::Notify(class) => Some(class),
        Action::Final => Some(Class::Terminal),
        _ => None,
    }
}

/// How far a bound reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// To the jump into the crash image, if the configuration has one and nothing is in its way.
    Jump,
    /// To the last link of the final chain.
    End,
}

/// A configuration, and what there is when the panic comes.
#[derive(Clone, Copy, Debug)]
pub struct Situation {
    /// The configuration.
    pub config: Config,
    /// CPUs that are online.
    pub cpus: usize,
    /// Notifiers of each class, in the order of [`Class::ALL`].
    pub notifiers: [usize; Class::ALL.len()],
    /// What the digest of the crash image took when it was loaded, ms.
    pub digest_ms: u64,
}

impl Situation {
    /// Notifiers of a class.
    pub fn count(&self, class: Class) -> usize {
        let found = Class::ALL.iter().zip(self.notifiers).find(|(known, _)| **known == class);
        found.map_or(0, |(_, count)| count)
    }

    fn steps(&self, until: Until) -> impl Iterator<Item = &'static StepSpec> {
        let config = self.config;
        let mut left = false;
        ORDER.iter().filter(move |spec| applies(spec, &config)).take_while(move |spec| {
            let take = !left;
            left = until == Until::Jump && spec.action == Action::Kexec;
            take
        })
    }

    /// What a step may take altogether at scale 1, ms.
    fn step_ms(&self, spec: &StepSpec) -> u64 {
        match class(spec) {
            Some(class) => spec.budget_ms * self.count(class) as u64,
            None => spec.budget_ms + self.verify_ms(spec) + grace_ms(spec, &self.config),
        }
    }

    /// The steps of this configuration, and what each is meant to take with all its notifiers at scale 1, ms.
    pub fn budgets(&self) -> impl Iterator<Item = (Step, u64)> + '_ {
        self.steps(Until::End).map(|spec| (spec.step, self.step_ms(spec)))
    }

    fn verify_ms(&self, spec: &StepSpec) -> u64 {
        if spec.action == Action::Kexec { 4 * self.digest_ms } else { 0 }
    }

    fn links(&self, until: Until) -> u64 {
        match (until, self.config.final_action) {
            (Until::End, FinalAction::Reboot) => 2,
            (Until::End, FinalAction::PowerOff) => 1,
            (Until::End, FinalAction::Halt) | (Until::Jump, _) => 0,
        }
    }

    /// Everything that has a deadline of its own.
    fn bodies(&self, until: Until) -> u64 {
        let of = |spec: &StepSpec| class(spec).map_or(1, |class| self.count(class) as u64);
        self.steps(until).map(of).sum::<u64>() + self.links(until)
    }

    fn redirect_ms(&self) -> u64 {
        if self.config.cpu.is_some() && self.cpus > 1 { REDIRECT_MS } else { 0 }
    }

    /// The parts of the total, each in ms at scale 1; their sum times the scale, plus `panic.timeout`
    /// where the bound reaches that far, is the total.
    fn parts(&self, until: Until) -> [u64; 7] {
        let mut parts = [0; 7];
        let [said, redirect, steps, links, settle, reentries, takeover] = &mut parts;
        *said = BETWEEN_MS * (1 + self.bodies(until));
        *redirect = self.redirect_ms();
        *steps = self.steps(until).map(|spec| self.step_ms(spec)).sum();
        *links = LINK_MS * self.links(until);
        *settle = SETTLINGS * settle_ms(&self.config);
        *reentries = REENTRY_MS * self.reentries(until);
        *takeover = if self.cpus > 1 { TAKEOVER_MS } else { 0 };
        parts
    }

    fn scaled(&self, ms: u64, until: Until) -> u64 {
        let timeout_ms = if until == Until::End { 1_000 * u64::from(self.config.timeout_s) } else { 0 };
        ms * u64::from(self.config.scale) + timeout_ms
    }

    /// How often the owner enters again at most: once for each body and each time that a broken stop is settled, and once
    /// more for each notifier, whose name may fail when it is asked for after the body did; after the cap, what is optional
    /// is left out.
    pub fn reentries(&self, until: Until) -> u64 {
        let needed = |spec: &&StepSpec| !spec.optional && spec.action != Action::Final;
        let needed = self.steps(until).filter(needed).count() as u64;
        // A link that has not got as far as firmware is begun again, until the depth leaves nothing but the call.
        let again = if self.links(until) == 0 { 0 } else { u64::from(ONLY_FINAL_AT) };
        let names: u64 = self.steps(until).filter_map(class).map(|class| self.count(class) as u64).sum();
        let bodies = (self.bodies(until) + names).min(u64::from(MOST_REENTRIES) + needed + self.links(until));
        bodies + again + SETTLINGS
    }

    /// From the claim on, ms, if nothing is abandoned: every body takes all the time that it has.
    pub fn undisturbed_ms(&self, until: Until) -> u64 {
        let [said, redirect, steps, links, ..] = self.parts(until);
        self.scaled(said + redirect + steps + links, until)
    }

    /// From the claim on, ms, whatever is abandoned.
    pub fn total_ms(&self, until: Until) -> u64 {
        self.scaled(self.parts(until).iter().sum(), until)
    }

    /// Whether the configuration has a jump at all.
    pub fn jumps(&self) -> bool {
        self.config.kexec != KexecMode::Off
    }
}

/// A situation as text.
impl fmt::Display for Situation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = u64::from(self.config.scale);
        writeln!(
            f,
            "{:<12} {:<12} {:>9} {:>12}  {:<9} what happens",
            "step", "class", "budget", "deadline", ""
        )?;
        writeln!(
            f,
            "{:<12} {:<12} {:>9} {:>12}  {:<9} {}",
            "claim",
            "",
            "-",
            "-",
            "",
            words(Step::Claim).what
        )?;
        for spec in &ORDER {
            let each = class(spec).map_or("", |_| " each");
            let name = class(spec).map_or("", Class::name);
            let optional = if spec.optional { "optional" } else { "" };
            let Words { what, needs } = words(spec.step);
            let step = spec.step.name();
            write!(f, "{step:<12} {name:<12} ")?;
            if !applies(spec, &self.config) {
                writeln!(f, "{:>9} {:>12}  {optional:<9} not in this configuration", "-", "-")?;
                continue;
            }
            let budget = spec.budget_ms + self.verify_ms(spec) + grace_ms(spec, &self.config);
            write!(f, "{:>9} {:>12}  {optional:<9} {what}", Ms(budget), Each(Ms(budget * scale), each))?;
            writeln!(f, "{}{needs}", if needs.is_empty() { "" } else { "; needs: " })?;
        }
        if self.jumps() {
            self.write_bound(f, Until::Jump)?;
        }
        self.write_bound(f, Until::End)
    }
}

impl Situation {
    fn write_bound(&self, f: &mut fmt::Formatter<'_>, until: Until) -> fmt::Result {
        let [said, redirect, steps, links, settle, reentries, takeover] = self.parts(until);
        let count = self.reentries(until);
        writeln!(f, "\nfrom the claim to the {until}, at most")?;
        for (ms, what) in [
            (said, "to say so, before, between and after the bodies"),
            (redirect, "for the answer of the CPU that the panic is handed to"),
            (steps, "for the steps, with their notifiers (the stop: all answers of its ladder)"),
            (links, "for the final chain"),
            (settle, "for the CPUs that a stop which was broken off has left"),
        ] {
            writeln!(f, "  {:>9}  {what}", Ms(ms))?;
        }
        writeln!(f, "  {:>9}  for {count} abandonments, {} each", Ms(reentries), Ms(REENTRY_MS))?;
        writeln!(f, "  {:>9}  for an owner that dies", Ms(takeover))?;
        let (scale, timeout) = (self.config.scale, self.config.timeout_s);
        write!(f, "  = {} times scale {scale}", Ms(self.parts(until).iter().sum()))?;
        if until == Until::End {
            write!(f, ", plus {timeout} s of panic.timeout")?;
        }
        let (total, undisturbed) = (self.total_ms(until), self.undisturbed_ms(until));
        writeln!(f, "\n  = {}; {} if nothing is abandoned", Ms(total), Ms(undisturbed))
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Until::Jump { "jump" } else { "end" })
    }
}

/// Milliseconds, in the unit that reads best.
#[derive(Clone, Copy)]
pub struct Ms(pub u64);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match (self.0 / 1_000, self.0 % 1_000) {
            (0, ms) => crate::report::Text::<16>::new(format_args!("{ms} ms")),
            (s, 0) => crate::report::Text::<16>::new(format_args!("{s} s")),
            (s, ms) => {
                let digits = crate::report::Text::<8>::new(format_args!("{ms:03}"));
                let digits = core::str::from_utf8(digits.bytes()).unwrap_or("").trim_end_matches('0');
                crate::report::Text::<16>::new(format_args!("{s}.{digits} s"))
            }
        };
        f.pad(core::str::from_utf8(text.bytes()).unwrap_or(""))
    }
}

struct Each(Ms, &'static str);

impl fmt::Display for Each {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = crate::report::Text::<24>::new(format_args!("{}{}", self.0, self.1));
        f.pad(core::str::from_utf8(text.bytes()).unwrap_or(""))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::ToString;

    const GRACE_MS: u64 = Config::DEFAULT.grace_ms as u64;

    fn situation(kexec: KexecMode) -> Situation {
        Situation {
            config: Config { kexec, ..Config::DEFAULT },
            cpus: 4,
            notifiers: [0, 1, 1, 2],
            digest_ms: 0,
        }
    }

    #[test]
    fn the_bound_is_the_sum_of_what_it_names() {
        let pre = situation(KexecMode::Pre);
        // announce, stop, kexec; to the end also two notifiers, record, flush, two Terminal ones, two links.
        assert_eq!((pre.bodies(Until::Jump), pre.bodies(Until::End)), (3, 11));
        assert_eq!(pre.undisturbed_ms(Until::Jump), 4 * BETWEEN_MS + 1_000 + 3_000 + GRACE_MS + 1_000);
        let steps = 1_000 + 3_000 + GRACE_MS + 1_000 + 50 + 50 + 500 + 10_000 + 2 * 1_000;
        assert_eq!(pre.undisturbed_ms(Until::End), 12 * BETWEEN_MS + steps + 2 * LINK_MS);
        // To the end each notifier's name may fail as well.
        for (until, reentries) in [(Until::Jump, 3 + 2), (Until::End, 11 + 4 + 3 + 2)] {
            let rest = 2 * settle_ms(&pre.config) + reentries * REENTRY_MS + TAKEOVER_MS;
            assert_eq!(pre.total_ms(until), pre.undisturbed_ms(until) + rest);
            let alone = Situation { cpus: 1, ..pre };
            assert_eq!(alone.total_ms(until), pre.total_ms(until) - TAKEOVER_MS);
        }
        let slow = Situation { digest_ms: 10, ..pre };
        assert_eq!(slow.undisturbed_ms(Until::Jump), pre.undisturbed_ms(Until::Jump) + 40);
    }

    #[test]
    fn scale_multiplies_and_timeout_does_not_scale() {
        let one = situation(KexecMode::Post);
        let config = Config { scale: 20, timeout_s: 3, ..one.config };
        let twenty = Situation { config, ..one };
        assert_eq!(twenty.total_ms(Until::End), one.total_ms(Until::End) * 20 + 3_000);
        assert_eq!(twenty.total_ms(Until::Jump), one.total_ms(Until::Jump) * 20);
    }

    #[test]
    fn a_crowd_is_cut_short_by_the_cap() {
        let crowd = Situation { notifiers: [0, 30, 0, 0], ..situation(KexecMode::Post) };
        // After the cap: the stop, the jump, and the two links, the first of them more than once.
        assert_eq!(crowd.reentries(Until::End), u64::from(MOST_REENTRIES) + 4 + 3 + 2);
        assert_eq!(crowd.reentries(Until::Jump), u64::from(MOST_REENTRIES) + 2 + 2);
    }

    #[test]
    fn every_step_has_its_line() {
        let text = situation(KexecMode::Off).to_string();
        for spec in &ORDER {
            assert!(text.lines().any(|line| line.starts_with(spec.step.name())), "{text}");
        }
        assert_eq!(text.matches("not in this configuration").count(), 2, "{text}");
        assert_eq!(Ms(1_020).to_string(), "1.02 s");
    }
}
