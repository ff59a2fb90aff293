//! Golden bytes, every kind of malformed snapshot, and arbitrary bytes.

use super::*;
use proptest::prelude::*;
use raft_node::StateMachine;

fn map() -> KvMap {
    let mut map = KvMap::with_limits(WindowLimits { events: 3, bytes: 1 << 20 });
    map.put(b"b", b"1");
    map.put_for(b"a", b"", 9);
    map.put(b"gone", b"x");
    assert!(map.delete(b"gone"));
    map.put(b"b", b"2");
    map
}

/// The snapshot in chunks of this many bytes.
fn whole(map: &KvMap, chunk: usize) -> Bytes {
    let (mut source, mut bytes) = (map.snapshot(), Vec::new());
    while let Some(part) = source.next_chunk(chunk) {
        assert!(!part.is_empty() && part.len() <= chunk.max(1), "{} bytes", part.len());
        bytes.extend(part);
    }
    assert_eq!(source.next_chunk(chunk), None, "that was all");
    bytes.into()
}

fn restored(bytes: &Bytes) -> Result<KvMap, String> {
    decode(bytes, map().window().limits()).map_err(|error| error.to_string())
}

/// The bytes of these fields with their checksum.
fn sealed(snapshot: &kv::KvSnapshot) -> Bytes {
    with_sum(snapshot.encode_to_vec())
}

fn with_sum(mut bytes: Vec<u8>) -> Bytes {
    let sum = xxh3_64(&bytes);
    bytes.push(TAG_CHECKSUM);
    bytes.extend(sum.to_le_bytes());
    bytes.into()
}

#[test]
fn the_bytes_stay_what_they_are() {
    let golden = b"\x08\x02\x10\x05\
        \x1a\x0b\x0a\x01a\x18\x02\x20\x02\x28\x01\x30\x09\
        \x1a\x0c\x0a\x01b\x12\x012\x18\x01\x20\x05\x28\x02\
        \x22\x15\x0a\x13\x0a\x04gone\x10\x03\x22\x09\x12\x01x\x18\x03\x20\x03\x28\x01\
        \x22\x0e\x0a\x0c\x0a\x04gone\x10\x04\x18\x03\x2a\x00\
        \x22\x14\x0a\x12\x0a\x01b\x10\x05\x18\x01\x22\x09\x12\x012\x18\x01\x20\x05\x28\x02";
    assert_eq!(whole(&map(), 1 << 20), with_sum(golden.to_vec()));
    assert_eq!(whole(&KvMap::new(), 1 << 20), with_sum(b"\x08\x02".to_vec()));
    assert_eq!(whole(&map(), 1 << 20)[golden.len()..], *b"\x29\x1c\xd6\x22\x54\xeb\x4d\x68\x1d", "the checksum, too");
}

#[test]
fn however_it_is_cut_the_bytes_are_the_same_and_what_changes_meanwhile_is_not_in_them() {
    let mut map = map();
    map.put(b"large", &vec![7; 1_000]);
    let all = whole(&map, usize::MAX);
    for chunk in [0, 1, 2, 7, 64, 999, all.len(), all.len() + 1] {
        assert_eq!(whole(&map, chunk), all, "{chunk}");
    }
    let mut source = map.snapshot();
    let mut bytes = source.next_chunk(30).expect("it has begun").to_vec();
    map.put(b"b", b"3");
    map.delete(b"large");
    while let Some(chunk) = source.next_chunk(30) {
        bytes.extend(chunk);
    }
    assert_eq!(Bytes::from(bytes), all);
}

