//! Parses the records in a disk write, for tools that observe a node's writes. It does no I/O.

use crate::store_error::StoreError;
use crate::wal::format::{FRAME, Frame, SEGMENT_HEADER, segment_number};
use crate::wal::scan::Record;
use bytes::Bytes;
use raft_proto::decode_write;

/// The records that a disk write of `bytes` at `offset` of `file` adds to the log, in order. There are none if the file
/// is not a segment, or the bytes are zeros or a header (whose checkpoint repeats the state). It does not check that
/// the records fit the log.
///
/// # Errors
/// [`StoreError::Corrupt`]: the store never writes such bytes there.
pub fn records_written<'a>(file: &'a str, offset: u64, bytes: &[u8]) -> Result<Vec<Record<'a>>, StoreError> {
    let Some(segment) = segment_number(file) else { return Ok(Vec::new()) };
    if offset < SEGMENT_HEADER || bytes.iter().all(|&byte| byte == 0) {
        return Ok(Vec::new());
    }
    let mut records = Vec::new();
    let mut start = 0_usize;
    while let Some(rest) = bytes.get(start..).filter(|rest| !rest.is_empty()) {
        let place = offset.saturating_add(start as u64);
        let bad = |reason: &str| StoreError::corrupt(file, place, reason);
        let frame = Frame::parse(rest, segment, place).ok_or_else(|| bad("expected a record, found other bytes"))?;
        let payload = usize::try_from(frame.length).ok().and_then(|length| rest.get(FRAME as usize..)?.get(..length));
        let payload = payload.filter(|payload| frame.matches(payload));
        let payload = payload.ok_or_else(|| bad("the payload does not match its frame"))?;
        let write = decode_write(Bytes::copy_from_slice(payload)).map_err(|error| bad(&error.to_string()))?;
        let length = frame.end(place) - place;
        records.push(Record { file, segment, offset: place, bytes: length, number: frame.number, write });
        start = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Memory, entries, open, vote};
    use crate::wal::format::segment_file;

    #[test]
    fn the_stores_writes_parse_and_nothing_else_does() {
        let (mut store, _) = open(Memory::default());
        let writes = [vote(7, 2), entries(1, 2, 7, 13)];
        store.write(&writes).unwrap();
        let file = segment_file(1);
        let bytes = store.into_disk().files[&file].clone();
        let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
        let group = &bytes[64..end.next_multiple_of(8)];
        let records = records_written(&file, 64, group).unwrap();
        let said: Vec<_> = records.iter().map(|record| (record.number, &record.write)).collect();
        assert_eq!(said, [(1, &writes[0]), (2, &writes[1])]);
        assert_eq!(records[1].offset, 64 + records[0].bytes);
        assert!(records_written(&file, 0, &bytes[..64]).unwrap().is_empty(), "a header");
        assert!(records_written("META", 64, group).unwrap().is_empty(), "no segment");
        assert!(records_written(&file, 64, &[0; 80]).unwrap().is_empty(), "zeros");
        assert!(records_written(&file, 72, group).is_err(), "another place");
        // A cut at the end of a record leaves a shorter group, and a cut in its padding leaves a complete record.
        for cut in (1..end - 64).filter(|cut| *cut as u64 != records[0].bytes) {
            let is_padding = cut as u64 + 8 > records[0].bytes && (cut as u64) < records[0].bytes;
            assert!(is_padding || records_written(&file, 64, &group[..cut]).is_err(), "{cut} bytes");
        }
    }
}
