//! The promises, watched while a run goes on.
//!
//! What counts here is what happens to the machine: who touches it, in which order; and the few words
//! of memory that have a meaning for everybody (who owns the panic, who says that it is parked, whose
//! registers are saved). What the sequence prints is not looked at.

mod firmware;
mod locks;

use std::fmt;

use core_panic::stop::Signal;
use crash_record::layout::slot::COMMITTED;
use crash_record::names::{Class, CpuState};

use crate::MAX_CPUS;
use crate::memory::Watched;
use crate::random::mix;
use crate::world::World;

/// Something that a CPU does to the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// Its own work.
    Work,
    /// Output.
    Console,
    /// Formats the panic's message.
    Message,
    /// Sends a stop IPI to a CPU.
    Signal(u8),
    /// Sends an NMI to a CPU.
    Nmi(u8),
    /// A notifier begins.
    Notifier(u8, Class),
    /// Checks the image.
    Verify,
    /// Masks interrupt sources.
    Quiesce,
    /// Jumps.
    Jump,
    /// Resets.
    Reboot,
    /// Turns off.
    PowerOff,
}

/// A promise that was not kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which one: `P1` to `P10`.
    pub promise: &'static str,
    /// How.
    pub what: String,
}

/// What the oracle remembers.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// `panic_cpu` as it is.
    pub word: u64,
    /// Who owns the panic.
    pub owner: Option<u8>,
    /// CPUs that owned it, a bit each.
    pub owned: u8,
    /// Former owners that have looked at the word since.
    pub deposed: u8,
    /// CPUs that are online.
    pub online: u8,
    /// CPUs that came online when the panic was claimed already.
    late: u8,
    /// CPUs that were online when the panic was claimed.
    pub online_at_claim: u8,
    /// CPUs that have acknowledged a stop.
    pub acknowledged: u8,
    /// CPUs whose registers are whole.
    pub committed: u8,
    /// A takeover happened.
    pub taken_over: bool,
    /// The owner is in the jump.
    pub leaving: bool,
    /// CPUs that failed before their registers were saved: the first ones are lost.
    pub torn: u8,
    /// A redirect happened, or was withdrawn.
    pub redirected: bool,
    /// Place in the order of what the owner began last.
    rank: u8,
    /// Notifiers that began, a bit each.
    pub notified: u32,
    /// Bodies that each CPU began after it had lost the panic.
    strays: [u8; MAX_CPUS],
    /// NMIs that each CPU sent to the owner of the time.
    pub shots: [u8; MAX_CPUS],
    /// CPUs that have begun to save their registers.
    saving: u8,
    /// Number of the registers that each CPU is to keep.
    pub first: [u64; MAX_CPUS],
    numbers: [u32; MAX_CPUS],
    /// Signals that were counted and returned from.
    pub counted: u32,
    /// Times that the owner entered again.
    pub stopped: bool,
    /// Nobody is deferred any more.
    pub last_call: bool,
    /// Locks and stops.
    pub locks: locks::Locks,
    /// Firmware.
    pub firmware: firmware::Firmware,
    /// What was not kept.
    pub violations: Vec<Violation>,
}

impl Oracle {
    /// A new run.
    pub fn reset(&mut self) {
        let mut violations = std::mem::take(&mut self.violations);
        violations.clear();
        *self = Oracle { violations, ..Oracle::default() };
    }

    /// A number for a register set of this CPU.
    pub fn number(&mut self, cpu: usize) -> u64 {
        self.numbers[cpu] += 1;
        (cpu as u64 + 1) << 32 | u64::from(self.numbers[cpu])
    }

    /// A CPU brings these registers to the panic path: they are to be kept, unless it is saving others
    /// already. Returns which were to be kept so far.
    pub fn witness(&mut self, cpu: usize, number: u64) -> u64 {
        let before = self.first[cpu];
        if self.saving & (1 << cpu) == 0 {
            self.first[cpu] = number;
        }
        before
    }

    /// Stands for everything that is remembered.
    pub fn state(&self) -> u64 {
        let sets = [
            self.owned,
            self.deposed,
            self.online,
            self.acknowledged,
            self.committed,
            self.rank,
            self.saving,
        ];
        let mut hash = mix(
            self.word ^ u64::from(self.late) << 48,
            sets.iter().fold(0, |all, one| all << 8 | u64::from(*one)),
        );
        hash = mix(hash, u64::from(self.notified));
        for cpu in 0..MAX_CPUS {
            hash = mix(hash, u64::from(self.strays[cpu]) | u64::from(self.shots[cpu]) << 8);
            hash = mix(hash, self.first[cpu]);
        }
        mix(mix(hash, self.locks.state()), self.firmware.state())
    }
}

