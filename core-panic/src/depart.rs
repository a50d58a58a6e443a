//! The ways out of this kernel: into the crash image, or into firmware.

use crash_record::layout::{RECORD_BYTES, header};
use crash_record::names::{EntryKind, Outcome, Step};
use hal::firmware::{Firmware, FirmwareError};
use hal::kexec::{Handoff, Kexec, KexecError};
use hal::{CpuId, Platform};

use crate::config::FinalAction;
use crate::report::Detail;
use crate::sequence::{Ended, Panic};

/// How long a link of the final chain may take, ms.
pub(crate) const LINK_MS: u64 = 1_000;

impl<P: Platform> Panic<'_, P> {
    /// A kexec step: verify, quiesce, jump. Whatever is in the way is the outcome, and the path goes
    /// on with the next step (P8).
    pub(crate) fn kexec(&self, me: CpuId, step: Step, began_at: u64) -> Ended {
        let kexec = match self.platform.kexec() {
            Ok(kexec) => kexec,
            Err(unsupported) => return Ended::skipped(format_args!("{unsupported}")),
        };
        match kexec.image() {
            Ok(_) => {}
            Err(KexecError::NoImage(reason)) => {
                return Ended::skipped(format_args!("no crash image: {reason}"));
            }
            Err(error) => return failed(&error),
        }
        let verified = match kexec.verify() {
            Ok(verified) => verified,
            Err(error) => return failed(&error),
        };
        let quiesced = match kexec.quiesce() {
            Ok(quiesced) => quiesced,
            Err(error) => return failed(&error),
        };
        if quiesced.refused != 0 {
            self.note(me, step, format_args!("{} interrupt sources could not be masked", quiesced.refused));
        }
        // The last words of this kernel: after them nothing of it runs.
        let text = Detail::new(format_args!("{} interrupt sources masked", quiesced.sources));
        let outcome = Outcome::Leaving;
        self.entry(me, EntryKind::Step, Some(step), Some(outcome), began_at, 0, text.bytes());
        let took = self.platform.now_ns().saturating_sub(began_at);
        self.event(me, "end", &[("step", &step), ("outcome", &outcome), ("ns", &took), ("detail", &text)]);
        let handoff =
            Handoff { record: self.record.load(header::RECORD_BASE), record_len: RECORD_BYTES as u64 };
        self.retire(me);
        failed(&kexec.jump(verified, &handoff))
    }

    /// The last step: the configured action, then whatever else ends this kernel. Each link is tried
    /// once, also over a re-entry.
    pub(crate) fn last_action(&self, me: CpuId) -> ! {
        let chain: &[FinalAction] = match self.config().final_action {
            FinalAction::Reboot => &[FinalAction::Reboot, FinalAction::PowerOff],
            FinalAction::PowerOff => &[FinalAction::PowerOff],
            FinalAction::Halt => &[],
        };
        if self.first_delay() {
            self.delay();
        }
        let mut link = self.link();
        while let Some(action) = chain.get(link) {
            self.watched(me, LINK_MS, || self.leave(me, link, *action));
            link = self.link().max(link.saturating_add(1));
        }
        let (now, outcome) = (self.platform.now_ns(), Outcome::Leaving);
        self.entry(me, EntryKind::Step, Some(Step::Final), Some(outcome), now, 0, b"halt");
        self.event(me, "final", &[("action", &"halt")]);
        self.retire(me);
        loop {
            self.platform.park_wait();
        }
    }

    /// One link. It counts as tried right before firmware is called, and not when it begins: what is said before
    /// that can take too long on a machine that stands still for a while, and a link that never got as far as
    /// firmware must not be what keeps this machine from its reset. How often that can happen is bounded by
    /// the depth of re-entries, which does not start anew here.
    fn leave(&self, me: CpuId, link: usize, action: FinalAction) {
        let name = match action {
            FinalAction::Reboot => "reboot",
            FinalAction::PowerOff => "poweroff",
            FinalAction::Halt => "halt",
        };
        let firmware = match self.platform.firmware() {
            Ok(firmware) => firmware,
            Err(unsupported) => return self.note(me, Step::Final, format_args!("{name}: {unsupported}")),
        };
        if !self.no_more_words() {
            let (now, outcome) = (self.platform.now_ns(), Outcome::Leaving);
            self.entry(me, EntryKind::Step, Some(Step::Final), Some(outcome), now, 0, name.as_bytes());
            self.event(me, "final", &[("action", &name)]);
        }
        self.link_is_tried(link);
        let error = match action {
            FinalAction::Reboot => firmware.reboot(),
            FinalAction::PowerOff => firmware.power_off(),
            FinalAction::Halt => return,
        };
        match error {
            FirmwareError::Unsupported(unsupported) => {
                self.note(me, Step::Final, format_args!("{name}: {unsupported}"));
            }
            FirmwareError::Returned(status) => {
                self.note(me, Step::Final, format_args!("{name}: firmware came back with {status}"));
            }
        }
    }

    /// `panic.timeout`, with the iteration cap of every wait.
    fn delay(&self) {
        let time = u64::from(self.config().timeout_s) * 1_000_000_000;
        let start = self.platform.now_ns();
        for _ in 0..time / P::LEAST_ITERATION_NS {
            if self.platform.now_ns().wrapping_sub(start) >= time {
                return;
            }
            self.platform.relax();
        }
    }
}

fn failed(error: &KexecError) -> Ended {
    match error {
        KexecError::NoImage(reason) => Ended::failed(format_args!("no crash image: {reason}")),
        KexecError::Digest => Ended::failed(format_args!("the crash image is not what was loaded: digest")),
        KexecError::Failed(what) => Ended::failed(format_args!("{what}")),
    }
}
