//! The map as bytes and back (`raft.kv.v1.KvSnapshot` in `proto/kv.proto`): its part of a snapshot.
//!
//! Any bytes are legal here: what is not exactly what a map would have written is refused, and the map stays what it was.

use crate::map::{KvMap, Value};
use bytes::Bytes;
use prost::Message;
use raft_node::SnapshotError;
use raft_proto::wire::kv;

/// The version that is written, and the only one that is read.
const FORMAT: u32 = 1;

/// The whole map. Equal maps give equal bytes.
pub(crate) fn encode(map: &KvMap) -> Bytes {
    let entry = |(key, value): (&Bytes, &Value)| kv::KvEntry {
        key: key.clone(),
        value: value.data.clone(),
        created_revision: value.created_revision,
        modified_revision: value.modified_revision,
    };
    let entries = map.iter().map(entry).collect();
    kv::KvSnapshot { format: FORMAT, revision: map.revision(), entries }.encode_to_vec().into()
}

/// The map that these bytes were made of, revisions and all.
pub(crate) fn decode(bytes: &Bytes) -> Result<KvMap, SnapshotError> {
    let malformed = |problem: String| Err(SnapshotError::Malformed(problem));
    let snapshot = match kv::KvSnapshot::decode(bytes.clone()) {
        Ok(snapshot) => snapshot,
        Err(error) => return malformed(error.to_string()),
    };
    if snapshot.format != FORMAT {
        return Err(SnapshotError::UnknownFormat { found: snapshot.format });
    }
    if !snapshot.entries.is_sorted_by(|a, b| a.key < b.key) {
        return malformed("KvSnapshot.entries does not ascend strictly by key".to_owned());
    }
    let revision = snapshot.revision;
    let in_order = |entry: &&kv::KvEntry| {
        let (created, modified) = (entry.created_revision, entry.modified_revision);
        1 <= created && created <= modified && modified <= revision
    };
    if let Some(wrong) = snapshot.entries.iter().find(|entry| !in_order(entry)) {
        let (created, modified) = (wrong.created_revision, wrong.modified_revision);
        return malformed(format!(
            "KvEntry: created {created}, modified {modified}, and the map's revision is {revision}"
        ));
    }
    let entries = snapshot.entries.into_iter().map(|entry| {
        let kv::KvEntry { key, value, created_revision, modified_revision } = entry;
        // Copies of their own: slices would keep the whole snapshot in memory, for as long as one key is never changed.
        let data = Bytes::copy_from_slice(&value);
        (Bytes::copy_from_slice(&key), Value { data, created_revision, modified_revision })
    });
    Ok(KvMap::from_parts(entries.collect(), revision))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use raft_node::StateMachine;

    fn map() -> KvMap {
        let mut map = KvMap::new();
        map.put(b"b", b"1");
        map.put(b"a", b"");
        map.put(b"gone", b"x");
        assert!(map.delete(b"gone"));
        map.put(b"b", b"2");
        map
    }

    #[test]
    fn the_bytes_stay_what_they_are() {
        let golden = b"\x08\x01\x10\x05\x1a\x07\x0a\x01a\x18\x02\x20\x02\x1a\x0a\x0a\x01b\x12\x012\x18\x01\x20\x05";
        assert_eq!(map().snapshot(), Bytes::from_static(golden));
        assert_eq!(KvMap::new().snapshot(), Bytes::from_static(b"\x08\x01"));
    }

    #[test]
    fn what_a_map_would_not_write_is_refused_and_changes_nothing() {
        let entry = |key: &'static [u8], created_revision, modified_revision| kv::KvEntry {
            key: Bytes::from_static(key),
            value: Bytes::new(),
            created_revision,
            modified_revision,
        };
        let table = [
            (1, vec![entry(b"b", 1, 1), entry(b"a", 2, 2)], "ascend"),
            (1, vec![entry(b"a", 1, 1), entry(b"a", 2, 2)], "ascend"),
            (1, vec![entry(b"a", 0, 1)], "created 0"),
            (1, vec![entry(b"a", 2, 1)], "created 2"),
            (1, vec![entry(b"a", 1, 4)], "modified 4"),
            (0, vec![], "format 0"),
            (2, vec![entry(b"a", 1, 1)], "format 2"),
        ];
        for (format, entries, words) in table {
            let bytes = kv::KvSnapshot { format, revision: 3, entries }.encode_to_vec().into();
            let mut restored = map();
            let error = restored.restore(&bytes).expect_err(words);
            assert!(error.to_string().contains(words), "{error}");
            assert_eq!(restored, map());
        }
        assert!(matches!(map().restore(&Bytes::from_static(b"\xff")), Err(SnapshotError::Malformed(_))));
        assert!(map().restore(&Bytes::new()).is_err(), "nothing is not the empty map");
    }

    proptest! {
        #[test]
        fn a_map_comes_back_whole(changes in proptest::collection::vec((0..6u8, 0..3u8, any::<bool>()), 0..40)) {
            let mut map = KvMap::new();
            for (key, value, is_put) in changes {
                if is_put {
                    map.put(&[key], &[value]);
                } else {
                    map.delete(&[key]);
                }
            }
            let mut restored = KvMap::new();
            restored.put(b"before", b"gone");
            prop_assert_eq!(restored.restore(&map.snapshot()), Ok(()));
            prop_assert_eq!(restored.state_hash(), map.state_hash());
            prop_assert_eq!(restored, map);
        }

        #[test]
        fn any_bytes_are_restored_or_refused(
            garbage in proptest::collection::vec(any::<u8>(), 0..64), place in any::<prop::sample::Index>(), byte: u8,
        ) {
            let mut mutated = map().snapshot().to_vec();
            let place = place.index(mutated.len());
            mutated[place] = byte;
            let cut = mutated[..place].to_vec();
            for bytes in [garbage, mutated, cut] {
                let mut restored = map();
                match restored.restore(&Bytes::from(bytes)) {
                    Ok(()) => {
                        let mut again = KvMap::new();
                        prop_assert_eq!(again.restore(&restored.snapshot()), Ok(()));
                        prop_assert_eq!(again, restored);
                    }
                    Err(_) => prop_assert_eq!(restored, map()),
                }
            }
        }
    }
}
