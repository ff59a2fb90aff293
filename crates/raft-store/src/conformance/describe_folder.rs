//! Describes a folder as text: its files and records, and the state that a start recovers or the reason for its
//! refusal. It is for fixtures: every later version must give the same text.

use super::{DISK_ID, IDENTITY, OPTIONS};
use crate::conformance::memory_disk::Memory;
use crate::{Inspection, Recovery, StoreError, inspect, open_node};
use raft_core::{Entry, Payload};
use std::fmt::Write as _;

pub fn describe(disk: &Memory) -> String {
    let mut text = String::new();
    for (file, content) in &disk.files {
        writeln!(text, "{file}: {} bytes", content.len()).expect("a text");
    }
    let mut records = String::new();
    let found = inspect(&mut disk.clone(), &mut |record| {
        let (number, file, offset, bytes) = (record.number, record.file, record.offset, record.bytes);
        writeln!(records, "record {number}, {file} at {offset}, {bytes} bytes: {}", record.write).expect("a text");
        record.write.entries.iter().for_each(|entry| records.push_str(&line(entry)));
    });
    text.push_str(&records);
    match found {
        Ok(found) => text.push_str(&inspected(&found)),
        Err(error) => writeln!(text, "refused: {error}").expect("a text"),
    }
    let start = open_node(disk.clone(), IDENTITY, DISK_ID, None, OPTIONS);
    text + &match start {
        Ok(opened) => started(&opened.recovery, opened.incarnation),
        Err(refusal) => format!("a start refuses: {}\n", StoreError::to_string(&refusal.error)),
    }
}

fn inspected(found: &Inspection) -> String {
    let Inspection { owner, disk_id, known_peers, records, .. } = found;
    let Inspection { first_record, hard_state, snapshot, first, last, torn_tail, .. } = found;
    let owner = owner.map(|(identity, starts)| format!("{identity}, {starts} starts"));
    // A folder of format 1 has no disk id and no peers.
    let disk = disk_id.map(|disk| format!(", disk {disk}")).unwrap_or_default();
    let peers: String = known_peers.iter().map(|(peer, disk)| format!(", peer {} on disk {disk}", peer.0)).collect();
    format!(
        "{}{disk}{peers}; records {first_record} to {records}; {hard_state}; {snapshot:?}; entries {first} to {last}; \
         {torn_tail:?}\n",
        owner.unwrap_or_default()
    )
}

fn started(recovery: &Recovery, incarnation: u64) -> String {
    let Recovery { restored, torn_tail, records } = recovery;
    let mut text = format!("start {incarnation}: {records} records, {}, {torn_tail:?}\n", restored.hard_state);
    writeln!(text, "snapshot {:?}, last {}, terms {:?}", restored.snapshot, restored.last, restored.runs)
        .expect("a text");
    writeln!(text, "configurations {:?}", restored.configurations).expect("a text");
    restored.tail.iter().for_each(|entry| text.push_str(&line(entry)));
    text
}

/// An entry with the checksum of its content.
fn line(entry: &Entry) -> String {
    let sum = match &entry.payload {
        Payload::Command(command) => format!(", checksum {:08x}", crc32c::crc32c(command)),
        Payload::Noop | Payload::Configuration(_) => String::new(),
    };
    format!("    {entry}{sum}\n")
}
