//! Commands, queries and their answers, as values and as bytes (`proto/kv.proto`), and the map as a state machine.
//!
//! Any bytes are legal here: what cannot be read is answered `Malformed` and changes nothing, the same on every node.

use crate::map::KvMap;
use crate::snapshot;
use bytes::Bytes;
use prost::Message;
use raft_core::EntryId;
use raft_node::{SnapshotError, StateMachine};
use raft_proto::wire::kv;

/// A change to the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Set a key.
    Put {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Remove a key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Compare and swap: set a key if it has the expected value.
    Cas {
        /// The key.
        key: Bytes,
        /// The expected value; none: the key must not be there.
        expected: Option<Bytes>,
        /// The value to set.
        value: Bytes,
    },
}

/// The answer to a [`Command`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// The key is set.
    Put {
        /// The map's revision after it.
        revision: u64,
    },
    /// The key is not there any more.
    Delete {
        /// The map's revision after it.
        revision: u64,
        /// Whether it was there.
        existed: bool,
    },
    /// The values were compared.
    Cas {
        /// Whether the key had the expected value and was set.
        swapped: bool,
        /// The map's revision after it.
        revision: u64,
        /// The value found; none: the key was not there.
        actual: Option<Bytes>,
    },
    /// The command could not be read; nothing changed.
    Malformed,
}

/// A question about the map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The value of a key.
    Get {
        /// The key.
        key: Bytes,
    },
}

/// The answer to a [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The value of a key.
    Got {
        /// The value; none: the key is not there.
        value: Option<Bytes>,
        /// The revision of the key's last change; 0 if it is not there.
        modified_revision: u64,
        /// The map's revision.
        revision: u64,
    },
    /// The query could not be read.
    Malformed,
}

impl Command {
    /// As bytes.
    pub fn encode(self) -> Bytes {
        use kv::kv_command::Kind;
        let kind = match self {
            Self::Put { key, value } => Kind::Put(kv::Put { key, value }),
            Self::Delete { key } => Kind::Delete(kv::Delete { key }),
            Self::Cas { key, expected, value } => Kind::Cas(kv::Cas { key, expected, value }),
        };
        kv::KvCommand { kind: Some(kind) }.encode_to_vec().into()
    }

    /// From bytes; none if they are no command.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_command::Kind;
        Some(match kv::KvCommand::decode(bytes.clone()).ok()?.kind? {
            Kind::Put(kv::Put { key, value }) => Self::Put { key, value },
            Kind::Delete(kv::Delete { key }) => Self::Delete { key },
            Kind::Cas(kv::Cas { key, expected, value }) => Self::Cas { key, expected, value },
        })
    }
}

impl Response {
    /// As bytes.
    pub fn encode(self) -> Bytes {
        use kv::kv_response::Kind;
        let kind = match self {
            Self::Put { revision } => Kind::Put(kv::PutResponse { revision }),
            Self::Delete { revision, existed } => Kind::Delete(kv::DeleteResponse { revision, existed }),
            Self::Cas { swapped, revision, actual } => Kind::Cas(kv::CasResponse { swapped, revision, actual }),
            Self::Malformed => Kind::Malformed(kv::Malformed {}),
        };
        kv::KvResponse { kind: Some(kind) }.encode_to_vec().into()
    }

    /// From bytes; none if they are no response.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_response::Kind;
        Some(match kv::KvResponse::decode(bytes.clone()).ok()?.kind? {
            Kind::Put(kv::PutResponse { revision }) => Self::Put { revision },
            Kind::Delete(kv::DeleteResponse { revision, existed }) => Self::Delete { revision, existed },
            Kind::Cas(kv::CasResponse { swapped, revision, actual }) => Self::Cas { swapped, revision, actual },
            Kind::Malformed(kv::Malformed {}) => Self::Malformed,
        })
    }
}

impl Query {
    /// As bytes.
    pub fn encode(self) -> Bytes {
        let Self::Get { key } = self;
        kv::KvQuery { kind: Some(kv::kv_query::Kind::Get(kv::Get { key })) }.encode_to_vec().into()
    }

    /// From bytes; none if they are no query.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let kv::kv_query::Kind::Get(kv::Get { key }) = kv::KvQuery::decode(bytes.clone()).ok()?.kind?;
        Some(Self::Get { key })
    }
}

impl Answer {
    /// As bytes.
    pub fn encode(self) -> Bytes {
        use kv::kv_answer::Kind;
        let kind = match self {
            Self::Got { value, modified_revision, revision } => {
                Kind::Got(kv::Got { value, modified_revision, revision })
            }
            Self::Malformed => Kind::Malformed(kv::Malformed {}),
        };
        kv::KvAnswer { kind: Some(kind) }.encode_to_vec().into()
    }

