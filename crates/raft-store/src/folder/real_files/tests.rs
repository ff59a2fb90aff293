//! The suite on real files, and what only real files can do.

use super::*;
use crate::conformance::{self, DISK_ID, OPTIONS, entries, vote};
use crate::{ClusterId, Identity, Opened, inspect, open_node};
use raft_core::NodeId;
use tempfile::TempDir;

const WAL: &str = "wal-0000000000000001";

fn folder() -> TempDir {
    tempfile::tempdir().expect("there is a place for temporary files")
}

fn files(folder: &TempDir) -> Files {
    Files::open(folder.path(), false).unwrap_or_else(|error| panic!("it must open: {error}"))
}

fn start(disk: Files) -> Result<Opened<Files>, StoreError> {
    open_node(disk, identity(1), DISK_ID, Some(&vote(1, 1)), OPTIONS).map_err(|refusal| refusal.error)
}

fn identity(node: u64) -> Identity {
    Identity { cluster: ClusterId(*b"a cluster of one"), node: NodeId(node) }
}

/// A node's folder after a life of three synced records, the first the founding one; and where they begin.
fn lived() -> (TempDir, [u64; 3]) {
    let folder = folder();
    let mut store = start(files(&folder)).expect("a new folder").store;
    for write in [entries(1, 2, 1, 300), entries(3, 1, 1, 60)] {
        store.write(&[write]).and_then(|()| store.sync()).expect("a disk that works");
    }
    drop(store);
    let mut offsets = Vec::new();
    let mut disk = Files::open_to_read(folder.path()).expect("a folder");
    inspect(&mut disk, &mut |record| offsets.push(record.offset)).expect("a good log");
    (folder, offsets.try_into().expect("three records"))
}

fn damage(folder: &TempDir, file: &str, offset: u64) {
    let path = folder.path().join(file);
    let mut bytes = std::fs::read(&path).expect("it is there");
    bytes[offset as usize] ^= 4;
    std::fs::write(&path, bytes).expect("it can be written");
}

#[test]
fn the_conformance_suite_passes_on_real_files() {
    let mut folders = Vec::new();
    conformance::check_all(|| {
        let folder = folder();
        let files = files(&folder);
        folders.push(folder);
        files
    });
}

#[test]
fn a_folder_is_made_with_those_above_it_and_used_by_one_at_a_time() {
    let top = folder();
    let path = top.path().join("a/b/c");
    assert!(
        matches!(Files::open(&path, false), Err(StoreError::Folder(error)) if error.kind == DiskErrorKind::NotFound)
    );
    let first = Files::open(&path, true).expect("it is made");
    assert_eq!(Files::open(&path, true).expect_err("locked"), StoreError::InUse);
    assert_eq!(Files::open_to_read(&path).expect_err("locked"), StoreError::InUse);
    drop(first);
    let (one, two) = (Files::open_to_read(&path), Files::open_to_read(&path));
    assert!(one.is_ok() && two.is_ok(), "many may look");
    assert_eq!(Files::open(&path, true).expect_err("somebody looks"), StoreError::InUse);
    drop((one, two));
    Files::open(&path, true).expect("free again");
}

#[test]
fn what_was_synced_is_there_after_the_process_went() {
    let (folder, _) = lived();
    let opened = start(files(&folder)).expect("its own folder");
    assert_eq!((opened.incarnation, opened.recovery.records), (2, 3));
    drop(opened);
    assert_eq!(start(files(&folder)).expect("its own folder").incarnation, 3);
    let names = names(folder.path()).expect("it can be listed");
    assert_eq!(names, ["FORMAT", "META", WAL]);
}

