//! Two lines about a whole campaign: whether anything happened in it, and what did not.

use super::report::Report;
use super::show;

/// How often the events that a test of Raft needs happened.
pub(crate) fn rates(report: &Report) -> String {
    let rates: Vec<String> =
        report.rates().map(|(name, per_million)| format!("{} {name}", rate(per_million))).collect();
    format!("{} events; per 1 000: {}\n", show::rough(report.events.into()), rates.join(", "))
}

/// The marks that few runs reached, and those that none did.
pub(crate) fn marks(report: &Report) -> String {
    let most = (report.runs / 100).max(1);
    let named = |wanted: &dyn Fn(u64) -> bool| -> Vec<&str> {
        report.reached_in.iter().filter(|(_, runs)| wanted(**runs)).map(|(mark, _)| mark.as_str()).collect()
    };
    let list = |marks: Vec<&str>| if marks.is_empty() { "none".to_owned() } else { marks.join(", ") };
    let rare = list(named(&|runs| (1..=most).contains(&runs)));
    let seen = named(&|runs| runs > 0).len();
    format!(
        "{seen} of {} marks reached in {}; in at most {most}: {rare}; in none: {}\n",
        report.reached_in.len(),
        show::count(report.runs, "run"),
        list(named(&|runs| runs == 0)),
    )
}

/// Formats a number of events per million as `61`, `6.1`, `0.61` or `0.061` per thousand.
fn rate(per_million: u64) -> String {
    let (whole, rest) = (per_million / 1_000, per_million % 1_000);
    match per_million {
        0 => "0".to_owned(),
        10_000.. => show::grouped(whole.into()),
        1_000.. => format!("{whole}.{}", rest / 100),
        100.. => format!("0.{:02}", rest / 10),
        _ => format!("0.{rest:03}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits_that_count() {
        let cases = [(0, "0"), (61, "0.061"), (618, "0.61"), (6_180, "6.1"), (61_800, "61"), (2_000_000, "2 000")];
        for (per_million, expected) in cases {
            assert_eq!(rate(per_million), expected);
        }
    }

    #[test]
    fn a_mark_in_one_run_is_rare_and_a_mark_in_none_is_named() {
        let mut report = Report::default();
        report.runs = 20;
        let reached = [("often", 19), ("once", 1), ("never", 0)];
        report.reached_in = reached.map(|(mark, runs)| (mark.to_owned(), runs)).into();
        assert_eq!(marks(&report), "2 of 3 marks reached in 20 runs; in at most 1: once; in none: never\n");
        report.reached_in.remove("never");
        assert_eq!(marks(&report), "2 of 2 marks reached in 20 runs; in at most 1: once; in none: none\n");
    }
}
