//! What operations on the map come to.

use bytes::Bytes;
use raft_core::EntryId;
use raft_kv::command::{Answer, Event, KeyValue, Response, TxnResult};
use raft_proto::wire::raft;

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consistency {
    /// It sees everything that was acknowledged before it began: the leader confirms by a round that it still leads (Thesis
    /// §6.4).
    Linearizable,
    /// The same as long as no node's clock drifts more than the nodes are told (`max_clock_drift_ppm`), and faster: a leader
    /// that holds a lease answers without a round (Thesis §6.4.1). Without a lease, or with `lease_reads` off at the leader,
    /// the same as `Linearizable`.
    Lease,
    /// It sees what the node asked happens to have applied, which may be old.
    Stale,
}

/// A command was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The map's revision after it.
    pub revision: u64,
    /// The entry that carried it.
    pub entry: EntryId,
    /// The node that answered as leader, by its id; none: it did not say.
    pub leader: Option<u64>,
    /// How many requests it took, opening a session included.
    pub attempts: u32,
}

/// A key is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Whether it was there.
    pub existed: bool,
    /// How it was applied.
    pub written: Written,
}

/// Values were compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Swapped {
    /// Whether the key had the expected value and was set.
    pub swapped: bool,
    /// The value found; none: the key was not there.
    pub actual: Option<Bytes>,
    /// How it was applied.
    pub written: Written,
}

/// A transaction was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transacted {
    /// Whether all compares held.
    pub succeeded: bool,
    /// What came of each operation of the list that was carried out, in order.
    pub results: Vec<TxnResult>,
    /// How it was applied.
    pub written: Written,
}

/// A range was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranged {
    /// The keys and what belongs to them, ascending by key.
    pub entries: Vec<KeyValue>,
    /// Whether the range holds more keys behind these.
    pub more: bool,
    /// The map's revision.
    pub revision: u64,
    /// The index up to which the node that answered had applied.
    pub applied: u64,
    /// How many requests it took.
    pub attempts: u32,
}

/// What a watch has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// All changes of the range in some revisions, in order; none, if a watch says for the first time how far it is.
    pub events: Vec<Event>,
    /// Everything up to this revision has been seen.
    pub through: u64,
}

/// A key was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// The value; none: the key is not there.
    pub value: Option<Bytes>,
    /// The revision of the key's last change; 0 if it is not there.
    pub modified_revision: u64,
    /// The map's revision.
    pub revision: u64,
    /// The index up to which the node that answered had applied.
    pub applied: u64,
    /// How many requests it took.
    pub attempts: u32,
}

/// The answer to any command.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) response: Response,
    entry: EntryId,
    leader: Option<u64>,
    attempts: u32,
}

impl Done {
    /// None: it cannot be read.
    pub(super) fn read(applied: &raft::Applied, attempts: u32) -> Option<Self> {
        let entry = applied.entry.as_ref()?;
        Some(Self {
            response: Response::decode(&applied.response)?,
            entry: EntryId::new(entry.index, entry.term),
            leader: Some(applied.node).filter(|&node| node != 0),
            attempts,
        })
    }

    pub(super) fn written(&self, revision: u64) -> Written {
        Written { revision, entry: self.entry, leader: self.leader, attempts: self.attempts }
    }
}

/// None: it cannot be read.
pub(super) fn read_answer(answer: &raft::Answer) -> Option<Answer> {
    Answer::decode(&answer.response)
}
