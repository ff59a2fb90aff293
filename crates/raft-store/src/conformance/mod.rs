//! The test suite for a [`Disk`] and for the store on it. It is generic, so that the simulator's disk and real files
//! pass the same suite. Panics with the reason if a property does not hold.

#![allow(missing_docs)]

/// Implements methods of [`Disk`] with those of the disk in this field.
macro_rules! forward {
    ($($field:ident.$name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&mut self, $($arg: $type),*) -> Result<$out, DiskError> {
            self.$field.$name($($arg),*)
        })*
    };
}

mod compacted_log;
mod crash_points;
mod damaged_folder;
mod describe_folder;
mod full_disk;
mod log_model;
mod memory_disk;
mod peer_disks;
mod plain_log;
mod random_run;
mod saved_snapshots;
mod snapshot_chunks;

pub use crash_points::{Dying, Ends, every_crash, every_failed_sync};
pub use damaged_folder::{Damage, KnownFolder, check_bytes, check_folder};
pub use describe_folder::describe;
pub use full_disk::Quota;
pub use log_model::{Model, data_of, file_of, meta, save, snapshot};
pub use memory_disk::Memory;
pub use peer_disks::{as_format_1, every_crash_of_a_registration};
pub use random_run::{Step, random_run};

use crate::{ClusterId, Disk, DiskId, Identity, MIN_SEGMENT_BYTES, Recovery, Store, StoreError, StoreOptions};
use bytes::Bytes;
use raft_core::{Entries, Entry, EntryId, HardState, NodeId, Payload, Term, Write, WriteId};

/// The smallest segments, so that a few records fill one; a start returns all entries.
pub const OPTIONS: StoreOptions =
    StoreOptions { segment_bytes: MIN_SEGMENT_BYTES, tail_bytes: u64::MAX, reserve_bytes: 0 };

/// The same options with a reserve.
pub const RESERVING: StoreOptions = StoreOptions { reserve_bytes: 2500, ..OPTIONS };

pub const IDENTITY: Identity = Identity { cluster: ClusterId(*b"a tested cluster"), node: NodeId(1) };

pub const DISK_ID: DiskId = DiskId(*b"a disk like none");

/// The whole suite without crashes: [`every_crash`] and [`random_run()`] need to know the effect of a crash on the
/// disk. `fresh` returns an empty disk.
pub fn check_all<D: Disk>(mut fresh: impl FnMut() -> D) {
    plain_log::the_disk_does_what_its_trait_says(fresh());
    plain_log::a_new_store_is_empty(fresh());
    plain_log::all_groups_are_recovered(fresh());
    plain_log::a_damaged_last_record_is_cut(fresh());
    plain_log::a_damaged_old_segment_is_refused(&mut fresh);
    plain_log::a_missing_segment_is_named(&mut fresh);
    plain_log::an_unfinished_segment_is_removed(fresh());
    plain_log::a_newer_format_is_refused(fresh());
    plain_log::invalid_writes_poison(fresh());
    saved_snapshots::a_snapshot_keeps_the_log(fresh());
    saved_snapshots::a_snapshot_discards_the_log(fresh());
    saved_snapshots::an_unnamed_snapshot_is_deleted(fresh());
    saved_snapshots::a_damaged_snapshot_is_refused(&mut fresh);
    snapshot_chunks::chunks_of_any_size_make_the_same_file(&mut fresh);
    snapshot_chunks::a_received_file_is_the_same_file(&mut fresh);
    snapshot_chunks::a_changed_file_is_refused(fresh());
    snapshot_chunks::a_chunk_out_of_place_changes_nothing(fresh());
    snapshot_chunks::a_named_snapshot_is_not_replaced(fresh());
    snapshot_chunks::an_unfinished_snapshot_is_no_snapshot(fresh());
    snapshot_chunks::a_file_is_read_in_chunks_of_any_size(fresh());
    compacted_log::a_compacted_log_is_recovered(fresh());
    compacted_log::a_compaction_uses_only_durable_state(fresh());
    compacted_log::the_tail_is_bounded(fresh());
    compacted_log::a_wrongly_missing_segment_is_refused(&mut fresh);
    compacted_log::a_vote_survives_its_segment(fresh());
    compacted_log::a_foreign_segment_is_refused(&mut fresh);
    compacted_log::a_torn_checkpoint_is_that_of_an_unfinished_segment(&mut fresh);
    compacted_log::a_read_detects_damage(fresh());
    full_disk::promised_space_is_there(&mut fresh);
    full_disk::a_deleted_segment_is_recycled(&mut fresh);
    full_disk::a_full_disk_loses_nothing_at_any_call(&mut fresh);
    peer_disks::a_registered_peer_is_known_at_every_later_start(fresh());
    peer_disks::a_full_disk_registers_no_peer_and_goes_on(&mut fresh);
    peer_disks::a_missing_or_damaged_peers_file_is_refused(fresh());
    peer_disks::a_folder_of_format_1_gets_a_disk_id_and_keeps_it(fresh());
}

