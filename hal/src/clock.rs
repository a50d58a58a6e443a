//! Time on the panic path.

/// A monotonic clock that can be read in any context.
pub trait Clock {
    /// The least that one iteration of a busy wait takes on this machine, ns. Every wait also counts its
    /// iterations and gives up after as many as its time holds of these: that is what ends it when the
    /// clock stands still.
    const LEAST_ITERATION_NS: u64 = 4;

    /// Nanoseconds since an arbitrary point before the kernel's first line.
    ///
    /// # Before
    /// Nothing: callable before calibration, in which case it counts with the port's estimate.
    ///
    /// # After
    /// Never less than an earlier value *on the same CPU*. Across CPUs values agree to within what
    /// the port's README states (both existing ports: the hardware counter is shared or in step, so
    /// the skew is below 10 µs). Reading it takes no lock and always returns: a stopped counter is
    /// the caller's problem, which is why every wait in `core-panic` also counts its iterations.
    fn now_ns(&self) -> u64;
}
