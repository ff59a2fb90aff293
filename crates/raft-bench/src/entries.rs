//! The entries: their bytes follow from their index, so a read shows whether they are right. They do not compress.

use bytes::Bytes;

/// Entries that are committed together.
pub(crate) struct Group {
    /// The index of the first entry of the group.
    pub(crate) first: u64,
    /// The payloads of the entries.
    pub(crate) payloads: Vec<Bytes>,
}

impl Group {
    /// The entries `first..first + count`.
    pub(crate) fn of(first: u64, count: u64, bytes: u32) -> Self {
        Self { first, payloads: (first..first + count).map(|index| payload(index, bytes)).collect() }
    }

    /// Each entry with its index.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, &Bytes)> {
        (self.first..).zip(&self.payloads)
    }
}

/// The payload of the entry at this index.
pub(crate) fn payload(index: u64, bytes: u32) -> Bytes {
    // splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
    let mut state = index;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut data = Vec::with_capacity(bytes as usize + 8);
    while data.len() < bytes as usize {
        data.extend(next().to_le_bytes());
    }
    data.truncate(bytes as usize);
    data.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_entries_are_the_same_and_each_comes_out_the_same_again() {
        let group = Group::of(7, 3, 13);
        assert_eq!(group.entries().map(|(index, _)| index).collect::<Vec<_>>(), [7, 8, 9]);
        assert!(group.entries().all(|(index, data)| data.len() == 13 && *data == payload(index, 13)));
        assert_ne!(payload(7, 13), payload(8, 13));
    }
}
