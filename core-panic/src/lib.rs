//! The panic sequence: what a kernel does between `panic!` and its end, in bounded time, whatever the
//! other CPUs hold.
//!
//! One value, [`Panic`], holds the whole state. A kernel puts it into a static, hands every panic and
//! fault to [`Panic::enter`] and every stop signal to [`Panic::on_signal`]; the rest happens here,
//! generic over a [`hal::Platform`]. No allocation, no blocking lock, no `unsafe`.
//!
//! Where to read what:
//!
//! * [`order`] – the steps, as data: what runs when, with which budget;
//! * [`claim`] – who owns the panic (P1), and how starting CPUs are not forgotten;
//! * [`sequence`] – the loop over the steps, and how it goes on after a failure (P2);
//! * [`stop`] – the ladder of signals and what became of each CPU (P5, P6);
//! * `defer` – who may finish its critical section first (P4);
//! * [`deadline`], `watch`, `warden` – what cuts short whatever takes too long (P3);
//! * `succession` – how a panic changes hands;
//! * [`notifier`] – who is told, in four classes;
//! * [`depart`] – the ways out: kexec and the final action (P8);
//! * [`report`] – what is said: event lines, text for people, entries of the crash record;
//! * [`explain`] – the order and its bound, for people;
//! * [`config`] – the choices, and the command line that makes them.
#![no_std]
#![forbid(unsafe_code)]

pub mod claim;
pub mod config;
pub mod deadline;
mod defer;
pub mod depart;
pub mod explain;
mod keep;
pub mod notifier;
pub mod order;
pub mod report;
mod ruling;
pub mod sequence;
pub mod stop;
mod succession;
mod warden;
mod watch;

pub use claim::Claim;
pub use config::Config;
pub use notifier::{Notifier, Registry};
pub use sequence::{Cause, Panic};
