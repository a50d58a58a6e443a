//! The two ways in which a panic changes hands after the claim: the owner gives it to a CPU that was
//! asked for (`panic.cpu=N`), or dies and the warden takes it. Beside the path, not in it.

use crash_record::layout::slot;
use crash_record::names::{CpuState, Rung, Step};
use hal::nmi::Nmi;
use hal::registers::Snapshot;
use hal::sync::Ordering;
use hal::{CpuId, Platform};

use crate::sequence::{Entry, Panic};

/// How long the CPU that is asked to take the panic may take to answer, ms.
pub(crate) const ANSWER_MS: u64 = 1_000;

impl<P: Platform> Panic<'_, P> {
    /// Hands the panic to the configured CPU, after the announcement: the message is formatted where
    /// its data lives. Comes back if this CPU is to go on; why, is in the record.
    ///
    /// The target takes the panic by compare-exchange, this CPU withdraws by one on the same word: so
    /// one of them goes on, and the other parks.
    pub(crate) fn redirect(&self, me: CpuId) {
        let Some(target) = self.config().cpu.and_then(|cpu| CpuId::new(cpu as usize)) else { return };
        if target == me {
            return;
        }
        if self.redirect_to.load(Ordering::Acquire) != 0 {
            return self.note(me, Step::Stop, format_args!("not redirected: it was tried and cut short"));
        }
        if self.record.state(target) != CpuState::Online {
            return self.note(me, Step::Stop, format_args!("not redirected: CPU {target} is not online"));
        }
        let Ok(nmi) = self.platform.nmi() else {
            return self.note(me, Step::Stop, format_args!("not redirected: this machine has no NMI"));
        };
        self.redirect_to.store(target.index() as u32 + 1, Ordering::Release);
        if let Err(error) = nmi.send(target) {
            self.note(me, Step::Stop, format_args!("redirect to CPU {target}: not sent: {error:?}"));
        }
        let time = self.config().deadline_ns(ANSWER_MS);
        let start = self.platform.now_ns();
        for _ in 0..time / P::LEAST_ITERATION_NS {
            let over = self.platform.now_ns().wrapping_sub(start) >= time;
            if over || self.claim.owner() != Some(me) {
                break;
            }
            self.platform.relax();
        }
        if !self.claim.redirect(me, me) {
            self.park(me, Rung::LostClaim, &self.platform.capture());
        }
        self.note(me, Step::Stop, format_args!("not redirected: CPU {target} did not answer"));
    }

    /// The owner enters again, perhaps in the middle of a redirect: from here on it wants the panic for
    /// itself. Does not return if the target was faster.
    pub(crate) fn withdraw(&self, me: CpuId) {
        if self.redirect_to.load(Ordering::Acquire) != 0 {
            self.claim.redirect(me, me);
        }
        self.gate(me);
    }

    /// A signal on a CPU that is not the owner: does it hand over the panic? Then this does not return.
    pub(crate) fn accept(&self, me: CpuId, owner: CpuId, rung: Rung, snapshot: &Snapshot<P::Registers>) {
        let asked = self.redirect_to.load(Ordering::Acquire) == me.index() as u32 + 1;
        if asked && self.claim.redirect(owner, me) {
            self.record.save(me, rung, self.platform.now_ns(), snapshot);
            self.go_on(me, None, Entry::Heir { from: owner, dead: false })
        }
    }

    /// The owner is dead: this CPU, its warden, goes on in its place. Returns if it was too late or
    /// was done before.
    pub(crate) fn take_over(&self, me: CpuId, owner: CpuId) {
        if !self.claim.take_over(owner, me) {
            return;
        }
        self.record.set_slot(me, slot::ROLE, 0);
        self.wardens.dismiss();
        self.go_on(me, None, Entry::Heir { from: owner, dead: true })
    }
}
