//! The map as bytes and back (`raft.kv.v1.KvSnapshot` in `proto/kv.proto`): its part of a snapshot.
//!
//! It encodes a copy of the map chunk by chunk. The copy shares the map's structure, so a snapshot costs the same for
//! any size, and later changes do not affect it. The decoder accepts exactly the bytes that a map writes. It refuses
//! all others, and then the map does not change.

use super::window::Window;
use super::{Entries, KvMap, WindowLimits};
use crate::codec::Wire;
use crate::command::{Event, EventKind, KeyValue, Value};
use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use raft_node::{SnapshotError, SnapshotSource};
use raft_proto::wire::kv;
use std::collections::BTreeSet;
use std::ops::Bound;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The version that this code writes, and the only one that it reads.
const FORMAT: u32 = 2;
/// No map reaches a higher revision.
const MAX_REVISION: u64 = 1 << 62;
/// The first byte of each field of a `KvSnapshot`: number and wire type.
const TAG_FORMAT: u8 = 1 << 3;
const TAG_REVISION: u8 = 2 << 3;
const TAG_ENTRY: u8 = (3 << 3) | 2;
const TAG_REVISIONS: u8 = (4 << 3) | 2;
const TAG_CHECKSUM: u8 = (5 << 3) | 1;
/// The checksum and its tag.
const TRAILER: usize = 9;

/// Encodes a copy of the map, chunk by chunk.
#[derive(Clone)]
pub struct MapSnapshot {
    map: KvMap,
    next: Part,
    hasher: Xxh3,
    /// The bytes that are encoded and not yet returned.
    made: BytesMut,
}

impl std::fmt::Debug for MapSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { map, next, made, .. } = self;
        write!(f, "MapSnapshot {{ revision: {}, next: {next:?}, made: {} }}", map.revision(), made.len())
    }
}

/// The part to encode next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Header,
    /// The first entry after this key.
    Entry(Option<Bytes>),
    /// The first remembered revision from this one on.
    Revision(u64),
    Nothing,
}

impl MapSnapshot {
    pub(crate) fn new(map: KvMap) -> Self {
        Self { map, next: Part::Header, hasher: Xxh3::new(), made: BytesMut::new() }
    }

    /// Encodes the next part.
    fn make(&mut self) {
        let next = std::mem::replace(&mut self.next, Part::Nothing);
        let mut part = kv::KvSnapshot::default();
        self.next = match next {
            Part::Header => {
                (part.format, part.revision) = (FORMAT, self.map.revision());
                Part::Entry(None)
            }
            Part::Entry(after) => {
                let after = after.as_ref().map_or(Bound::Unbounded, |after| Bound::Excluded(&**after));
                match self.map.entries().range::<[u8], _>((after, Bound::Unbounded)).next() {
                    Some((key, value)) => {
                        part.entries.push(KeyValue { key: key.clone(), value: value.clone() }.to_wire());
                        Part::Entry(Some(key.clone()))
                    }
                    None => Part::Revision(0),
                }
            }
            Part::Revision(from) => match self.map.window().from(from).next() {
                Some((revision, events)) => {
                    part.revisions.push(kv::KvRevision { events: events.to_vec().to_wire() });
                    Part::Revision(revision.saturating_add(1))
                }
                None => {
                    self.made.extend_from_slice(&[TAG_CHECKSUM]);
                    self.made.extend_from_slice(&self.hasher.digest().to_le_bytes());
                    return;
                }
            },
            Part::Nothing => return,
        };
        // One element of a repeated field, or the first two fields: these are their exact bytes in the whole message.
        let bytes = part.encode_to_vec();
        self.hasher.update(&bytes);
        self.made.extend_from_slice(&bytes);
    }
}

impl SnapshotSource for MapSnapshot {
    fn next_chunk(&mut self, max_bytes: usize) -> Option<Bytes> {
        let max_bytes = max_bytes.max(1);
        while self.made.len() < max_bytes && self.next != Part::Nothing {
            self.make();
        }
        let length = self.made.len().min(max_bytes);
        (length > 0).then(|| self.made.split_to(length).freeze())
    }
}

/// Decodes a map.
pub(crate) fn decode(bytes: &Bytes, limits: WindowLimits) -> Result<KvMap, SnapshotError> {
    let mut fields = bytes.clone();
    let format = header(&mut fields, TAG_FORMAT).ok_or_else(|| malformed("it does not begin with its format"))?;
    if format != u64::from(FORMAT) {
        return Err(SnapshotError::UnknownFormat { found: u32::try_from(format).unwrap_or(u32::MAX) });
    }
    let end = fields.len().checked_sub(TRAILER).ok_or_else(|| malformed("it is too short"))?;
    let mut trailer = fields.split_off(end);
    let sum = xxh3_64(&bytes[..bytes.len() - TRAILER]);
    if trailer.get_u8() != TAG_CHECKSUM || trailer.get_u64_le() != sum {
        return Err(malformed("its checksum does not match its bytes"));
    }
    let revision = header(&mut fields, TAG_REVISION);
    if revision == Some(0) {
        return Err(malformed("revision 0 is not written"));
    }
    let revision = revision.unwrap_or(0);
    if revision > MAX_REVISION {
        return Err(malformed("the revision is above 2^62"));
    }
    let entries = entries(&mut fields, revision)?;
    let window = window(&mut fields, revision, limits)?;
    if !fields.is_empty() {
        return Err(malformed("a field is unknown or out of order"));
    }
    Ok(KvMap::from_parts(entries, revision, window))
}

