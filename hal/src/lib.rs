//! The contract between the panic sequence and a machine.
//!
//! `core-panic` decides, a *port* does. This crate is the line between them: fine-grained traits,
//! one per file, each call with what holds **before** and **after** it. It touches no hardware and
//! has no dependencies.
//!
//! Two rules shape every trait here:
//!
//! * **No lies (P5).** A call reports the true strength of what it did, and a capability that a
//!   machine lacks is modelled as absent: [`Platform`] hands out `Result<&Capability, Unsupported>`
//!   with the reason, never a method that silently does nothing.
//! * **Nothing borrowed (P7).** Every call may be made with interrupts off, from any context, on a
//!   dying machine. None allocates, none takes a lock that another CPU may hold, each is bounded.
//!
//! The composite is [`Platform`]; `core-panic` is generic over it.
#![cfg_attr(not(any(loom, feature = "explore")), no_std)]
#![deny(unsafe_code)] // one cell and no instruction in `sync`, one word in `dump`

pub mod boot;
pub mod clock;
pub mod console;
pub mod contract;
pub mod cpu;
pub mod dump;
pub mod firmware;
pub mod ipi;
pub mod kexec;
pub mod nmi;
pub mod registers;
pub mod smp;
pub mod stack;
pub mod store;
pub mod sync;
pub mod testload;
pub mod timer;
pub mod trap;

/// A constructor that is `const`, except under loom, whose atomics have no such thing.
#[macro_export]
macro_rules! const_unless_loom {
    ($(#[$meta:meta])* $visibility:vis fn $($rest:tt)*) => {
        #[cfg(not(loom))]
        $(#[$meta])*
        $visibility const fn $($rest)*

        #[cfg(loom)]
        $(#[$meta])*
        $visibility fn $($rest)*
    };
}

/// An array with the same initialiser in every place: a constant, except under loom.
#[macro_export]
macro_rules! each {
    ($value:expr) => {{
        #[cfg(not(loom))]
        let array = [const { $value }; _];
        #[cfg(loom)]
        let array = core::array::from_fn(|_| $value);
        array
    }};
}

mod platform;
mod unsupported;

pub use platform::Platform;
pub use unsupported::Unsupported;

/// The most CPUs any port may bring up. Sizes every per-CPU array of the panic path, none of which
/// can be allocated (P7). Fewer in models of memory orderings, where every atomic costs.
pub const MAX_CPUS: usize = if cfg!(loom) { 3 } else { 16 };
const _: () = assert!(MAX_CPUS <= 32, "a CPU is a bit of a word");

/// A CPU's logical number: dense, `0..count`, 0 is the CPU that booted. Hardware ids (APIC id,
/// `ibm,ppc-interrupt-server#s`) stay inside the port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CpuId(u16);

impl CpuId {
    /// The CPU that booted.
    pub const BOOT: CpuId = CpuId(0);

    /// `None` unless `index < MAX_CPUS`: whoever holds a `CpuId` may use it to index a per-CPU array.
    pub const fn new(index: usize) -> Option<CpuId> {
        if index < MAX_CPUS { Some(CpuId(index as u16)) } else { None }
    }

    /// The number as an index, below [`MAX_CPUS`].
    #[inline]
    pub const fn index(self) -> usize {
        // The number is below it; the remainder is how the compiler knows, and leaves bounds checks out.
        self.0 as usize % MAX_CPUS
    }

    /// The number as a bit of a word.
    #[inline]
    pub const fn bit(self) -> u32 {
        1 << self.index()
    }

    /// Every possible id, in order.
    pub fn all() -> impl Iterator<Item = CpuId> {
        (0..MAX_CPUS).filter_map(CpuId::new)
    }
}

impl core::fmt::Display for CpuId {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}", self.0)
    }
}
