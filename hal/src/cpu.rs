//! The CPU that is executing.

use crate::CpuId;

/// What the panic path asks of the CPU it runs on.
pub trait Cpu {
    /// The logical number of the executing CPU.
    ///
    /// # Before
    /// Any context, NMI included, also before per-CPU areas exist (then [`CpuId::BOOT`]: no other
    /// CPU can be running).
    ///
    /// # After
    /// The same value for as long as the caller stays on this CPU. Must not depend on state that a
    /// stray write could have destroyed without it being noticed; x86 looks at the stack pointer's
    /// IST slot in an NMI, not at GS.
    fn current(&self) -> CpuId;

    /// Masks maskable interrupts on the executing CPU. Returns whether they were enabled.
    ///
    /// # After
    /// No maskable interrupt is taken until something unmasks them. Nothing on the panic path ever
    /// does, but a deadline timer that is maskable, for itself alone ([`crate::timer::DeadlineTimer::arm`]), and a
    /// quiesce that takes what is latched, without its handlers ([`crate::kexec::Kexec::quiesce`]).
    fn mask_interrupts(&self) -> bool;

    /// One polite iteration of a busy wait (`pause`, `or 27,27,27`). Returns at once.
    fn relax(&self);

    /// One wait of a parked CPU: gives the host its core back where the machine can do so **without
    /// unmasking interrupts** (x86 `hlt` with IF=0; ppc64 `H_JOIN` in real mode, never `H_CEDE`,
    /// which sets EE).
    ///
    /// # Before
    /// The CPU has acknowledged a stop; interrupts are masked.
    ///
    /// # After
    /// May return at any time and for any reason (an NMI, an SMI, nothing at all), or never. The
    /// caller is a loop that never ends (P6). While it waits, the program counter lies in the section
    /// `.text.park`, between the linker symbols `__park_start` and `__park_end`: that is how an
    /// observer outside the machine knows that a CPU is parked and nowhere else.
    fn park_wait(&self);
}
