//! The trace hash: a rolling 128-bit hash over every record, in order. It is equal on every machine and in every build
//! profile: integers are fixed-width little-endian bytes, sizes have 64 bits, and addresses and hash order do not
//! matter. A variant of an enum is hashed by its place, so a new variant goes last, and the hashes of runs without it stay.

use crate::record::Record;
use std::fmt;
use std::hash::{Hash, Hasher};
use xxhash_rust::xxh3::Xxh3;

#[derive(Clone)]
pub struct TraceHash {
    state: Xxh3,
    bytes: Bytes,
}

impl TraceHash {
    /// The hash of an empty trace.
    pub fn new() -> Self {
        Self { state: Xxh3::new(), bytes: Bytes(Vec::with_capacity(1024)) }
    }

    /// Adds a record. All records of a call carry the same view, so only the first one's view is hashed.
    pub fn add(&mut self, record: &Record, first_of_call: bool) {
        let bytes = &mut self.bytes;
        bytes.0.clear();
        (record.number, record.at, record.cause, record.node, record.call).hash(bytes);
        record.kind.hash(bytes);
        if first_of_call {
            record.view.hash(bytes);
        }
        self.state.update(&bytes.0);
    }

    pub fn value(&self) -> u128 {
        self.state.digest128()
    }
}

impl Default for TraceHash {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for TraceHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.value())
    }
}

/// Collects the input of `derive(Hash)` as bytes that do not depend on the machine.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn write_u16(&mut self, value: u16) {
        self.write(&value.to_le_bytes());
    }

    fn write_u32(&mut self, value: u32) {
        self.write(&value.to_le_bytes());
    }

    fn write_u64(&mut self, value: u64) {
        self.write(&value.to_le_bytes());
    }

    fn write_u128(&mut self, value: u128) {
        self.write(&value.to_le_bytes());
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    // Discriminants of enums are hashed as isize.
    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    /// This is not the trace's hash: [`TraceHash::value`] takes that over all bytes.
    fn finish(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{RecordKind, SimTime};
    use raft_core::NodeId;

    fn record(number: u64, label: &str) -> Record {
        let kind = RecordKind::Fault { label: label.into() };
        Record { number, at: SimTime(5), cause: None, node: Some(NodeId(1)), call: 0, kind, view: None }
    }

    fn hash(records: &[Record]) -> u128 {
        let mut hash = TraceHash::new();
        records.iter().for_each(|record| hash.add(record, true));
        hash.value()
    }

    #[test]
    fn every_part_and_the_order_count() {
        let base = hash(&[record(1, "cut"), record(2, "heal")]);
        assert_eq!(base, hash(&[record(1, "cut"), record(2, "heal")]));
        assert_ne!(base, hash(&[record(1, "heal"), record(2, "cut")]));
        assert_ne!(base, hash(&[record(1, "cut")]));
        let mut later = record(2, "heal");
        later.at = SimTime(6);
        assert_ne!(base, hash(&[record(1, "cut"), later]));
    }

    #[test]
    fn a_known_answer_pins_the_encoding() {
        assert_eq!(format!("{:032x}", hash(&[record(1, "cut")])), "7d6a7e05e9ba89353339e0690e836fab");
    }
}
