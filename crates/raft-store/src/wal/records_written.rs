//! Records in bytes on their way to a disk, for whoever watches a node from outside. Must not do I/O, and must not know
//! what came before: that records fit the log, a walk checks.

use crate::store_error::StoreError;
use crate::wal::format::{FRAME, Frame, SEGMENT_HEADER, segment_number};
use crate::wal::scan::{Record, corrupt};
use bytes::Bytes;
use raft_proto::decode_write;

/// The records that a disk write of `bytes` at `offset` of `file` puts into the log, in order. None if the file is no
/// segment of a log, or the bytes are its header (with the checkpoint, which says nothing new) or zeros.
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
        let broken = |reason: String| corrupt(file, place, reason);
        let frame = Frame::parse(rest, segment, place).ok_or_else(|| broken("no record begins here".into()))?;
        let payload = usize::try_from(frame.length).ok().and_then(|length| rest.get(FRAME as usize..)?.get(..length));
        let payload = payload.filter(|payload| frame.holds(payload));
        let payload = payload.ok_or_else(|| broken("the record's payload is not the frame's".into()))?;
        let write = decode_write(Bytes::copy_from_slice(payload)).map_err(|error| broken(error.to_string()))?;
        let length = frame.end(place) - place;
        records.push(Record { file, segment, offset: place, bytes: length, number: frame.number, write });
        start = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{OPTIONS, entries, vote};
    use crate::wal::format::segment_file;
    use crate::{Files, Store};

    #[test]
    fn what_the_store_writes_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = Store::open(Files::open(folder.path(), false).unwrap(), OPTIONS).unwrap();
        let writes = [vote(7, 2), entries(1, 2, 7, 13)];
        store.write(&writes).unwrap();
        let file = segment_file(1);
        let bytes = std::fs::read(folder.path().join(&file)).unwrap();
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
        // Where a record ends, what is left is a shorter group; padding says nothing.
        let payload_end = end - 64;
        for cut in (1..payload_end).filter(|cut| *cut as u64 != records[0].bytes) {
            let is_padding = cut as u64 + 8 > records[0].bytes && (cut as u64) < records[0].bytes;
            assert!(is_padding || records_written(&file, 64, &group[..cut]).is_err(), "{cut} bytes");
        }
    }
}
