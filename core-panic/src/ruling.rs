//! What was decided about locks that were held and calls into firmware that others were in the way of: in the record
//! and on the console, each by name (P5).

use core::fmt;

use crash_lock::firmware::Forbidden;
use crash_lock::{Answer, Asked, Found, Refused, State};
use crash_record::names::{EntryKind, Outcome, Ruling};
use hal::sync::Ordering;
use hal::{CpuId, Platform};

use crate::report::Detail;
use crate::sequence::Panic;

/// Decisions that are recorded one by one: a loop that asks over and over must not fill the record.
pub const MOST_RULINGS: u32 = 64;

impl<P: Platform> Panic<'_, P> {
    /// For [`crash_lock::Kernel::ruled`]: puts a decision of the owner into the record, and says it. Of the decisions
    /// beyond [`MOST_RULINGS`] only that there are more is recorded.
    pub fn ruled(&self, ruling: &crash_lock::Ruling) {
        let me = self.platform.current();
        if self.claim.owner() != Some(me) {
            return;
        }
        let step = self.current().map(|spec| spec.step);
        let number = self.rulings.fetch_add(1, Ordering::AcqRel);
        if number >= MOST_RULINGS {
            if number == MOST_RULINGS
                && let Some(step) = step
            {
                self.note(me, step, format_args!("more locks and calls were in the way than are recorded"));
            }
            return;
        }
        let (kind, name) = match ruling.asked {
            Asked::Lock(name) => (EntryKind::Lock, name),
            Asked::Firmware(name) => (EntryKind::Firmware, name),
        };
        let (why, who) = judged(me, &ruling.answer);
        let beside = match ruling.answer {
            Answer::Forbidden { beside, .. } => beside,
            _ => None,
        };
        let outcome = match ruling.answer {
            Answer::Stolen { .. } => Outcome::Done,
            _ => Outcome::Skipped,
        };
        let text = match beside {
            Some(other) => Detail::new(format_args!("{name} beside {other}")),
            None => Detail::new(format_args!("{name}")),
        };
        let argument = u64::from(why.number()) << 16 | who.map_or(0, |cpu| cpu.index() as u64 + 1);
        self.entry(me, kind, step, Some(outcome), self.platform.now_ns(), argument, text.bytes());
        // Saying it may take a lock or firmware in its turn; what that comes to is recorded, and not said.
        let generation = self.generation();
        if self.telling.swap(generation, Ordering::AcqRel) == generation {
            return;
        }
        let who = match who {
            Some(cpu) => Detail::new(format_args!("{cpu}")),
            None => Detail::new(format_args!("none")),
        };
        let fields: [(&str, &dyn fmt::Display); 5] = [
            ("name", &name),
            ("ruling", &why),
            ("outcome", &outcome),
            ("who", &who),
            ("beside", &beside.unwrap_or("none")),
        ];
        self.event(me, kind.name(), &fields);
        self.telling.store(0, Ordering::Release);
    }
}

/// The word of the record for an answer, and who was in the way.
fn judged(me: CpuId, answer: &Answer) -> (Ruling, Option<CpuId>) {
    let refused = |refused: &Refused| match refused {
        Refused::Recursive => (Ruling::Recursive, Some(me)),
        Refused::Destroyed => (Ruling::Destroyed, None),
        Refused::Held { by, .. } if *by == me => (Ruling::HeldByAbandoned, Some(me)),
        Refused::Held { by, state } => {
            let ruling = match state {
                State::Running | State::Deferred => Ruling::HeldByRunning,
                State::Parked => Ruling::HeldByParked,
                State::Missing => Ruling::HeldByMissing,
            };
            (ruling, Some(*by))
        }
    };
    match answer {
        Answer::Stolen { from, found: Found::Orphaned } => (Ruling::StolenFromParked, Some(*from)),
        Answer::Stolen { from, found: Found::Interrupted } => (Ruling::StolenFromAbandoned, Some(*from)),
        Answer::Refused(why) => refused(why),
        Answer::Abandons { holder } => (Ruling::WouldWait, Some(*holder)),
        Answer::Forbidden { why, .. } => match why {
            Forbidden::Inside { cpu, .. } => (Ruling::Inside, Some(*cpu)),
            Forbidden::Locked(why) => refused(why),
            Forbidden::Abandoned => (Ruling::AbandonedBefore, None),
            Forbidden::Dirty => (Ruling::Dirty, None),
        },
    }
}