#[test]
fn space_that_is_not_there_is_refused_before_any_is_used() {
    let folder = folder();
    let mut disk = files(&folder);
    disk.create("big").and_then(|()| disk.write("big", 0, b"small")).expect("a new file");
    let free = || {
        let space = fstatvfs(File::open(folder.path()).expect("a folder")).expect("a file system");
        space.f_bavail * space.f_frsize
    };
    let before = free();
    for length in [64 << 40, u64::MAX] {
        let error = disk.set_len("big", length).expect_err("too much");
        assert_eq!(error.kind, DiskErrorKind::Full, "{error}");
        assert!(error.message.contains(&format!("{} bytes are needed and ", length - 5)), "{error}");
        assert_eq!(disk.len("big"), Ok(5));
    }
    assert!(free() > before / 2, "others use the disk too, but not for 64 TiB");
    let (error, _) =
        open_node(disk, identity(1), DISK_ID, None, crate::StoreOptions { segment_bytes: 64 << 40, ..OPTIONS })
            .expect_err("the folder is strange")
            .into_parts();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    std::fs::remove_file(folder.path().join("big")).expect("there");
    let too_large = crate::StoreOptions { segment_bytes: 64 << 40, ..OPTIONS };
    let error = open_node(files(&folder), identity(1), DISK_ID, None, too_large).expect_err("full").error;
    assert!(matches!(&error, StoreError::Disk(disk) if disk.kind == DiskErrorKind::Full), "{error}");
    start(files(&folder)).expect("a start with less goes on where that one ended");
}

#[test]
fn reserved_space_is_there_and_reads_as_zeros() {
    use std::os::unix::fs::MetadataExt;
    let folder = folder();
    let mut disk = files(&folder);
    disk.create("log").and_then(|()| disk.set_len("log", 1 << 20)).and_then(|()| disk.sync("log")).expect("space");
    let path = folder.path().join("log");
    assert!(std::fs::metadata(&path).expect("there").blocks() * 512 >= 1 << 20, "not a hole");
    assert!(std::fs::read(&path).expect("there").iter().all(|byte| *byte == 0));
}

#[test]
fn names_stay_inside_the_folder_and_off_the_lock() {
    let folder = folder();
    let mut disk = files(&folder);
    for name in ["", ".", "..", "../up", "a/b", "/etc/passwd", "nul\0", "LOCK"] {
        assert!(disk.create(name).is_err() && disk.remove(name).is_err() && disk.len(name).is_err(), "{name:?}");
        assert!(disk.rename("a", name).is_err(), "{name:?}");
    }
    assert_eq!(disk.list(), Ok(vec![]));
}

#[test]
fn more_files_than_are_kept_open_can_be_used() {
    let folder = folder();
    let mut disk = files(&folder);
    let name = |number: usize| format!("file-{number:02}");
    for number in 0..40 {
        disk.create(&name(number)).and_then(|()| disk.write(&name(number), 0, &[number as u8])).expect("new");
    }
    assert_eq!(disk.open.len(), 40, "none is closed before its sync");
    for number in 0..40 {
        disk.sync(&name(number)).expect("there");
    }
    let mut byte = [0];
    for number in 0..40 {
        let other = format!("other-{number:02}");
        disk.create(&other).and_then(|()| disk.sync(&other)).expect("new");
        assert_eq!((disk.read(&name(number), 0, &mut byte), byte[0]), (Ok(1), number as u8));
    }
    assert_eq!(disk.open.len(), KEPT_OPEN);
}

