//! The x86_64 port of the HAL: q35 under QEMU, booted by PVH. README.md has the contract.
//!
//! What touches the machine exists only under `cfg(mayday_metal)`, in guest builds. What remains on
//! the host is pure: table parsing, the error record store's protocol, register order, page-table flags, ELF loading plans, command-line
//! patching; `cargo test` covers it there.
#![cfg_attr(not(test), no_std)]

pub mod acpi;
pub mod apic;
pub mod backtrace;
pub mod clock;
pub mod console;
pub mod erst;
pub mod io_apic;
pub mod kexec;
pub mod lock;
pub mod mmu;
pub mod physical;
pub mod pvh;
pub mod registers;
pub mod stack;
pub mod timer;
pub mod trap;

#[cfg(mayday_metal)]
mod asm;
#[cfg(mayday_metal)]
pub mod boot;
#[cfg(mayday_metal)]
pub mod cpu;
#[cfg(mayday_metal)]
mod descriptors;
#[cfg(mayday_metal)]
pub mod firmware;
#[cfg(mayday_metal)]
pub mod ipi;
#[cfg(mayday_metal)]
pub mod nmi;
#[cfg(mayday_metal)]
mod pic;
#[cfg(mayday_metal)]
mod platform;
#[cfg(mayday_metal)]
pub mod smp;
#[cfg(mayday_metal)]
pub mod store;
#[cfg(mayday_metal)]
pub mod workload;

#[cfg(mayday_metal)]
pub use platform::{PORT, Port};
pub use registers::Registers;