fn malformed(problem: &str) -> SnapshotError {
    SnapshotError::Malformed(format!("KvSnapshot: {problem}"))
}

/// A number of the header; `None` if another field comes next.
fn header(fields: &mut Bytes, tag: u8) -> Option<u64> {
    let mut rest = fields.clone();
    if rest.first() != Some(&tag) {
        return None;
    }
    rest.advance(1);
    let number = varint(&mut rest)?;
    *fields = rest;
    Some(number)
}

/// A varint in its shortest form.
fn varint(bytes: &mut Bytes) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..10u32 {
        let byte = *bytes.first()?;
        bytes.advance(1);
        let bits = u64::from(byte & 0x7f);
        let placed = bits << (7 * place);
        if placed >> (7 * place) != bits || (byte == 0 && place > 0) {
            return None;
        }
        number |= placed;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// The next element of a repeated field; `None` if another field comes next. Its bytes must equal its own encoding.
fn element<M: Message + Default>(fields: &mut Bytes, tag: u8) -> Result<Option<M>, SnapshotError> {
    if fields.first() != Some(&tag) {
        return Ok(None);
    }
    fields.advance(1);
    let length = varint(fields).and_then(|length| usize::try_from(length).ok());
    let length = length
        .filter(|&length| length <= fields.len())
        .ok_or_else(|| malformed("an element is longer than the snapshot"))?;
    let bytes = fields.split_to(length);
    let element = M::decode(bytes.clone()).map_err(|error| malformed(&error.to_string()))?;
    if element.encode_to_vec() != bytes {
        return Err(malformed("an element is not in its shortest encoding"));
    }
    Ok(Some(element))
}

fn entries(fields: &mut Bytes, revision: u64) -> Result<Entries, SnapshotError> {
    let mut entries = Entries::new_sync();
    let mut last: Option<Bytes> = None;
    while let Some(entry) = element(fields, TAG_ENTRY)? {
        let entry = KeyValue::from_wire(entry).ok_or_else(|| malformed("an entry is incomplete"))?;
        let KeyValue { key, value } = copied(entry);
        if last.as_ref().is_some_and(|last| *last >= key) {
            return Err(malformed("entries do not ascend strictly by key"));
        }
        check(&value, revision)?;
        last = Some(key.clone());
        entries.insert_mut(key, value);
    }
    Ok(entries)
}

fn check(value: &Value, revision: u64) -> Result<(), SnapshotError> {
    let &Value { created_revision: created, modified_revision: modified, version, .. } = value;
    let in_order = 1 <= created && created <= modified && modified <= revision;
    if !in_order || version == 0 || version - 1 > modified - created || (version == 1) != (created == modified) {
        let problem =
            format!("created {created}, modified {modified}, version {version} contradict revision {revision}");
        return Err(malformed(&problem));
    }
    Ok(())
}

fn window(fields: &mut Bytes, revision: u64, limits: WindowLimits) -> Result<Window, SnapshotError> {
    let mut revisions: Vec<Vec<Event>> = Vec::new();
    while let Some(kv::KvRevision { events }) = element(fields, TAG_REVISIONS)? {
        let events = Vec::from_wire(events).ok_or_else(|| malformed("an event has no kind"))?;
        revisions.push(events.into_iter().map(copied_event).collect());
    }
    let count = revisions.len() as u64;
    if count > revision || (count == 0 && revision > 0) {
        return Err(malformed("it lacks its latest revisions"));
    }
    let (first, mut window) = (revision - count + 1, Window::new(limits));
    for (at, events) in (first..).zip(revisions) {
        check_events(at, &events)?;
        window.push(at, events);
    }
    if count > 0 && window.oldest() != Some(first) {
        return Err(malformed("it remembers more than the limits allow: were they changed?"));
    }
    Ok(window)
}

/// Checks that these events are possible at this revision.
fn check_events(at: u64, events: &[Event]) -> Result<(), SnapshotError> {
    let keys: BTreeSet<&Bytes> = events.iter().map(|event| &event.key).collect();
    if events.is_empty() || keys.len() < events.len() {
        return Err(malformed("a revision has no event, or two of one key"));
    }
    for Event { revision, previous_revision, kind, .. } in events {
        let was_there = *previous_revision > 0;
        let fits = match kind {
            EventKind::Put(value) => {
                check(value, at)?;
                value.modified_revision == at && was_there == (value.version > 1)
            }
            EventKind::Delete | EventKind::Expire => was_there,
        };
        if *revision != at || *previous_revision >= at || !fits {
            return Err(malformed(&format!("an event of revision {at} contradicts itself")));
        }
    }
    Ok(())
}

/// These are copies: slices would keep the whole snapshot in memory as long as one key is unchanged.
fn copied(KeyValue { key, value }: KeyValue) -> KeyValue {
    KeyValue { key: Bytes::copy_from_slice(&key), value: Value { data: Bytes::copy_from_slice(&value.data), ..value } }
}

fn copied_event(event: Event) -> Event {
    let Event { key, kind, .. } = event;
    let (key, kind) = match kind {
        EventKind::Put(value) => {
            let KeyValue { key, value } = copied(KeyValue { key, value });
            (key, EventKind::Put(value))
        }
        kind => (Bytes::copy_from_slice(&key), kind),
    };
    Event { key, kind, ..event }
}

#[cfg(test)]
mod tests;
