//! Numbers from a seed: SplitMix64 (Steele, Lea, Flood 2014), which is all that schedules need.

/// A generator.
#[derive(Clone, Copy, Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        (((self.draw() >> 32) * end) >> 32).min(end - 1)
    }

    /// True once in `times`.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// From 1 on, about `mean` on the average, with a long tail.
    pub fn gap(&mut self, mean: u64) -> u64 {
        // Halves of the mean, as many as a coin says.
        let halves = u64::from(self.draw().trailing_zeros());
        1 + self.below(mean.max(1)) + halves * (mean / 2)
    }
}

/// Adds `value` to a hash.
pub fn mix(hash: u64, value: u64) -> u64 {
    let mixed = (hash.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ (mixed >> 29)
}
