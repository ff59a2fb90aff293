//! The kinds of values: how a text is parsed, its range, and how a value is shown.

use super::address::{self, HostPort};
use raft_core::{MAX_NUMBER, NodeId};
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

const UNITS: [(&str, u32); 5] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];

/// Parses a text, given the range as text; the error names the problem.
type Parse<T> = Box<dyn Fn(&str, &str) -> Result<T, String>>;

pub(super) struct Kind<T> {
    /// The text of the range in errors and in the documentation.
    pub(super) range: String,
    parse: Parse<T>,
    show: Box<dyn Fn(&T) -> String>,
}

impl<T> Kind<T> {
    fn new(
        range: impl Into<String>,
        parse: impl Fn(&str, &str) -> Result<T, String> + 'static,
        show: impl Fn(&T) -> String + 'static,
    ) -> Self {
        Self { range: range.into(), parse: Box::new(parse), show: Box::new(show) }
    }

    pub(super) fn parse(&self, text: &str) -> Result<T, String> {
        (self.parse)(text, &self.range)
    }

    /// The value in the notation of the file.
    pub(super) fn show(&self, value: &T) -> String {
        (self.show)(value)
    }

    pub(super) fn note(mut self, note: &str) -> Self {
        self.range = format!("{}; {note}", self.range);
        self
    }

    pub(super) fn describe(mut self, range: &str) -> Self {
        self.range = range.to_owned();
        self
    }
}

pub(super) fn number<T>(limits: RangeInclusive<T>) -> Kind<T>
where
    T: FromStr + PartialOrd + Display + 'static,
{
    let show = |number: &T| match number.to_string() {
        long if long == MAX_NUMBER.to_string() => "2^62".to_owned(),
        short => short,
    };
    let range = format!("{} to {}", show(limits.start()), show(limits.end()));
    let parse = move |text: &str, range: &str| {
        let number = text.parse().map_err(|_| format!("must be a number, {range}"))?;
        within(number, &limits, &format!("a number, {range}"))
    };
    Kind::new(range, parse, T::to_string)
}

pub(super) fn node_id() -> Kind<NodeId> {
    let ids = number(1..=MAX_NUMBER);
    Kind::new(ids.range.clone(), move |text, _| ids.parse(text).map(NodeId), |id| id.0.to_string())
}

/// Parses a size in bytes: `16MiB`, `65536`.
pub(super) fn bytes(limits: RangeInclusive<u64>) -> Kind<u64> {
    let range = format!("{} to {}", show_bytes(*limits.start()), show_bytes(*limits.end()));
    Kind::new(range, move |text, range| within(parse_bytes(text)?, &limits, range), |bytes| show_bytes(*bytes))
}

/// Its floor depends on other keys.
pub(super) fn disk_reserve() -> Kind<u64> {
    bytes(16 << 10..=1 << 40).note("at least 4 times `max_append_bytes` and `max_request_bytes`")
}

/// Parses a time: `150ms`, `2s`.
pub(super) fn time(limits: RangeInclusive<Duration>) -> Kind<Duration> {
    let range = format!("{} to {}", show_time(limits.start()), show_time(limits.end()));
    Kind::new(range, move |text, range| within(duration(text)?, &limits, range), show_time)
}

/// Parses a range such as `500ms..1s`. Shortest and longest time are one key, because they belong together.
pub(super) fn time_range(limits: RangeInclusive<Duration>) -> Kind<Range<Duration>> {
    let range = format!("SHORTEST..LONGEST, {} to {}", show_time(limits.start()), show_time(limits.end()));
    let parse = move |text: &str, range: &str| {
        let (shortest, longest) = text
            .split_once("..")
            .ok_or_else(|| "must be a range such as 500ms..1s: the timeouts of nodes have to differ".to_owned())?;
        let shortest = within(duration(shortest)?, &limits, range)?;
        let longest = within(duration(longest)?, &limits, range)?;
        if shortest >= longest {
            return Err("must end above its start: the timeouts of nodes have to differ".to_owned());
        }
        Ok(shortest..longest)
    };
    Kind::new(range, parse, |range| format!("{}..{}", show_time(&range.start), show_time(&range.end)))
}