fn rank(act: Act, post: bool) -> Option<u8> {
    let kexec = if post { 32 } else { 20 };
    Some(match act {
        Act::Work | Act::Console => return None,
        Act::Message => 8,
        Act::Signal(_) | Act::Nmi(_) => 12,
        Act::Notifier(_, Class::BeforeDump) => 16,
        Act::Verify => kexec,
        Act::Quiesce => kexec + 1,
        Act::Jump => kexec + 2,
        Act::Notifier(_, Class::Inform) => 24,
        Act::Notifier(_, Class::PreReboot) => 28,
        Act::Notifier(_, Class::Terminal) => 44,
        Act::Reboot => 48,
        Act::PowerOff => 52,
    })
}

impl World {
    /// A promise was not kept.
    pub fn violation(&mut self, promise: &'static str, what: fmt::Arguments<'_>) {
        let what = what.to_string();
        self.tell(|| format!("!! {promise}: {what}"));
        self.oracle.violations.push(Violation { promise, what });
    }

    /// The executing CPU does something.
    pub fn act(&mut self, act: Act) {
        let me = self.current;
        let bit = 1 << me;
        if act != Act::Console {
            self.tell(|| format!("{act:?}"));
        }
        if act == Act::Work {
            self.me().work += 1;
            if self.oracle.acknowledged & bit != 0 {
                self.violation("P6", format_args!("CPU {me} works after it was stopped"));
            }
            if self.oracle.late & bit != 0 {
                self.violation("P6", format_args!("CPU {me} came up in a panic and works"));
            }
            self.works();
            return;
        }
        let owner = self.oracle.owner;
        if owner == Some(me as u8) {
            if act == Act::Nmi(me as u8) {
                self.violation("P1", format_args!("CPU {me} shoots at itself"));
            }
            return self.in_order(act);
        }
        if let Act::Nmi(target) = act {
            // A warden's shot, perhaps at an owner that has just changed.
            if self.oracle.acknowledged & bit != 0 && self.oracle.owned & (1 << target) != 0 {
                self.oracle.shots[me] = self.oracle.shots[me].saturating_add(1);
                return;
            }
        }
        if self.oracle.owned & bit == 0 {
            return self.violation("P1", format_args!("CPU {me} never owned the panic and does {act:?}"));
        }
        if self.oracle.deposed & bit != 0 {
            let what = format_args!("CPU {me} knows that it lost the panic and does {act:?}");
            return self.violation("P1", what);
        }
        // Between a loss and the next gate: a body that was under way, or at most one that begins.
        let begins =
            matches!(act, Act::Message | Act::Notifier(..) | Act::Verify | Act::Reboot | Act::PowerOff);
        if begins {
            self.oracle.strays[me] += 1;
            if self.oracle.strays[me] > 1 {
                self.violation("P1", format_args!("CPU {me} lost the panic and begins {act:?}"));
            }
        }
    }

    /// The executing CPU fails: it is not in a jump any more, and registers that it was about to save are
    /// lost.
    pub fn fails(&mut self) {
        let bit = 1 << self.current;
        if self.oracle.owner == Some(self.current as u8) {
            self.oracle.leaving = false;
        }
        self.oracle.torn |= bit & !self.oracle.committed;
        self.dies();
    }

    /// The executing CPU panics or faults.
    pub fn dies(&mut self) {
        self.oracle.locks.died |= 1 << self.current;
    }

    fn in_order(&mut self, act: Act) {
        let post = self.scenario.config.kexec == core_panic::config::KexecMode::Post;
        let Some(rank) = rank(act, post) else { return };
        let last = self.oracle.rank;
        let again = match act {
            Act::Signal(_) | Act::Nmi(_) => false,
            Act::Notifier(number, _) => {
                let bit = 1u32 << number;
                let again = self.oracle.notified & bit != 0;
                // Equal priorities: by number within the class.
                let overtaken = rank == last && self.oracle.notified & !(bit - 1) & self.classmates(act) != 0;
                self.oracle.notified |= bit;
                again || overtaken
            }
            _ => rank == last,
        };
        if rank < last || again {
            self.violation("P2", format_args!("{act:?} begins out of order or again"));
        }
        self.oracle.rank = rank.max(last);
    }

    /// Notifiers of the same class as this one.
    fn classmates(&self, act: Act) -> u32 {
        let Act::Notifier(_, class) = act else { return 0 };
        let mates = self.scenario.notifiers.iter().enumerate();
        mates
            .filter(|(_, spec)| spec.is_some_and(|spec| spec.class == class))
            .fold(0, |all, (number, _)| all | 1 << number)
    }

