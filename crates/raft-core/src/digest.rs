//! A 128-bit digest of a whole state. It is the same on every machine: every number has a fixed width, and `usize` counts
//! as 64 bits. It tells runs apart and does not protect against forgery.

use core::hash::{Hash, Hasher};

/// Hashes any `Hash` value to 128 bits. Each word takes two rounds of multiply and fold. That is cheap enough for every
/// event, and a change of any single bit spreads over the whole result.
#[derive(Clone, Debug)]
pub struct Digest {
    low: u64,
    high: u64,
}

impl Digest {
    /// The digest of an empty input.
    pub const fn new() -> Self {
        Self { low: 0x9e37_79b9_7f4a_7c15, high: 0xc2b2_ae3d_27d4_eb4f }
    }

    /// The digest of one value.
    pub fn of(value: &impl Hash) -> u128 {
        let mut digest = Self::new();
        value.hash(&mut digest);
        digest.value()
    }

    /// The digest of everything that was written so far.
    pub fn value(&self) -> u128 {
        let (low, high) = (fold(self.low, self.high ^ MULTIPLIER), fold(self.high, self.low | 1));
        u128::from(high) << 64 | u128::from(low)
    }

    fn word(&mut self, word: u64) {
        let low = fold(self.low ^ word, MULTIPLIER);
        // The second lane uses another multiplier and the first lane's old value, so a pair of words that cancels in
        // one lane does not cancel in the other.
        self.high = fold(self.high ^ word.rotate_left(32), MULTIPLIER ^ 0xffff_0000_ffff_0000).wrapping_add(self.low);
        self.low = low.wrapping_add(word | 1);
    }
}

const MULTIPLIER: u64 = 0xa076_1d64_78bd_642f;

/// Xors both halves of the product, so every bit of the inputs reaches the result.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

impl Default for Digest {
    fn default() -> Self {
        Self::new()
    }
}

impl Hasher for Digest {
    fn finish(&self) -> u64 {
        self.value() as u64
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.word(u64::from_le_bytes(word));
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0; 8];
            word[..rest.len()].copy_from_slice(rest);
            self.word(u64::from_le_bytes(word));
        }
        // The length separates a short write from a zero-padded longer one.
        self.word(bytes.len() as u64);
    }

    fn write_u8(&mut self, number: u8) {
        self.word(u64::from(number));
    }

    fn write_u16(&mut self, number: u16) {
        self.word(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.word(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_u128(&mut self, number: u128) {
        self.word(number as u64);
        self.word((number >> 64) as u64);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    // Enum discriminants arrive as isize.
    fn write_isize(&mut self, number: isize) {
        self.word(number as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_pin_the_digest() {
        assert_eq!(Digest::of(&(1_u64, 2_u8)), Digest::of(&(1_u64, 2_u64)), "the width of a number does not matter");
        assert_ne!(Digest::of(&1_u64), Digest::of(&2_u64));
        assert_ne!(Digest::of(&[1_u8].as_slice()), Digest::of(&[1_u8, 0].as_slice()));
        assert_ne!(Digest::of(&(1_u64, 2_u64)), Digest::of(&(2_u64, 1_u64)));
    }

    #[test]
    fn single_bits_reach_both_halves() {
        let base = Digest::of(&(0_u64, 0_u64));
        for bit in 0..64 {
            let changed = Digest::of(&(1_u64 << bit, 0_u64)) ^ base;
            assert!(changed as u64 != 0 && (changed >> 64) as u64 != 0, "bit {bit}");
            assert!((20..=108).contains(&changed.count_ones()), "bit {bit} changes {} bits", changed.count_ones());
        }
    }
}
