//! The memory of the simulated machine: always at the same place, set back between runs.

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;

use core_panic::notifier::{LateClass, Registration};
use core_panic::{Panic, Registry};
use crash_lock::{Authority, Domain};
use crash_record::layout::{self, slot};
use crash_record::write::{Identity, RecordArea};
use hal::CpuId;
use hal::contract::{Board, Contract};

use crate::MAX_CPUS;
use crate::contract;
use crate::lock::{Bank, SEQUENCE};
use crate::memory::{Memory, Watched};
use crate::notifiers;
use crate::platform::{SIM, Sim};
use crate::scenario::Scenario;
use crate::services::{Kind, NAMES, Services};

/// Physical address of the record, as it is handed to the next kernel.
pub const RECORD_BASE: u64 = 0x5000;

/// What the CPUs share.
#[repr(C)]
pub struct Machine {
    /// The crash record.
    pub record: RecordArea,
    panic: UnsafeCell<MaybeUninit<Panic<'static, Sim>>>,
    registry: UnsafeCell<Registry>,
    locks: UnsafeCell<Domain>,
    bank: UnsafeCell<Bank>,
    services: UnsafeCell<Services>,
    board: UnsafeCell<Board>,
    contract: UnsafeCell<MaybeUninit<Contract<Sim>>>,
}

impl Machine {
    /// A machine of its own for this host thread. It is never freed: simulated code holds references
    /// to it that last for ever, as it does to the statics of a kernel.
    pub fn new() -> (&'static Machine, Memory) {
        let machine: &'static Machine = Box::leak(Box::new(Machine {
            record: RecordArea::new(),
            panic: UnsafeCell::new(MaybeUninit::uninit()),
            registry: UnsafeCell::new(Registry::new()),
            locks: UnsafeCell::new(Domain::new()),
            bank: UnsafeCell::new(Bank::new()),
            services: UnsafeCell::new(Services::naming(NAMES)),
            board: UnsafeCell::new(Board::new()),
            contract: UnsafeCell::new(MaybeUninit::uninit()),
        }));
        let base = std::ptr::from_ref(machine).addr();
        let mut memory = Memory::new(base, size_of::<Machine>());
        for cpu in 0..MAX_CPUS {
            let word = |word: usize| ((layout::SLOTS_AT + cpu * layout::SLOT_WORDS + word) * 2) as u32;
            memory.watch(word(slot::STATE), Watched::State(cpu as u8));
            memory.watch(word(slot::COMMIT), Watched::Commit(cpu as u8));
            for at in slot::BODY..slot::BODY_END {
                memory.watch(word(at), Watched::Saved(cpu as u8));
            }
            memory.watch(word(slot::FIRST_COMMIT), Watched::FirstCommit(cpu as u8));
            for at in slot::FIRST_BODY..slot::FIRST_END {
                memory.watch(word(at), Watched::First(cpu as u8));
            }
            memory.watch(word(slot::OWNER_CUT_AT), Watched::Cut(cpu as u8));
        }
        (machine, memory)
    }

    /// The panic path.
    pub fn panic(&self) -> &'static Panic<'static, Sim> {
        // SAFETY: `reset` has written it, and writes it again only when no simulated code runs. The
        // machine is leaked, so it lives for ever.
        unsafe { (*self.panic.get().cast_const()).assume_init_ref() }
    }

    /// Which CPU holds what.
    pub fn locks(&self) -> &'static Domain {
        // SAFETY: as for `panic`.
        unsafe { &*self.locks.get().cast_const() }
    }

    /// The locks of this machine's drivers.
    pub fn bank(&self) -> &'static Bank {
        // SAFETY: as for `panic`.
        unsafe { &*self.bank.get().cast_const() }
    }

    /// Firmware's lock and markers.
    pub fn services(&self) -> &'static Services {
        // SAFETY: as for `panic`.
        unsafe { &*self.services.get().cast_const() }
    }

    /// What the HAL promises, to be asked of this machine.
    pub fn contract(&self) -> &'static Contract<Sim> {
        // SAFETY: as for `panic`.
        unsafe { (*self.contract.get().cast_const()).assume_init_ref() }
    }

    /// Ends all deferral, on a machine that is about to be reset.
    pub fn last_call(&self) {
        let authority = self.locks().authority(std::ptr::from_ref(self).addr());
        authority.as_ref().map(Authority::last_call);
    }

    /// The record as bytes. Only between runs: no simulated CPU writes meanwhile.
    pub fn record_bytes(&self) -> &[u8] {
        let start = std::ptr::from_ref(&self.record).cast::<u8>();
        // SAFETY: the record is `RECORD_BYTES` of atomics; whoever calls this runs on the host thread that the
        // simulated CPUs run on, so none of them runs now.
        unsafe { core::slice::from_raw_parts(start, layout::RECORD_BYTES) }
    }

    /// Sets everything back to the state after boot.
    ///
    /// # Safety
    /// No simulated CPU of this machine is in the middle of anything, or will ever go on.
    pub unsafe fn reset(&'static self, memory: &Memory, scenario: &Scenario) {
        for id in memory.touched() {
            self.record.store(*id as usize / 2, 0);
        }
        for at in 0..layout::HEADER_WORDS {
            self.record.store(at, 0);
        }
        for cpu in CpuId::all().take(MAX_CPUS) {
            self.record.set_slot(cpu, slot::STATE, 0);
        }
        self.record.set_up(&Identity {
            nonce: 7,
            build_id: 8,
            machine: "sim",
            cpus: scenario.count() as u64,
            image_base: 0,
            record_base: RECORD_BASE,
        });
        // SAFETY: by the caller's promise nobody looks at either; neither owns anything to drop.
        unsafe {
            self.registry.get().write(Registry::with_before_dump(&notifiers::BEFORE_DUMP));
            self.locks.get().write(Domain::new());
            self.bank.get().write(Bank::new());
            self.services.get().write(Services::naming(NAMES));
            self.board.get().write(Board::new());
            (*self.contract.get()).write(contract::contract(&*self.board.get(), scenario));
            (*self.panic.get()).write(Panic::new(&SIM, &self.record, self.locks(), &*self.registry.get()));
        }
        self.locks().bind(SEQUENCE);
        self.services().exempt_anywhere(scenario.firmware != Kind::Strict);
        // SAFETY: just written, and from here on only shared.
        let registry = unsafe { &*self.registry.get() };
        for (number, spec) in scenario.notifiers.iter().enumerate() {
            if let Some(spec) = spec {
                let notifier = notifiers::notifier(number);
                let _ = match LateClass::of(spec.class) {
                    Some(class) => registry.register(Registration { class, priority: 0, notifier }).is_ok(),
                    None => registry.arm(number),
                };
            }
        }
        if scenario.keeper {
            self.panic().keep_record_by(&notifiers::KEEPER);
        }
        self.panic().configure(scenario.config);
    }
}