    /// From bytes; none if they are no answer.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use kv::kv_answer::Kind;
        Some(match kv::KvAnswer::decode(bytes.clone()).ok()?.kind? {
            Kind::Got(kv::Got { value, modified_revision, revision }) => {
                Self::Got { value, modified_revision, revision }
            }
            Kind::Malformed(kv::Malformed {}) => Self::Malformed,
        })
    }
}

impl StateMachine for KvMap {
    fn apply(&mut self, _entry: EntryId, command: &Bytes) -> Bytes {
        let response = match Command::decode(command) {
            Some(Command::Put { key, value }) => {
                self.put(&key, &value);
                Response::Put { revision: self.revision() }
            }
            Some(Command::Delete { key }) => {
                let existed = self.delete(&key);
                Response::Delete { revision: self.revision(), existed }
            }
            Some(Command::Cas { key, expected, value }) => {
                let actual = self.get(&key).map(|value| value.data.clone());
                let swapped = self.compare_and_swap(&key, expected.as_deref(), &value);
                Response::Cas { swapped, revision: self.revision(), actual }
            }
            None => Response::Malformed,
        };
        response.encode()
    }

    fn query(&self, query: &Bytes) -> Bytes {
        let answer = match Query::decode(query) {
            Some(Query::Get { key }) => {
                let found = self.get(&key);
                Answer::Got {
                    value: found.map(|value| value.data.clone()),
                    modified_revision: found.map_or(0, |value| value.modified_revision),
                    revision: self.revision(),
                }
            }
            None => Answer::Malformed,
        };
        answer.encode()
    }

    fn state_hash(&self) -> u128 {
        KvMap::state_hash(self)
    }

    fn snapshot(&self) -> Bytes {
        snapshot::encode(self)
    }

    fn restore(&mut self, snapshot: &Bytes) -> Result<(), SnapshotError> {
        *self = snapshot::decode(snapshot)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn apply(map: &mut KvMap, command: Command) -> Option<Response> {
        Response::decode(&map.apply(EntryId::new(1, 1), &command.encode()))
    }

    fn get(map: &KvMap, key: &'static str) -> Option<Answer> {
        Answer::decode(&map.query(&Query::Get { key: bytes(key) }.encode()))
    }

    #[test]
    fn commands_are_carried_out_and_answered() {
        let mut map = KvMap::new();
        let cas = |expected: Option<&'static str>, value| Command::Cas {
            key: bytes("k"),
            expected: expected.map(bytes),
            value: bytes(value),
        };
        let steps = [
            (Command::Put { key: bytes("k"), value: bytes("a") }, Response::Put { revision: 1 }),
            (cas(None, "b"), Response::Cas { swapped: false, revision: 1, actual: Some(bytes("a")) }),
            (cas(Some("a"), ""), Response::Cas { swapped: true, revision: 2, actual: Some(bytes("a")) }),
            (cas(None, "c"), Response::Cas { swapped: false, revision: 2, actual: Some(bytes("")) }),
            (Command::Delete { key: bytes("k") }, Response::Delete { revision: 3, existed: true }),
            (Command::Delete { key: bytes("k") }, Response::Delete { revision: 3, existed: false }),
            (cas(Some(""), "d"), Response::Cas { swapped: false, revision: 3, actual: None }),
            (cas(None, "e"), Response::Cas { swapped: true, revision: 4, actual: None }),
        ];
        for (command, expected) in steps {
            assert_eq!(apply(&mut map, command.clone()), Some(expected), "{command:?}");
        }
        let here = Answer::Got { value: Some(bytes("e")), modified_revision: 4, revision: 4 };
        assert_eq!(get(&map, "k"), Some(here));
        assert_eq!(get(&map, "gone"), Some(Answer::Got { value: None, modified_revision: 0, revision: 4 }));
    }

    #[test]
    fn malformed_bytes_change_nothing_and_are_answered() {
        let mut map = KvMap::new();
        map.put(b"k", b"v");
        let before = map.clone();
        for garbage in [&b""[..], b"\xff", b"\x0a\x7f", b"garbage"] {
            let garbage = Bytes::from_static(garbage);
            let response = map.apply(EntryId::new(1, 1), &garbage);
            assert_eq!(Response::decode(&response), Some(Response::Malformed), "{garbage:?}");
            assert_eq!(Answer::decode(&map.query(&garbage)), Some(Answer::Malformed), "{garbage:?}");
        }
        assert_eq!(map, before);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(garbage in proptest::collection::vec(any::<u8>(), 0..64)) {
            let garbage = Bytes::from(garbage);
            let mut map = KvMap::new();
            prop_assert!(Response::decode(&map.apply(EntryId::new(1, 1), &garbage)).is_some());
            prop_assert!(Answer::decode(&map.query(&garbage)).is_some());
            let _ = (Response::decode(&garbage), Answer::decode(&garbage));
        }
    }
}
