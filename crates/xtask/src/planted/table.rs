//! The table of bugs and their catches, and the page with it, in Markdown.

use super::gaps::Gaps;
use super::hunt::{Catch, Outcome};
use super::searches::{Plan, Searches};
use std::collections::BTreeSet;

/// A bug, and how its hunt ended; `None` if there was none yet.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) expected: Vec<String>,
    pub(crate) outcome: Option<Outcome>,
    /// The searches for it, if there were any.
    pub(crate) searches: Option<Searches>,
}

impl Row {
    /// What caught the bug: the first of the swarm, its story, the explorer and the guided searches.
    fn catch(&self) -> Option<&Catch> {
        self.outcome.iter().flat_map(Outcome::catches).next().or_else(|| self.found_by_search())
    }

    fn found_by_search(&self) -> Option<&Catch> {
        self.searches.as_ref()?.median("guided")
    }

    fn found_by_swarm(&self) -> bool {
        self.outcome.as_ref().is_some_and(|outcome| outcome.swarm.is_some())
    }
}

const COLUMNS: usize = 11;
const HEAD: [&str; COLUMNS] = [
    "bug",
    "caught by",
    "where",
    "seeds",
    "events",
    "seconds",
    "random events",
    "directed events",
    "guided events",
    "guided seconds",
    "needed faults",
];

/// The page about all bugs. `plan` is that of the searches.
pub(crate) fn page(rows: &[Row], gaps: &Gaps, seeds: u64, plan: Option<&Plan>) -> String {
    let list = |names: &BTreeSet<String>| match names.is_empty() {
        true => "none".to_owned(),
        false => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
    };
    format!(
        "# Planted bugs\n\n\
         {}\n\
         ## How the bugs are hunted\n\n\
         `cargo xtask planted-bugs --seeds {seeds} --markdown docs/evidence/planted.md` writes this page. It plants each bug in a\n\
         copy of the tree and looks for it with the swarm (`raft-sim swarm --profile all`, seeds from 0), and with the story that is\n\
         about it and the explorer (`raft-sim check`) if its file names them. A bug is caught only by a property: neither a mark, an\n\
         expectation nor a story about something else counts. Seeds, events and seconds are those up to the catch, in the swarm if\n\
         it finds the bug, otherwise in the story or in the explorer (transitions).\n\
         The searches begin with the swarms of sim-scenarios{}. The table has\n\
         the median of the events up to the first catch, for each strategy of `raft-sim search`. A needed fault is one without which\n\
         {} seeds do not find the bug.\n\n\
         {}\n\
         Checkers that are the first to catch no bug, and back up no other: {}.\n\n\
         Kinds of faults that no bug needs: {}.\n",
        summary(rows, seeds, plan),
        plan.map(searches_of).unwrap_or_default(),
        super::hunt::SEEDS_WITHOUT,
        print(rows),
        list(&gaps.checkers),
        list(&gaps.faults),
    )
}

fn searches_of(plan: &Plan) -> String {
    let times = if plan.repetitions == 1 { "once".into() } else { format!("{} times", plan.repetitions) };
    format!(", {times} with {} events for each bug and strategy", plan.budget)
}

/// How many bugs are caught by what, and what catches each bug that the swarm does not find.
fn summary(rows: &[Row], seeds: u64, plan: Option<&Plan>) -> String {
    let count = |holds: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count();
    let hunted = count(&|row| row.outcome.is_some());
    let (caught, by_swarm) = (count(&|row| row.catch().is_some()), count(&Row::found_by_swarm));
    let by_both = count(&|row| row.found_by_swarm() || row.found_by_search().is_some());
    let searched = count(&|row| row.searches.is_some());
    let by_search = plan.map_or_else(String::new, |plan| {
        let budget = &plan.budget;
        format!(", {by_both} by these or by a guided search within {budget} events (searches for {searched} bugs)")
    });
    let mut text = format!(
        "{hunted} of {} bugs hunted, {caught} caught, {by_swarm} of them by {seeds} seeds of the swarm{by_search}.\n",
        rows.len()
    );
    let late: Vec<String> =
        rows.iter().filter(|row| row.outcome.is_some() && !row.found_by_swarm()).map(costs).collect();
    if !late.is_empty() {
        text += &format!("\nThe swarm does not find within {seeds} seeds:\n\n{}", late.concat());
    }
    text
}

