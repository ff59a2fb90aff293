//! Random numbers that can be had again: SplitMix64.

/// A source of numbers. Printed, its seed repeats a test's choices, though not what the system makes of them.
pub(crate) struct Random(u64);

impl Random {
    /// Seeded by the variable, or by the clock.
    pub(crate) fn from_variable(name: &str) -> (Self, u64) {
        let clock = || std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
        let seed = match std::env::var(name) {
            Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} = {text}: must be a number")),
            Err(_) => clock(),
        };
        (Self(seed), seed)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
