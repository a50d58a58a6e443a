//! The values that records and event lines share, each with its number in the record and its name
//! in an event line. Numbers are never reused: they are part of the record's version.

macro_rules! named {
    ($(#[$meta:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u16)]
        pub enum $type { $($(#[$doc])* $variant = $number,)* }

        impl $type {
            /// Every value, in the order of its number.
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            /// The number in the record.
            pub const fn number(self) -> u16 {
                self as u16
            }

            /// The value for a number, if there is one.
            pub const fn from_number(number: u16) -> Option<$type> {
                match number { $($number => Some($type::$variant),)* _ => None }
            }

            /// The name in event lines and reports.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// The value for a name, if there is one.
            pub fn from_name(name: &str) -> Option<$type> {
                match name { $($name => Some($type::$variant),)* _ => None }
            }
        }

        impl core::fmt::Display for $type {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

named! {
    /// The steps of the panic path, in their order.
    Step {
        /// Win `panic_cpu`, mask interrupts.
        Claim = 1, "claim";
        /// Say what happened.
        Announce = 2, "announce";
        /// Stop the other CPUs.
        Stop = 3, "stop";
        /// Notifiers that must run before a dump.
        BeforeDump = 4, "before-dump";
        /// Jump into the crash image before the informing notifiers.
        KexecPre = 5, "kexec-pre";
        /// Notifiers that tell somebody.
        Inform = 6, "inform";
        /// Notifiers that clean up before a reset.
        Cleanup = 7, "cleanup";
        /// Jump into the crash image after the notifiers.
        KexecPost = 8, "kexec-post";
        /// Put the crash record where it survives a reset.
        Record = 9, "record";
        /// Print what is unprinted.
        Flush = 10, "flush";
        /// Reboot, power off or halt.
        Final = 11, "final";
    }
}

named! {
    /// How a step or a notifier ended.
    Outcome {
        /// It did what it is for.
        Done = 1, "done";
        /// It was not done, for a reason that is stated.
        Skipped = 2, "skipped";
        /// It panicked, faulted or reported an error.
        Failed = 3, "failed";
        /// It is about to leave this kernel: the last entry before a jump or a final action.
        Leaving = 4, "leaving";
        /// It did a part: what was cut off is stated.
        Truncated = 5, "truncated";
    }
}

named! {
    /// When a notifier runs. Fixed at registration.
    Class {
        /// Before any dump; empty by default.
        BeforeDump = 1, "before-dump";
        /// Tells somebody: the hypervisor, a log in firmware.
        Inform = 2, "inform";
        /// Cleans up before a reset.
        PreReboot = 3, "pre-reboot";
        /// May never return, so it is last by type.
        Terminal = 4, "terminal";
    }
}

named! {
    /// What became of a CPU, as the record's own slot or the owner says it.
    CpuState {
        /// Never started.
        NeverOnline = 0, "never-online";
        /// Started, and has not published itself.
        Starting = 1, "starting";
        /// Runs.
        Online = 2, "online";
        /// Owns the panic.
        Owner = 3, "owner";
        /// Stopped, and has acknowledged it itself.
        Parked = 4, "parked";
        /// Was signalled and never acknowledged: it may still run.
        Missing = 5, "missing";
        /// Has acknowledged a stop and finishes its critical section.
        Deferred = 6, "deferred";
    }
}

named! {
    /// What brought a CPU to its park loop.
    Rung {
        /// Nothing: it is not parked.
        None = 0, "none";
        /// The stop IPI.
        Ipi = 1, "ipi";
        /// The NMI.
        Nmi = 2, "nmi";
        /// It panicked too and lost the claim.
        LostClaim = 3, "lost-claim";
        /// It came up while a panic was under way.
        Online = 4, "online";
        /// It asked for a lock while a panic was under way.
        Lock = 5, "lock";
    }
}

named! {
    /// Why a CPU parked with locks held.
    Orphan {
        /// It did not.
        None = 0, "none";
        /// It outlived the grace.
        Grace = 1, "grace";
        /// It waited for what the owner or a stopped CPU holds.
        Blocked = 2, "blocked-on";
        /// It panicked or faulted itself.
        Died = 3, "died";
        /// The signal destroyed what it interrupted.
        LostContext = 4, "lost-context";
        /// The stop policy cuts critical sections.
        Policy = 5, "policy";
    }
}

named! {
    /// What a parked CPU does besides being parked.
    Role {
        /// Nothing.
        None = 0, "none";
        /// Watches the owner.
        Warden = 1, "warden";
        /// Watches the warden.
        Standby = 2, "standby";
    }
}

named! {
    /// What an entry of the record is about.
    EntryKind {
        /// Why there is a panic: text is the reason; a [`EntryKind::Text`] entry may follow.
        Reason = 1, "reason";
        /// The text of the entry before it goes on.
        Text = 2, "text";
        /// A step ended.
        Step = 3, "step";
        /// A notifier ended; the argument is its class.
        Notifier = 4, "notifier";
        /// The owner entered again; the argument is the depth.
        Reentry = 5, "reentry";
        /// Something that was done in a weaker way than asked, or not at all.
        Note = 6, "note";
        /// The panic has a new owner, the CPU that writes; the argument is the old one.
        Ownership = 7, "ownership";
        /// A lock that was held: the outcome is `done` if it was taken all the same, `skipped` if not. The argument is
        /// CPU + 1 of who was in the way (0: nobody) in its low 16 bits, and the [`Ruling`] in the 16 above. Text
        /// is the type of the value behind the lock.
        Lock = 8, "lock";
        /// A call into firmware that others were in the way of, as [`EntryKind::Lock`]. Text is the service, and where
        /// a CPU inside another one was in the way ` beside ` and that one.
        Firmware = 9, "firmware";
    }
}

named! {
    /// What the panic path did about a lock that was held, or a call that others were in the way of, and why.
    Ruling {
        /// Taken from a CPU that is parked.
        StolenFromParked = 1, "stolen-from-parked";
        /// Taken from a context of the owner that was abandoned.
        StolenFromAbandoned = 2, "stolen-from-abandoned";
        /// Passed over: this very context holds it.
        Recursive = 3, "held-by-this-context";
        /// Passed over: a context of the owner holds it that was abandoned.
        HeldByAbandoned = 4, "held-by-abandoned";
        /// Passed over: a parked CPU holds it.
        HeldByParked = 5, "held-by-parked";
        /// Passed over: a missing CPU holds it.
        HeldByMissing = 6, "held-by-missing";
        /// Passed over after a while: a CPU holds it that is not known to be stopped.
        HeldByRunning = 7, "held-by-running";
        /// Somebody would have waited for it without end, and was abandoned.
        WouldWait = 8, "would-wait";
        /// Not called: a CPU that will not come out is in firmware, and the service bears nothing beside itself.
        Inside = 9, "inside";
        /// Not called: that service was abandoned half-way before.
        AbandonedBefore = 10, "abandoned-before";
        /// Not called: another service was abandoned half-way before.
        Dirty = 11, "dirty";
        /// Passed over, or not waited for: its word names no CPU, so something wrote over it.
        Destroyed = 12, "destroyed";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_go_both_ways() {
        for &step in Step::ALL {
            assert_eq!(Step::from_number(step.number()), Some(step));
            assert_eq!(Step::from_name(step.name()), Some(step));
        }
        for &state in CpuState::ALL {
            assert_eq!(CpuState::from_number(state.number()), Some(state));
            assert_eq!(CpuState::from_name(state.name()), Some(state));
        }
        assert_eq!(Step::from_number(0), None);
        assert_eq!(Outcome::from_name("Done"), None);
    }

    #[test]
    fn steps_are_listed_in_their_order() {
        assert!(Step::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
