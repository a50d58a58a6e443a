//! Run-Time Abstraction Services (LoPAR chapter 7): called through the entry point that firmware
//! instantiated, in 32-bit real mode with `MSR[RI]` = 1.
//!
//! Argument blocks are static, one per CPU and one more per CPU for a call from a context that
//! interrupted a call; they lie in the image and so below 4 GiB, and never on a stack.

pub mod service;
pub mod shim;

use crash_lock::firmware::Forbidden;

/// Most arguments and results of a service that is used here.
pub const MOST_WORDS: usize = 12;
/// Words of an argument block: token, number of arguments, number of results, arguments, results.
pub const BLOCK_WORDS: usize = 3 + MOST_WORDS;

/// Tokens of the services, from the properties of `/rtas`. `None`: firmware does not have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Services {
    /// Real address of the RTAS entry point; 0 = none.
    pub entry: u32,
    /// Real address of RTAS' private data.
    pub base: u32,
    /// Bytes that RTAS occupies from `base`.
    pub size: u32,
    /// `start-cpu`.
    pub start_cpu: Option<u32>,
    /// `stop-self`.
    pub stop_self: Option<u32>,
    /// `power-off`.
    pub power_off: Option<u32>,
    /// `system-reboot`.
    pub system_reboot: Option<u32>,
    /// `ibm,os-term`.
    pub os_term: Option<u32>,
    /// `ibm,set-xive`.
    pub set_xive: Option<u32>,
    /// `ibm,int-on`.
    pub int_on: Option<u32>,
    /// `ibm,int-off`.
    pub int_off: Option<u32>,
    /// `nvram-fetch`.
    pub nvram_fetch: Option<u32>,
    /// `nvram-store`.
    pub nvram_store: Option<u32>,
    /// `get-time-of-day`.
    pub get_time_of_day: Option<u32>,
    /// `display-character`.
    pub display_character: Option<u32>,
}

/// Why a service did not do its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RtasError {
    /// There is no RTAS, or it lacks this service, or the call does not fit an argument block.
    NotAvailable,
    /// The service's own status, below 0, or above 0 for a condition.
    Status(i32),
    /// The rules of the panic path forbid the call.
    Forbidden(Forbidden),
}

/// An argument block for `token` with `arguments` and room for a status and `results` more results.
pub fn encode(token: u32, arguments: &[u32], results: usize) -> Option<[u32; BLOCK_WORDS]> {
    let returned = results.checked_add(1)?;
    if arguments.len().checked_add(returned)? > MOST_WORDS {
        return None;
    }
    let mut block = [0; BLOCK_WORDS];
    let head = [token, arguments.len() as u32, returned as u32];
    for (slot, word) in block.iter_mut().zip(head.iter().chain(arguments)) {
        *slot = *word;
    }
    Some(block)
}

#[cfg(mayday_metal)]
mod metal {
    use super::service::Rtas;
    use super::{BLOCK_WORDS, RtasError, Services, encode, shim};
    use crate::platform::Port;
    use crate::{asm, boot};
    use core::sync::atomic::{AtomicU32, Ordering};
    use crash_lock::firmware::{Block as Which, Firmware, SPARES};
    use hal::MAX_CPUS;

    #[repr(C, align(64))]
    struct Block([AtomicU32; BLOCK_WORDS]);

    impl Block {
        const fn new() -> Self {
            Block([const { AtomicU32::new(0) }; BLOCK_WORDS])
        }
    }

    /// Per CPU: the ordinary block, the one for a call inside a call.
    static BLOCKS: [[Block; 2]; MAX_CPUS] = [const { [Block::new(), Block::new()] }; MAX_CPUS];
    /// For calls by an owner that has abandoned some.
    static SPARE: [Block; SPARES] = [const { Block::new() }; SPARES];
    /// The block of CPUs that nobody started and that go back to stop (vectors.S). RTAS writes it only
    /// on failure.
    static STOP: Block = Block::new();

    /// What firmware offers, if there is RTAS at all.
    pub fn services() -> Option<&'static Services> {
        boot::machine().map(|machine| &machine.rtas).filter(|services| services.entry != 0)
    }

    /// RTAS' lock, and who is inside.
    static FIRMWARE: Firmware<Port> = Firmware::naming(super::service::ALL);

    /// Calls a service; `results` receives what comes after the status. One caller at a time, as the class of
    /// the service wants it; by the owner of a panic under the rules for that ([`crash_lock::firmware`]).
    pub fn call<S: Rtas>(arguments: &[u32], results: &mut [u32]) -> Result<(), RtasError> {
        let services = services().ok_or(RtasError::NotAvailable)?;
        let token = S::token(services).ok_or(RtasError::NotAvailable)?;
        let words = encode(token, arguments, results.len()).ok_or(RtasError::NotAvailable)?;
        let enter = |which| enter(services, which, words, arguments.len(), results);
        FIRMWARE.call_by_owner::<S, _>(enter).map_err(RtasError::Forbidden)?
    }

    fn enter(
        services: &Services,
        which: Which,
        words: [u32; BLOCK_WORDS],
        arguments: usize,
        results: &mut [u32],
    ) -> Result<(), RtasError> {
        let block = match which {
            Which::Own(cpu) => &BLOCKS[cpu.index()][0],
            Which::Emergency(cpu) => &BLOCKS[cpu.index()][1],
            Which::Spare(number) => &SPARE[number % SPARES],
        };
        for (slot, word) in block.0.iter().zip(words) {
            slot.store(word, Ordering::Relaxed);
        }
        // SAFETY: entry and base are what `instantiate-rtas` returned, or the entry is the test's that leads there;
        // the block is this CPU's, static,
        // and identity-mapped below 4 GiB; SPRG0 was set before anything could call this.
        unsafe {
            asm::ppc_call_32(shim::entry(services), (&raw const *block) as u64, u64::from(services.base));
        }
        let answers = block.0.iter().skip(arguments.saturating_add(3));
        let mut answers = answers.map(|word| word.load(Ordering::Relaxed));
        let status = answers.next().unwrap_or(0) as i32;
        for (slot, word) in results.iter_mut().zip(answers) {
            *slot = word;
        }
        if status == 0 { Ok(()) } else { Err(RtasError::Status(status)) }
    }

    /// Takes the lock in front of RTAS and never gives it back. For tests.
    pub fn hold() {
        FIRMWARE.hold();
    }

    /// The three words that send a CPU back to stop: argument block, entry, base. Zero entry: no such
    /// service.
    pub fn stop_words() -> [u64; 3] {
        let Some((services, token)) = services().and_then(|services| Some((services, services.stop_self?)))
        else {
            return [0; 3];
        };
        if let Some(words) = encode(token, &[], 0) {
            for (slot, word) in STOP.0.iter().zip(words) {
                slot.store(word, Ordering::Relaxed);
            }
        }
        [(&raw const STOP) as u64, u64::from(services.entry), u64::from(services.base)]
    }
}

#[cfg(mayday_metal)]
pub use metal::{call, hold, services, stop_words};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn argument_block() {
        let block = encode(0x2006, &[3, 0x40_0000, 0x50_0000], 0).unwrap();
        assert_eq!(block[..7], [0x2006, 3, 1, 3, 0x40_0000, 0x50_0000, 0]);
        let block = encode(0x2005, &[3], 1).unwrap();
        assert_eq!(block[..4], [0x2005, 1, 2, 3]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(encode(1, &[0; MOST_WORDS], 0).is_none());
        assert!(encode(1, &[0; MOST_WORDS - 1], 0).is_some());
        assert!(encode(1, &[], usize::MAX).is_none());
    }
}