/// What catches a bug instead of the swarm, in a line of a list.
fn costs(row: &Row) -> String {
    let outcome = row.outcome.iter().flat_map(Outcome::catches);
    let mut costs: Vec<String> =
        outcome.map(|catch| format!("{} finds it in {} events", catch.by, catch.events)).collect();
    if row.searches.is_some() {
        let search = |catch: &Catch| format!("a guided search finds it in {} events", catch.events);
        costs.push(row.found_by_search().map_or_else(|| "a guided search does not find it".to_owned(), search));
    }
    if costs.is_empty() {
        costs.push("nothing finds it".to_owned());
    }
    format!("- `{}`: {}\n", row.id, costs.join("; "))
}

/// The table, with columns of equal width.
pub(crate) fn print(rows: &[Row]) -> String {
    let mut lines: Vec<[String; COLUMNS]> = vec![HEAD.map(String::from)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for (place, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(widths) {
            text += &format!("| {cell:<width$} ");
        }
        text += "|\n";
        if place == 0 {
            text += &widths.map(|width| format!("|{}", "-".repeat(width + 2))).concat();
            text += "|\n";
        }
    }
    text
}

fn cells(row: &Row) -> [String; COLUMNS] {
    let [by, place, seeds, events, seconds] = catch_cells(row);
    let [random, directed, guided, guided_seconds] = search_cells(row.searches.as_ref());
    let without = row.outcome.iter().flat_map(|outcome| outcome.without.iter().map(move |found| (outcome, found)));
    let needs = without.filter(|(outcome, (_, found))| outcome.is_needed(found.as_ref()));
    let needs: Vec<&str> = needs.map(|(_, (fault, _))| fault.as_str()).collect();
    let id = row.id.clone();
    [id, by, place, seeds, events, seconds, random, directed, guided, guided_seconds, needs.join(", ")]
}

/// What caught the bug and where, and the seeds, events and seconds up to the catch.
fn catch_cells(row: &Row) -> [String; 5] {
    let none = String::new;
    let Some(outcome) = &row.outcome else {
        return ["not hunted".into(), none(), none(), none(), none()];
    };
    let Some(catch) = row.catch() else {
        let place = match (&outcome.elsewhere, &outcome.hung) {
            (Some(Catch { by, property, .. }), _) => format!("only {by}: {property}"),
            (None, Some(command)) => format!("hung in `{command}`"),
            (None, None) => none(),
        };
        return ["NOT CAUGHT".into(), place, outcome.seeds.to_string(), none(), none()];
    };
    let remark = if row.expected.contains(&catch.property) { "" } else { " (another property)" };
    let by = format!("{}{remark}", catch.property);
    let place = match outcome.catches().next() {
        None => "guided search".to_owned(),
        Some(_) if outcome.explorer.as_ref() == Some(catch) => catch.by.clone(),
        Some(_) => format!("{}, seed {}", catch.by, catch.seed),
    };
    [by, place, catch.runs.to_string(), catch.events.to_string(), format!("{:.1}", catch.seconds)]
}

/// The medians of the searches.
fn search_cells(searches: Option<&Searches>) -> [String; 4] {
    let Some(searches) = searches else { return Default::default() };
    let events = |strategy| match searches.median(strategy) {
        Some(catch) => catch.events.to_string(),
        None if searches.catches.contains_key(strategy) => "never".to_owned(),
        None => String::new(),
    };
    let seconds = searches.median("guided").map_or_else(String::new, |catch| format!("{:.1}", catch.seconds));
    [events("random"), events("directed"), events("guided"), seconds]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, outcome: Option<Outcome>) -> Row {
        let catches = [("random".to_owned(), vec![None]), ("guided".to_owned(), vec![catch("search", "x")])].into();
        let searches = (id == "c").then_some(Searches { catches });
        Row { id: id.into(), expected: vec!["x".into(), "y".into()], outcome, searches }
    }

    fn catch(by: &str, property: &str) -> Option<Catch> {
        Some(Catch { by: by.into(), property: property.into(), seed: 2, runs: 3, events: 70, seconds: 1.25 })
    }

    #[test]
    fn catches_gaps_and_surprises_can_be_told_apart() {
        let without = [("loss".to_owned(), None), ("kill".to_owned(), catch("swarm all", "x"))].into();
        let text = print(&[
            row("a", Some(Outcome { swarm: catch("swarm all", "x"), without, ..Outcome::default() })),
            row("b", Some(Outcome { story: catch("figure-8", "z"), seeds: 9, ..Outcome::default() })),
            row("g", Some(Outcome { explorer: catch("explorer", "x"), seeds: 9, ..Outcome::default() })),
            row("c", Some(Outcome { seeds: 9, ..Outcome::default() })),
            row("d", Some(Outcome { elsewhere: catch("s", "x"), seeds: 9, ..Outcome::default() })),
            row("e", Some(Outcome { hung: Some("raft-sim run".into()), ..Outcome::default() })),
            row("f", None),
        ]);
        let expected = "\
| bug | caught by | where | seeds | events | seconds | random events | directed events | guided events | guided seconds | needed faults |
|---|---|---|---|---|---|---|---|---|---|---|
| a | x | swarm all, seed 2 | 3 | 70 | 1.2 | | | | | loss |
| b | z (another property) | figure-8, seed 2 | 3 | 70 | 1.2 | | | | | |
| g | x | explorer | 3 | 70 | 1.2 | | | | | |
| c | x | guided search | 3 | 70 | 1.2 | never | | 70 | 1.2 | |
| d | NOT CAUGHT | only s: x | 9 | | | | | | | |
| e | NOT CAUGHT | hung in `raft-sim run` | 0 | | | | | | | |
| f | not hunted | | | | | | | | | |
";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('-', "");
        assert_eq!(squeeze(&text), squeeze(expected));
        assert!(text.lines().all(|line| line.chars().count() == text.lines().next().unwrap().chars().count()));
    }

    #[test]
    fn a_page_counts_and_names_the_gaps() {
        let gaps = Gaps { checkers: ["no_holes".to_owned()].into(), faults: BTreeSet::new() };
        let missed = || Some(Outcome { seeds: 300, ..Outcome::default() });
        let story = Some(Outcome { story: catch("figure-8", "x"), ..Outcome::default() });
        let swarm = Some(Outcome { swarm: catch("swarm all", "x"), ..Outcome::default() });
        let rows = [row("a", story), row("b", None), row("c", missed()), row("d", missed()), row("e", swarm)];
        let plan = Plan { budget: "20M".into(), repetitions: 3 };
        let text = page(&rows, &gaps, 300, Some(&plan));
        assert!(
            text.contains("4 of 5 bugs hunted, 3 caught, 1 of them by 300 seeds of the swarm, 2 by these or"),
            "{text}"
        );
        assert!(text.contains("or by a guided search within 20M events (searches for 1 bugs)"), "{text}");
        let late = "- `a`: figure-8 finds it in 70 events\n- `c`: a guided search finds it in 70 events\n- `d`: nothing finds it\n";
        assert!(text.contains(late) && text.contains("3 times with 20M events"), "{text}");
        assert!(text.contains("back up no other: `no_holes`.") && text.contains("no bug needs: none."), "{text}");
    }
}
