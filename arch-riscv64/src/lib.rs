//! The riscv64 port: RV64IMAC in supervisor mode under SBI firmware, Sv39, QEMU `virt`.
//!
//! `README.md` has the boot contract, the machines, the sections of the manuals that this follows and the known
//! gaps. On a host only what needs no hardware is compiled, and tested: register layout, device tree reading, page
//! table words, what a trap means, the console's bursts.
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(mayday_metal)]
pub mod asm;
pub mod backtrace;
pub mod boot;
pub mod clock;
pub mod console;
pub mod cpu;
pub mod devicetree;
pub mod firmware;
pub mod ipi;
pub mod kexec;
pub mod lock;
pub mod mmu;
pub mod nmi;
pub mod percpu;
pub mod platform;
pub mod plic;
pub mod registers;
pub mod sbi;
pub mod smp;
pub mod stack;
pub mod store;
pub mod sv39;
pub mod timer;
pub mod trap;
pub mod workload;

#[cfg(mayday_metal)]
pub use platform::{PORT, Port};

/// A capability that this port does not have: no value of it can exist, so none of its methods can ever be
/// called, and the only way to ask for it is the [`hal::Platform`] accessor that answers
/// [`hal::Unsupported`].
#[derive(Clone, Copy, Debug)]
pub enum Absent {}
