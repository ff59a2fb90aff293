//! Chooses the operations of clients. Keys are unique to the load and each value names its operation, so a read names its write.

use super::BenchOptions;
use bytes::Bytes;
use raft_check::history::{Op, OpResult, OpValue, Operation, Status};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix([(Op, u32); 4]);

impl Default for Mix {
    fn default() -> Self {
        Self([(Op::Put, 45), (Op::Get, 45), (Op::Cas, 5), (Op::Delete, 5)])
    }
}

/// Parses `put=45,get=45,cas=5,delete=5`; a missing operation does not occur.
impl FromStr for Mix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut mix = Self::default();
        for (_, weight) in &mut mix.0 {
            *weight = 0;
        }
        for part in text.split(',') {
            let wrong = || format!("{part:?}: expected put=N, get=N, cas=N or delete=N, with N from 0 to 1000000");
            let (name, weight) = part.split_once('=').ok_or_else(wrong)?;
            let op = match name.trim() {
                "put" => Op::Put,
                "get" => Op::Get,
                "cas" => Op::Cas,
                "delete" => Op::Delete,
                _ => return Err(wrong()),
            };
            let weight: u32 = weight.trim().parse().map_err(|_| wrong())?;
            let slot = mix.0.iter_mut().find(|(kind, _)| *kind == op).ok_or_else(wrong)?;
            slot.1 = Some(weight).filter(|weight| *weight <= 1_000_000).ok_or_else(wrong)?;
        }
        if mix.sum() == 0 { Err("all frequencies are 0: expected one above 0".into()) } else { Ok(mix) }
    }
}

impl Mix {
    fn sum(&self) -> u64 {
        self.0.iter().map(|&(_, weight)| u64::from(weight)).sum()
    }

    /// The operation at a position below the sum of all weights.
    fn at(&self, mut place: u64) -> Op {
        for &(op, weight) in &self.0 {
            if place < u64::from(weight) {
                return op;
            }
            place -= u64::from(weight);
        }
        Op::Get
    }
}

#[derive(Clone, Debug)]
pub(super) struct Shape {
    prefix: Arc<str>,
    keys: u64,
    value_bytes: usize,
    mix: Mix,
}

/// Separates the name of a value from its padding.
const END_OF_NAME: char = '/';

impl Shape {
    pub(super) fn new(options: &BenchOptions) -> Self {
        let prefix = format!("bench/{:08x}", crate::random::number() >> 32).into();
        Self { prefix, keys: options.keys.max(1), value_bytes: options.value_bytes, mix: options.mix }
    }

    /// A workload with the same keys and only gets.
    pub(super) fn of_readers(&self) -> Self {
        Self { mix: Mix([(Op::Put, 0), (Op::Get, 1), (Op::Cas, 0), (Op::Delete, 0)]), ..self.clone() }
    }

    pub(super) fn keys_prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn key(&self, number: u64) -> String {
        format!("{}/k{}", self.prefix, number + 1)
    }

    pub(super) fn value(&self, name: &str) -> Bytes {
        let mut value = format!("{name}{END_OF_NAME}");
        value.extend(std::iter::repeat_n('x', self.value_bytes.saturating_sub(value.len())));
        value.into()
    }

    /// The name of a value. A value that no client wrote counts as its own name.
    pub(super) fn name_of(&self, value: &Bytes) -> String {
        let text = String::from_utf8_lossy(value);
        match text.split_once(END_OF_NAME) {
            Some((name, _)) if self.value(name) == value => name.to_string(),
            _ => text.into_owned(),
        }
    }
}

/// An operation; its values by name.
pub(super) struct LoadOp {
    pub(super) op: Op,
    pub(super) key: String,
    pub(super) value: OpValue,
}

pub(super) struct Workload {
    shape: Shape,
    pub(super) client: u64,
    operations: u64,
    random: fastrand::Rng,
    /// The last known value of each key, which a cas expects.
    seen: BTreeMap<String, Option<String>>,
}

impl Workload {
    pub(super) fn new(shape: &Shape, client: u64) -> Self {
        let random = fastrand::Rng::with_seed(crate::random::number());
        Self { shape: shape.clone(), client, operations: 0, random, seen: BTreeMap::new() }
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(super) fn next(&mut self) -> LoadOp {
        self.operations += 1;
        let key = self.shape.key(self.random.u64(..self.shape.keys));
        let new = format!("c{}.{}", self.client, self.operations);
        let op = self.shape.mix.at(self.random.u64(..self.shape.mix.sum()));
        let value = match op {
            Op::Get | Op::Delete => OpValue::Null,
            Op::Put => OpValue::Value(new),
            Op::Cas => OpValue::Cas(self.seen.get(&key).cloned().flatten(), new),
        };
        LoadOp { op, key, value }
    }

    /// Remembers the value of an operation's key, if its result shows it.
    pub(super) fn learn(&mut self, operation: &Operation) {
        if operation.status != Status::Ok {
            return;
        }
        let value = match (operation.op, &operation.value, &operation.result) {
            (Op::Put, OpValue::Value(value), _) => Some(value.clone()),
            (Op::Cas, OpValue::Cas(_, new), OpResult::Flag(true)) => Some(new.clone()),
            (Op::Get, _, OpResult::Value(value)) => Some(value.clone()),
            _ => None,
        };
        self.seen.insert(operation.key.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(value_bytes: usize) -> Shape {
        Shape { prefix: "p".into(), keys: 3, value_bytes, mix: Mix::default() }
    }

    #[test]
    fn mixes_are_read_or_refused() {
        let mix: Mix = "put=1, get=3".parse().expect("a mix");
        let ops: Vec<Op> = (0..4).map(|place| mix.at(place)).collect();
        assert_eq!(ops, [Op::Put, Op::Get, Op::Get, Op::Get]);
        for bad in ["", "put", "put=x", "put=-1", "post=1", "put=0", "put=1,,get=1", "put=1000001"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
    }

    #[test]
    fn values_keep_their_names_and_their_length() {
        for bytes in [0, 3, 64] {
            let shape = shape(bytes);
            let value = shape.value("c1.2");
            assert_eq!(value.len(), bytes.max(5));
            assert_eq!(shape.name_of(&value), "c1.2");
        }
        let shape = shape(16);
        for bad in [&b"c1.2"[..], b"c1.2/", b"c1.2/xxxxxxxxxxy", b"\xff\xff"] {
            let name = shape.name_of(&Bytes::from_static(bad));
            assert_eq!(name, String::from_utf8_lossy(bad), "the whole of it");
        }
    }

    #[test]
    fn values_are_unique_and_cas_expects_what_was_seen() {
        let mut workload = Workload::new(&shape(8), 1);
        workload.shape.mix = "cas=1".parse().expect("a mix");
        let mut values = std::collections::BTreeSet::new();
        for n in 0..200 {
            let LoadOp { op, key, value } = workload.next();
            let OpValue::Cas(old, new) = &value else { panic!("{value:?}") };
            assert_eq!(old.as_ref(), workload.seen.get(&key).and_then(Option::as_ref));
            assert!(values.insert(new.clone()));
            let result = OpResult::Flag(n % 3 != 0);
            let operation =
                Operation { client: 1, op, key, value, status: Status::Ok, result, invoke_ns: 0, return_ns: Some(1) };
            workload.learn(&operation);
        }
        assert!(workload.seen.values().any(Option::is_some));
    }
}
