//! Searches for a bug: how many events each strategy of `raft-sim search` checks up to the first catch. All begin with the
//! swarms alone, because a story about the bug would decide the comparison.

use super::hunt::{Catch, Hunt, Series};
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

pub(super) const STRATEGIES: [&str; 3] = ["random", "directed", "guided"];

/// How to search.
pub(crate) struct Plan {
    /// The events of one search, as `raft-sim search` reads them.
    pub(crate) budget: String,
    /// How many searches each strategy makes, with seeds from 0.
    pub(crate) repetitions: u64,
}

/// The catches of all searches for a bug: for each strategy one for each repetition, `None` if the budget was too small.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Searches {
    pub(crate) catches: BTreeMap<String, Vec<Option<Catch>>>,
}

impl Plan {
    /// The number of events of the budget.
    pub(crate) fn events(&self) -> Result<u64> {
        let digits = self.budget.trim_end_matches(['k', 'M', 'G']);
        let scale = match self.budget.strip_prefix(digits) {
            Some("") => Some(1),
            Some("k") => Some(1_000),
            Some("M") => Some(1_000_000),
            Some("G") => Some(1_000_000_000),
            _ => None,
        };
        let events = digits.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
        events.with_context(|| format!("expected a number of events such as 20M, found `{}`", self.budget))
    }

    /// Searches for the bug that the tree has.
    pub(crate) fn search(&self, hunt: &Hunt<'_>, id: &str) -> Result<Searches> {
        let from = hunt.tree.swarms().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
        let mut searches = Searches::default();
        for strategy in STRATEGIES {
            for seed in 0..self.repetitions {
                let budget = &self.budget;
                let command =
                    format!("search --safety --strategy {strategy} --seed {seed} --budget {budget} --from {from}");
                let catch = Series::new(hunt, id).run(&command, &format!("{strategy}-{seed}"), &mut None, |_| true)?;
                searches.catches.entry(strategy.to_owned()).or_default().push(catch);
            }
        }
        Ok(searches)
    }
}

impl Searches {
    /// The middle one of a strategy's catches, by events; `None` if half of the searches found nothing.
    pub(crate) fn median(&self, strategy: &str) -> Option<&Catch> {
        let mut catches: Vec<&Option<Catch>> = self.catches.get(strategy)?.iter().collect();
        catches.sort_by_key(|catch| catch.as_ref().map_or(u64::MAX, |catch| catch.events));
        catches.get(catches.len() / 2).and_then(|catch| catch.as_ref())
    }

    /// The medians in a line: `random 12345678, directed 4567890, guided never`.
    pub(crate) fn line(&self) -> String {
        let text = |strategy: &&str| {
            let events = self.median(strategy).map_or_else(|| "never".to_owned(), |catch| catch.events.to_string());
            format!("{strategy} {events}")
        };
        STRATEGIES.iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_number_of_events() {
        let events = |budget: &str| Plan { budget: budget.into(), repetitions: 1 }.events().ok();
        assert_eq!((events("4M"), events("700"), events("20k")), (Some(4_000_000), Some(700), Some(20_000)));
        assert_eq!((events("4MM"), events("M"), events("1.5G")), (None, None, None));
    }

    #[test]
    fn a_search_that_finds_nothing_counts_as_the_longest() {
        let catch = |events| Some(Catch { events, ..Catch::default() });
        let catches = [("random", vec![None, catch(7), None]), ("guided", vec![catch(9), None, catch(3)])];
        let catches = catches.into_iter().map(|(strategy, catches)| (strategy.to_owned(), catches)).collect();
        assert_eq!(Searches { catches }.line(), "random never, directed never, guided 9");
    }
}
