//! The record step: somebody who knows a storage that survives a reset puts there what it has room for. Beside the
//! sequence, not in it: a kernel without such a storage never comes here.

use hal::{CpuId, Platform};

use crate::notifier::{Notifier, Refusal};
use crate::report::Voice;
use crate::sequence::{Ended, Panic};

impl<P: Platform> Panic<'_, P> {
    /// Says once, at boot, who keeps the record; under the contract of a notifier. False if that was said before.
    pub fn keep_record_by(&self, keeper: &'static dyn Notifier) -> bool {
        self.keeper.bind(keeper)
    }

    /// What the record step does.
    pub(crate) fn keep(&self, me: CpuId) -> Ended {
        let Some(keeper) = self.keeper.get() else {
            return Ended::skipped(format_args!("no storage that survives a reset is registered"));
        };
        let step = crash_lock::Step::new();
        let voice = Voice::new(self, me, &step);
        let name = keeper.name();
        match keeper.notify(&voice) {
            Ok(()) => Ended::done(false, format_args!("{name}")),
            Err(Refusal::Skipped(why)) => Ended::skipped(format_args!("{name}: {why}")),
            Err(Refusal::Failed(why)) => Ended::failed(format_args!("{name}: {why}")),
        }
    }
}
