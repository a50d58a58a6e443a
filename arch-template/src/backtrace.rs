//! Return addresses from a chain of frames, newest first.
//!
//! Questions for the porter:
//! * Where does the ABI keep the link to the caller's frame, and where the return address? (x86_64 needs
//!   `-Cforce-frame-pointers=yes`; on ppc64 the back chain is part of the ABI.)
//! * Which address ranges are this kernel's stacks, and which its text? Nothing outside them may be followed.
//!
//! Answers:
//! * `arch-x86_64/src/backtrace.rs`: `walk`, `from_frame_pointer`
//! * `arch-ppc64/src/backtrace.rs`: `walk`, `of_kernel`

/// Walks the chain that starts at frame address `frame`, writes return addresses into `out` and returns how
/// many. This port knows no frame layout, so it finds none.
pub fn walk(_frame: u64, _out: &mut [u64]) -> usize {
    0
}
