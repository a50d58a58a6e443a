//! The crash record, the event lines, entries for firmware's storage: formats that a dying kernel writes and that survive it.
//!
//! * [`layout`] is the binary interface of the *crash record*, a fixed-layout block of memory that is
//!   written as the panic path goes and that a capture kernel, a debugger or a tool on another
//!   machine reads. It is versioned and checksummed piece by piece, in the byte order of the machine
//!   that wrote it, which it states.
//! * [`write`] (feature `write`) is the writing half: atomics only, append-only, no allocation.
//! * [`view`] is the reading half: bytes in, typed values or a [`view::RecordError`] that names the
//!   place out. It trusts nothing.
//! * [`event`] is the one-line form of what happens, for a console that somebody watches.
//! * [`store`] is the form of single entries for firmware's storage.
//!
//! Shared by the kernel and by the host's tools, so that neither can drift from the other.
#![no_std]
#![forbid(unsafe_code)]

pub mod crc;
pub mod event;
pub mod layout;
pub mod names;
pub mod store;
pub mod view;
#[cfg(feature = "write")]
pub mod write;
