//! Which disk each peer has, as this node got to know it: the file PEERS. Must not know why peers meet, nor what is done
//! about strangers.
//!
//! ```text
//! PEERS   "raftpeer", then 24 bytes for each peer, in order of id: its id (8, little-endian), its disk's id (16); then the
//!         CRC32C (4) of all that
//! ```
//!
//! A node's votes and acknowledgements are worth what its disk remembers of them. Whoever comes with a known id and another
//! disk has forgotten them, and would vote a second time. So a peer's first disk is the only one it ever has, and it is
//! remembered, durably, before anything the peer says is believed. An id is never used twice, so nobody is ever forgotten.
//!
//! The file is written whole under another name, synced and renamed. There is none before the first peer is met; META knows
//! how many were in it at the last start, so that a file that has vanished since then is noticed.

use crate::disk::Disk;
use crate::folder::meta_file::DiskId;
use crate::store_error::StoreError;
use crate::wal::format::u64_at;
use crate::wal::scan::corrupt;
use raft_core::NodeId;
use std::collections::BTreeMap;

/// The name of the file that says which disks the peers have.
pub(crate) const PEERS_FILE: &str = "PEERS";
/// Its name while it is written.
pub(crate) const NEW_PEERS_FILE: &str = "PEERS.new";

/// The most peers whose disks a node remembers: far more than a cluster ever has, and the file is written whole.
pub const MAX_KNOWN_PEERS: usize = 4096;

const MAGIC: [u8; 8] = *b"raftpeer";
/// Bytes of a peer.
const PEER: usize = 24;
/// Bytes of what is around them.
const FRAME: usize = 12;

/// What a node makes of a peer's disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerCheck {
    /// The peer was not known. It is now, durably, with this disk.
    New,
    /// The peer is known with this disk.
    Known,
    /// The peer is known with another disk: what it promised is not on this one. It is never to be believed.
    Mismatch {
        /// The disk that it had when it was met.
        known: DiskId,
    },
    /// The peer is not known, and [`MAX_KNOWN_PEERS`] others are: there is no room for it.
    Full,
}

/// The peers whose disks a node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownPeers {
    disks: BTreeMap<NodeId, DiskId>,
}

impl KnownPeers {
    /// The disk that a peer is known with.
    pub fn disk_of(&self, peer: NodeId) -> Option<DiskId> {
        self.disks.get(&peer).copied()
    }

    /// All of them, in order of id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, DiskId)> {
        self.disks.iter().map(|(peer, disk)| (*peer, *disk))
    }

    /// How many they are.
    pub(crate) fn count(&self) -> u64 {
        self.disks.len() as u64
    }

    /// What is to be made of this peer with this disk; if that is [`PeerCheck::New`], with those that are known then.
    pub(crate) fn judge(&self, peer: NodeId, disk: DiskId) -> (PeerCheck, Option<Self>) {
        match self.disk_of(peer) {
            Some(known) if known == disk => (PeerCheck::Known, None),
            Some(known) => (PeerCheck::Mismatch { known }, None),
            None if self.disks.len() >= MAX_KNOWN_PEERS => (PeerCheck::Full, None),
            None => {
                let mut met = self.clone();
                met.disks.insert(peer, disk);
                (PeerCheck::New, Some(met))
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
        let Some((content, checksum)) = bytes.split_last_chunk() else { return Err("it ends in its beginning") };
        if crc32c::crc32c(content).to_le_bytes() != *checksum {
            return Err("its checksum is wrong");
        }
        let peers = content.strip_prefix(&MAGIC).ok_or("it does not begin like a PEERS file")?;
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

    /// Reads PEERS, of which META knows that so many were there; the folder has these files.
    pub(crate) fn read<D: Disk>(disk: &mut D, files: &[String], known: u64) -> Result<Self, StoreError> {
        let damaged = |reason: String| Err(corrupt(PEERS_FILE, 0, reason));
        if !files.iter().any(|file| file == PEERS_FILE) {
            return match known {
                0 => Ok(Self::default()),
                _ => damaged(format!("the file is missing, but META knows of {known} peers in it")),
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
            Ok(peers) if peers.count() < known => {
                damaged(format!("it has {} peers, but META knows of {known}", peers.count()))
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
    fn a_peers_first_disk_is_the_only_one_it_ever_has() {
        let nobody = KnownPeers::default();
        let (met, known) = nobody.judge(NodeId(2), DISK);
        let known = known.expect("it is to be remembered");
        assert_eq!((met, known.disk_of(NodeId(2))), (PeerCheck::New, Some(DISK)));
        assert_eq!(known.judge(NodeId(2), DISK), (PeerCheck::Known, None));
        assert_eq!(known.judge(NodeId(2), OTHER), (PeerCheck::Mismatch { known: DISK }, None));
        let (met, both) = known.judge(NodeId(3), DISK);
        assert_eq!((met, both), (PeerCheck::New, Some(of([(2, DISK), (3, DISK)]))), "whose it is does not matter");
        assert_eq!(nobody, KnownPeers::default(), "to judge is not to remember");
    }

    #[test]
    fn there_is_room_for_so_many_and_none_is_forgotten_for_another() {
        let most = MAX_KNOWN_PEERS as u64;
        let full = of((1..=most).map(|peer| (peer, DISK)));
        assert_eq!(full.judge(NodeId(most + 1), DISK), (PeerCheck::Full, None));
        assert_eq!(full.judge(NodeId(most), DISK), (PeerCheck::Known, None));
        assert_eq!(full.judge(NodeId(1), OTHER), (PeerCheck::Mismatch { known: DISK }, None));
        assert_eq!(read(&full.encode(), most), Ok(full.clone()));
        let more = of((1..=most + 1).map(|peer| (peer, DISK)));
        let error = read(&more.encode(), 0).expect_err("too many").to_string();
        assert!(error.contains("PEERS is damaged at byte 0: it is longer than 98316 bytes"), "{error}");
    }

    #[test]
    fn the_file_reads_back_and_no_flipped_bit_and_no_cut_passes() {
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
    fn what_has_the_right_checksum_must_still_be_what_was_written() {
        let summed = |content: &[u8]| [content, &crc32c::crc32c(content).to_le_bytes()].concat();
        let peer = |id: u64| [&id.to_le_bytes()[..], &DISK.0].concat();
        let cases = [
            (summed(b"raftmeta"), "does not begin"),
            (summed(&[&MAGIC[..], &peer(1)[..23]].concat()), "in the middle of a peer"),
            (summed(&[&MAGIC[..], &peer(2), &peer(1)].concat()), "not in order"),
            (summed(&[&MAGIC[..], &peer(2), &peer(2)].concat()), "not in order"),
        ];
        for (content, word) in cases {
            let error = read(&content, 0).expect_err(word).to_string();
            assert!(error.starts_with("PEERS is damaged") && error.contains(word), "{error}");
        }
    }

    #[test]
    fn what_meta_knows_of_must_be_there() {
        let nothing = |known| KnownPeers::read(&mut Memory::default(), &[], known);
        assert_eq!(nothing(0), Ok(KnownPeers::default()));
        let error = nothing(2).expect_err("a file is missing").to_string();
        assert!(error.contains("PEERS is damaged") && error.contains("META knows of 2 peers in it"), "{error}");
        let error = read(&of([(1, DISK)]).encode(), 2).expect_err("an older file").to_string();
        assert!(error.contains("it has 1 peers, but META knows of 2"), "{error}");
        assert!(read(&of([(1, DISK), (2, DISK)]).encode(), 1).is_ok(), "one was met since the last start");
    }
}
