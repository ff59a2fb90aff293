//! Tests of the peers' disk ids and of this disk's id: they survive every crash, and a start notices a loss.

use super::{DISK_ID, Dying, IDENTITY, OPTIONS, Quota, content, entries, flip, vote};
use crate::conformance::crash_points::Ends;
use crate::folder::known_peers::{PEERS_FILE, PeerCheck};
use crate::folder::meta_file::{FORMAT_FILE, META_FILE, Meta, encode_format, parse_format};
use crate::{Disk, DiskErrorKind, DiskId, OpenError, Opened, StoreError, inspect, open_node};
use raft_core::NodeId;

const DISK: DiskId = DiskId([2; 16]);
const OTHER: DiskId = DiskId([3; 16]);
/// An id that a disk with another id must never get.
const NEWER: DiskId = DiskId([9; 16]);

fn start<D: Disk>(disk: D, drawn: DiskId) -> Opened<D> {
    try_start(disk, drawn).unwrap_or_else(|error| panic!("it must start: {error}"))
}

fn try_start<D: Disk>(disk: D, drawn: DiskId) -> Result<Opened<D>, OpenError<D>> {
    open_node(disk, IDENTITY, drawn, Some(&vote(1, 1)), OPTIONS)
}

fn refusal<D: Disk>(disk: D) -> (String, D) {
    let (error, disk) = try_start(disk, NEWER).map(drop).expect_err("it must be refused").into_parts();
    assert!(matches!(error, StoreError::Corrupt { .. } | StoreError::Missing { .. }), "{error}");
    (error.to_string(), disk)
}

/// Turns a folder into one of format 1, without a disk id and peers.
pub fn as_format_1<D: Disk>(disk: &mut D) {
    let meta = Meta::parse(&content(disk, META_FILE)).expect("a whole META");
    let meta = Meta { disk: None, ..meta };
    for (file, content) in [(FORMAT_FILE, encode_format(1)), (META_FILE, meta.encode())] {
        disk.set_len(file, content.len() as u64).expect("there");
        disk.write(file, 0, &content).expect("there");
        disk.sync(file).expect("there");
    }
    if disk.list().expect("a disk that works").iter().any(|file| file == PEERS_FILE) {
        disk.remove(PEERS_FILE).and_then(|()| disk.sync_folder()).expect("there");
    }
}

pub(super) fn a_registered_peer_is_known_at_every_later_start<D: Disk>(disk: D) {
    let mut store = start(disk, DISK_ID).store;
    assert_eq!(store.register_peer(NodeId(2), DISK), Ok(PeerCheck::New));
    assert_eq!(store.register_peer(NodeId(3), OTHER), Ok(PeerCheck::New));
    for starts in 2..4 {
        let Opened { store: again, disk_id, incarnation, .. } = start(store.into_disk(), NEWER);
        assert_eq!((disk_id, incarnation), (DISK_ID, starts));
        store = again;
        assert_eq!(store.register_peer(NodeId(2), DISK), Ok(PeerCheck::Known));
        assert_eq!(store.register_peer(NodeId(2), OTHER), Ok(PeerCheck::Mismatch { known: DISK }));
        assert_eq!(store.register_peer(NodeId(3), OTHER), Ok(PeerCheck::Known), "a refusal changes nothing");
        let known: Vec<_> = store.known_peers().iter().collect();
        assert_eq!(known, [(NodeId(2), DISK), (NodeId(3), OTHER)]);
    }
    let found = inspect(store.disk_mut(), &mut |_| {}).expect("a whole folder");
    assert_eq!((found.disk_id, found.known_peers), (Some(DISK_ID), store.known_peers().clone()));
}

/// In turn, each call of a registration finds the disk full.
pub(super) fn a_full_disk_registers_no_peer_and_goes_on<D: Disk>(fresh: &mut impl FnMut() -> D) {
    let mut refused = 0;
    for calls in 0.. {
        let disk = Quota { disk: fresh(), limit: u64::MAX, full_after: None, refused: 0 };
        let mut store = start(disk, DISK_ID).store;
        store.register_peer(NodeId(2), DISK).expect("there is space");
        store.disk_mut().full_after = Some(calls);
        let check = store.register_peer(NodeId(3), DISK);
        if store.disk().refused == 0 {
            assert_eq!(check, Ok(PeerCheck::New));
            break;
        }
        refused += 1;
        let full = |error: &StoreError| matches!(error, StoreError::Disk(disk) if disk.kind == DiskErrorKind::Full);
        assert!(check.as_ref().is_err_and(full), "call {calls}: {check:?}");
        assert_eq!(store.known_peers().disk_of(NodeId(3)), None, "call {calls}");
        store.write(&[entries(1, 1, 1, 10)]).and_then(|()| store.sync()).expect("the store stays usable");
        assert_eq!(store.register_peer(NodeId(2), DISK), Ok(PeerCheck::Known));
        assert_eq!(store.register_peer(NodeId(3), OTHER), Ok(PeerCheck::New), "space again, and its first disk");
        let mut store = start(store.into_disk(), NEWER).store;
        assert_eq!(store.register_peer(NodeId(3), DISK), Ok(PeerCheck::Mismatch { known: OTHER }));
    }
    assert!(refused >= 4, "{refused} calls found the disk full");
}