    /// A signal handler has returned. `claimed`: the panic was claimed when it began; `deferred`: this CPU was
    /// deferred then; `before`: the registers that were to be kept; `number`: those of the signal.
    pub fn returned(&mut self, claimed: bool, deferred: bool, signal: Signal, before: u64, number: u64) {
        let me = self.current;
        let bit = 1 << me;
        let counted = signal == Signal::Counted;
        self.goes_on(deferred, number, signal);
        if signal == Signal::Deferred {
            self.oracle.first[me] = before;
            self.oracle.counted += u32::from(deferred);
            return;
        }
        if self.oracle.saving & bit == 0 {
            self.oracle.first[me] = before;
        }
        if counted {
            self.oracle.counted += 1;
            let stopped = self.oracle.saving & bit != 0 || self.oracle.owned & bit != 0;
            // Between the decision to park and the first saved word there is nothing to see.
            if !stopped && before == 0 {
                self.violation("P6", format_args!("CPU {me} took a stop signal and went on"));
            }
        } else if claimed {
            self.violation("P6", format_args!("CPU {me} was signalled in a panic and says not ours"));
        }
    }

    /// Somebody touched a word that means something.
    pub fn watch(&mut self, watched: Watched, reads: bool, writes: bool, old: u64, new: u64) {
        let me = self.current;
        match watched {
            Watched::Claim => {
                if writes && old != new {
                    self.ownership(old, new);
                }
                let owner = self.oracle.owner;
                if reads && owner.is_some() && owner != Some(me as u8) {
                    self.oracle.deposed |= self.oracle.owned & 1 << me;
                }
            }
            Watched::State(cpu) => {
                if writes && new == u64::from(CpuState::Parked.number()) {
                    if usize::from(cpu) != me {
                        self.violation("P5", format_args!("CPU {me} says that CPU {cpu} is parked"));
                    }
                    if self.oracle.committed & 1 << cpu == 0 {
                        self.violation(
                            "P9",
                            format_args!("CPU {cpu} is parked before it saved its registers"),
                        );
                    }
                    self.orphans(cpu.into());
                    self.oracle.acknowledged |= 1 << cpu;
                }
                if writes && new == u64::from(CpuState::Deferred.number()) {
                    self.defers(cpu.into());
                }
                let online = writes && new == u64::from(CpuState::Online.number());
                self.oracle.late |= if online && self.oracle.owner.is_some() { 1 << cpu } else { 0 };
                if online && self.oracle.acknowledged & 1 << cpu != 0 {
                    self.violation("P6", format_args!("CPU {cpu} comes back online"));
                }
            }
            Watched::First(cpu) | Watched::FirstCommit(cpu) => {
                if writes {
                    self.keeps_first(cpu.into(), matches!(watched, Watched::FirstCommit(_)));
                }
            }
            Watched::Cut(cpu) => {
                if writes {
                    self.cuts(cpu.into());
                }
            }
            Watched::Lock(lock) => {
                if writes && old != new {
                    self.lock_word(lock.into(), old, new);
                }
            }
            Watched::LastCall => self.oracle.last_call |= writes && new == 1,
            Watched::Saved(cpu) | Watched::Commit(cpu) => {
                self.oracle.saving |= if writes { 1 << cpu } else { 0 };
                if writes && self.oracle.committed & 1 << cpu != 0 {
                    self.violation("P9", format_args!("the registers of CPU {cpu} are written again"));
                }
                if writes && matches!(watched, Watched::Commit(_)) && new & COMMITTED != 0 {
                    self.oracle.committed |= 1 << cpu;
                }
            }
        }
    }

    fn ownership(&mut self, old: u64, new: u64) {
        let me = self.current;
        let (flags, gained) = (new >> 32, (new & !old) >> 32);
        let owner = (new as u32).wrapping_sub(1);
        let before = self.oracle.owner;
        let moved = before.is_some_and(|before| before as u32 != owner);
        self.oracle.word = new;
        let good = match before {
            None => old == 0 && flags == 0 && owner as usize == me,
            // An owner may take either right out of the others' hands, by an exchange with itself.
            Some(_) => (old & !new) >> 32 == 0 && matches!(gained, 1 | 2) && owner as usize == me,
        };
        if !good || owner as usize >= MAX_CPUS {
            return self.violation("P1", format_args!("panic_cpu goes from {old:#x} to {new:#x}"));
        }
        if before.is_none() {
            self.oracle.online_at_claim = self.oracle.online;
        }
        if gained == 1 {
            self.oracle.redirected = true;
        }
        if gained == 2 && moved {
            self.oracle.taken_over = true;
            if self.oracle.acknowledged & 1 << me == 0 || self.oracle.shots[me] < 2 {
                self.violation("P1", format_args!("CPU {me} takes over without two shots"));
            }
            if self.oracle.leaving {
                self.violation("P1", format_args!("CPU {me} takes over from an owner that has left"));
            }
        }
        self.tell(|| format!("owns the panic: {new:#x}"));
        self.oracle.owner = Some(owner as u8);
        self.oracle.owned |= 1 << owner;
        self.inherits(owner as usize);
        self.oracle.deposed &= !(1 << owner);
        // The new owner may have passed the place of the one it follows, never gone behind it; but a dead
        // owner may begin one more thing at the same time.
    }
}
