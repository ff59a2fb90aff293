//! A set of 128-bit fingerprints, each with the number of its insertion.
//!
//! The fingerprints lie in order of insertion, and an open-addressing table of numbers leads to them: 20 to 24 bytes a
//! fingerprint, at most 28 while the table grows. Nothing depends on the order of the table.

/// Values in order, in blocks: growth copies nothing.
#[derive(Debug, Default)]
pub(super) struct Blocks<T> {
    blocks: Vec<Vec<T>>,
    len: usize,
}

const BLOCK: usize = 1 << 14;

impl<T: Copy> Blocks<T> {
    pub(super) fn push(&mut self, value: T) {
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(value),
            _ => {
                let mut block = Vec::with_capacity(BLOCK);
                block.push(value);
                self.blocks.push(block);
            }
        }
        self.len += 1;
    }

    pub(super) fn get(&self, place: usize) -> T {
        self.blocks[place / BLOCK][place % BLOCK]
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&self) -> usize {
        self.blocks.len() * BLOCK * size_of::<T>()
    }
}

/// The set.
#[derive(Debug)]
pub(super) struct Table {
    /// The number of the fingerprint plus 1; 0 is free. The length is a power of two.
    slots: Vec<u32>,
    keys: Blocks<u128>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; 1 << 10], keys: Blocks { blocks: Vec::new(), len: 0 } }
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn key(&self, number: u32) -> u128 {
        self.keys.get(number as usize)
    }

    /// The number of this fingerprint, and whether it is new.
    pub(super) fn insert(&mut self, key: u128) -> (u32, bool) {
        let slot = match self.find(key) {
            Ok(number) => return (number, false),
            Err(slot) => slot,
        };
        let number = u32::try_from(self.keys.len()).unwrap_or(u32::MAX - 1);
        self.keys.push(key);
        self.slots[slot] = number + 1;
        // At most three quarters are in use.
        if self.keys.len() > self.slots.len() / 4 * 3 {
            self.grow();
        }
        (number, true)
    }

    /// The number of the fingerprint, or the free slot that it would take.
    fn find(&self, key: u128) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = first_slot(key) & mask;
        loop {
            match self.slots[slot] {
                0 => return Err(slot),
                number if self.key(number - 1) == key => return Ok(number - 1),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn grow(&mut self) {
        let length = self.slots.len() * 2;
        self.slots = Vec::new();
        self.slots = vec![0; length];
        for number in 0..self.keys.len() {
            let mut slot = first_slot(self.keys.get(number)) & (length - 1);
            while self.slots[slot] != 0 {
                slot = (slot + 1) & (length - 1);
            }
            self.slots[slot] = number as u32 + 1;
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes() + self.slots.len() * size_of::<u32>()
    }

    /// The bytes after the insertion of the next fingerprint.
    pub(super) fn next_bytes(&self) -> usize {
        let grows = self.keys.len() + 1 > self.slots.len() / 4 * 3;
        self.bytes() + if grows { self.slots.len() * size_of::<u32>() } else { 0 }
    }
}

/// The keys of the memory of steps are small numbers, so the bits are spread.
fn first_slot(key: u128) -> usize {
    let folded = key as u64 ^ (key >> 64) as u64;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_insertions_and_survive_growth() {
        let mut table = Table::new();
        let keys: Vec<u128> = (0..95_000_u128).map(|number| (number << 64) | (number * 7)).collect();
        for (place, &key) in keys.iter().enumerate() {
            assert_eq!(table.insert(key), (place as u32, true));
        }
        for (place, &key) in keys.iter().enumerate() {
            assert_eq!((table.insert(key), table.key(place as u32)), ((place as u32, false), key));
        }
        assert_eq!(table.len(), keys.len());
        assert!(table.bytes() / keys.len() <= 28, "{} bytes", table.bytes());
    }
}
