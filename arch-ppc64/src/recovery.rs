//! What can be done for code that a system reset hit with `MSR[RI]` = 0.
//!
//! The bit is 0 from the moment an exception is taken until its handler runs, and around every `rfid`,
//! because SRR0 and SRR1 may hold something then. For most of that time they do not: they were put away
//! already, or can be set again from registers that are intact. Such code is resumed. What remains are
//! the first instructions of a vector, and the way back from a system reset.

/// Instructions in a row that set SRR0 and SRR1 from registers and leave by `rfid`, in bytes, the last one
/// not counted. They can be started over.
const LEAVING: u64 = 8;
/// Bytes from the start of an ordinary vector to behind the instructions that read SRR0 and SRR1, and to
/// behind the one that puts SRR0 away (vectors.S).
const READ: u64 = 0x18;
const PUT_AWAY: u64 = 0x1c;
/// The code that short vectors share, which does both for them: where it starts, where it has put SRR0 away,
/// where it has read SRR1.
const LATE: u64 = 0x1600;
const LATE_PUT_AWAY: u64 = 0x1608;
const LATE_READ: u64 = 0x160c;
/// Where the system reset's vector has taken its save area.
const RESET_TAKEN: u64 = 0x158;
/// Where the system reset's vector ends.
const RESET_END: u64 = 0x200;
/// Real address behind the vector page.
const PAGE_END: u64 = 0x2000;

/// Where the code lies that runs with `MSR[RI]` = 0, by run-time addresses (`trap.S` and others).
#[derive(Clone, Copy, Debug)]
pub struct Places {
    /// `ppc_nmi_entry`: what a system reset runs alone…
    pub reset: u64,
    /// …to `ppc_nmi_too_deep`.
    pub reset_end: u64,
    /// `ppc_trap_entry`: what ordinary vectors run alone, to [`Places::save`].
    pub ordinary: u64,
    /// `ppc_save`: what all entries share, to the one of [`Places::leaving`] in it.
    pub save: u64,
    /// `ppc_exit`: the way back, which has r1 = the trap frame.
    pub exit: u64,
    /// `ppc_exit_restore`: a system reset's save area and stack are given back. From here on only the trap
    /// frame is read.
    pub exit_restore: u64,
    /// `ppc_exit_end`: the last `rfid`; r1 is the interrupted one.
    pub exit_end: u64,
    /// `ppc_load_toc` and its end, which entries call.
    pub toc: (u64, u64),
    /// Starts of sequences that set SRR0 and SRR1 and leave; the first is the one of `ppc_save`.
    pub leaving: [u64; 5],
}

/// What a system reset's handler may do when it is through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// Return to where it came from.
    Resume,
    /// Return to this address instead.
    Restart(u64),
    /// Nothing: SRR0 and SRR1 held the only copy of something.
    Lost,
}

/// For a system reset at `pc` with `MSR[RI]` = 0. `interrupt_frame`: r1 is in the stack of maskable
/// interrupts, which a system reset does not use.
pub fn recovery(pc: u64, places: &Places, interrupt_frame: bool) -> Recovery {
    if let Some(start) =
        places.leaving.iter().find(|start| (**start..=start.saturating_add(LEAVING)).contains(&pc))
    {
        return Recovery::Restart(*start);
    }
    let resumable = match pc {
        RESET_TAKEN..RESET_END => true,
        0x300..0xe00 | 0x1500..0x1580 => pc % 0x80 >= READ,
        LATE_READ..PAGE_END => true,
        0..PAGE_END => false,
        _ => {
            (places.reset..places.reset_end).contains(&pc)
                || (places.ordinary..places.leaving[0]).contains(&pc)
                || (places.toc.0..places.toc.1).contains(&pc)
                || (places.exit..places.exit_restore).contains(&pc)
        }
    };
    if resumable {
        Recovery::Resume
    } else if interrupt_frame && (places.exit_restore..places.exit_end).contains(&pc) {
        Recovery::Restart(places.exit_restore)
    } else {
        Recovery::Lost
    }
}

/// Where the program counter is that the exception saved whose code a system reset hit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SavedPc {
    /// In the per-CPU save area of ordinary vectors.
    SaveArea,
    /// There if r12 points to it; otherwise this is another system reset's entry.
    SaveAreaOfR12,
    /// In the trap frame at r1.
    Frame,
    /// The system reset overwrote SRR0 before it was put away. No branch was taken since the exception, so
    /// that CFAR still is the interrupted code's.
    Lost,
}

