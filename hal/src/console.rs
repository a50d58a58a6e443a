//! Output that must work when nothing else does.

/// The emergency console: synchronous, bounded, infallible by type.
///
/// This is not the kernel's normal console driver with its lock; it goes straight to the device.
pub trait EmergencyConsole {
    /// Writes what the device takes, in order, and returns how many bytes that was.
    ///
    /// # Before
    /// Any context, any CPU, also before the normal console is set up. `bytes` is plain ASCII;
    /// `\n` is sent as the device wants it (a port adds `\r` where the terminal needs one).
    ///
    /// # After
    /// Returns within a bound per byte that the port states (a device that stays busy is given up
    /// on: the count is then short, and the caller says "truncated"). Takes no lock, so two CPUs
    /// that write at once interleave; keeping others quiet is the sequence's job.
    fn write(&self, bytes: &[u8]) -> usize;

    /// Reads one byte if one is waiting, without waiting for it. `None` also where the console has
    /// no input.
    fn read(&self) -> Option<u8>;
}
