//! Encodes commands, queries and answers (`proto/kv.proto`) and decodes them. Bytes that cannot be decoded give `None`.
//!
//! Each type has one table for both directions: the type on the left, its form on the wire on the right.

use crate::command::{
    Answer, Command, Compare, Event, EventKind, KeyRange, KeyValue, Query, Refusal, Relation, Response, Target, Txn,
    TxnOp, TxnResult, Value, Watch,
};
use bytes::Bytes;
use prost::Message;
use raft_proto::wire::kv;

/// A type with another form on the wire. `None` means that the form is incomplete or of another version.
pub(crate) trait Wire: Sized {
    type Form;
    fn to_wire(self) -> Self::Form;
    fn from_wire(form: Self::Form) -> Option<Self>;
}

impl<T: Wire> Wire for Option<T> {
    type Form = Option<T::Form>;

    fn to_wire(self) -> Self::Form {
        self.map(T::to_wire)
    }

    fn from_wire(form: Self::Form) -> Option<Self> {
        Some(match form {
            Some(form) => Some(T::from_wire(form)?),
            None => None,
        })
    }
}

impl<T: Wire> Wire for Vec<T> {
    type Form = Vec<T::Form>;

    fn to_wire(self) -> Self::Form {
        self.into_iter().map(T::to_wire).collect()
    }

    fn from_wire(form: Self::Form) -> Option<Self> {
        form.into_iter().map(T::from_wire).collect()
    }
}

/// A message with fields. Fields after `with` have another form on the wire.
macro_rules! fields {
    ($type:ident $ours:tt = $form:ident $theirs:tt $(with $($field:ident),+)?) => {
        impl Wire for $type {
            type Form = kv::$form;

            fn to_wire(self) -> Self::Form {
                let Self $ours = self;
                $($(let $field = $field.to_wire();)+)?
                kv::$form $theirs
            }

            fn from_wire(form: Self::Form) -> Option<Self> {
                let kv::$form $theirs = form;
                $($(let $field = Wire::from_wire($field)?;)+)?
                Some(Self $ours)
            }
        }
    };
}

/// One of several kinds, one in each line, alone or in a message. The field after `with` has another form on the wire.
macro_rules! kinds {
    (
        @ $type:ident, $form:ty, $wrap:expr, $unwrap:expr, $module:ident::$kinds:ident:
        $($ours:ident $left:tt = $theirs:ident $right:tt $(with $field:ident)?;)+
    ) => {
        impl Wire for $type {
            type Form = $form;

            fn to_wire(self) -> Self::Form {
                let wrap = $wrap;
                wrap(Some(match self {
                    $(Self::$ours $left => {
                        $(let $field = $field.to_wire();)?
                        kv::$module::$kinds::$theirs $right
                    })+
                }))
            }

            fn from_wire(form: Self::Form) -> Option<Self> {
                let unwrap = $unwrap;
                Some(match unwrap(form)? {
                    $(kv::$module::$kinds::$theirs $right => {
                        $(let $field = Wire::from_wire($field)?;)?
                        Self::$ours $left
                    })+
                })
            }
        }
    };
    ($type:ident = $message:ident { $module:ident::$kinds:ident }: $($lines:tt)+) => {
        kinds! {
            @ $type, kv::$message, |kind| kv::$message { kind }, |form: kv::$message| form.kind, $module::$kinds: $($lines)+
        }
    };
    ($type:ident = $module:ident::$kinds:ident: $($lines:tt)+) => {
        kinds! { @ $type, Option<kv::$module::$kinds>, |kind| kind, |form: Self::Form| form, $module::$kinds: $($lines)+ }
    };
}

/// A type without fields, encoded as the number of an enumeration.
macro_rules! numbers {
    ($type:ident: $($name:ident),+) => {
        impl Wire for $type {
            type Form = i32;

            fn to_wire(self) -> i32 {
                match self { $(Self::$name => kv::$type::$name,)+ }.into()
            }

            fn from_wire(form: i32) -> Option<Self> {
                let form = kv::$type::try_from(form).ok()?;
                [$((kv::$type::$name, Self::$name)),+].into_iter().find_map(|(number, name)| (number == form).then_some(name))
            }
        }
    };
}

/// A whole message, encoded as bytes.
macro_rules! messages {
    ($($type:ident),+) => {
        $(impl $type {
            /// Encodes.
            pub fn encode(self) -> Bytes {
                self.to_wire().encode_to_vec().into()
            }

            /// Decodes these bytes; `None` if they are something else.
            pub fn decode(bytes: &Bytes) -> Option<Self> {
                Self::from_wire(Message::decode(bytes.clone()).ok()?)
            }
        })+
    };
}

messages!(Command, Response, Query, Answer);

kinds! { Command = KvCommand { kv_command::Kind }:
    Put { key, value, ttl_ms } = Put(kv::Put { key, value, ttl_ms });
    Delete { key } = Delete(kv::Delete { key });
    Cas { key, expected, value } = Cas(kv::Cas { key, expected, value });
    Txn(txn) = Txn(txn) with txn;
    Expire { keys } = Expire(kv::Expire { keys }) with keys;
}

