//! Writes the missing fixtures of the current format: folders in the state in which this version leaves them, and their
//! descriptions. It never writes an existing fixture again: every later version must read it.
//!
//! ```text
//! cargo run -p raft-store --features conformance --example make_fixtures -- crates/raft-store/fixtures/v2
//! ```
//!
//! A new fixture is a line in `FIXTURES` and a function; a new format gets its own folder. Read the description before you
//! commit it.

use raft_core::{Configuration, EntryId, InstallMode, LogIndex, NodeId, Write};
use raft_store::conformance::{DISK_ID, IDENTITY, Memory, OPTIONS, describe, entries, save, snapshot, vote};
use raft_store::{DiskId, Opened, Store, open_node};
use std::path::Path;

type Fixture = (&'static str, fn() -> Memory);

const FIXTURES: [Fixture; 9] = [
    ("founded", founded),
    ("lived", lived),
    ("compacted", compacted),
    ("torn", torn),
    ("damaged", damaged),
    ("damaged-snapshot", damaged_snapshot),
    ("newer", newer),
    ("acquainted", acquainted),
    ("damaged-peers", damaged_peers),
];

fn start(disk: Memory) -> Store<Memory> {
    let founding = Write::bootstrap(Configuration::of_voters([NodeId(1), NodeId(2), NodeId(3)]));
    let Opened { store, .. } = open_node(disk, IDENTITY, DISK_ID, Some(&founding), OPTIONS).expect("a node starts");
    store
}

/// Writes and syncs each write in a separate group.
fn write(store: &mut Store<Memory>, writes: impl IntoIterator<Item = Write>) {
    for write in writes {
        store.write(&[write]).and_then(|()| store.sync()).expect("a disk that works");
    }
}

/// A founder after its first start.
fn founded() -> Memory {
    start(Memory::default()).into_disk()
}

/// Votes, entries, a truncation, a group of three, two starts.
fn lived() -> Memory {
    let mut store = start(founded());
    let cut = Write { truncate_from: Some(LogIndex(4)), ..entries(4, 1, 3, 60) };
    write(&mut store, [vote(1, 1), entries(2, 3, 1, 40), vote(3, 2), cut]);
    store.write(&[entries(5, 1, 3, 0), vote(4, 3), entries(6, 2, 4, 200)]).expect("fits");
    store.sync().expect("a disk that works");
    start(store.into_disk()).into_disk()
}

/// Several segments, a snapshot, the oldest segments deleted.
fn compacted() -> Memory {
    let mut store = start(lived());
    write(&mut store, (8..14).map(|index| entries(index, 1, 4, 1500)));
    save(&mut store, EntryId::new(11, 4));
    write(&mut store, [snapshot(EntryId::new(11, 4), InstallMode::Keep)]);
    store.compact(LogIndex(10)).expect("a disk that works");
    write(&mut store, [vote(5, 1)]);
    store.into_disk()
}

fn newest(disk: &mut Memory) -> &mut Vec<u8> {
    let newest = disk.files.keys().rfind(|file| file.starts_with("wal-")).expect("a segment").clone();
    disk.files.get_mut(&newest).expect("there")
}

/// The last of two unsynced records lost part of its payload.
fn torn() -> Memory {
    let mut store = start(lived());
    store.write(&[vote(6, 1)]).and_then(|()| store.write(&[entries(8, 1, 6, 600)])).expect("fits");
    let mut disk = store.into_disk();
    let content = newest(&mut disk);
    let used = content.iter().rposition(|byte| *byte != 0).expect("records");
    content[used - 300..used - 200].fill(0);
    disk
}

/// A bit flipped in the third record, before valid ones.
fn damaged() -> Memory {
    let mut disk = lived();
    newest(&mut disk)[300] ^= 1;
    disk
}

/// A bit flipped in the snapshot that the log names.
fn damaged_snapshot() -> Memory {
    let mut disk = compacted();
    let snapshot = disk.files.keys().find(|file| file.starts_with("snapshot-")).expect("one").clone();
    disk.files.get_mut(&snapshot).expect("there")[200] ^= 1;
    disk
}

/// A folder of the format after this one.
fn newer() -> Memory {
    let mut disk = founded();
    let line = "raft-store format 3\n";
    let text = format!("{line}crc32c {:08x}\n", crc32c::crc32c(line.as_bytes()));
    disk.files.insert("FORMAT".to_owned(), text.into_bytes());
    disk
}

/// A node with two registered peers, one of them since its last start.
fn acquainted() -> Memory {
    let mut store = start(lived());
    store.register_peer(NodeId(2), DiskId([2; 16])).expect("a disk that works");
    let mut store = start(store.into_disk());
    store.register_peer(NodeId(3), DiskId([3; 16])).expect("a disk that works");
    store.into_disk()
}

/// A bit flipped in PEERS.
fn damaged_peers() -> Memory {
    let mut disk = acquainted();
    disk.files.get_mut("PEERS").expect("there")[20] ^= 1;
    disk
}

fn main() -> std::io::Result<()> {
    let place = std::env::args().nth(1).expect("the folder for the fixtures");
    let place = Path::new(&place);
    for (name, make) in FIXTURES {
        let folder = place.join(name);
        if folder.exists() {
            println!("{name} is there");
            continue;
        }
        let disk = make();
        std::fs::create_dir_all(&folder)?;
        for (file, content) in &disk.files {
            std::fs::write(folder.join(file), content)?;
        }
        std::fs::write(place.join(format!("{name}.txt")), describe(&disk))?;
        println!("{name} is written");
    }
    Ok(())
}
