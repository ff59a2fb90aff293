//! Operations on several keys at once, and on keys that expire, with their random choices. A run without them draws
//! nothing here.

use crate::rng::{Choices, Site};
use crate::scenario::model::ClientModel;
use bytes::Bytes;
use raft_core::ReadMode;
use raft_kv::command::{Compare, KeyRange, Relation, Target, Txn, TxnOp};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const RANGE: Site = Site::new("client range");
const TXN: Site = Site::new("client transaction");
const TTL: Site = Site::new("client time to live");

fn key(number: u64) -> Bytes {
    format!("k{number}").into()
}

/// The keys from one on, up to another or to the end, and the most keys in the answer; 0 means all.
pub(crate) fn range(model: &ClientModel, slot: u64, n: u64, choices: &mut Choices) -> (KeyRange, u64) {
    let mut draw = |place: u64| choices.draw(RANGE, slot, n * 8 + place);
    let start = if draw(0).chance_ppm(500_000) { Bytes::new() } else { key(1 + draw(1).below(model.keys)) };
    let end = if draw(2).chance_ppm(500_000) { None } else { Some(key(1 + draw(3).below(model.keys))) };
    let limit = if draw(4).chance_ppm(750_000) { 0 } else { 1 + draw(5).below(model.keys) };
    (KeyRange { start, end }, limit)
}

/// One or two compares, some changes if they hold, and a read of the keys if not. The values belong to this operation.
pub(crate) fn txn(
    model: &ClientModel,
    slot: u64,
    n: u64,
    value: &str,
    seen: &BTreeMap<String, Option<String>>,
    choices: &mut Choices,
) -> Txn {
    let mut draw = |place: u64| choices.draw(TXN, slot, n * 32 + place);
    let compares = (0..1 + draw(0).below(2)).map(|place| {
        let number = 1 + draw(1 + 3 * place).below(model.keys);
        let name = format!("k{number}");
        match (draw(2 + 3 * place).below(4), seen.get(&name)) {
            (0, _) => Compare::absent(name),
            (1, _) => Compare::present(name),
            (2, Some(Some(value))) => {
                let target = Target::Value(value.clone().into());
                Compare { key: name.into(), relation: Relation::Equal, target }
            }
            // It is true in most cases, whatever the value is.
            _ => Compare { key: name.into(), relation: Relation::Less, target: Target::Version(9) },
        }
    });
    let compares: Vec<Compare> = compares.collect();
    let mut changed = BTreeSet::new();
    let mut success = Vec::new();
    for place in 0..2 + draw(8).below(2) {
        let number = 1 + draw(9 + 2 * place).below(model.keys);
        let kind = draw(10 + 2 * place).below(5);
        success.push(match kind {
            // No list may change a key twice.
            0..3 if changed.insert(number) => {
                TxnOp::Put { key: key(number), value: format!("{value}.{place}").into(), ttl_ms: 0 }
            }
            3 if changed.insert(number) => TxnOp::Delete { key: key(number) },
            _ => TxnOp::Get { key: key(number) },
        });
    }
    let failure = success.iter().map(|op| match op {
        TxnOp::Put { key, .. } | TxnOp::Delete { key } | TxnOp::Get { key } => TxnOp::Get { key: key.clone() },
    });
    Txn { failure: failure.collect(), compares, success }
}

/// The time to live of a put, in milliseconds; 0 means until it is removed.
pub(crate) fn ttl_ms(model: &ClientModel, slot: u64, n: u64, choices: &mut Choices) -> u64 {
    if model.ttl_ppm == 0 || !choices.draw(TTL, slot, n * 2).chance_ppm(model.ttl_ppm) {
        return 0;
    }
    let ttl = choices.draw(TTL, slot, n * 2 + 1).in_range(&model.ttl);
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn name(key: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(key)
}

/// Formats a range, for people.
pub(crate) fn show_range(f: &mut fmt::Formatter<'_>, range: &KeyRange, limit: u64, mode: ReadMode) -> fmt::Result {
    write!(f, "range {}..", name(&range.start))?;
    range.end.iter().try_for_each(|end| write!(f, "{}", name(end)))?;
    if limit > 0 {
        write!(f, ", {limit} at most")?;
    }
    if mode == ReadMode::Lease { write!(f, " by lease") } else { Ok(()) }
}

/// Formats a transaction, for people: the changes that it makes if its compares hold.
pub(crate) fn show_txn(f: &mut fmt::Formatter<'_>, txn: &Txn) -> fmt::Result {
    write!(f, "txn, {} compares:", txn.compares.len())?;
    txn.success.iter().try_for_each(|op| match op {
        TxnOp::Put { key, value, .. } => write!(f, " put {} = {};", name(key), name(value)),
        TxnOp::Delete { key } => write!(f, " delete {};", name(key)),
        TxnOp::Get { key } => write!(f, " get {};", name(key)),
    })
}
