//! The contract of these traits as code: what a call promises before and after it, asked of a running machine.
//!
//! A port says what it is able to do; these checks look. They run inside a kernel on the machine itself, and on the
//! simulated machine, over nothing but [`Platform`], so that they are the same code everywhere. What only a whole panic
//! shows is left to scenarios.
//!
//! A kernel owns one [`Board`], tells it of every signal that its handlers take, and lets every CPU call
//! [`Contract::serve`] again and again with interrupts on. One CPU calls [`Contract::run`].

mod alone;
mod board;
mod kept;
mod late;
mod report;
mod signals;
mod stacks;

pub use board::Board;
pub use report::{Finding, Verdict};

use crate::{CpuId, Platform, Unsupported};

/// A check: one promise, or a few that are looked at together.
pub struct Check<P: Platform> {
    /// Stable name, in kebab-case.
    pub name: &'static str,
    /// The conformance tier that it belongs to.
    pub tier: u8,
    run: Run<P>,
}

enum Run<P: Platform> {
    /// Looks, and comes back.
    Looks(fn(&Contract<P>) -> Verdict),
    /// Looks from panic stacks, from where nobody comes back: the last ones of a run.
    Leaves(fn(&Rest<P>) -> !),
}

/// What checks need.
pub struct Contract<P: Platform> {
    /// The machine.
    pub platform: &'static P,
    /// Where its CPUs meet.
    pub board: &'static Board,
    /// CPUs that serve, the one that calls [`Contract::run`] included: numbers `0..cpus`.
    pub cpus: usize,
    /// Whether the crash image is to be there.
    pub image: bool,
    /// Changes a byte of the loaded crash image, for the check that this is noticed.
    pub damage: fn(),
    /// Checks that cannot be made here, by name, and why. A machine of metal has none.
    pub without: &'static [(&'static str, Unsupported)],
    /// Told of every check's end.
    pub report: fn(&'static str, &Verdict),
    /// What comes after the last check.
    pub end: fn() -> !,
}

/// What is left to do when a check has left its stack.
struct Rest<P: Platform> {
    contract: &'static Contract<P>,
    tier: u8,
    /// Number of the check that is running.
    at: usize,
    /// An address on the stack that the first one left.
    stack: usize,
}

impl<P: Platform> Rest<P> {
    /// Tells what came of the running check, and goes on with the next.
    fn ends(&self, verdict: &Verdict) -> ! {
        let checks = Contract::<P>::checks();
        if let Some(check) = checks.get(self.at) {
            (self.contract.report)(check.name, verdict);
        }
        self.contract.from(self.tier, self.at.saturating_add(1))
    }
}

impl<P: Platform> Contract<P> {
    /// Every check, in the order in which they run.
    pub const fn checks() -> [Check<P>; 24] {
        use Run::{Leaves, Looks};
        const fn check<P: Platform>(tier: u8, name: &'static str, run: Run<P>) -> Check<P> {
            Check { name, tier, run }
        }
        [
            check(0, "name-fits", Looks(alone::name_fits)),
            check(0, "number-is-boot", Looks(alone::number_is_boot)),
            check(0, "clock-moves", Looks(alone::clock_moves)),
            check(0, "clock-never-back", Looks(alone::clock_never_back)),
            check(0, "console-takes-lines", Looks(alone::console_takes_lines)),
            check(0, "console-does-not-wait", Looks(alone::console_does_not_wait)),
            check(0, "reasons-are-given", Looks(alone::reasons_are_given)),
            check(1, "capture-is-here", Looks(alone::capture_is_here)),
            check(1, "mask-stays", Looks(alone::mask_stays)),
            check(1, "stacks-are-apart", Leaves(stacks::are_apart)),
            check(2, "number-of-each", Looks(signals::number_of_each)),
            check(2, "clock-across-cpus", Looks(signals::clock_across_cpus)),
            check(2, "ipi-arrives-once", Looks(signals::ipi_arrives_once)),
            check(2, "ipi-is-as-strong-as-said", Looks(signals::ipi_strength)),
            check(2, "nmi-arrives-once", Looks(signals::nmi_arrives_once)),
            check(2, "nmi-is-as-strong-as-said", Looks(signals::nmi_strength)),
            check(2, "nmi-in-nmi", Looks(signals::nmi_in_nmi)),
            check(2, "park-holds", Looks(signals::park_holds)),
            check(3, "timer-comes-once", Looks(late::timer_comes_once)),
            check(3, "timer-is-set-anew", Looks(late::timer_is_set_anew)),
            check(3, "timer-is-taken-back", Looks(late::timer_is_taken_back)),
            check(3, "nmi-after-unblock", Looks(late::nmi_after_unblock)),
            check(4, "image-is-verified", Looks(kept::image_is_verified)),
            check(5, "store-keeps", Looks(kept::store_keeps)),
        ]
    }

    /// Runs the checks of a tier on the calling CPU, and ends with [`Contract::end`].
    ///
    /// # Before
    /// The caller is CPU 0. From tier 2 on, the other CPUs serve, and this one has its interrupts on.
    pub fn run(&'static self, tier: u8) -> ! {
        self.from(tier, 0)
    }

    fn from(&'static self, tier: u8, first: usize) -> ! {
        for (at, check) in
            Self::checks().iter().enumerate().skip(first).filter(|(_, check)| check.tier == tier)
        {
            if let Some((_, why)) = self.without.iter().find(|(name, _)| *name == check.name) {
                (self.report)(check.name, &Verdict::Unsupported(*why));
                continue;
            }
            match check.run {
                Run::Looks(look) => (self.report)(check.name, &look(self)),
                Run::Leaves(leave) => {
                    let stack = stacks::here();
                    leave(&Rest { contract: self, tier, at, stack })
                }
            }
        }
        (self.end)()
    }

    /// The CPUs beside the calling one.
    fn others(&self) -> impl Iterator<Item = CpuId> + use<P> {
        let me = self.platform.current();
        CpuId::all().take(self.cpus).filter(move |cpu| *cpu != me)
    }

    /// Waits politely until the condition holds. False if it did not within `ns`, by the clock or, should that stand
    /// still, by the number of rounds.
    fn wait(&self, ns: u64, mut holds: impl FnMut() -> bool) -> bool {
        let since = self.platform.now_ns();
        let mut rounds = ns / P::LEAST_ITERATION_NS.max(1);
        while !holds() {
            if rounds == 0 || self.platform.now_ns().wrapping_sub(since) >= ns {
                return holds();
            }
            rounds -= 1;
            self.platform.relax();
        }
        true
    }
}

/// A capability that a machine may lack, by its accessor's name, and why it does, if so.
pub type Absence = (&'static str, Option<Unsupported>);

/// Everything that a machine may lack, in the order of [`Platform`].
pub fn absences<P: Platform>(platform: &P) -> [Absence; 6] {
    [
        ("ipi", platform.ipi().err()),
        ("nmi", platform.nmi().err()),
        ("kexec", platform.kexec().err()),
        ("timer", platform.timer().err()),
        ("firmware", platform.firmware().err()),
        ("store", platform.store().err()),
    ]
}

/// How long something may take that has to happen, ns. Generous: on a loaded host a virtual CPU may stand still for
/// seconds.
const PATIENCE_NS: u64 = 10_000_000_000;
/// How long nobody sees what must not happen, ns.
const QUIET_NS: u64 = 20_000_000;
