//! Reads and writes the texts of single values in a scenario: `150ms`, `150ms..300ms`, `2.5%`, `n1`, `7@3`, `0..100`.
//!
//! It uses only integers: it reads a fraction digit by digit, because a float would round it. This file must not know
//! TOML.

use raft_core::{LogIndex, MAX_NUMBER, NodeId, Term};
use std::ops::Range;
use std::time::Duration;

/// The longest duration a scenario may name.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// The names of units with their nanoseconds, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A decimal number times `unit`, exactly: `1.5` times 1000 is 1500. It returns `None` if the text is not a number, has
/// more digits than the unit can hold, or overflows.
fn decimal(text: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || text.ends_with('.') || !digits(whole) || !digits(fraction) {
        return None;
    }
    let mut value = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        if digit != b'0' && (place == 0 || !place.is_multiple_of(10)) {
            return None;
        }
        place /= 10;
        value = value.checked_add(place.checked_mul(u64::from(digit - b'0'))?)?;
    }
    Some(value)
}

/// Reads `150ms`, `1.5s`, `10us`, `2m`.
///
/// # Errors
/// The expected and the found text.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as \"150ms\", \"1.5s\", \"10us\" or \"2m\", found `{text}`");
    let split = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let (_, unit) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let duration = Duration::from_nanos(decimal(number.trim_end(), *unit).ok_or_else(wrong)?);
    if duration > LONGEST {
        Err(format!("`{text}` is longer than {}h", LONGEST.as_secs() / 3600))
    } else {
        Ok(duration)
    }
}

/// Reads `150ms..300ms`; a single duration is a range with only this value.
pub(crate) fn duration_range(text: &str) -> Result<Range<Duration>, String> {
    let (start, end) = text.split_once("..").unwrap_or((text, text));
    let range = duration(start.trim())?..duration(end.trim())?;
    if range.start > range.end { Err(format!("`{text}` ends before it starts")) } else { Ok(range) }
}

/// Reads `2.5%` as 25 000 parts per million.
pub(crate) fn percentage(text: &str) -> Result<u32, String> {
    let wrong = || format!("expected a percentage such as \"2.5%\" (at most four decimals), found `{text}`");
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let ppm = decimal(number.trim_end(), 10_000).and_then(|ppm| u32::try_from(ppm).ok()).ok_or_else(wrong)?;
    if ppm > 1_000_000 { Err(format!("`{text}` is more than 100%")) } else { Ok(ppm) }
}

/// Reads `0..100`, the end excluded.
///
/// # Errors
/// The expected and the found text.
pub fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("expected a range of seeds such as 0..100 (the end excluded), found `{text}`");
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| wrong());
    let range = number(start)?..number(end)?;
    if range.is_empty() { Err(format!("`{text}` is an empty range")) } else { Ok(range) }
}

/// Reads `n1` or `1`, one of the nodes 1 to `nodes`.
pub(crate) fn node(text: &str, nodes: u64) -> Result<NodeId, String> {
    let number = text.strip_prefix('n').unwrap_or(text);
    match number.parse::<u64>() {
        Ok(id) if (1..=nodes).contains(&id) => Ok(NodeId(id)),
        _ => Err(format!("unknown node `{text}`: this scenario has n1 to n{nodes}")),
    }
}

/// Reads `7@3` (index at term) or `7`.
pub(crate) fn entry(text: &str) -> Result<(LogIndex, Option<Term>), String> {
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| (1..=MAX_NUMBER).contains(number));
    let parts = match text.split_once('@') {
        None => number(text).map(|index| (LogIndex(index), None)),
        Some((index, term)) => number(index).zip(number(term)).map(|(index, term)| (LogIndex(index), Some(Term(term)))),
    };
    parts.ok_or_else(|| format!("expected an entry such as \"7@3\" (index at term) or \"7\", found `{text}`"))
}

/// Writes an entry so that [`entry`] reads the same.
pub(crate) fn show_entry((index, term): &(LogIndex, Option<Term>)) -> String {
    term.map_or_else(|| index.to_string(), |term| format!("{index}@{term}"))
}

