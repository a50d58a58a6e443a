//! The host port: simulated CPUs that can lie and fail, under a scheduler that explores what can
//! happen.
//!
//! The crate that runs on metal, `core-panic`, runs here unchanged over a simulated machine. A CPU is
//! a coroutine with its own stack; every atomic operation and every HAL call is a *point* where the
//! scheduler may run another CPU, deliver a signal, let a fault happen or let time pass. The choices
//! of a run are its schedule: the same scenario and schedule give the same run.
//!
//! * [`scenario`] – what is staged: CPUs, configuration, notifiers, [`faults`];
//! * [`world`], [`scheduler`], [`memory`] – the machine and who runs when;
//! * [`choose`] – who decides: exhaustive, random, by priority, replay; [`explore`] drives them;
//! * [`oracle`], [`verdict`] – the promises, watched while a run goes on and judged at its end;
//! * [`plan`], [`services`] – what CPUs do with locks and firmware, and what firmware bears;
//! * [`cases`] – the rows of the list of failure modes; [`contract`] – what the HAL promises, asked of this machine;
//! * [`staged`] – scenario files: a kernel command line as a scenario, with [`bench`] for steps that go wrong inside;
//! * the rest are the modules that every port has.
//!
//! What does not run here: entry assembly, page tables, real stacks and their guards, interrupt
//! controllers, the jump itself. Memory is sequentially consistent; weaker orders are for `loom`.

pub mod action;
pub mod allocator;
pub mod bench;
pub mod cases;
pub mod choose;
pub mod clock;
pub mod console;
pub mod contract;
pub mod cpu;
pub mod explore;
pub mod faults;
pub mod firmware;
pub mod ipi;
pub mod kexec;
pub mod lock;
pub mod machine;
pub mod memory;
pub mod nmi;
pub mod notifiers;
pub mod oracle;
pub mod plan;
pub mod platform;
pub mod random;
pub mod registers;
pub mod replay;
pub mod scenario;
pub mod scheduler;
pub mod services;
pub mod smp;
pub mod stack;
pub mod staged;
pub mod store;
pub mod timer;
pub mod trap;
pub mod verdict;
pub mod workload;
pub mod world;

/// The most CPUs of a simulated machine.
pub const MAX_CPUS: usize = 4;
