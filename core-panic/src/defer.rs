//! Deferred stop: a CPU that a stop finds inside a critical section finishes it first. Beside the ladder, not in
//! it; a kernel that takes no [`crash_lock::CrashLock`] never comes here. A port without NMIs does, by the IPI that it has
//! instead; but nothing of it cuts a section short that outlasts its grace.
//!
//! Two clocks. *Answer*: from the signal to the first acknowledgement, which is either "parked" or "deferred".
//! *Grace*: from a CPU's own "deferred" on, ended early when it parks. A second signal goes only to a CPU that
//! has acknowledged the first: it parks where it is, and what it holds is orphaned.

use crash_lock::Parking;
use crash_record::layout::slot;
use crash_record::names::{CpuState, Orphan, Rung, Step};
use hal::nmi::Nmi;
use hal::registers::{Registers, Snapshot};
use hal::sync::Ordering;
use hal::{CpuId, Platform};

use crate::config::StopPolicy;
use crate::report::Detail;
use crate::sequence::{Cause, Panic};

impl<P: Platform> Panic<'_, P> {
    /// In the handler of a stop signal, which is a maskable one where a machine has no other: may this CPU return, to
    /// finish what it is in the middle of? Then what it did when the signal came is saved, and the drop of its
    /// last lock parks it.
    pub(crate) fn defers(&self, me: CpuId, rung: Rung, snapshot: &Snapshot<P::Registers>) -> bool {
        let policy = self.config().stop == StopPolicy::Deferred;
        let held = self.locks.held(me);
        // A CPU that owned the panic once is no secondary in a critical section: it parks.
        let policy = policy && self.record.state(me) == CpuState::Online;
        if !policy || !snapshot.registers.resumable() || !self.locks.defer(me) {
            return false;
        }
        if rung == Rung::Ipi {
            self.asked.fetch_or(me.bit(), Ordering::AcqRel);
        }
        self.record.set_slot(me, slot::HELD_FIRST, held.count());
        self.record.save_first(me, snapshot);
        self.record.set_slot(me, slot::DEFERRED_AT, self.platform.now_ns());
        self.record.set_slot(me, slot::STATE, u64::from(CpuState::Deferred.number()));
        true
    }

    /// Whether a signal to this CPU is one too many: it is deferred, and the owner has not ended that.
    pub(crate) fn goes_on(&self, me: CpuId) -> bool {
        // Not by what the owner thinks of this CPU: it may have given up on it.
        let ended = self.locks.last_call() || self.record.slot(me, slot::OWNER_CUT_AT) != 0;
        self.locks.pending(me) && !ended
    }

    /// For [`crash_lock::Kernel::park`]: a lock stops this CPU.
    ///
    /// If the panic was redirected to this CPU, here is where it takes it: at the end of its critical section.
    pub fn park_for_lock(&self, _why: Parking, snapshot: &Snapshot<P::Registers>) -> ! {
        self.platform.mask_interrupts();
        let me = self.platform.current();
        let deferred = self.record.slot(me, slot::DEFERRED_AT) != 0;
        let asked = self.asked.load(Ordering::Acquire) & me.bit() != 0;
        let rung = match (deferred, asked) {
            (false, _) => Rung::Lock,
            (true, true) => Rung::Ipi,
            (true, false) => Rung::Nmi,
        };
        if let Some(owner) = self.claim.owner()
            && self.parking.load(Ordering::Acquire) & me.bit() == 0
        {
            self.accept(me, owner, rung, snapshot);
        }
        self.park(me, rung, snapshot)
    }

    /// For [`crash_lock::Kernel::abandon`]: what runs on the owner asked, without a token, for a lock that `holder` holds. It
    /// would wait for ever; it is marked as failed, and the path goes on (P4).
    pub fn abandon_for_lock(&self, holder: CpuId, snapshot: &Snapshot<P::Registers>) -> ! {
        let message = format_args!("it waits for a lock that CPU {holder} holds");
        self.enter(&Cause { reason: "blocked-on-lock", message: &message }, snapshot)
    }

    /// Writes down what this CPU holds now that it does nothing any more, and why.
    pub(crate) fn note_held(&self, me: CpuId, rung: Rung, resumable: bool) {
        let count = self.locks.held(me).count();
        let blocked = self.locks.blocked(me);
        let why = match rung {
            _ if count == 0 => Orphan::None,
            Rung::LostClaim | Rung::None => Orphan::Died,
            _ if !resumable => Orphan::LostContext,
            _ if blocked.is_some() => Orphan::Blocked,
            _ if self.record.slot(me, slot::OWNER_CUT_AT) != 0 => Orphan::Grace,
            _ => Orphan::Policy,
        };
        let set = |word, value| self.record.set_slot(me, word, value);
        if self.record.slot(me, slot::DEFERRED_AT) == 0 {
            set(slot::HELD_FIRST, count);
        }
        set(slot::HELD_LAST, count);
        set(slot::ORPHAN, u64::from(why.number()));
        if let Some(blocked) = blocked {
            set(slot::BLOCKED_LOCK, blocked.lock as u64);
            set(slot::BLOCKED_BY, blocked.by.index() as u64 + 1);
        }
    }

    /// Whether the owner still waits for `cpu`, which was signalled at `start` and has `answer` ns to acknowledge
    /// that. Ends a deferral whose grace is over.
    pub(crate) fn awaited(&self, me: CpuId, cpu: CpuId, now: u64, start: u64, answer: u64) -> bool {
        match self.record.state(cpu) {
            CpuState::Parked => false,
            CpuState::Deferred => {
                let cut = self.record.slot(cpu, slot::OWNER_CUT_AT);
                if cut != 0 {
                    return now.saturating_sub(cut) < answer;
                }
                let since = self.record.slot(cpu, slot::DEFERRED_AT);
                if now.saturating_sub(since) >= self.config().deadline_ns(u64::from(self.config().grace_ms)) {
                    self.cut(me, cpu, now);
                }
                true
            }
            _ => now.saturating_sub(start) < answer,
        }
    }

    /// The grace of `cpu` is over.
    fn cut(&self, me: CpuId, cpu: CpuId, now: u64) {
        // First the word that tells the handler what the signal means.
        self.record.set_slot(cpu, slot::OWNER_CUT_AT, now.max(1));
        let nmi = match self.platform.nmi() {
            Ok(nmi) => nmi,
            // Nothing is sent, and nothing counted: an IPI again would find interrupts masked.
            Err(unsupported) => {
                return self.note(me, Step::Stop, format_args!("CPU {cpu}: {unsupported}"));
            }
        };
        let sent = self.record.slot(cpu, slot::OWNER_SIGNALS);
        self.record.set_slot(cpu, slot::OWNER_SIGNALS, sent.wrapping_add(1 << 32));
        if let Err(error) = nmi.send(cpu) {
            self.record.set_slot(cpu, slot::OWNER_SIGNALS, sent);
            self.note(me, Step::Stop, format_args!("second signal to CPU {cpu} not sent: {error:?}"));
        }
    }

    /// Says what `cpu` held, if it held anything.
    pub(crate) fn tell_held(&self, me: CpuId, cpu: CpuId) {
        let word = |word| self.record.slot(cpu, word);
        let (first, last, since) = (word(slot::HELD_FIRST), word(slot::HELD_LAST), word(slot::DEFERRED_AT));
        if first == 0 && last == 0 && since == 0 {
            return;
        }
        let deferred = u8::from(since != 0);
        let took = if since == 0 { 0 } else { word(slot::SAVED_AT).saturating_sub(since) };
        let orphan = Orphan::from_number(word(slot::ORPHAN) as u16).unwrap_or(Orphan::None);
        let by = match (orphan, word(slot::BLOCKED_BY).checked_sub(1)) {
            (Orphan::Blocked, Some(by)) => Detail::new(format_args!("{by}")),
            _ => Detail::new(format_args!("none")),
        };
        let fields: [(&str, &dyn core::fmt::Display); 7] = [
            ("who", &cpu),
            ("deferred", &deferred),
            ("ns", &took),
            ("then", &first),
            ("now", &last),
            ("orphan", &orphan),
            ("by", &by),
        ];
        self.event(me, "held", &fields);
    }
}
