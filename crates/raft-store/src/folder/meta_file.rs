//! The format of the files FORMAT and META, which name the folder's node. This file does no I/O.
//!
//! ```text
//! FORMAT   two lines of text: "raft-store format 2", and their checksum; the same in every format but for the number
//! META     76 bytes: "raftmeta", cluster id (16), then as 8 bytes each, little-endian: node id, incarnation, records;
//!          then disk id (16) and registered peers (8); then the CRC32C (4) of all that. In format 1 it has 52 bytes:
//!          without disk id and registered peers
//! ```
//!
//! Only META differs between the formats. The length of META shows its format: an interrupted start may leave FORMAT
//! with the other format.

use crate::wal::format::u64_at;
use raft_core::NodeId;
use std::fmt;

pub(crate) const FORMAT_FILE: &str = "FORMAT";
pub(crate) const META_FILE: &str = "META";

/// The folder format that this version writes, and the newest that it reads.
pub(crate) const FOLDER_FORMAT: u32 = 2;

const MAGIC: [u8; 8] = *b"raftmeta";
const META_BYTES: usize = 76;
/// The length of META in format 1.
const OLD_META_BYTES: usize = 52;

/// The unique id of a cluster. It prints as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The id of a disk: 16 random bytes, drawn for a new folder, so that an emptied folder gets another one. It prints as
/// 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DiskId(pub [u8; 16]);

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The node that a folder belongs to.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cluster: ClusterId,
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node.0, self.cluster)
    }
}

/// The content of META.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) identity: Identity,
    /// The number of completed starts. 0 means that the folder is unfinished, and its node has promised nothing.
    pub(crate) incarnation: u64,
    /// How many records were durable at the last completed start.
    pub(crate) records: u64,
    /// `None` in format 1.
    pub(crate) disk: Option<DiskMeta>,
}

/// The part of META that format 2 added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskMeta {
    pub(crate) id: DiskId,
    /// How many peers PEERS held at the last completed start.
    pub(crate) known_peers: u64,
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(META_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.identity.cluster.0);
        for number in [self.identity.node.0, self.incarnation, self.records] {
            bytes.extend(number.to_le_bytes());
        }
        if let Some(disk) = &self.disk {
            bytes.extend(disk.id.0);
            bytes.extend(disk.known_peers.to_le_bytes());
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        if ![META_BYTES, OLD_META_BYTES].contains(&bytes.len()) {
            return Err("expected 76 or 52 bytes");
        }
        let (content, checksum) = bytes.split_at(bytes.len() - 4);
        if crc32c::crc32c(content).to_le_bytes() != *checksum {
            return Err("its checksum is wrong");
        }
        let id = |place: usize| content.get(place..).and_then(<[u8]>::first_chunk).copied();
        let number = |place: usize| u64_at(content, place);
        let disk = id(48).zip(number(64));
        let disk = disk.map(|(id, known_peers)| DiskMeta { id: DiskId(id), known_peers });
        match (content.starts_with(&MAGIC), id(8), number(24), number(32), number(40)) {
            (true, Some(cluster), Some(node), Some(incarnation), Some(records)) => {
                let identity = Identity { cluster: ClusterId(cluster), node: NodeId(node) };
                Ok(Self { identity, incarnation, records, disk })
            }
            _ => Err("expected \"raftmeta\" at its beginning"),
        }
    }
}

/// The content of FORMAT.
pub(crate) fn encode_format(format: u32) -> Vec<u8> {
    let line = format!("raft-store format {format}\n");
    format!("{line}crc32c {:08x}\n", crc32c::crc32c(line.as_bytes())).into_bytes()
}

/// The format in FORMAT; `None` if the file is damaged.
pub(crate) fn parse_format(bytes: &[u8]) -> Option<u32> {
    let rest = std::str::from_utf8(bytes).ok()?.strip_prefix("raft-store format ")?;
    let format = rest.split_once('\n')?.0.parse().ok()?;
    (format >= 1 && encode_format(format) == bytes).then_some(format)
}

pub(crate) fn current_format() -> Vec<u8> {
    encode_format(FOLDER_FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_of_meta_parse_and_no_flipped_bit_passes() {
        let identity = Identity { cluster: ClusterId(*b"0123456789abcdef"), node: NodeId(7) };
        let disk = DiskMeta { id: DiskId(*b"a disk like none"), known_peers: 5 };
        for (disk, length) in [(Some(disk), META_BYTES), (None, OLD_META_BYTES)] {
            let meta = Meta { identity, incarnation: 3, records: u64::MAX, disk };
            let bytes = meta.encode();
            assert_eq!((bytes.len(), Meta::parse(&bytes)), (length, Ok(meta)));
            for bit in 0..length * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Meta::parse(&flipped), Err("its checksum is wrong"), "bit {bit}");
            }
            for cut in 0..length {
                assert!(Meta::parse(&bytes[..cut]).is_err(), "cut to {cut}");
            }
            assert!(Meta::parse(&bytes[1..]).is_err());
            let mut other = bytes[..length - 4].to_vec();
            other[0] = b'R';
            other.extend(crc32c::crc32c(&other).to_le_bytes());
            assert_eq!(Meta::parse(&other), Err("expected \"raftmeta\" at its beginning"));
        }
        assert_eq!(identity.to_string(), "node 7 of cluster 30313233343536373839616263646566");
        assert_eq!(disk.id.to_string(), "61206469736b206c696b65206e6f6e65");
    }

    #[test]
    fn a_newer_format_differs_from_a_damaged_one() {
        let bytes = encode_format(1);
        assert!(bytes.starts_with(b"raft-store format 1\ncrc32c "));
        assert_eq!(parse_format(&bytes), Some(1));
        assert_eq!(parse_format(&encode_format(70_000)), Some(70_000));
        assert_eq!(parse_format(&encode_format(0)), None);
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut flipped = bytes.clone();
                flipped[place] ^= 1 << bit;
                assert_eq!(parse_format(&flipped), None, "byte {place}, bit {bit}");
            }
            assert_eq!(parse_format(&bytes[..place]), None);
        }
    }
}
