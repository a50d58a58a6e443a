//! The binary: one port, joined with the panic sequence, and a load for the panic to hit.
//!
//! A guest image is built by `cargo xtask` with `cfg(mayday_metal)`. On the host this crate builds
//! too, as a program that explains what the kernel would do; its parts that need no machine have their
//! tests there.
#![cfg_attr(mayday_metal, no_std)]
#![cfg_attr(mayday_metal, no_main)]
#![cfg_attr(not(mayday_metal), allow(dead_code))]

#[cfg(mayday_metal)]
extern crate alloc;

mod notifiers;
mod options;
mod roles;

cfg_if::cfg_if! {
    if #[cfg(mayday_metal)] {
        mod allocator;
        mod bench;
        mod capture;
        mod console;
        mod contract;
        mod firmware;
        mod first;
        mod hammer;
        mod load;
        mod measure;
        mod nmis;
        mod notify;
        mod port;
        mod state;
        mod store;
        mod traps;
        mod trial;
    } else {
        mod explain;

        fn main() {
            let arguments: Vec<_> = std::env::args().skip(1).collect();
            match explain::run(&arguments) {
                Ok(text) => print!("{text}"),
                Err(error) => {
                    eprintln!("{error}\nThis is the guest kernel; on a host it only explains. Run it: cargo xtask qemu --list");
                    std::process::exit(2);
                }
            }
        }
    }
}
