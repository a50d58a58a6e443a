//! A saved register set.

/// The most 64-bit words a register set may have: ppc64's `elf_gregset_t` has 48, x86_64's 27.
pub const MAX_WORDS: usize = 48;

/// The registers of an interrupted context, in the order of the machine's ELF `elf_gregset_t`, so
/// that a core-file note is a copy and any tool that reads such notes reads ours.
pub trait Registers: Clone + Send + Sync + 'static {
    /// The words, at most [`MAX_WORDS`].
    fn words(&self) -> &[u64];
    /// The program counter.
    fn pc(&self) -> u64;
    /// The stack pointer.
    fn sp(&self) -> u64;
    /// The callee-saved register in which the test load keeps its per-CPU witness value: x86_64
    /// `r15`, ppc64 `r30`. A reader checks it to know that these are really that CPU's registers.
    fn witness(&self) -> u64;
    /// False if the trap destroyed what it interrupted, so that nothing can go on from here and the program
    /// counter is not the interrupted one but that of the machine's own trap entry (ppc64: MSR\[RI\] was 0).
    /// Machines that cannot lose a context keep the default.
    fn resumable(&self) -> bool {
        true
    }
    /// Return addresses from the frame-pointer or back chain, newest first, into `out`; returns how
    /// many. Bounded by `out.len()`. Every address that is followed is first checked to lie in one
    /// of this kernel's stacks and every return address to lie in kernel text, so that a destroyed
    /// stack shortens the trace instead of faulting.
    fn backtrace(&self, out: &mut [u64]) -> usize;
}

/// What a trap entry hands to the handlers: the interrupted registers, and what they interrupted.
#[derive(Clone)]
pub struct Snapshot<R> {
    /// The registers at the moment of the trap.
    pub registers: R,
    /// When the trap hit the handler of an interrupt, or of an NMI where NMIs nest: pc and witness register of
    /// the context which that handler had interrupted (outermost one). `None` when the trap hit ordinary code.
    ///
    /// Where the registers are not [`Registers::resumable`] and that pc is lost, it is the place nearest
    /// to it that is known (ppc64: the last branch that the interrupted context took).
    pub interrupted: Option<(u64, u64)>,
}
