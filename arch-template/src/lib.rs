//! A skeleton port: it fulfils the whole contract of [`hal`] and can do nothing.
//!
//! `cargo xtask new-arch` copies this folder to start a port (`PORTING.md` has the order of work). Every module is here under
//! the name that it has in every port, states what has to go into it as questions for the porter, and
//! answers [`hal::Unsupported`] with a reason, or the least that is still true, until they are answered. This page,
//! `README.md`, `asm/README.md` and the ban on unsafe code below go with the skeleton.
//!
//! The workspace builds it and its tests on every change, so the contract cannot move away from it.
#![no_std]
#![deny(unsafe_code)]

pub mod backtrace;
pub mod boot;
pub mod clock;
pub mod console;
pub mod cpu;
pub mod firmware;
pub mod ipi;
pub mod kexec;
pub mod lock;
pub mod mmu;
pub mod nmi;
pub mod platform;
pub mod registers;
pub mod smp;
pub mod stack;
pub mod store;
pub mod timer;
pub mod trap;
pub mod workload;

pub use platform::{PORT, Port};

/// A capability that this port does not have: no value of it can exist, so none of its methods can ever be
/// called, and the only way to ask for it is the [`hal::Platform`] accessor that answers
/// [`hal::Unsupported`].
#[derive(Clone, Copy, Debug)]
pub enum Absent {}
