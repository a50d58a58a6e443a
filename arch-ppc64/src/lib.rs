//! The ppc64 port: big-endian ELFv2, pseries (QEMU), radix translation, RTAS, XICS by hypervisor calls.
//!
//! `README.md` has the boot contract, the machines, the sections of the architecture that this follows
//! and the known gaps. On a host only what needs no hardware is compiled, and tested: register layout,
//! device tree writing and reading, page table words, RTAS argument blocks, NVRAM's partitions, the plan for loading a
//! crash image.
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
pub mod flat;
pub mod hcall;
pub mod ipi;
pub mod kexec;
pub mod lock;
pub mod mmu;
pub mod nmi;
pub mod nvram;
pub mod openfirmware;
pub mod percpu;
pub mod platform;
pub mod radix;
pub mod recovery;
pub mod registers;
pub mod rtas;
pub mod smp;
pub mod stack;
pub mod store;
pub mod timer;
pub mod trap;
pub mod workload;
pub mod xics;

#[cfg(mayday_metal)]
pub use platform::{PORT, Port};
