//! Whose folder it is, as bytes: the files FORMAT and META. Must not do I/O.
//!
//! ```text
//! FORMAT   two lines of text: "raft-store format 1", and their checksum; the same in every format but for the number
//! META     52 bytes: "raftmeta", cluster id (16), then as 8 bytes each, little-endian: node id, incarnation, records;
//!          then the CRC32C (4) of all that
//! ```

use crate::format::FORMAT;
use raft_core::NodeId;
use std::fmt;

/// The name of the file that says which format everything else in the folder has.
pub(crate) const FORMAT_FILE: &str = "FORMAT";
/// The name of the file that says whose folder it is.
pub(crate) const META_FILE: &str = "META";

const MAGIC: [u8; 8] = *b"raftmeta";
const META_BYTES: usize = 52;

/// The id of a cluster: 16 bytes that no other cluster has. Prints as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Whose data a folder holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node in it.
    pub node: NodeId,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} of cluster {}", self.node.0, self.cluster)
    }
}

/// What META says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Whose folder it is.
    pub(crate) identity: Identity,
    /// How often a start got through. 0: the folder is still being made, and nobody was promised anything.
    pub(crate) incarnation: u64,
    /// How many records of the log were durable when the last start got through.
    pub(crate) records: u64,
}

impl Meta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(META_BYTES);
        bytes.extend(MAGIC);
        bytes.extend(self.identity.cluster.0);
        for number in [self.identity.node.0, self.incarnation, self.records] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; META_BYTES] = bytes.try_into().map_err(|_| "it does not have 52 bytes")?;
        let (content, checksum) = bytes.split_at(META_BYTES - 4);
        if crc32c::crc32c(content).to_le_bytes() != *checksum {
            return Err("its checksum is wrong");
        }
        let field = |place: usize| content.get(place..).and_then(<[u8]>::first_chunk).copied().map(u64::from_le_bytes);
        match (content.strip_prefix(&MAGIC), field(24), field(32), field(40)) {
            (Some(rest), Some(node), Some(incarnation), Some(records)) => {
                let cluster = ClusterId(rest.first_chunk().copied().unwrap_or_default());
                Ok(Self { identity: Identity { cluster, node: NodeId(node) }, incarnation, records })
            }
            _ => Err("it does not begin like a META file"),
        }
    }
}

/// The content of FORMAT.
pub(crate) fn encode_format(format: u32) -> Vec<u8> {
    let line = format!("raft-store format {format}\n");
    format!("{line}crc32c {:08x}\n", crc32c::crc32c(line.as_bytes())).into_bytes()
}

/// The format that FORMAT names; none if it is damaged.
pub(crate) fn parse_format(bytes: &[u8]) -> Option<u32> {
    let rest = std::str::from_utf8(bytes).ok()?.strip_prefix("raft-store format ")?;
    let format = rest.split_once('\n')?.0.parse().ok()?;
    (format >= 1 && encode_format(format) == bytes).then_some(format)
}

/// The newest format, as FORMAT says it.
pub(crate) fn present_format() -> Vec<u8> {
    encode_format(FORMAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meta_reads_back_and_no_flipped_bit_passes() {
        let identity = Identity { cluster: ClusterId(*b"0123456789abcdef"), node: NodeId(7) };
        let meta = Meta { identity, incarnation: 3, records: u64::MAX };
        let bytes = meta.encode();
        assert_eq!((bytes.len(), Meta::parse(&bytes)), (META_BYTES, Ok(meta)));
        for bit in 0..META_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Meta::parse(&flipped), Err("its checksum is wrong"), "bit {bit}");
        }
        assert!(Meta::parse(&bytes[1..]).is_err() && Meta::parse(&[]).is_err());
        let mut other = bytes[..48].to_vec();
        other[0] = b'R';
        other.extend(crc32c::crc32c(&other).to_le_bytes());
        assert_eq!(Meta::parse(&other), Err("it does not begin like a META file"));
        assert_eq!(identity.to_string(), "node 7 of cluster 30313233343536373839616263646566");
    }

    #[test]
    fn a_newer_format_is_told_from_a_damaged_one() {
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
