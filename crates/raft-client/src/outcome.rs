//! The results of operations.

use bytes::Bytes;
use raft_core::EntryId;
use raft_kv::command::{Event, KeyValue, Response, TxnResult};
use raft_proto::wire::raft;

/// The consistency of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consistency {
    /// The read sees every write that was acknowledged before it began: the leader confirms with a round of messages
    /// that it still leads (Thesis §6.4).
    Linearizable,
    /// The same guarantee as long as no clock of a node drifts more than `max_clock_drift_ppm`, and faster: a leader
    /// that holds a lease answers without a round (Thesis §6.4.1). Without a lease, or with `lease_reads` off, this is
    /// `Linearizable`.
    Lease,
    /// The read sees the state that one node has applied, which may be old.
    Stale,
}

/// The result of an applied command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Written {
    /// The map's revision after the command.
    pub revision: u64,
    /// The log entry of the command.
    pub entry: EntryId,
    /// The node that answered as leader; `None` if it did not say.
    pub leader: Option<u64>,
    /// How many requests the operation took, including those that open a session.
    pub attempts: u32,
}

/// The result of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Deleted {
    pub existed: bool,
    pub written: Written,
}

/// The result of a compare-and-swap.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Swapped {
    /// Whether the key had the expected value and was set.
    pub swapped: bool,
    /// The value found; `None` if the key was absent.
    pub actual: Option<Bytes>,
    pub written: Written,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Transacted {
    /// Whether all compares held.
    pub succeeded: bool,
    /// One result for each operation of the executed list.
    pub results: Vec<TxnResult>,
    pub written: Written,
}

/// The result of a get.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Got {
    /// The value; `None` if the key is absent.
    pub value: Option<Bytes>,
    /// The revision of the key's last change; 0 if the key is absent.
    pub modified_revision: u64,
    /// The map's revision.
    pub revision: u64,
    /// The applied index of the node that answered.
    pub applied: u64,
    /// How many requests the read took.
    pub attempts: u32,
}

/// The result of a range. The last three fields are those of [`Got`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Ranged {
    /// The entries, in the order of the keys.
    pub entries: Vec<KeyValue>,
    /// Whether the range has more keys after these.
    pub more: bool,
    pub revision: u64,
    pub applied: u64,
    pub attempts: u32,
}

/// Changes that a watch received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// All changes of the range in some revisions, in order. It can be empty in the first answer, which says that the
    /// watch has begun.
    pub events: Vec<Event>,
    /// The watch has received every change up to this revision.
    pub through: u64,
}

/// The answer to any command.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) response: Response,
    entry: EntryId,
    leader: Option<u64>,
    attempts: u32,
}

impl Done {
    /// `None` if the answer cannot be decoded.
    pub(crate) fn read(applied: &raft::Applied, attempts: u32) -> Option<Self> {
        let entry = applied.entry.as_ref()?;
        Some(Self {
            response: Response::decode(&applied.response)?,
            entry: EntryId::new(entry.index, entry.term),
            leader: Some(applied.node).filter(|&node| node != 0),
            attempts,
        })
    }

    pub(crate) fn written(&self, revision: u64) -> Written {
        Written { revision, entry: self.entry, leader: self.leader, attempts: self.attempts }
    }
}