/// Writes a jump of this many nanoseconds, below 0 with a sign.
pub(crate) fn show_jump(by_ns: i64) -> String {
    let length = show(Duration::from_nanos(by_ns.unsigned_abs()));
    if by_ns < 0 { format!("-{length}") } else { length }
}

/// Writes a duration so that [`duration`] reads the same: the largest unit that divides it.
pub(crate) fn show(duration: Duration) -> String {
    let nanos = raft_core::nanos(duration);
    if nanos == 0 {
        return "0ms".to_owned();
    }
    // It does not use hours and minutes: "90s" is easier to read than "1.5m".
    let unit = UNITS.iter().skip(2).find(|(_, unit)| nanos.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{nanos}ns"), |(name, unit)| format!("{}{name}", nanos / unit))
}

/// Writes a range so that [`duration_range`] reads the same.
pub(crate) fn show_range(range: &Range<Duration>) -> String {
    if range.start == range.end { show(range.start) } else { format!("{}..{}", show(range.start), show(range.end)) }
}

/// Writes parts per million as a percentage so that [`percentage`] reads the same.
pub(crate) fn show_percentage(ppm: u32) -> String {
    let (whole, fraction) = (ppm / 10_000, ppm % 10_000);
    if fraction == 0 {
        return format!("{whole}%");
    }
    format!("{whole}.{}%", format!("{fraction:04}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact() {
        let table: &[(&str, u64)] = &[
            ("150ms", 150_000_000),
            ("1.5s", 1_500_000_000),
            ("10us", 10_000),
            ("2m", 120_000_000_000),
            ("0.1us", 100),
            ("1h", 3_600_000_000_000),
            ("0ms", 0),
            ("7ns", 7),
            ("1.000000001s", 1_000_000_001),
        ];
        for (text, nanos) in table {
            assert_eq!(duration(text), Ok(Duration::from_nanos(*nanos)), "{text}");
        }
        for text in "|5|ms|1.ms|.5s|-1s|1e3s|1 day|1.5ns|1.05ns|99999999999999999999s|1s2ms|١s".split('|') {
            assert!(duration(text).is_err(), "{text:?} was read as a duration");
        }
        assert_eq!(duration("721h"), Err("`721h` is longer than 720h".to_owned()));
    }

    #[test]
    fn what_is_written_is_read_back() {
        for nanos in [0, 1, 999, 1_000, 1_500_000, 2_000_000_000, 90_000_000_000, 1_000_000_001] {
            let length = Duration::from_nanos(nanos);
            assert_eq!(duration(&show(length)), Ok(length), "{nanos}");
            let range = length..length + Duration::from_millis(3);
            assert_eq!(duration_range(&show_range(&range)), Ok(range), "{nanos}");
        }
        for ppm in [0, 1, 25_000, 10_000, 1_000_000, 123_456, 500] {
            assert_eq!(percentage(&show_percentage(ppm)), Ok(ppm), "{ppm}");
        }
    }

    #[test]
    fn ranges_percentages_nodes_and_entries() {
        let ms = Duration::from_millis;
        assert_eq!(duration_range("150ms..300ms"), Ok(ms(150)..ms(300)));
        assert_eq!(duration_range("1s"), Ok(ms(1000)..ms(1000)));
        assert_eq!(duration_range("2s..1s"), Err("`2s..1s` ends before it starts".to_owned()));
        assert_eq!(percentage("2.5%"), Ok(25_000));
        assert!(["100.0001%", "0.00001%", "0.000001%", "5"].iter().all(|text| percentage(text).is_err()));
        assert_eq!(seeds("3..5"), Ok(3..5));
        assert_eq!(seeds("5..5"), Err("`5..5` is an empty range".to_owned()));
        assert!(seeds("5").is_err() && seeds("a..b").is_err());
        assert_eq!((node("n2", 3), node("3", 3)), (Ok(NodeId(2)), Ok(NodeId(3))));
        assert_eq!(node("n4", 3), Err("unknown node `n4`: this scenario has n1 to n3".to_owned()));
        assert_eq!(entry("7@3"), Ok((LogIndex(7), Some(Term(3)))));
        assert_eq!(entry("7"), Ok((LogIndex(7), None)));
        assert!(entry("0").is_err() && entry("7@").is_err());
    }
}