#[test]
fn what_a_map_would_not_write_is_refused_and_changes_nothing() {
    let value = |created, modified, version| Value {
        data: Bytes::new(),
        created_revision: created,
        modified_revision: modified,
        version,
        ttl_ms: 0,
    };
    let entry = |key: &'static [u8], created, modified, version| {
        KeyValue { key: Bytes::from_static(key), value: value(created, modified, version) }.to_wire()
    };
    let event = |key: &'static [u8], revision, previous_revision, kind| {
        Event { key: Bytes::from_static(key), revision, previous_revision, kind }.to_wire()
    };
    let delete = |revision, previous| event(b"k", revision, previous, EventKind::Delete);
    let at = |events| kv::KvRevision { events };
    let good = || vec![at(vec![delete(3, 2)])];
    let unsaid = kv::KvEvent { revision: 3, previous_revision: 2, ..kv::KvEvent::default() };
    let table = [
        (vec![entry(b"b", 1, 1, 1), entry(b"a", 2, 2, 1)], good(), "ascend"),
        (vec![entry(b"a", 1, 1, 1), entry(b"a", 2, 2, 1)], good(), "ascend"),
        (vec![entry(b"a", 0, 1, 1)], good(), "created 0"),
        (vec![entry(b"a", 2, 1, 1)], good(), "created 2"),
        (vec![entry(b"a", 1, 4, 2)], good(), "modified 4"),
        (vec![entry(b"a", 1, 1, 0)], good(), "version 0"),
        (vec![entry(b"a", 1, 2, 1)], good(), "version 1"),
        (vec![entry(b"a", 1, 2, 3)], good(), "version 3"),
        (vec![], vec![], "latest revisions"),
        (vec![], [2, 3, 4, 5].map(|revision| at(vec![delete(revision, 1)])).to_vec(), "latest revisions"),
        (vec![], vec![at(vec![])], "no event"),
        (vec![], vec![at(vec![delete(3, 2), delete(3, 2)])], "two of one key"),
        (vec![], vec![at(vec![delete(2, 1)])], "revision 3 contradicts"),
        (vec![], vec![at(vec![delete(3, 3)])], "revision 3 contradicts"),
        (vec![], vec![at(vec![delete(3, 0)])], "revision 3 contradicts"),
        (vec![], vec![at(vec![event(b"k", 3, 1, EventKind::Put(value(3, 3, 1)))])], "revision 3 contradicts"),
        (vec![], vec![at(vec![event(b"k", 3, 2, EventKind::Put(value(1, 2, 2)))])], "revision 3 contradicts"),
        (vec![], vec![at(vec![unsaid])], "no kind"),
        (
            vec![],
            vec![
                at(vec![delete(2, 1)]),
                at((0..3).map(|key: u8| kv::KvEvent { key: vec![key].into(), ..delete(3, 2) }).collect()),
            ],
            "more than the limits",
        ),
    ];
    for (entries, revisions, words) in table {
        let snapshot = kv::KvSnapshot { format: FORMAT, revision: 3, entries, revisions, checksum: 0 };
        let mut map = map();
        let before = map.clone();
        let error = map.restore(&sealed(&snapshot)).expect_err(words);
        assert!(error.to_string().contains(words), "{error}, not {words}");
        assert_eq!(map, before);
    }
    for format in [0, 1, 3, u32::MAX] {
        let bytes = [&[TAG_FORMAT][..], &kv::KvSnapshot { format, ..Default::default() }.encode_to_vec()].concat();
        let bytes = Bytes::from(if format == 0 { b"\x08\x00".to_vec() } else { bytes[1..].to_vec() });
        assert_eq!(decode(&bytes, WindowLimits::default()), Err(SnapshotError::UnknownFormat { found: format }));
    }
}