kinds! { Response = KvResponse { kv_response::Kind }:
    Put { revision } = Put(kv::PutResponse { revision });
    Delete { revision, existed } = Delete(kv::DeleteResponse { revision, existed });
    Cas { swapped, revision, actual } = Cas(kv::CasResponse { swapped, revision, actual });
    Txn { succeeded, revision, results } = Txn(kv::TxnResponse { succeeded, revision, results }) with results;
    Expire { revision, removed } = Expire(kv::ExpireResponse { revision, removed });
    Refused(refusal) = Refused(refusal) with refusal;
    Malformed {} = Malformed(kv::Malformed {});
}

kinds! { Query = KvQuery { kv_query::Kind }:
    Get { key } = Get(kv::Get { key });
    Range { range: KeyRange { start, end }, limit, max_bytes } = Range(kv::Range { start, end, limit, max_bytes });
    Watch(watch) = Watch(watch) with watch;
}

kinds! { Answer = KvAnswer { kv_answer::Kind }:
    Got { value, modified_revision, revision } = Got(kv::Got { value, modified_revision, revision });
    Ranged { entries, more, revision } = Ranged(kv::Ranged { entries, more, revision }) with entries;
    Changes { events, through } = Changes(kv::Changes { events, through }) with events;
    Compacted { oldest, revision } = Compacted(kv::Compacted { oldest, revision });
    Malformed {} = Malformed(kv::Malformed {});
}

kinds! { TxnOp = TxnOp { txn_op::Kind }:
    Put { key, value, ttl_ms } = Put(kv::Put { key, value, ttl_ms });
    Delete { key } = Delete(kv::Delete { key });
    Get { key } = Get(kv::Get { key });
}

kinds! { TxnResult = TxnResult { txn_result::Kind }:
    Put {} = Put(kv::PutResult {});
    Delete { existed } = Delete(kv::DeleteResult { existed });
    Got(entry) = Get(kv::GetResult { entry }) with entry;
}

kinds! { Target = compare::Target:
    Value(value) = Value(value);
    Version(number) = Version(number);
    Created(number) = CreatedRevision(number);
    Modified(number) = ModifiedRevision(number);
}

kinds! { EventKind = kv_event::Kind:
    Put(value) = Put(value) with value;
    Delete {} = Deleted(kv::Deleted {});
    Expire {} = Expired(kv::Expired {});
}

numbers!(Relation: Equal, NotEqual, Less, Greater);
numbers!(Refusal: TooMany, DuplicateKey, AnswerTooLarge);

fields!(Txn { compares, success, failure } = Txn { compares, success, failure } with compares, success, failure);
fields!(Compare { key, relation, target } = Compare { key, relation, target } with relation, target);
fields!(Watch { range: KeyRange { start, end }, from, begun } = Watch { start, end, from, begun });
fields!(
    KeyValue { key, value: Value { data, created_revision, modified_revision, version, ttl_ms } } =
        KvEntry { key, value: data, created_revision, modified_revision, version, ttl_ms }
);
fields!(Event { key, revision, previous_revision, kind } = KvEvent { key, revision, previous_revision, kind } with kind);

impl Wire for Value {
    /// The key is not part of it.
    type Form = kv::KvEntry;

    fn to_wire(self) -> kv::KvEntry {
        KeyValue { key: Bytes::new(), value: self }.to_wire()
    }

    fn from_wire(form: kv::KvEntry) -> Option<Self> {
        KeyValue::from_wire(form).map(|entry| entry.value)
    }
}

impl Wire for (Bytes, u64) {
    type Form = kv::Expiry;

    fn to_wire(self) -> kv::Expiry {
        kv::Expiry { key: self.0, modified_revision: self.1 }
    }

    fn from_wire(form: kv::Expiry) -> Option<Self> {
        Some((form.key, form.modified_revision))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> KeyValue {
        let value = Value { data: "v".into(), created_revision: 1, modified_revision: 3, version: 2, ttl_ms: 10 };
        KeyValue { key: "k".into(), value }
    }

    #[test]
    fn everything_reads_back() {
        let put = TxnOp::Put { key: "k".into(), value: "v".into(), ttl_ms: 1 };
        let relations = [Relation::Equal, Relation::NotEqual, Relation::Less, Relation::Greater];
        let targets = [Target::Value("v".into()), Target::Version(1), Target::Created(2), Target::Modified(3)];
        let compares = relations.into_iter().zip(targets);
        let compares = compares.map(|(relation, target)| Compare { key: "k".into(), relation, target }).collect();
        let success = vec![put, TxnOp::Delete { key: "d".into() }];
        let txn = Txn { compares, success, failure: vec![TxnOp::Get { key: "g".into() }] };
        let commands = [
            Command::Put { key: "k".into(), value: "".into(), ttl_ms: u64::MAX },
            Command::Txn(txn),
            Command::Txn(Txn::default()),
            Command::Expire { keys: vec![("k".into(), 1), ("".into(), 2)] },
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
        let range = KeyRange { start: "a".into(), end: Some("".into()) };
        let watch = Watch { range: KeyRange::default(), from: 7, begun: true };
        for query in [Query::Range { range, limit: 1, max_bytes: 2 }, Query::Watch(watch)] {
            assert_eq!(Query::decode(&query.clone().encode()), Some(query));
        }
        let event = |kind| Event { key: "k".into(), revision: 3, previous_revision: 1, kind };
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
            let compare = kv::Compare { key: "k".into(), relation, target };
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