pub(super) fn switch() -> Kind<bool> {
    let parse = |text: &str, range: &str| text.parse().map_err(|_| format!("must be {range}"));
    Kind::new("true or false", parse, bool::to_string)
}

pub(super) fn cluster() -> Kind<String> {
    let parse = |text: &str, range: &str| {
        let fits =
            text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) && (1..=64).contains(&text.len());
        if fits { Ok(text.to_owned()) } else { Err(format!("must be {range}")) }
    };
    Kind::new("1 to 64 letters, digits, `-`, `_`, `.`", parse, String::clone)
}

pub(super) fn folder() -> Kind<PathBuf> {
    let parse = |text: &str, _: &str| {
        if text.is_empty() || text.contains('\0') {
            Err("must be the path of a folder".to_owned())
        } else {
            Ok(text.into())
        }
    };
    Kind::new("a path, from where the node is started", parse, |path: &PathBuf| path.display().to_string())
}

/// An address to listen on, parsed and as written.
pub(super) fn listen() -> Kind<(SocketAddr, HostPort)> {
    let show = |(address, _): &(SocketAddr, HostPort)| address.to_string();
    Kind::new("HOST:PORT, IPv6 in brackets", |text, _| address::listen(text), show)
}

pub(super) fn url() -> Kind<String> {
    Kind::new("http://HOST:PORT", |text, _| address::url(text), String::clone)
}

pub(super) fn peers() -> Kind<(NodeId, HostPort)> {
    let parse = |text: &str, _: &str| {
        let (id, url) = text.split_once('=').ok_or("must be ID=http://HOST:PORT")?;
        let id = node_id().parse(id.trim()).map_err(|problem| format!("the id {problem}"))?;
        Ok((id, address::parse_url(url.trim())?))
    };
    Kind::new("each N = \"http://HOST:PORT\"", parse, |(id, host)| format!("{}={}", id.0, host.url()))
}

fn show_time(time: &Duration) -> String {
    humantime::format_duration(*time).to_string()
}

fn show_bytes(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, shift)| bytes >> shift > 0 && bytes.trailing_zeros() >= *shift);
    match unit {
        Some((name, shift)) if *shift > 0 => format!("{}{name}", bytes >> shift),
        _ => bytes.to_string(),
    }
}

fn within<T: PartialOrd>(value: T, limits: &RangeInclusive<T>, range: &str) -> Result<T, String> {
    if limits.contains(&value) { Ok(value) } else { Err(format!("must be {range}")) }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text.trim()).map_err(|_| "must be a time such as 150ms or 2s".to_owned())
}

fn parse_bytes(text: &str) -> Result<u64, String> {
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
            assert_eq!(parse_bytes(text), Ok(expected), "{text}");
            assert_eq!(show_bytes(expected), shown);
        }
        for text in ["", "MiB", "-1", "1.5MiB", "16MB", "1e6", "18446744073709551615KiB", "99999999999999999999"] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
        assert_eq!(show_bytes(0), "0");
    }

    #[test]
    fn election_timeouts_are_a_range_that_is_not_empty() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let kind = time_range(ms(10)..=s(600));
        assert_eq!(kind.parse("500ms..1s"), Ok(ms(500)..s(1)));
        assert_eq!(kind.parse(" 1s .. 2s "), Ok(s(1)..s(2)));
        for text in ["1s", "1s..1s", "2s..1s", "1s..", "..", "9ms..1s", "1s..11m", "1s..2", "x..y"] {
            assert!(kind.parse(text).is_err(), "{text}");
        }
        assert_eq!(kind.show(&(ms(500)..s(1))), "500ms..1s");
    }

    #[test]
    fn clusters_and_folders_have_names() {
        assert!(cluster().parse("a-b_c.9").is_ok() && cluster().parse("").is_err() && cluster().parse("a b").is_err());
        assert!(cluster().parse(&"x".repeat(64)).is_ok() && cluster().parse(&"x".repeat(65)).is_err());
        assert!(folder().parse("x").is_ok() && folder().parse("").is_err() && folder().parse("a\0b").is_err());
    }
}
