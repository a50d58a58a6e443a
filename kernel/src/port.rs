//! The one place that selects a port.

cfg_if::cfg_if! {
    if #[cfg(target_arch = "x86_64")] {
        pub use arch_x86_64::*;
    } else if #[cfg(target_arch = "powerpc64")] {
        pub use arch_ppc64::*;
    } else if #[cfg(target_arch = "riscv64")] {
        pub use arch_riscv64::*;
    } else {
        compile_error!("no port for this architecture: PORTING.md says how to write one");
    }
}