#[test]
fn a_folder_of_somebody_else_is_left_as_it_is() {
    let folder = folder();
    std::fs::write(folder.path().join("notes.txt"), "mine").expect("written");
    let error = Files::open(folder.path(), true).expect_err("not a node's");
    assert!(error.to_string().contains("notes.txt, which no node wrote"), "{error}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("there").collect();
    assert_eq!(names.len(), 1, "no lock was put there: {names:?}");
}

#[test]
fn another_nodes_folder_is_refused_and_says_whose_it_is() {
    let (folder, _) = lived();
    let error = open_node(files(&folder), identity(2), DISK_ID, None, OPTIONS).expect_err("node 1's").error;
    let text = error.to_string();
    for part in ["the data of node 1 of cluster 61", "to be node 2 of cluster 61", "empty one"] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    assert_eq!(start(files(&folder)).expect("it is as it was").incarnation, 2);
}

#[test]
fn what_is_no_folder_or_cannot_be_written_is_told_as_such() {
    let top = folder();
    let file = top.path().join("file");
    std::fs::write(&file, "").expect("written");
    for path in [file.clone(), file.join("below")] {
        let error = Files::open(&path, true).expect_err("a file").to_string();
        assert!(error.contains("is a file, and a folder is needed"), "{error}");
    }
    let closed = top.path().join("closed");
    std::fs::create_dir(&closed).expect("made");
    let mut permissions = std::fs::metadata(&closed).expect("there").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&closed, permissions).expect("changed");
    match Files::open(&closed, true) {
        Err(error) => assert!(error.to_string().contains("ermission denied"), "{error}"),
        Ok(_) => assert!(rustix::process::geteuid().is_root(), "only root may do that"),
    }
    let error = Files::open(Path::new("/proc/raft-data"), true).expect_err("not even for root").to_string();
    assert!(error.contains("/proc/raft-data"), "{error}");
}

#[test]
fn a_flipped_byte_in_the_middle_of_the_log_is_refused_and_changes_nothing() {
    let (folder, [first, second, _]) = lived();
    for offset in [first, second, second + 40] {
        damage(&folder, WAL, offset);
        let before = std::fs::read(folder.path().join(WAL)).expect("there");
        let looked = inspect(&mut Files::open_to_read(folder.path()).expect("there"), &mut |_| {}).expect_err("damage");
        let error = start(files(&folder)).expect_err("damage");
        let at = if offset == first { first } else { second };
        assert!(matches!(&error, StoreError::Corrupt { file, offset, .. } if file == WAL && *offset == at), "{error}");
        assert_eq!(looked, error, "looking finds what a start finds");
        assert_eq!(std::fs::read(folder.path().join(WAL)).expect("there"), before);
        damage(&folder, WAL, offset);
    }
    start(files(&folder)).expect("the log as it was");
}

#[test]
fn a_torn_tail_is_cut_and_told_and_the_node_starts() {
    let (folder, [_, _, third]) = lived();
    damage(&folder, WAL, third + 40);
    let mut disk = Files::open_to_read(folder.path()).expect("there");
    let looked = inspect(&mut disk, &mut |_| {}).expect("a torn tail is no damage");
    drop(disk);
    let opened = start(files(&folder)).expect("a torn tail is cut");
    assert_eq!((opened.recovery.records, looked.records), (2, 2));
    let tail = opened.recovery.torn_tail.expect("told");
    assert_eq!((tail.file.as_str(), tail.offset, Some(&tail)), (WAL, third, looked.torn_tail.as_ref()));
    drop(opened.store);
    assert_eq!(start(files(&folder)).expect("cut once").recovery.torn_tail, None);
}

#[test]
fn damage_to_the_very_end_is_noticed_if_a_start_has_seen_the_end() {
    let (folder, [_, _, third]) = lived();
    drop(start(files(&folder)).expect("its own folder"));
    damage(&folder, WAL, third + 40);
    let error = start(files(&folder)).expect_err("three records were durable");
    assert!(error.to_string().contains("ends with record 2, but META knows of 3"), "{error}");
}

#[test]
fn a_read_only_view_changes_nothing() {
    let (folder, _) = lived();
    let mut disk = Files::open_to_read(folder.path()).expect("there");
    let refused = [
        disk.create("new"),
        disk.write(WAL, 0, b"x"),
        disk.set_len(WAL, 0),
        disk.sync(WAL),
        disk.remove(WAL),
        disk.rename(WAL, "new"),
        disk.sync_folder(),
    ];
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    drop(disk);
    assert_eq!(start(files(&folder)).expect("as it was").recovery.records, 3);
}