/// For a system reset at `pc` with `MSR[RI]` = 0. `None`: nothing is known, or `pc` is not in exception code.
pub fn saved_pc(pc: u64, places: &Places) -> Option<SavedPc> {
    let leaving_entry = places.leaving[0];
    match pc {
        // A system reset hit a system reset or a machine check, before the first branch.
        0x100..0x300 => Some(SavedPc::Lost),
        0x300..0xe00 | 0x1500..0x1580 if pc % 0x80 < PUT_AWAY => Some(SavedPc::Lost),
        0x300..0xe00 | 0x1500..0x1580 => Some(SavedPc::SaveArea),
        // Short vectors have 0x20 bytes each, and SRR0 is put away elsewhere.
        0xe00..0x1000 => Some(SavedPc::Lost),
        // CFAR is the short vector's branch.
        LATE..LATE_PUT_AWAY => None,
        LATE_PUT_AWAY..PAGE_END => Some(SavedPc::SaveArea),
        pc if (places.ordinary..places.save).contains(&pc) => Some(SavedPc::SaveArea),
        pc if (places.save..=leaving_entry.saturating_add(LEAVING)).contains(&pc) => {
            Some(SavedPc::SaveAreaOfR12)
        }
        pc if (places.toc.0..places.toc.1).contains(&pc) => Some(SavedPc::SaveAreaOfR12),
        pc if (places.exit..places.exit_end).contains(&pc) => Some(SavedPc::Frame),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACES: Places = Places {
        reset: 0x40_0100,
        reset_end: 0x40_0120,
        ordinary: 0x40_0200,
        save: 0x40_0240,
        exit: 0x40_0400,
        exit_restore: 0x40_0420,
        exit_end: 0x40_0450,
        toc: (0x40_0080, 0x40_00a0),
        leaving: [0x40_0360, 0x41_0000, 0x41_0040, 0x41_0080, 0x41_00c0],
    };

    fn saved(pc: u64) -> Option<SavedPc> {
        saved_pc(pc, &PLACES)
    }

    fn recover(pc: u64) -> Recovery {
        recovery(pc, &PLACES, false)
    }

    #[test]
    fn a_vector_is_lost_until_it_has_read_srr0_and_srr1() {
        for vector in [0x300, 0x380, 0x500, 0x900, 0xd00, 0x1500] {
            assert_eq!((recover(vector), saved(vector)), (Recovery::Lost, Some(SavedPc::Lost)));
            assert_eq!(recover(vector + 0x14), Recovery::Lost);
            assert_eq!(
                (recover(vector + 0x18), saved(vector + 0x18)),
                (Recovery::Resume, Some(SavedPc::Lost))
            );
            assert_eq!(saved(vector + 0x1c), Some(SavedPc::SaveArea));
            assert_eq!(recover(vector + 0x2c), Recovery::Resume);
        }
    }

    #[test]
    fn a_short_vector_reads_them_in_shared_code() {
        for pc in [0xe00, 0xe1c, 0xe20, 0xe3c, 0xe40, 0xf60, 0xf7c, 0xf80, 0xffc] {
            assert_eq!((recover(pc), saved(pc)), (Recovery::Lost, Some(SavedPc::Lost)), "{pc:#x}");
        }
        assert_eq!([0x1600, 0x1604].map(saved), [None; 2], "CFAR is the vector's branch");
        assert_eq!([0x1600, 0x1608].map(recover), [Recovery::Lost; 2]);
        assert_eq!((recover(0x160c), saved(0x160c)), (Recovery::Resume, Some(SavedPc::SaveArea)));
    }

    #[test]
    fn a_system_reset_in_a_system_reset_says_nothing_about_ordinary_vectors() {
        for pc in [0x100, 0x11c, 0x154, 0x200, 0x27c, 0x2fc] {
            assert_eq!((recover(pc), saved(pc)), (Recovery::Lost, Some(SavedPc::Lost)), "{pc:#x}");
        }
        // Its save area is taken, and the second one has its own.
        assert_eq!(recover(0x158), Recovery::Resume);
        assert_eq!((recover(PLACES.reset), saved(PLACES.reset)), (Recovery::Resume, None));
        // A reset that is dropped runs on its save area after it gave it back.
        assert_eq!((recover(PLACES.reset_end), saved(PLACES.reset_end)), (Recovery::Lost, None));
    }

    #[test]
    fn entries_go_on() {
        assert_eq!(
            (recover(PLACES.ordinary), saved(PLACES.ordinary)),
            (Recovery::Resume, Some(SavedPc::SaveArea))
        );
        for pc in [PLACES.save, PLACES.toc.0] {
            assert_eq!((recover(pc), saved(pc)), (Recovery::Resume, Some(SavedPc::SaveAreaOfR12)));
        }
        let rfid = PLACES.leaving[0] + 8;
        assert_eq!((recover(rfid), saved(rfid)), (Recovery::Restart(rfid - 8), Some(SavedPc::SaveAreaOfR12)));
        assert_eq!((recover(rfid + 4), saved(rfid + 4)), (Recovery::Lost, None));
    }

    #[test]
    fn sequences_that_leave_are_started_over() {
        for start in PLACES.leaving {
            assert_eq!([0, 4, 8].map(|offset| recover(start + offset)), [Recovery::Restart(start); 3]);
        }
        assert_eq!((recover(0x41_000c), saved(0x41_0000)), (Recovery::Lost, None));
    }

    #[test]
    fn the_way_back_goes_on_as_long_as_its_frame_is_its_own() {
        let interrupt = |pc| recovery(pc, &PLACES, true);
        assert_eq!((recover(PLACES.exit), saved(PLACES.exit)), (Recovery::Resume, Some(SavedPc::Frame)));
        let late = PLACES.exit_restore + 8;
        assert_eq!(
            (interrupt(late), saved(late)),
            (Recovery::Restart(PLACES.exit_restore), Some(SavedPc::Frame))
        );
        assert_eq!(
            recover(late),
            Recovery::Lost,
            "the frame of a system reset is overwritten by the next one"
        );
        assert_eq!((interrupt(PLACES.exit_end), saved(PLACES.exit_end)), (Recovery::Lost, None));
    }

    #[test]
    fn elsewhere_nothing_is_known() {
        for pc in [0, 0xff, 0x1000, 0x1580, 0x2000, 0x50_0000] {
            assert_eq!((recover(pc), saved(pc)), (Recovery::Lost, None), "{pc:#x}");
        }
    }
}
