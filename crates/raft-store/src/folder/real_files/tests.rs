//! The conformance suite on real files, and tests that only real files allow.

use super::*;
use crate::conformance::{self, DISK_ID, OPTIONS, entries, vote};
use crate::{ClusterId, Identity, Opened, open_node};
use raft_core::NodeId;
use tempfile::TempDir;

const WAL: &str = "wal-0000000000000001";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
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

/// A node's folder with three synced records, the first of them a founder's.
fn used_folder() -> TempDir {
    let folder = folder();
    let mut store = start(files(&folder)).expect("a new folder").store;
    for write in [entries(1, 2, 1, 300), entries(3, 1, 1, 60)] {
        store.write(&[write]).and_then(|()| store.sync()).expect("a disk that works");
    }
    folder
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
fn a_folder_is_created_with_its_parents_and_locked() {
    let top = folder();
    let path = top.path().join("a/b/c");
    assert!(
        matches!(Files::open(&path, false), Err(StoreError::Folder(error)) if error.kind == DiskErrorKind::NotFound)
    );
    let first = Files::open(&path, true).expect("it is created");
    let error = Files::open(&path, true).expect_err("locked");
    assert_eq!(Files::open_to_read(&path).expect_err("locked"), error);
    let StoreError::InUse { pid } = error else { panic!("{error}") };
    assert!(pid.is_none_or(|pid| pid == std::process::id()), "{pid:?}: if it is known, it is this process");
    drop(first);
    let (one, two) = (Files::open_to_read(&path), Files::open_to_read(&path));
    assert!(one.is_ok() && two.is_ok(), "many can read");
    assert!(matches!(Files::open(&path, true).expect_err("it is being read"), StoreError::InUse { .. }));
    drop((one, two));
    Files::open(&path, true).expect("free again");
}

#[test]
fn synced_records_survive_the_process() {
    let folder = used_folder();
    let opened = start(files(&folder)).expect("its own folder");
    assert_eq!((opened.incarnation, opened.recovery.records), (2, 3));
    drop(opened);
    assert_eq!(start(files(&folder)).expect("its own folder").incarnation, 3);
    let names = names(folder.path()).expect("it can be listed");
    assert_eq!(names, ["FORMAT", "META", WAL]);
}

#[test]
fn a_request_that_never_fits_is_refused_before_it_uses_space() {
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
    assert!(free() > before / 2, "others use the disk too, but do not need 64 TiB");
    let (error, _) =
        open_node(disk, identity(1), DISK_ID, None, crate::StoreOptions { segment_bytes: 64 << 40, ..OPTIONS })
            .expect_err("a foreign folder")
            .into_parts();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    std::fs::remove_file(folder.path().join("big")).expect("there");
    let too_large = crate::StoreOptions { segment_bytes: 64 << 40, ..OPTIONS };
    let error = open_node(files(&folder), identity(1), DISK_ID, None, too_large).expect_err("full").error;
    assert!(matches!(&error, StoreError::Disk(disk) if disk.kind == DiskErrorKind::Full), "{error}");
    start(files(&folder)).expect("a start with smaller segments continues");
}

#[test]
fn allocated_space_reads_as_zeros() {
    use std::os::unix::fs::MetadataExt;
    let folder = folder();
    let mut disk = files(&folder);
    disk.create("log").and_then(|()| disk.set_len("log", 1 << 20)).and_then(|()| disk.sync("log")).expect("space");
    let path = folder.path().join("log");
    assert!(std::fs::metadata(&path).expect("there").blocks() * 512 >= 1 << 20, "not a hole");
    assert!(std::fs::read(&path).expect("there").iter().all(|byte| *byte == 0));
}

#[test]
fn names_outside_the_folder_and_of_the_lock_are_refused() {
    let folder = folder();
    let mut disk = files(&folder);
    for name in ["", ".", "..", "../up", "a/b", "/etc/passwd", "nul\0", "LOCK"] {
        assert!(disk.create(name).is_err() && disk.remove(name).is_err() && disk.len(name).is_err(), "{name:?}");
        assert!(disk.rename("a", name).is_err(), "{name:?}");
    }
    assert_eq!(disk.list(), Ok(vec![]));
}

#[test]
fn more_files_can_be_used_than_stay_open() {
    let folder = folder();
    let mut disk = files(&folder);
    let name = |number: usize| format!("file-{number:02}");
    for number in 0..40 {
        disk.create(&name(number)).and_then(|()| disk.write(&name(number), 0, &[number as u8])).expect("new");
    }
    assert_eq!(disk.open.len(), 40, "no file is closed before its sync");
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
fn a_foreign_folder_is_not_changed() {
    let folder = folder();
    std::fs::write(folder.path().join("notes.txt"), "mine").expect("written");
    let error = Files::open(folder.path(), true).expect_err("no node's folder");
    assert!(error.to_string().contains("notes.txt, which no node wrote"), "{error}");
    let names: Vec<_> = std::fs::read_dir(folder.path()).expect("there").collect();
    assert_eq!(names.len(), 1, "no lock file was added: {names:?}");
}

#[test]
fn another_nodes_folder_is_refused_with_its_name() {
    let folder = used_folder();
    let error = open_node(files(&folder), identity(2), DISK_ID, None, OPTIONS).expect_err("node 1's").error;
    let text = error.to_string();
    for part in ["the data of node 1 of cluster 61", "expected node 2 of cluster 61", "keep the folder"] {
        assert!(text.contains(part), "{part} in: {text}");
    }
    assert_eq!(start(files(&folder)).expect("it is unchanged").incarnation, 2);
}

#[test]
fn a_file_and_an_unwritable_folder_are_refused() {
    let top = folder();
    let file = top.path().join("file");
    std::fs::write(&file, "").expect("written");
    for path in [file.clone(), file.join("below")] {
        let error = Files::open(&path, true).expect_err("a file").to_string();
        assert!(error.contains("is a file, expected a folder"), "{error}");
    }
    let closed = top.path().join("closed");
    std::fs::create_dir(&closed).expect("made");
    let mut permissions = std::fs::metadata(&closed).expect("there").permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&closed, permissions).expect("changed");
    match Files::open(&closed, true) {
        Err(error) => assert!(error.to_string().contains("ermission denied"), "{error}"),
        Ok(_) => assert!(rustix::process::geteuid().is_root(), "only root can write there"),
    }
    let error = Files::open(Path::new("/proc/raft-data"), true).expect_err("not even for root").to_string();
    assert!(error.contains("/proc/raft-data"), "{error}");
}

#[test]
fn a_read_only_view_changes_nothing() {
    let folder = used_folder();
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
