//! One operation: its content, the attempts that may still have an effect, and the conclusions from an answer.

use super::{ClientOutput, several};
use crate::record::SimTime;
use crate::rng::{Choices, Site};
use crate::scenario::model::{ClientModel, ClientReads, GetMode};
use bytes::Bytes;
use raft_check::history::{Op, OpResult, OpValue, Operation, Status};
use raft_core::{ReadMode, RequestId};
use raft_kv::command::{Answer, Command, KeyRange, Query, Response, Txn};
use raft_node::{Reply, Request, SessionCommand, SessionId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const KIND: Site = Site::new("client operation");
const KEY: Site = Site::new("client key");
const EXPECT: Site = Site::new("client cas expects");
const GUESS_SLOT: Site = Site::new("client cas guesses slot");
const GUESS: Site = Site::new("client cas guesses");
const MODE: Site = Site::new("client read mode");

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ClientOp {
    Get {
        key: String,
        mode: ReadMode,
    },
    /// A get of the state that the node has applied, which may be old.
    StaleGet {
        key: String,
    },
    Put {
        key: String,
        value: String,
        ttl_ms: u64,
    },
    Cas {
        key: String,
        old: Option<String>,
        new: String,
    },
    Delete {
        key: String,
    },
    Range {
        range: KeyRange,
        limit: u64,
        mode: ReadMode,
    },
    Txn(Txn),
}

impl ClientOp {
    /// Draws the `n`-th operation of the client in this slot. Values are unique in the run, so that a read names its
    /// write.
    pub(crate) fn draw(
        model: &ClientModel,
        slot: usize,
        n: u64,
        slots: u64,
        seen: &BTreeMap<String, Option<String>>,
        choices: &mut Choices,
    ) -> Self {
        let at = slot as u64;
        let key = format!("k{}", 1 + choices.draw(KEY, at, n).below(model.keys));
        let value = format!("v{}.{n}", at + 1);
        let mut weights = model.mix.weights().into_iter();
        let sum: u64 = weights.clone().map(u64::from).sum();
        let mut left = choices.draw(KIND, at, n).below(sum);
        let kind = weights.position(|weight| {
            let found = left < u64::from(weight);
            left = left.saturating_sub(u64::from(weight));
            found
        });
        match kind {
            Some(1) => Self::Put { key, value, ttl_ms: several::ttl_ms(model, at, n, choices) },
            Some(2) => {
                // In most cases it expects the value that should be there, sometimes one that another client may have
                // written.
                let old = if choices.draw(EXPECT, at, n).chance_ppm(750_000) {
                    seen.get(&key).cloned().flatten()
                } else {
                    let other = 1 + choices.draw(GUESS_SLOT, at, n).below(slots);
                    Some(format!("v{other}.{}", 1 + choices.draw(GUESS, at, n).below(n)))
                };
                Self::Cas { key, old, new: value }
            }
            Some(3) => Self::Delete { key },
            Some(4) => {
                let (range, limit) = several::range(model, at, n, choices);
                Self::Range { range, limit, mode: read_mode(model.reads, at, n, choices) }
            }
            Some(5) => Self::Txn(several::txn(model, at, n, &value, seen, choices)),
            _ => Self::Get { key, mode: read_mode(model.reads, at, n, choices) },
        }
    }

    /// A get that is not drawn; without a mode, it reads as clients do.
    pub(crate) fn scripted_get(key: String, mode: Option<GetMode>, reads: ClientReads) -> Self {
        match mode {
            Some(GetMode::Stale) => Self::StaleGet { key },
            Some(GetMode::Safe) => Self::Get { key, mode: ReadMode::Safe },
            None if reads == ClientReads::Safe => Self::Get { key, mode: ReadMode::Safe },
            Some(GetMode::Lease) | None => Self::Get { key, mode: ReadMode::Lease },
        }
    }

    pub(crate) fn is_read(&self) -> bool {
        self.query().is_some()
    }

    /// The query and its mode, if the operation is a read.
    fn query(&self) -> Option<(Query, ReadMode)> {
        Some(match self {
            Self::Get { key, mode } => (Query::Get { key: Bytes::copy_from_slice(key.as_bytes()) }, *mode),
            Self::StaleGet { key } => (Query::Get { key: Bytes::copy_from_slice(key.as_bytes()) }, ReadMode::Safe),
            Self::Range { range, limit, mode } => {
                (Query::Range { range: range.clone(), limit: *limit, max_bytes: 0 }, *mode)
            }
            _ => return None,
        })
    }

    /// The query in the form that the state machine reads.
    pub(crate) fn question(&self) -> Option<Bytes> {
        self.query().map(|(query, _)| query.encode())
    }

    /// The operation as a request; a read needs no session.
    pub(crate) fn request(&self, (session, sequence): (SessionId, u64), lowest_pending: u64) -> Request {
        if let Some((query, mode)) = self.query() {
            let query = query.encode();
            let is_stale = matches!(self, Self::StaleGet { .. });
            return if is_stale { Request::StaleQuery { query } } else { Request::Query { query, mode } };
        }
        let bytes = |text: &String| Bytes::copy_from_slice(text.as_bytes());
        let command = match self {
            Self::Put { key, value, ttl_ms } => Command::Put { key: bytes(key), value: bytes(value), ttl_ms: *ttl_ms },
            Self::Cas { key, old, new } => {
                Command::Cas { key: bytes(key), expected: old.as_ref().map(bytes), value: bytes(new) }
            }
            Self::Delete { key } => Command::Delete { key: bytes(key) },
            Self::Txn(txn) => Command::Txn(txn.clone()),
            // These are queries.
            Self::Get { .. } | Self::StaleGet { .. } | Self::Range { .. } => Command::Txn(Txn::default()),
        };
        Request::Command(SessionCommand { session, sequence, lowest_pending, command: command.encode() })
    }

    /// The line of a history; `None` if the operation concerns several keys, or may see an old state.
    fn line(self, client: u64, invoke_ns: u64) -> Option<Operation> {
        let (op, key, value) = match self {
            Self::Get { key, .. } => (Op::Get, key, OpValue::Null),
            Self::Put { key, value, .. } => (Op::Put, key, OpValue::Value(value)),
            Self::Cas { key, old, new } => (Op::Cas, key, OpValue::Cas(old, new)),
            Self::Delete { key } => (Op::Delete, key, OpValue::Null),
            Self::StaleGet { .. } | Self::Range { .. } | Self::Txn(_) => return None,
        };
        let (status, result) = (Status::Unknown, OpResult::Null);
        Some(Operation { client, op, key, value, status, result, invoke_ns, return_ns: None })
    }
}

/// The mode of the `n`-th operation of the client in slot `at`, if it is a read.
fn read_mode(reads: ClientReads, at: u64, n: u64, choices: &mut Choices) -> ReadMode {
    let by_lease = match reads {
        ClientReads::Safe => false,
        ClientReads::Lease => true,
        ClientReads::Mixed => choices.draw(MODE, at, n).chance_ppm(500_000),
    };
    if by_lease { ReadMode::Lease } else { ReadMode::Safe }
}

impl fmt::Display for ClientOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Get { key, mode: ReadMode::Safe } => write!(f, "get {key}"),
            Self::StaleGet { key } => write!(f, "get {key}, perhaps old"),
            Self::Get { key, mode: ReadMode::Lease } => write!(f, "get {key} by lease"),
            Self::Put { key, value, ttl_ms: 0 } => write!(f, "put {key} = {value}"),
            Self::Put { key, value, ttl_ms } => write!(f, "put {key} = {value} for {ttl_ms} ms"),
            Self::Cas { key, old, new } => write!(f, "cas {key} {} -> {new}", old.as_deref().unwrap_or("nothing")),
            Self::Delete { key } => write!(f, "delete {key}"),
            Self::Range { range, limit, mode } => several::show_range(f, range, *limit, *mode),
            Self::Txn(txn) => several::show_txn(f, txn),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finished {
    pub(crate) status: Status,
    client: u64,
    /// The text of the operation, if there is no history.
    label: Option<String>,
    /// The operation's line of a history, if it has one.
    pub(crate) line: Option<Operation>,
}

impl Finished {
    /// The output for its end at this time, if it has ended.
    pub(crate) fn returned(self, return_ns: Option<u64>) -> Option<ClientOutput> {
        let Some(label) = self.label else {
            return self.line.map(|line| ClientOutput::Returned(Operation { return_ns, ..line }));
        };
        let how = match self.status {
            Status::Ok => "is done",
            Status::Fail => "is surely not done",
            Status::Unknown => "may be done",
        };
        Some(ClientOutput::Ended { client: self.client, label: format!("{label}: {how}") })
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Pending {
    client: u64,
    /// Whether it becomes a line of a history.
    in_history: bool,
    invoked: SimTime,
    pub(crate) op: ClientOp,
    /// The place of a command: its session, and its number there.
    pub(crate) place: (SessionId, u64),
    pub(crate) give_up: SimTime,
    /// The attempts that had, or may yet have, an effect.
    pub(crate) open: BTreeSet<RequestId>,
}

/// The end of an operation, as its client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    status: Status,
    result: OpResult,
}

impl Ended {
    const fn ok(result: OpResult) -> Self {
        Self { status: Status::Ok, result }
    }

    pub(crate) const fn surely_not() -> Self {
        Self { status: Status::Fail, result: OpResult::Null }
    }

    const fn unknown() -> Self {
        Self { status: Status::Unknown, result: OpResult::Null }
    }
}

impl Pending {
    pub(crate) fn new(client: u64, op: ClientOp, now: SimTime, model: &ClientModel) -> Self {
        let give_up = now.after(model.give_up_after);
        let in_history = model.has_history() && !matches!(op, ClientOp::StaleGet { .. });
        Self { client, in_history, invoked: now, op, place: (SessionId(0), 0), give_up, open: BTreeSet::new() }
    }

    /// The output for its beginning.
    pub(crate) fn invoked(&self) -> ClientOutput {
        let query = if self.in_history { None } else { self.op.question() };
        let is_stale = matches!(self.op, ClientOp::StaleGet { .. });
        ClientOutput::Invoked { client: self.client, label: self.op.to_string(), query, is_stale }
    }

    /// The conclusion from an answer to one of the open attempts; `None` if the operation continues.
    pub(crate) fn answer(&mut self, id: RequestId, reply: &Reply) -> Option<Ended> {
        match reply {
            Reply::Applied { response, .. } => Some(self.applied(response)),
            Reply::Answer { response, .. } => match Answer::decode(response) {
                Some(Answer::Got { value, .. }) => {
                    Some(Ended::ok(value.map_or(OpResult::Null, |value| OpResult::Value(text(&value)))))
                }
                Some(Answer::Ranged { .. }) => Some(Ended::ok(OpResult::Null)),
                _ => Some(Ended::unknown()),
            },
            Reply::Rejected { .. } | Reply::Lost => {
                self.open.remove(&id);
                None
            }
            // This attempt had no effect and no later one can; only an earlier one may have had.
            Reply::SessionExpired => {
                self.open.remove(&id);
                Some(self.in_doubt())
            }
            // The command was applied, but no node knows its result any more.
            Reply::AlreadyAnswered => Some(Ended::unknown()),
            Reply::Unknown
            | Reply::SessionOpened { .. }
            | Reply::Watched { .. }
            | Reply::BackupBegun { .. }
            | Reply::BackupChunk { .. }
            | Reply::NoBackup
            | Reply::OtherCluster
            | Reply::ConfigurationDecided { .. }
            | Reply::LeadershipTransferred { .. }
            | Reply::TransferFailed { .. } => None,
        }
    }

    fn applied(&self, response: &Bytes) -> Ended {
        match (&self.op, Response::decode(response)) {
            (ClientOp::Put { .. }, Some(Response::Put { .. })) => Ended::ok(OpResult::Null),
            (ClientOp::Delete { .. }, Some(Response::Delete { existed, .. })) => Ended::ok(OpResult::Flag(existed)),
            (ClientOp::Cas { .. }, Some(Response::Cas { swapped, .. })) => Ended::ok(OpResult::Flag(swapped)),
            (ClientOp::Txn(_), Some(Response::Txn { .. })) => Ended::ok(OpResult::Null),
            _ => Ended::unknown(),
        }
    }

    fn in_doubt(&self) -> Ended {
        if self.open.is_empty() || self.op.is_read() { Ended::surely_not() } else { Ended::unknown() }
    }

    /// The record of it, without its end time.
    pub(crate) fn ended(self, ended: Ended) -> Finished {
        let Self { client, op, .. } = self;
        let label = (!self.in_history).then(|| op.to_string());
        let Ended { status, result } = ended;
        let line = op.line(client, self.invoked.0).map(|line| Operation { status, result, ..line });
        Finished { status, client, label, line }
    }

    /// Handles an operation that is given up: it failed only if every attempt surely had no effect.
    pub(crate) fn gave_up(self) -> Finished {
        let ended = self.in_doubt();
        self.ended(ended)
    }

    /// Handles an operation that is open when the world ends.
    pub(crate) fn never_returned(self) -> Finished {
        self.ended(Ended::unknown())
    }
}

/// Learns from an operation the current value of its key, as far as this client knows.
pub(crate) fn remember(seen: &mut BTreeMap<String, Option<String>>, operation: &Operation) {
    let now = match (operation.status, operation.op, &operation.value, &operation.result) {
        (Status::Ok, Op::Put, OpValue::Value(value), _)
        | (Status::Ok, Op::Cas, OpValue::Cas(_, value), OpResult::Flag(true))
        | (Status::Ok, Op::Get, _, OpResult::Value(value)) => Some(value.clone()),
        (Status::Ok, Op::Get | Op::Delete, ..) => None,
        _ => return,
    };
    seen.insert(operation.key.clone(), now);
}

fn text(bytes: &Bytes) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
