//! Storage that outlives the kernel, through the machine's firmware.

/// What a store has room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capacity {
    /// Slots: their numbers are `0..slots`. Firmware that does not tell how much it can keep may be full
    /// before all of them are ([`StoreError::Full`]).
    pub slots: u32,
    /// Bytes that a slot takes at most; at least 256, at most [`MOST_BYTES`].
    pub bytes: usize,
}

/// No store takes more bytes than this in one slot: what a caller needs who wants to read anything.
pub const MOST_BYTES: usize = 8192;

/// Why a store did not do what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// The store has no slot of this number.
    NoSuchSlot,
    /// More bytes than a slot takes, or none.
    Length,
    /// The slot holds nothing.
    Empty,
    /// What the slot holds does not fit into the room; its length in bytes.
    Room(usize),
    /// There is no room left, though the slot's number is a good one.
    Full,
    /// What lies in the slot was not written by this port; what is wrong with it.
    Foreign(&'static str),
    /// Firmware did not finish within the port's bound. What the slot holds is not known.
    TimedOut,
    /// Firmware refused or failed, with its own status code. What the slot holds is not known.
    Firmware(i64),
}

/// Numbered slots of bytes that are still there after a reset, kept by firmware.
///
/// What is in the bytes is the caller's; a slot that was being written when power was cut may hold
/// anything, so callers put a checksum into them.
///
/// # Before
/// Of every call: any context, any CPU, interrupts on or off, also in the middle of a panic. **One caller
/// at a time**: nothing here locks; the caller holds the lock that belongs to this store, and on the panic
/// path has made sure of what an abandoned holder may have left half done. Two callers at once get wrong
/// bytes, and no worse. The port's preparation at boot was done, or [`crate::Platform::store`] says so.
///
/// # After
/// Of every call: it returned within the bound that the port's README states, allocated nothing and took
/// no lock. `Err` with any variant but [`StoreError::TimedOut`] and [`StoreError::Firmware`] means that
/// nothing was changed.
pub trait Store {
    /// What there is room for. The same for as long as this kernel runs.
    fn capacity(&self) -> Capacity;

    /// Puts `bytes` into `slot`, in place of what it held.
    ///
    /// # After
    /// `Ok`: a later [`Store::read`] of the slot, also by another kernel after a reset, gives exactly these
    /// bytes. Other slots, and what others keep in the same firmware, are as before.
    /// Errors: `NoSuchSlot`, `Length`, `Full`, `TimedOut`, `Firmware`.
    fn write(&self, slot: u32, bytes: &[u8]) -> Result<(), StoreError>;

    /// Copies what `slot` holds into the beginning of `room`; returns how many bytes that was.
    ///
    /// # After
    /// The store is as before. Bytes of `room` past the returned length, and all of it after an `Err`, may
    /// have been overwritten. Errors: all but `Length` and `Full`.
    fn read(&self, slot: u32, room: &mut [u8]) -> Result<usize, StoreError>;

    /// Empties `slot`.
    ///
    /// # After
    /// `Ok`: the slot is empty. Its old bytes may still lie somewhere in firmware's memory, out of reach of
    /// [`Store::read`]. Errors: `NoSuchSlot`, `Empty`, `TimedOut`, `Firmware`.
    fn clear(&self, slot: u32) -> Result<(), StoreError>;

    /// Writes the numbers of slots that hold something, in no order, into the beginning of `numbers`.
    /// Returns how many such slots there are, which may be more than there was room for.
    ///
    /// # After
    /// The store is as before. Errors: `TimedOut`, `Firmware`.
    fn occupied(&self, numbers: &mut [u32]) -> Result<usize, StoreError>;
}