#[test]
fn bytes_that_say_the_same_in_another_way_are_refused() {
    let entry = b"\x1a\x09\x0a\x01a\x18\x01\x20\x01\x28\x01";
    let event = b"\x22\x0f\x0a\x0d\x0a\x01a\x10\x01\x22\x06\x18\x01\x20\x01\x28\x01";
    let good = [b"\x08\x02\x10\x01", &entry[..], event].concat();
    assert!(restored(&with_sum(good.clone())).is_ok(), "{:?}", restored(&with_sum(good.clone())));
    let table: [(Vec<u8>, &str); 8] = [
        ([b"\x08\x02\x10\x81\x00", &entry[..], event].concat(), "out of order"),
        ([b"\x08\x02\x10\x01", &event[..], entry].concat(), "out of order"),
        ([b"\x08\x02", &entry[..], event, b"\x10\x01"].concat(), "created 1"),
        ([&good[..], b"\x32\x00"].concat(), "out of order"),
        (
            [b"\x08\x02\x10\x01\x1a\x0b\x0a\x01a\x18\x01\x20\x01\x28\x01\x30\x00", &event[..]].concat(),
            "shortest encoding",
        ),
        ([b"\x08\x02\x10\x01\x1a\x09\x18\x01\x0a\x01a\x20\x01\x28\x01", &event[..]].concat(), "shortest encoding"),
        ([b"\x08\x02\x10\x01\x1a\x89\x00\x0a\x01a\x18\x01\x20\x01\x28\x01", &event[..]].concat(), "longer than"),
        (b"\x08\x02\x10\x00".to_vec(), "revision 0"),
    ];
    for (bytes, words) in table {
        let error = restored(&with_sum(bytes)).expect_err(words);
        assert!(error.contains(words), "{error}, not {words}");
    }
    let huge = kv::KvSnapshot { format: FORMAT, revision: MAX_REVISION + 1, ..Default::default() };
    assert!(restored(&sealed(&huge)).is_err_and(|error| error.contains("2^62")));
    for short in [&b""[..], b"\x08", b"\x08\x02", b"\x08\x02\x29\0\0\0\0\0\0\0"] {
        assert!(restored(&Bytes::from_static(short)).is_err(), "{short:?}");
    }
}

proptest! {
    #[test]
    fn a_map_comes_back_whole(
        changes in proptest::collection::vec((0..6u8, 0..3u8, 0..4u8), 0..40), chunk in 1..100usize,
    ) {
        let mut map = KvMap::with_limits(WindowLimits { events: 6, bytes: 900 });
        let mut restored = map.clone();
        for (key, value, what) in changes {
            match what {
                0 => drop(map.delete(&[key])),
                1 => map.put_for(&[key], &[value], 7),
                2 => map.put(&[key], &[value]),
                _ => map.change(|change| (key..6).for_each(|key| change.put(&[key], &[value], 0))),
            }
        }
        restored.put(b"before", b"gone");
        prop_assert_eq!(restored.restore(&whole(&map, chunk)), Ok(()));
        prop_assert_eq!(restored.state_hash(), map.state_hash());
        prop_assert_eq!(restored, map);
    }

    /// Arbitrary bytes, with and without a correct checksum.
    #[test]
    fn any_bytes_are_restored_or_refused(
        garbage in proptest::collection::vec(any::<u8>(), 0..64), place in any::<prop::sample::Index>(), byte: u8,
    ) {
        let good = whole(&map(), 64);
        let place = place.index(good.len() - TRAILER);
        let mut mutated = good[..good.len() - TRAILER].to_vec();
        mutated[place] = byte;
        let cut = mutated[..place].to_vec();
        let begun = [&b"\x08\x02"[..], &garbage].concat();
        for bytes in [garbage.into(), cut.clone().into(), with_sum(mutated.clone()), with_sum(cut), with_sum(begun)] {
            let mut restored = map();
            match restored.restore(&bytes) {
                Ok(()) => prop_assert_eq!(whole(&restored, 64), bytes, "a restored map encodes to the same bytes"),
                Err(_) => prop_assert_eq!(restored, map()),
            }
        }
        mutated.extend(&good[good.len() - TRAILER..]);
        prop_assert_eq!(restored(&mutated.clone().into()).is_ok(), good == mutated, "a changed byte is noticed");
    }
}