/// A write of entries `first..first + count` of a term, each of `bytes` bytes.
pub fn entries(first: u64, count: u64, term: u64, bytes: usize) -> Write {
    let payload = |index: u64| Payload::Command(Bytes::from(vec![index as u8 | 1; bytes]));
    let entries = (first..first + count).map(|i| Entry { id: EntryId::new(i, term), payload: payload(i) }).collect();
    Write { id: WriteId(0), hard_state: None, truncate_from: None, snapshot: None, entries }
}

pub fn vote(term: u64, candidate: u64) -> Write {
    let hard_state = HardState { term: Term(term), voted_for: Some(NodeId(candidate)) };
    Write { id: WriteId(0), hard_state: Some(hard_state), truncate_from: None, snapshot: None, entries: Entries::new() }
}

/// The hard state and the entries that these writes lead to.
pub fn fold<'a>(writes: impl IntoIterator<Item = &'a Write>) -> (HardState, Entries) {
    let model = Model::of(writes);
    (model.hard_state, model.entries.into())
}

pub fn open<D: Disk>(disk: D) -> (Store<D>, Recovery) {
    Store::open(disk, OPTIONS).unwrap_or_else(|error| panic!("the store must open: {error}"))
}

pub fn refusal<D: Disk>(disk: D) -> (StoreError, D) {
    match Store::open(disk, OPTIONS) {
        Ok((_, recovery)) => panic!("the store must refuse, and recovered {recovery:?}"),
        Err(error) => error.into_parts(),
    }
}

/// Whether this error names the file as missing.
fn is_missing(error: &StoreError, file: &str) -> bool {
    matches!(error, StoreError::Missing { file: named, found, .. } if named == file && found.iter().all(|name| name != file))
}

/// The hard state and the entries that a start recovered; equal to [`fold`] if nothing was compacted.
pub fn state(recovery: &Recovery) -> (HardState, Entries) {
    (recovery.restored.hard_state, recovery.restored.tail.clone())
}

fn file(segment: u64) -> String {
    format!("wal-{segment:016}")
}

/// The files whose names begin with this prefix.
fn files<D: Disk>(disk: &mut D, prefix: &str) -> Vec<String> {
    let mut files = disk.list().expect("a disk that works");
    files.retain(|file| file.starts_with(prefix));
    files
}

/// Writes one write as a group and syncs it.
fn put<D: Disk>(store: &mut Store<D>, writes: &mut Vec<Write>, write: Write) {
    writes.push(write);
    store.write(&writes[writes.len() - 1..]).and_then(|()| store.sync()).expect("fits");
}

fn content<D: Disk>(disk: &mut D, file: &str) -> Vec<u8> {
    let length = disk.len(file).expect("the file is there");
    let mut bytes = vec![0; length as usize];
    let read = disk.read(file, 0, &mut bytes).expect("and can be read");
    assert_eq!(read as u64, length, "read fills the buffer if there is enough");
    bytes
}

fn flip<D: Disk>(disk: &mut D, file: &str, offset: u64) {
    let mut byte = [0];
    disk.read(file, offset, &mut byte).expect("the file is there");
    disk.write(file, offset, &[byte[0] ^ 0x10]).expect("and can be written");
    disk.sync(file).expect("and synced");
}

fn used(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|&byte| byte != 0).map_or(0, |place| place as u64 + 1)
}
