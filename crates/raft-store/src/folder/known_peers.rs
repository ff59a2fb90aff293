//! The file PEERS, which lists the disk of each peer.
//!
//! ```text
//! PEERS   "raftpeer", then 24 bytes for each peer, in order of id: its id (8, little-endian), its disk's id (16); then the
//!         CRC32C (4) of all that
//! ```
//!
//! A node's votes and acknowledgements hold only as long as its disk remembers them. A peer that comes back with a
//! known id and another disk has lost them and could vote twice. So a peer's first disk is its only one. The node
//! registers it durably before any of the peer's messages counts. No id is used twice, so a peer is never removed.
//!
//! PEERS is replaced atomically. It does not exist before the first peer; META counts the peers at the last start, so that a
//! start notices a lost file.

use crate::disk::Disk;
use crate::folder::meta_file::DiskId;
use crate::store_error::StoreError;
use crate::wal::format::u64_at;
use raft_core::NodeId;
use std::collections::BTreeMap;

pub(crate) const PEERS_FILE: &str = "PEERS";
pub(crate) const NEW_PEERS_FILE: &str = "PEERS.new";

/// The most peers that a node registers: far more than a cluster has. Each change writes the whole file.
pub const MAX_KNOWN_PEERS: usize = 4096;

const MAGIC: [u8; 8] = *b"raftpeer";
const PEER: usize = 24;
/// Bytes before and after the peers.
const FRAME: usize = 12;

/// The check of a peer's disk id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerCheck {
    /// The peer was unknown. The node has now registered it durably.
    New,
    /// The peer is registered with this disk.
    Known,
    /// The peer is registered with another disk: this disk does not hold its promises. Reject the peer.
    Mismatch {
        /// The registered disk.
        known: DiskId,
    },
    /// The peer is unknown, and [`MAX_KNOWN_PEERS`] others are registered.
    Full,
}

/// The registered peers and their disks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPeers {
    disks: BTreeMap<NodeId, DiskId>,
}

impl KnownPeers {
    /// The peer's registered disk.
    pub fn disk_of(&self, peer: NodeId) -> Option<DiskId> {
        self.disks.get(&peer).copied()
    }

