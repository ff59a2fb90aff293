//! Numbers in reports.

use std::time::Duration;

/// Formats a duration as `4 h 12 m`, `12 m 30 s`, `30 s`, `3.1 s` or `612 ms`.
pub(crate) fn length(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.as_millis());
    match seconds {
        0 => format!("{millis} ms"),
        1..=9 => format!("{seconds}.{} s", duration.subsec_millis() / 100),
        10..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} m {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} m", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// Formats a number as `4 870`, with digits in groups of three.
pub(crate) fn grouped(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Formats a number as `310`, `310 k` or `12 M`.
pub(crate) fn rough(number: u128) -> String {
    match number {
        0..10_000 => number.to_string(),
        10_000..10_000_000 => format!("{} k", number / 1_000),
        _ => format!("{} M", number / 1_000_000),
    }
}

/// Formats a count as `1 seed` or `2 seeds`.
pub(crate) fn count(number: u64, one: &str) -> String {
    format!("{} {one}{}", grouped(number.into()), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let lengths =
            [(612, "612 ms"), (3_190, "3.1 s"), (59_900, "59 s"), (750_000, "12 m 30 s"), (15_120_000, "4 h 12 m")];
        for (millis, expected) in lengths {
            assert_eq!(length(Duration::from_millis(millis)), expected);
        }
        assert_eq!([0, 870, 4_870, 1_234_567].map(grouped), ["0", "870", "4 870", "1 234 567"]);
        assert_eq!([310, 310_400, 12_999_999].map(rough), ["310", "310 k", "12 M"]);
        assert_eq!((count(1, "seed"), count(1_000, "seed")), ("1 seed".to_owned(), "1 000 seeds".to_owned()));
    }
}