/// PEERS is missing, damaged, or older than at the last start.
pub(super) fn a_missing_or_damaged_peers_file_is_refused<D: Disk>(disk: D) {
    let mut store = start(disk, DISK_ID).store;
    store.register_peer(NodeId(2), DISK).expect("a disk that works");
    let mut disk = store.into_disk();
    let old = content(&mut disk, PEERS_FILE);
    let mut store = start(disk, NEWER).store;
    store.register_peer(NodeId(3), DISK).expect("a disk that works");
    let mut disk = start(store.into_disk(), NEWER).store.into_disk();
    let whole = content(&mut disk, PEERS_FILE);
    flip(&mut disk, PEERS_FILE, 20);
    let (error, mut disk) = refusal(disk);
    assert!(error.contains("PEERS is damaged at byte 0: its checksum is wrong"), "{error}");
    assert_eq!(
        inspect(&mut disk, &mut |_| {}).map_err(|error| error.to_string()),
        Err(error),
        "an inspection finds the same error"
    );
    disk.set_len(PEERS_FILE, old.len() as u64).and_then(|()| disk.write(PEERS_FILE, 0, &old)).expect("there");
    let (error, mut disk) = refusal(disk);
    assert!(error.contains("it has 1 peers, but META counts 2"), "{error}");
    disk.remove(PEERS_FILE).expect("there");
    let (error, mut disk) = refusal(disk);
    assert!(error.contains("PEERS is missing: META counts 2 peers"), "{error}");
    disk.create(PEERS_FILE).and_then(|()| disk.write(PEERS_FILE, 0, &whole)).expect("a new name");
    assert_eq!(start(disk, NEWER).disk_id, DISK_ID);
}

pub(super) fn a_folder_of_format_1_gets_a_disk_id_and_keeps_it<D: Disk>(disk: D) {
    let mut store = start(disk, DISK_ID).store;
    store.write(&[entries(1, 1, 1, 10)]).and_then(|()| store.sync()).expect("a disk that works");
    let mut disk = store.into_disk();
    as_format_1(&mut disk);
    let found = inspect(&mut disk, &mut |_| {}).expect("a whole folder");
    assert_eq!((found.owner, found.disk_id), (Some((IDENTITY, 1)), None));
    let Opened { store, recovery, incarnation, disk_id } = start(disk, OTHER);
    assert_eq!((recovery.records, incarnation, disk_id), (2, 2, OTHER));
    let mut disk = store.into_disk();
    assert_eq!(parse_format(&content(&mut disk, FORMAT_FILE)), Some(2));
    assert_eq!(start(disk, NEWER).disk_id, OTHER);
}

/// Crashes a registration at every call to the disk. The peer is registered or not, and surely registered if the
/// registration was reported. `disk` is empty. Returns the number of crashes.
pub fn every_crash_of_a_registration<D: Disk + Clone>(disk: D, ends: Ends<'_, D>) -> u32 {
    let mut checked = 0;
    let mut store = start(Dying { disk, calls_left: u32::MAX }, DISK_ID).store;
    store.register_peer(NodeId(2), DISK).expect("a disk that works");
    for calls_left in 0.. {
        let mut store = store.clone();
        store.disk_mut().calls_left = calls_left;
        let check = store.register_peer(NodeId(3), DISK);
        assert!(check.is_ok() || store.register_peer(NodeId(2), DISK).is_err(), "a failure poisons");
        ends(store.into_disk().disk, &mut |disk| {
            checked += 1;
            let mut store = start(disk, NEWER).store;
            assert_eq!(store.register_peer(NodeId(2), DISK), Ok(PeerCheck::Known));
            let known = store.known_peers().disk_of(NodeId(3));
            assert!(
                known == Some(DISK) || (known.is_none() && check.is_err()),
                "{calls_left}: {known:?} after {check:?}"
            );
            let again = store.register_peer(NodeId(3), OTHER).expect("a disk that works");
            assert_eq!(again == PeerCheck::New, known.is_none(), "{calls_left}: {again:?}");
            // State that a start has read is durable, even if the registration was never reported.
            let seen = store.known_peers().clone();
            ends(store.into_disk(), &mut |disk| assert_eq!(*start(disk, NEWER).store.known_peers(), seen));
        });
        if check.is_ok() {
            break;
        }
    }
    checked
}