    /// All peers, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, DiskId)> {
        self.disks.iter().map(|(peer, disk)| (*peer, *disk))
    }

    pub(crate) fn count(&self) -> u64 {
        self.disks.len() as u64
    }

    /// Checks a peer's disk; for [`PeerCheck::New`] also returns the peers with the new one.
    pub(crate) fn check(&self, peer: NodeId, disk: DiskId) -> (PeerCheck, Option<Self>) {
        match self.disk_of(peer) {
            Some(known) if known == disk => (PeerCheck::Known, None),
            Some(known) => (PeerCheck::Mismatch { known }, None),
            None if self.disks.len() >= MAX_KNOWN_PEERS => (PeerCheck::Full, None),
            None => {
                let mut updated = self.clone();
                updated.disks.insert(peer, disk);
                (PeerCheck::New, Some(updated))
            }
        }
    }

    /// The content of PEERS.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME + PEER * self.disks.len());
        bytes.extend(MAGIC);
        for (peer, disk) in &self.disks {
            bytes.extend(peer.0.to_le_bytes());
            bytes.extend(disk.0);
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let Some((content, checksum)) = bytes.split_last_chunk() else { return Err("it has no checksum") };
        if crc32c::crc32c(content).to_le_bytes() != *checksum {
            return Err("its checksum is wrong");
        }
        let peers = content.strip_prefix(&MAGIC).ok_or("expected \"raftpeer\" at its beginning")?;
        let peers = peers.chunks(PEER).map(|peer| {
            let disk = peer.get(8..)?.try_into().ok()?;
            Some((NodeId(u64_at(peer, 0)?), DiskId(disk)))
        });
        let peers: Vec<(NodeId, DiskId)> = peers.collect::<Option<_>>().ok_or("it ends in the middle of a peer")?;
        if !peers.is_sorted_by(|one, next| one.0 < next.0) {
            return Err("its peers are not in order");
        }
        Ok(Self { disks: peers.into_iter().collect() })
    }

    /// Reads PEERS from a folder with these files; META counts `expected` peers.
    pub(crate) fn read<D: Disk>(disk: &mut D, files: &[String], expected: u64) -> Result<Self, StoreError> {
        let damaged = |reason: String| Err(StoreError::corrupt(PEERS_FILE, 0, reason));
        if !files.iter().any(|file| file == PEERS_FILE) {
            return match expected {
                0 => Ok(Self::default()),
                _ => Err(StoreError::missing(disk, PEERS_FILE, format!("META counts {expected} peers"))),
            };
        }
        let largest = FRAME + PEER * MAX_KNOWN_PEERS;
        let length = usize::try_from(disk.len(PEERS_FILE)?).unwrap_or(usize::MAX);
        if length > largest {
            return damaged(format!("it is longer than {largest} bytes"));
        }
        let mut bytes = vec![0; length];
        let read = disk.read(PEERS_FILE, 0, &mut bytes)?;
        bytes.truncate(read);
        match Self::parse(&bytes) {
            Err(reason) => damaged(reason.to_owned()),
            Ok(peers) if peers.count() < expected => {
                damaged(format!("it has {} peers, but META counts {expected}", peers.count()))
            }
            Ok(peers) => Ok(peers),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::Memory;

    const DISK: DiskId = DiskId([7; 16]);
    const OTHER: DiskId = DiskId([8; 16]);

    fn of(peers: impl IntoIterator<Item = (u64, DiskId)>) -> KnownPeers {
        KnownPeers { disks: peers.into_iter().map(|(peer, disk)| (NodeId(peer), disk)).collect() }
    }

    fn read(content: &[u8], known: u64) -> Result<KnownPeers, StoreError> {
        let mut disk = Memory::default();
        disk.files.insert(PEERS_FILE.to_owned(), content.to_vec());
        KnownPeers::read(&mut disk, &[PEERS_FILE.to_owned()], known)
    }

    #[test]
    fn a_peers_first_disk_is_its_only_one() {
        let none = KnownPeers::default();
        let (check, known) = none.check(NodeId(2), DISK);
        let known = known.expect("a new peer");
        assert_eq!((check, known.disk_of(NodeId(2))), (PeerCheck::New, Some(DISK)));
        assert_eq!(known.check(NodeId(2), DISK), (PeerCheck::Known, None));
        assert_eq!(known.check(NodeId(2), OTHER), (PeerCheck::Mismatch { known: DISK }, None));
        let both = Some(of([(2, DISK), (3, DISK)]));
        assert_eq!(known.check(NodeId(3), DISK), (PeerCheck::New, both), "two peers on one disk");
    }

    #[test]
    fn a_full_list_takes_no_new_peer_and_drops_none() {
        let most = MAX_KNOWN_PEERS as u64;
        let full = of((1..=most).map(|peer| (peer, DISK)));
        assert_eq!(full.check(NodeId(most + 1), DISK), (PeerCheck::Full, None));
        assert_eq!(full.check(NodeId(most), DISK), (PeerCheck::Known, None));
        assert_eq!(full.check(NodeId(1), OTHER), (PeerCheck::Mismatch { known: DISK }, None));
        assert_eq!(read(&full.encode(), most), Ok(full.clone()));
        let error = read(&of((1..=most + 1).map(|peer| (peer, DISK))).encode(), 0).expect_err("too many").to_string();
        assert!(error.contains("PEERS is damaged at byte 0: it is longer than 98316 bytes"), "{error}");
    }

    #[test]
    fn a_whole_file_parses_and_no_flipped_bit_and_no_other_length_passes() {
        for peers in [of([]), of([(u64::MAX, OTHER)]), of([(1, DISK), (2, OTHER), (9, DISK)])] {
            let bytes = peers.encode();
            assert_eq!(read(&bytes, peers.count()), Ok(peers.clone()));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(matches!(read(&flipped, 0), Err(StoreError::Corrupt { .. })), "bit {bit}");
            }
            for cut in 0..bytes.len() {
                assert!(matches!(read(&bytes[..cut], 0), Err(StoreError::Corrupt { .. })), "cut to {cut}");
            }
            for more in 1..50 {
                let longer = [&bytes[..], &vec![0; more]].concat();
                assert!(matches!(read(&longer, 0), Err(StoreError::Corrupt { .. })), "{more} more");
            }
        }
    }

    #[test]
    fn a_right_checksum_is_not_enough() {
        let summed = |content: &[u8]| [content, &crc32c::crc32c(content).to_le_bytes()].concat();
        let peer = |id: u64| [&id.to_le_bytes()[..], &DISK.0].concat();
        let cases = [
            (summed(b"raftmeta"), "at its beginning"),
            (summed(&[&MAGIC[..], &peer(1)[..23]].concat()), "in the middle of a peer"),
            (summed(&[&MAGIC[..], &peer(2), &peer(1)].concat()), "not in order"),
            (summed(&[&MAGIC[..], &peer(2), &peer(2)].concat()), "not in order"),
        ];
        for (content, part) in cases {
            let error = read(&content, 0).expect_err(part).to_string();
            assert!(error.starts_with("PEERS is damaged") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn peers_that_meta_counts_must_be_there() {
        let nothing = |known| KnownPeers::read(&mut Memory::default(), &[], known);
        assert_eq!(nothing(0), Ok(KnownPeers::default()));
        let error = nothing(2).expect_err("a file is missing").to_string();
        assert!(error.contains("PEERS is missing: META counts 2 peers"), "{error}");
        let error = read(&of([(1, DISK)]).encode(), 2).expect_err("an older file").to_string();
        assert!(error.contains("it has 1 peers, but META counts 2"), "{error}");
        assert!(read(&of([(1, DISK), (2, DISK)]).encode(), 1).is_ok(), "one peer was registered since the last start");
    }
}
