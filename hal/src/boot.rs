//! What a port tells the kernel when it has the machine under control.
//!
//! The kernel provides two functions that ports call by symbol, because a port cannot depend on the
//! kernel:
//!
//! * `mayday_main(&'static BootInfo) -> !`: on the boot CPU, after the port has its own page tables,
//!   stacks with guard pages, traps, console and clock; interrupts masked.
//! * `mayday_secondary(CpuId) -> !`: on each secondary that [`crate::smp::Secondaries::start`]
//!   brought up, on its own stack, with its traps set up; interrupts masked.

/// The machine at boot.
#[derive(Clone, Copy, Debug)]
pub struct BootInfo {
    /// The kernel command line as given; bytes that are not UTF-8 were replaced by `?`.
    pub command_line: &'static str,
    /// Usable RAM in bytes, as firmware reports it.
    pub memory: u64,
    /// Physical address at which this kernel's image starts: tells a crash kernel from a first one.
    pub image_base: u64,
    /// First eight bytes of this kernel's own build-id, big-endian; 0 if the image has none.
    pub build_id: u64,
    /// CPUs that firmware reports, the boot CPU included.
    pub cpus: usize,
    /// CPUs that firmware reports beyond [`crate::MAX_CPUS`], which are left alone.
    pub cpus_ignored: usize,
}
