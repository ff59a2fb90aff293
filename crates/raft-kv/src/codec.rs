//! Encodes commands, queries and answers (`proto/kv.proto`) and decodes them. Bytes that cannot be decoded give none.

use crate::command::{
    Answer, Command, Compare, Event, EventKind, KeyRange, KeyValue, Query, Refusal, Relation, Response, Target, Txn,
    TxnOp, TxnResult, Value, Watch,
};
use bytes::Bytes;
use prost::Message;
use raft_proto::wire::kv;

impl Command {
    /// Encodes.
    pub fn encode(self) -> Bytes {
        use kv::kv_command::Kind;
        let kind = match self {
            Self::Put { key, value, ttl_ms } => Kind::Put(kv::Put { key, value, ttl_ms }),
            Self::Delete { key } => Kind::Delete(kv::Delete { key }),
            Self::Cas { key, expected, value } => Kind::Cas(kv::Cas { key, expected, value }),
            Self::Txn(txn) => Kind::Txn(txn_to_wire(txn)),
            Self::Expire { keys } => {
                let expiry = |(key, modified_revision)| kv::Expiry { key, modified_revision };
                Kind::Expire(kv::Expire { keys: keys.into_iter().map(expiry).collect() })
            }
        };
        kv::KvCommand { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes; none if these bytes are not a command.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_command::Kind;
        Some(match kv::KvCommand::decode(bytes.clone()).ok()?.kind? {
            Kind::Put(kv::Put { key, value, ttl_ms }) => Self::Put { key, value, ttl_ms },
            Kind::Delete(kv::Delete { key }) => Self::Delete { key },
            Kind::Cas(kv::Cas { key, expected, value }) => Self::Cas { key, expected, value },
            Kind::Txn(txn) => Self::Txn(txn_from_wire(txn)?),
            Kind::Expire(expire) => {
                let key = |expiry: kv::Expiry| (expiry.key, expiry.modified_revision);
                Self::Expire { keys: expire.keys.into_iter().map(key).collect() }
            }
        })
    }
}

fn txn_to_wire(txn: Txn) -> kv::Txn {
    use kv::compare::Target as T;
    use kv::txn_op::Kind;
    let compare = |compare: Compare| {
        let relation = match compare.relation {
            Relation::Equal => kv::Relation::Equal,
            Relation::NotEqual => kv::Relation::NotEqual,
            Relation::Less => kv::Relation::Less,
            Relation::Greater => kv::Relation::Greater,
        };
        let target = match compare.target {
            Target::Value(value) => T::Value(value),
            Target::Version(number) => T::Version(number),
            Target::Created(number) => T::CreatedRevision(number),
            Target::Modified(number) => T::ModifiedRevision(number),
        };
        kv::Compare { key: compare.key, relation: relation.into(), target: Some(target) }
    };
    let op = |op| {
        let kind = match op {
            TxnOp::Put { key, value, ttl_ms } => Kind::Put(kv::Put { key, value, ttl_ms }),
            TxnOp::Delete { key } => Kind::Delete(kv::Delete { key }),
            TxnOp::Get { key } => Kind::Get(kv::Get { key }),
        };
        kv::TxnOp { kind: Some(kind) }
    };
    kv::Txn {
        compares: txn.compares.into_iter().map(compare).collect(),
        success: txn.success.into_iter().map(op).collect(),
        failure: txn.failure.into_iter().map(op).collect(),
    }
}

fn txn_from_wire(txn: kv::Txn) -> Option<Txn> {
    use kv::compare::Target as T;
    use kv::txn_op::Kind;
    let compare = |compare: kv::Compare| {
        let relation = match kv::Relation::try_from(compare.relation).ok()? {
            kv::Relation::Equal => Relation::Equal,
            kv::Relation::NotEqual => Relation::NotEqual,
            kv::Relation::Less => Relation::Less,
            kv::Relation::Greater => Relation::Greater,
        };
        let target = match compare.target? {
            T::Value(value) => Target::Value(value),
            T::Version(number) => Target::Version(number),
            T::CreatedRevision(number) => Target::Created(number),
            T::ModifiedRevision(number) => Target::Modified(number),
        };
        Some(Compare { key: compare.key, relation, target })
    };
    let op = |op: kv::TxnOp| {
        Some(match op.kind? {
            Kind::Put(kv::Put { key, value, ttl_ms }) => TxnOp::Put { key, value, ttl_ms },
            Kind::Delete(kv::Delete { key }) => TxnOp::Delete { key },
            Kind::Get(kv::Get { key }) => TxnOp::Get { key },
        })
    };
    Some(Txn {
        compares: txn.compares.into_iter().map(compare).collect::<Option<_>>()?,
        success: txn.success.into_iter().map(op).collect::<Option<_>>()?,
        failure: txn.failure.into_iter().map(op).collect::<Option<_>>()?,
    })
}

impl Response {
    /// Encodes.
    pub fn encode(self) -> Bytes {
        use kv::kv_response::Kind;
        let kind = match self {
            Self::Put { revision } => Kind::Put(kv::PutResponse { revision }),
            Self::Delete { revision, existed } => Kind::Delete(kv::DeleteResponse { revision, existed }),
            Self::Cas { swapped, revision, actual } => Kind::Cas(kv::CasResponse { swapped, revision, actual }),
            Self::Txn { succeeded, revision, results } => {
                let results = results.into_iter().map(result_to_wire).collect();
                Kind::Txn(kv::TxnResponse { succeeded, revision, results })
            }
            Self::Expire { revision, removed } => Kind::Expire(kv::ExpireResponse { revision, removed }),
            Self::Refused(refusal) => Kind::Refused(
                match refusal {
                    Refusal::TooMany => kv::Refusal::TooMany,
                    Refusal::DuplicateKey => kv::Refusal::DuplicateKey,
                    Refusal::AnswerTooLarge => kv::Refusal::AnswerTooLarge,
                }
                .into(),
            ),
            Self::Malformed => Kind::Malformed(kv::Malformed {}),
        };
        kv::KvResponse { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes; none if these bytes are not a response.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_response::Kind;
        Some(match kv::KvResponse::decode(bytes.clone()).ok()?.kind? {
            Kind::Put(kv::PutResponse { revision }) => Self::Put { revision },
            Kind::Delete(kv::DeleteResponse { revision, existed }) => Self::Delete { revision, existed },
            Kind::Cas(kv::CasResponse { swapped, revision, actual }) => Self::Cas { swapped, revision, actual },
            Kind::Txn(kv::TxnResponse { succeeded, revision, results }) => {
                let results = results.into_iter().map(result_from_wire).collect::<Option<_>>()?;
                Self::Txn { succeeded, revision, results }
            }
            Kind::Expire(kv::ExpireResponse { revision, removed }) => Self::Expire { revision, removed },
            Kind::Refused(refusal) => Self::Refused(match kv::Refusal::try_from(refusal).ok()? {
                kv::Refusal::TooMany => Refusal::TooMany,
                kv::Refusal::DuplicateKey => Refusal::DuplicateKey,
                kv::Refusal::AnswerTooLarge => Refusal::AnswerTooLarge,
                kv::Refusal::Unspecified => return None,
            }),
            Kind::Malformed(kv::Malformed {}) => Self::Malformed,
        })
    }
}

fn result_to_wire(result: TxnResult) -> kv::TxnResult {
    use kv::txn_result::Kind;
    let kind = match result {
        TxnResult::Put => Kind::Put(kv::PutResult {}),
        TxnResult::Delete { existed } => Kind::Delete(kv::DeleteResult { existed }),
        TxnResult::Got(read) => Kind::Get(kv::GetResult { entry: read.map(entry_to_wire) }),
    };
    kv::TxnResult { kind: Some(kind) }
}

fn result_from_wire(result: kv::TxnResult) -> Option<TxnResult> {
    use kv::txn_result::Kind;
    Some(match result.kind? {
        Kind::Put(kv::PutResult {}) => TxnResult::Put,
        Kind::Delete(kv::DeleteResult { existed }) => TxnResult::Delete { existed },
        Kind::Get(kv::GetResult { entry }) => TxnResult::Got(entry.map(entry_from_wire)),
    })
}

impl Query {
    /// Encodes.
    pub fn encode(self) -> Bytes {
        use kv::kv_query::Kind;
        let kind = match self {
            Self::Get { key } => Kind::Get(kv::Get { key }),
            Self::Range { range: KeyRange { start, end }, limit, max_bytes } => {
                Kind::Range(kv::Range { start, end, limit, max_bytes })
            }
            Self::Watch(Watch { range: KeyRange { start, end }, from, begun }) => {
                Kind::Watch(kv::Watch { start, end, from, begun })
            }
        };
        kv::KvQuery { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes; none if these bytes are not a query.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_query::Kind;
        Some(match kv::KvQuery::decode(bytes.clone()).ok()?.kind? {
            Kind::Get(kv::Get { key }) => Self::Get { key },
            Kind::Range(kv::Range { start, end, limit, max_bytes }) => {
                Self::Range { range: KeyRange { start, end }, limit, max_bytes }
            }
            Kind::Watch(kv::Watch { start, end, from, begun }) => {
                Self::Watch(Watch { range: KeyRange { start, end }, from, begun })
            }
        })
    }
}

impl Answer {
    /// Encodes.
    pub fn encode(self) -> Bytes {
        use kv::kv_answer::Kind;
        let kind = match self {
            Self::Got { value, modified_revision, revision } => {
                Kind::Got(kv::Got { value, modified_revision, revision })
            }
            Self::Ranged { entries, more, revision } => {
                let entries = entries.into_iter().map(entry_to_wire).collect();
                Kind::Ranged(kv::Ranged { entries, more, revision })
            }
            Self::Changes { events, through } => {
                Kind::Changes(kv::Changes { events: events.into_iter().map(event_to_wire).collect(), through })
            }
            Self::Compacted { oldest, revision } => Kind::Compacted(kv::Compacted { oldest, revision }),
            Self::Malformed => Kind::Malformed(kv::Malformed {}),
        };
        kv::KvAnswer { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes; none if these bytes are not an answer.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_answer::Kind;
        Some(match kv::KvAnswer::decode(bytes.clone()).ok()?.kind? {
            Kind::Got(kv::Got { value, modified_revision, revision }) => {
                Self::Got { value, modified_revision, revision }
            }
            Kind::Ranged(kv::Ranged { entries, more, revision }) => {
                Self::Ranged { entries: entries.into_iter().map(entry_from_wire).collect(), more, revision }
            }
            Kind::Changes(kv::Changes { events, through }) => {
                Self::Changes { events: events.into_iter().map(event_from_wire).collect::<Option<_>>()?, through }
            }
            Kind::Compacted(kv::Compacted { oldest, revision }) => Self::Compacted { oldest, revision },
            Kind::Malformed(kv::Malformed {}) => Self::Malformed,
        })
    }
}

pub(crate) fn entry_to_wire(KeyValue { key, value }: KeyValue) -> kv::KvEntry {
    let Value { data, created_revision, modified_revision, version, ttl_ms } = value;
    kv::KvEntry { key, value: data, created_revision, modified_revision, version, ttl_ms }
}

pub(crate) fn entry_from_wire(entry: kv::KvEntry) -> KeyValue {
    let kv::KvEntry { key, value: data, created_revision, modified_revision, version, ttl_ms } = entry;
    KeyValue { key, value: Value { data, created_revision, modified_revision, version, ttl_ms } }
}

pub(crate) fn event_to_wire(event: Event) -> kv::KvEvent {
    use kv::kv_event::Kind;
    let Event { key, revision, previous_revision, kind } = event;
    let kind = match kind {
        EventKind::Put(value) => Kind::Put(entry_to_wire(KeyValue { key: Bytes::new(), value })),
        EventKind::Delete => Kind::Deleted(kv::Deleted {}),
        EventKind::Expire => Kind::Expired(kv::Expired {}),
    };
    kv::KvEvent { key, revision, previous_revision, kind: Some(kind) }
}

/// None if it has no kind.
pub(crate) fn event_from_wire(event: kv::KvEvent) -> Option<Event> {
    use kv::kv_event::Kind;
    let kv::KvEvent { key, revision, previous_revision, kind } = event;
    let kind = match kind? {
        Kind::Put(entry) => EventKind::Put(entry_from_wire(entry).value),
        Kind::Deleted(kv::Deleted {}) => EventKind::Delete,
        Kind::Expired(kv::Expired {}) => EventKind::Expire,
    };
    Some(Event { key, revision, previous_revision, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn entry() -> KeyValue {
        let value = Value { data: bytes("v"), created_revision: 1, modified_revision: 3, version: 2, ttl_ms: 10 };
        KeyValue { key: bytes("k"), value }
    }

    #[test]
    fn everything_reads_back() {
        let put = TxnOp::Put { key: bytes("k"), value: bytes("v"), ttl_ms: 1 };
        let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
        let targets = [Target::Value(bytes("v")), Target::Version(1), Target::Created(2), Target::Modified(3)];
        let compares = relations.into_iter().zip(targets);
        let compares = compares.map(|(relation, target)| Compare { key: bytes("k"), relation, target }).collect();
        let success = vec![put, TxnOp::Delete { key: bytes("d") }];
        let txn = Txn { compares, success, failure: vec![TxnOp::Get { key: bytes("g") }] };
        let commands = [
            Command::Put { key: bytes("k"), value: bytes(""), ttl_ms: u64::MAX },
            Command::Txn(txn),
            Command::Txn(Txn::default()),
            Command::Expire { keys: vec![(bytes("k"), 1), (bytes(""), 2)] },
        ];
        for command in commands {
            assert_eq!(Command::decode(&command.clone().encode()), Some(command));
        }
        let results = vec![
            TxnResult::Put,
            TxnResult::Delete { existed: true },
            TxnResult::Got(None),
            TxnResult::Got(Some(entry())),
        ];
        let refusals = [Refusal::TooMany, Refusal::DuplicateKey, Refusal::AnswerTooLarge].map(Response::Refused);
        let txn = Response::Txn { succeeded: true, revision: 3, results };
        for response in refusals.into_iter().chain([txn, Response::Expire { revision: 1, removed: 2 }]) {
            assert_eq!(Response::decode(&response.clone().encode()), Some(response));
        }
        let range = KeyRange { start: bytes("a"), end: Some(bytes("")) };
        let watch = Watch { range: KeyRange::default(), from: 7, begun: true };
        for query in [Query::Range { range, limit: 1, max_bytes: 2 }, Query::Watch(watch)] {
            assert_eq!(Query::decode(&query.clone().encode()), Some(query));
        }
        let event = |kind| Event { key: bytes("k"), revision: 3, previous_revision: 1, kind };
        let events = vec![event(EventKind::Put(entry().value)), event(EventKind::Delete), event(EventKind::Expire)];
        let answers = [
            Answer::Ranged { entries: vec![entry()], more: true, revision: 4 },
            Answer::Changes { events, through: 4 },
            Answer::Compacted { oldest: 2, revision: 4 },
        ];
        for answer in answers {
            assert_eq!(Answer::decode(&answer.clone().encode()), Some(answer));
        }
    }

    #[test]
    fn an_unknown_part_makes_the_whole_command_malformed() {
        let unknown = |relation, target| {
            let compare = kv::Compare { key: bytes("k"), relation, target };
            let txn = kv::Txn { compares: vec![compare], ..kv::Txn::default() };
            kv::KvCommand { kind: Some(kv::kv_command::Kind::Txn(txn)) }.encode_to_vec().into()
        };
        let version = Some(kv::compare::Target::Version(1));
        assert!(Command::decode(&unknown(3, version.clone())).is_some());
        assert_eq!(Command::decode(&unknown(4, version)), None, "a relation of another version");
        assert_eq!(Command::decode(&unknown(0, None)), None, "no target");
        let txn = kv::Txn { success: vec![kv::TxnOp { kind: None }], ..kv::Txn::default() };
        let nothing = kv::KvCommand { kind: Some(kv::kv_command::Kind::Txn(txn)) };
        assert_eq!(Command::decode(&nothing.encode_to_vec().into()), None, "an operation without a kind");
    }
}
