//! Single values: from text, with their ranges, and back.
//!
//! Every function here says what a value must be, not where it stood.

use super::key::Key;
use raft_core::{MAX_NUMBER, NodeId};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

pub(super) fn node_id(text: &str) -> Result<NodeId, String> {
    let problem = || format!("must be a number, {}", Key::Id.range());
    let id = text.parse::<u64>().map_err(|_| problem())?;
    if (1..=MAX_NUMBER).contains(&id) { Ok(NodeId(id)) } else { Err(problem()) }
}

pub(super) fn cluster(text: &str) -> Result<String, String> {
    let fits = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && (1..=64).contains(&text.len());
    if fits { Ok(text.to_owned()) } else { Err(format!("must be {}", Key::Cluster.range())) }
}

pub(super) fn folder(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() || text.contains('\0') {
        Err("must be the path of a folder".to_owned())
    } else {
        Ok(text.into())
    }
}

pub(super) fn segment_bytes(text: &str) -> Result<u64, String> {
    within(bytes(text)?, (4 << 10)..=(1 << 40), Key::SegmentBytes.range())
}

pub(super) fn snapshot_after_entries(text: &str) -> Result<u64, String> {
    entries(text, Key::SnapshotAfterEntries.range())
}

pub(super) fn snapshot_after_bytes(text: &str) -> Result<u64, String> {
    within(bytes(text)?, 0..=(1 << 40), Key::SnapshotAfterBytes.range())
}

pub(super) fn snapshot_rate(text: &str) -> Result<u64, String> {
    within(bytes(text)?, 0..=(1 << 40), Key::SnapshotRate.range())
}

pub(super) fn trailing_entries(text: &str) -> Result<u64, String> {
    entries(text, Key::TrailingEntries.range())
}

fn entries(text: &str, range: &str) -> Result<u64, String> {
    let number = text.parse().map_err(|_| format!("must be a number, {range}"))?;
    within(number, 0..=MAX_NUMBER, range)
}

pub(super) fn max_request_bytes(text: &str) -> Result<u64, String> {
    within(bytes(text)?, (1 << 10)..=(64 << 20), Key::MaxRequestBytes.range())
}

pub(super) fn max_connections(text: &str) -> Result<usize, String> {
    let range = Key::MaxConnections.range();
    let number = text.parse().map_err(|_| format!("must be a number, {range}"))?;
    within(number, 16..=(1 << 20), range)
}

pub(super) fn heartbeat_interval(text: &str) -> Result<Duration, String> {
    let longest = Duration::from_secs(600);
    within(duration(text)?, Duration::from_millis(1)..=longest, Key::HeartbeatInterval.range())
}

/// `500ms..1s`. Shortest and longest are one key, because neither means much without the other.
pub(super) fn election_timeout(text: &str) -> Result<Range<Duration>, String> {
    let (shortest, longest) = text
        .split_once("..")
        .ok_or_else(|| "must be a range such as 500ms..1s: the timeouts of nodes have to differ".to_owned())?;
    let (shortest, longest) = (duration(shortest)?, duration(longest)?);
    let limits = Duration::from_millis(10)..=Duration::from_secs(600);
    within(shortest, limits.clone(), Key::ElectionTimeout.range())?;
    within(longest, limits, Key::ElectionTimeout.range())?;
    if shortest >= longest {
        return Err("must end above its start: the timeouts of nodes have to differ".to_owned());
    }
    Ok(shortest..longest)
}

pub(super) fn show_range(range: &Range<Duration>) -> String {
    format!("{}..{}", humantime::format_duration(range.start), humantime::format_duration(range.end))
}

pub(super) fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((name, shift)) if *shift > 0 => format!("{}{name}", bytes >> shift),
        _ => bytes.to_string(),
    }
}

fn within<T: PartialOrd>(value: T, limits: RangeInclusive<T>, range: impl Display) -> Result<T, String> {
    if limits.contains(&value) { Ok(value) } else { Err(format!("must be {range}")) }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "must be a time such as 150ms or 2s".to_owned())
}

fn bytes(text: &str) -> Result<u64, String> {
    let problem = || "must be a size such as 16MiB or 65536 (KiB, MiB, GiB, TiB)".to_owned();
    let text = text.trim();
    let unit = UNITS.iter().find_map(|(name, shift)| text.strip_suffix(name).map(|number| (number, *shift)));
    let (number, shift) = unit.unwrap_or((text, 0));
    let number = number.trim_end().parse::<u64>().map_err(|_| problem())?;
    number.checked_mul(1 << shift).ok_or_else(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        let table =
            [("4096", 4096, "4KiB"), ("16MiB", 16 << 20, "16MiB"), ("1 TiB", 1 << 40, "1TiB"), ("5000B", 5000, "5000")];
        for (text, expected, shown) in table {
            assert_eq!(bytes(text), Ok(expected), "{text}");
            assert_eq!(show_bytes(expected), shown);
        }
        for text in ["", "MiB", "-1", "1.5MiB", "16MB", "1e6", "18446744073709551615KiB", "99999999999999999999"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        assert_eq!(show_bytes(0), "0");
    }

    #[test]
    fn the_ends_of_ranges_are_inside() {
        assert!(segment_bytes("4096").is_ok() && segment_bytes("4095").is_err());
        assert!(segment_bytes("1TiB").is_ok() && segment_bytes("1099511627777").is_err());
        assert!(snapshot_after_bytes("0").is_ok() && snapshot_after_bytes("1TiB").is_ok());
        assert!(snapshot_after_bytes("1099511627777").is_err());
        assert!(snapshot_after_entries("0").is_ok() && snapshot_after_entries("4611686018427387904").is_ok());
        assert!(snapshot_after_entries("4611686018427387905").is_err() && snapshot_after_entries("1MiB").is_err());
        assert!(trailing_entries("0").is_ok() && trailing_entries("-1").is_err());
        assert!(max_request_bytes("1KiB").is_ok() && max_request_bytes("1023").is_err());
        assert!(max_request_bytes("64MiB").is_ok() && max_request_bytes("65MiB").is_err());
        assert!(max_connections("16").is_ok() && max_connections("15").is_err());
        assert!(max_connections("1048576").is_ok() && max_connections("1048577").is_err());
        assert!(node_id("1").is_ok() && node_id("0").is_err() && node_id("-1").is_err() && node_id("n1").is_err());
        assert!(node_id("4611686018427387904").is_ok() && node_id("4611686018427387905").is_err());
        assert!(heartbeat_interval("1ms").is_ok() && heartbeat_interval("999us").is_err());
        assert!(cluster("a-b_c.9").is_ok() && cluster("").is_err() && cluster("a b").is_err());
        assert!(cluster(&"x".repeat(64)).is_ok() && cluster(&"x".repeat(65)).is_err());
        assert!(folder("x").is_ok() && folder("").is_err() && folder("a\0b").is_err());
    }

    #[test]
    fn election_timeouts_are_a_range_that_is_not_empty() {
        assert_eq!(election_timeout("500ms..1s"), Ok(Duration::from_millis(500)..Duration::from_secs(1)));
        assert_eq!(election_timeout(" 1s .. 2s "), Ok(Duration::from_secs(1)..Duration::from_secs(2)));
        for text in ["1s", "1s..1s", "2s..1s", "1s..", "..", "9ms..1s", "1s..11m", "1s..2", "x..y"] {
            assert!(election_timeout(text).is_err(), "{text}");
        }
        assert_eq!(show_range(&(Duration::from_millis(500)..Duration::from_secs(1))), "500ms..1s");
    }
}
