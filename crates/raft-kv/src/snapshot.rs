//! The map as bytes and back (`raft.kv.v1.KvSnapshot` in `proto/kv.proto`): its part of a snapshot.
//!
//! The bytes are made piece by piece from a copy of the map, which shares its structure with the map: to take a snapshot
//! costs nothing, however large the map is, and what changes afterwards does not change the copy. Any bytes are legal to
//! read: what is not exactly what a map would have written is refused, and the map stays what it was.

use crate::codec::{entry_from_wire, entry_to_wire, event_from_wire, event_to_wire};
use crate::map::{Entries, KvMap, Value};
use crate::range::KeyValue;
use crate::window::{Event, EventKind, Window, WindowLimits};
use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use raft_node::{SnapshotError, SnapshotSource};
use raft_proto::wire::kv;
use std::collections::BTreeSet;
use std::ops::Bound;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The version that is written, and the only one that is read.
const FORMAT: u32 = 2;
/// No map comes to a higher one.
const MAX_REVISION: u64 = 1 << 62;
/// What the fields of a `KvSnapshot` begin with: number and wire type.
const TAG_FORMAT: u8 = 1 << 3;
const TAG_REVISION: u8 = 2 << 3;
const TAG_ENTRY: u8 = (3 << 3) | 2;
const TAG_REVISIONS: u8 = (4 << 3) | 2;
const TAG_CHECKSUM: u8 = (5 << 3) | 1;
/// The checksum and its tag.
const TRAILER: usize = 9;

/// A map on its way to bytes.
#[derive(Clone)]
pub struct MapSnapshot {
    map: KvMap,
    next: Part,
    hasher: Xxh3,
    /// Made, and not yet handed out.
    made: BytesMut,
}

impl std::fmt::Debug for MapSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { map, next, made, .. } = self;
        write!(f, "MapSnapshot {{ revision: {}, next: {next:?}, made: {} }}", map.revision(), made.len())
    }
}

/// What is to be made next.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Header,
    /// The first entry behind this key.
    Entry(Option<Bytes>),
    /// The first revision that is remembered from this one on.
    Revision(u64),
    Nothing,
}

impl MapSnapshot {
    pub(crate) fn new(map: KvMap) -> Self {
        Self { map, next: Part::Header, hasher: Xxh3::new(), made: BytesMut::new() }
    }

    /// Makes the next part.
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
                        part.entries.push(entry_to_wire(KeyValue { key: key.clone(), value: value.clone() }));
                        Part::Entry(Some(key.clone()))
                    }
                    None => Part::Revision(0),
                }
            }
            Part::Revision(from) => match self.map.window().from(from).next() {
                Some((revision, events)) => {
                    let events = events.iter().cloned().map(event_to_wire).collect();
                    part.revisions.push(kv::KvRevision { events });
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
        // One repeated field alone, or the first two: exactly their share of the whole message.
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

/// The map that these bytes were made of, revisions and all.
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
        return Err(malformed("its checksum is not that of its bytes"));
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

/// A number of the header that begins here; none: something else does.
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

/// A number of seven bits to a byte, in as few bytes as it takes.
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

/// The next element of a repeated field; none: something else comes. Its bytes must be those that it would be written with.
fn element<M: Message + Default>(fields: &mut Bytes, tag: u8) -> Result<Option<M>, SnapshotError> {
    if fields.first() != Some(&tag) {
        return Ok(None);
    }
    fields.advance(1);
    let length = varint(fields).and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|&length| length <= fields.len()).ok_or_else(|| malformed("an element has no end"))?;
    let bytes = fields.split_to(length);
    let element = M::decode(bytes.clone()).map_err(|error| malformed(&error.to_string()))?;
    if element.encode_to_vec() != bytes {
        return Err(malformed("an element is not written as it would be"));
    }
    Ok(Some(element))
}

fn entries(fields: &mut Bytes, revision: u64) -> Result<Entries, SnapshotError> {
    let mut entries = Entries::new_sync();
    let mut last: Option<Bytes> = None;
    while let Some(entry) = element(fields, TAG_ENTRY)? {
        let KeyValue { key, value } = copied(entry_from_wire(entry));
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
        let words =
            format!("created {created}, modified {modified}, version {version}, and the revision is {revision}");
        return Err(malformed(&words));
    }
    Ok(())
}

fn window(fields: &mut Bytes, revision: u64, limits: WindowLimits) -> Result<Window, SnapshotError> {
    let mut revisions: Vec<Vec<Event>> = Vec::new();
    while let Some(kv::KvRevision { events }) = element(fields, TAG_REVISIONS)? {
        let events = events.into_iter().map(|event| event_from_wire(event).map(copied_event));
        revisions.push(events.collect::<Option<_>>().ok_or_else(|| malformed("an event does not say what happened"))?);
    }
    let count = revisions.len() as u64;
    if count > revision || (count == 0 && revision > 0) {
        return Err(malformed("it does not remember its latest revisions"));
    }
    let (first, mut window) = (revision - count + 1, Window::new(limits));
    for (at, events) in (first..).zip(revisions) {
        check_events(at, &events)?;
        window.push(at, events);
    }
    if count > 0 && window.oldest() != Some(first) {
        return Err(malformed("it remembers more than the limits allow: are they others?"));
    }
    Ok(window)
}

/// That these events can have made this revision.
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

/// With memory of its own: slices would keep the whole snapshot in memory, for as long as one key is never changed.
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
