//! The chart of the searches: the share of them that have caught their bug by so many events, for each strategy.

use super::searches::{Plan, STRATEGIES};
use super::table::Row;
use anyhow::{Context, Result, bail};
use plotters::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const SIZE: (u32, u32) = (900, 500);
const FONT: &str = "system-ui, 'DejaVu Sans', Verdana, sans-serif";
/// One for each strategy. Their brightness differs, too.
const COLOURS: [RGBColor; 3] = [RGBColor(0x8c, 0x95, 0x9f), RGBColor(0xd5, 0x5e, 0x00), RGBColor(0x05, 0x50, 0xae)];

/// All searches of one strategy: the events up to each catch, `None` if the budget was too small.
struct Line {
    strategy: &'static str,
    catches: Vec<Option<u64>>,
}

/// Writes `search.svg`, and its numbers as `search.json`.
pub(crate) fn write(folder: &Path, rows: &[Row], plan: &Plan) -> Result<()> {
    let budget = plan.events()?;
    let lines = lines(rows);
    if lines.is_empty() {
        bail!("expected searches to draw, found none: run `planted-bugs --search EVENTS` first");
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let numbers = serde_json::to_string_pretty(&numbers(rows, &lines, budget, plan.repetitions))? + "\n";
    for (name, text) in [("search.svg", svg(&lines, budget)?), ("search.json", numbers)] {
        let file = folder.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// One line for each strategy that has searches, over the bugs that the random one has searched for: the others only compare
/// with it.
fn lines(rows: &[Row]) -> Vec<Line> {
    let all = || rows.iter().filter_map(|row| Some(&row.searches.as_ref()?.catches));
    let lines = STRATEGIES.map(|strategy| {
        let compared = all().filter(|catches| catches.contains_key(STRATEGIES[0]));
        let searches = compared.filter_map(|catches| catches.get(strategy)).flatten();
        Line { strategy, catches: searches.map(|catch| catch.as_ref().map(|catch| catch.events)).collect() }
    });
    lines.into_iter().filter(|line| !line.catches.is_empty()).collect()
}

impl Line {
    fn caught(&self) -> usize {
        self.catches.iter().flatten().count()
    }

    /// The events of all searches for each catch; a search without a catch counts with its budget.
    fn events_per_catch(&self, budget: u64) -> Option<u64> {
        let events: u64 = self.catches.iter().map(|events| events.unwrap_or(budget).min(budget)).sum();
        events.checked_div(self.caught() as u64)
    }

    /// The steps of the line: millions of events, and the share of searches in percent.
    fn points(&self, budget: u64) -> Vec<(f64, f64)> {
        let share = |caught: usize| 100.0 * caught as f64 / self.catches.len() as f64;
        let mut events: Vec<u64> = self.catches.iter().flatten().map(|events| *events.min(&budget)).collect();
        events.sort_unstable();
        let step =
            |(caught, events): (usize, &u64)| [caught, caught + 1].map(|caught| (millions(*events), share(caught)));
        let mut points = vec![(0.0, 0.0)];
        points.extend(events.iter().enumerate().flat_map(step));
        points.push((millions(budget), share(events.len())));
        points
    }
}

fn millions(events: u64) -> f64 {
    events as f64 / 1e6
}

fn numbers(rows: &[Row], lines: &[Line], budget: u64, repetitions: u64) -> Value {
    let strategies: BTreeMap<&str, Value> = lines
        .iter()
        .map(|line| {
            let per_catch = line.events_per_catch(budget);
            let searches = line.catches.len();
            (line.strategy, json!({ "searches": searches, "caught": line.caught(), "events_per_catch": per_catch }))
        })
        .collect();
    let of_bug = |row: &Row| {
        let searches = row.searches.as_ref()?;
        let events = searches.catches.iter().map(|(strategy, catches)| {
            let catches: Vec<Option<u64>> = catches.iter().map(|catch| Some(catch.as_ref()?.events)).collect();
            let median = searches.median(strategy).map(|catch| catch.events);
            (strategy.clone(), json!({ "events": catches, "median": median }))
        });
        Some((row.id.clone(), events.collect::<BTreeMap<String, Value>>()))
    };
    let bugs: BTreeMap<String, _> = rows.iter().filter_map(of_bug).collect();
    json!({ "schema": 1, "budget": budget, "repetitions": repetitions, "strategies": strategies, "bugs": bugs })
}

fn svg(lines: &[Line], budget: u64) -> Result<String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(20)
        .x_label_area_size(60)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..millions(budget), 0.0..100.0)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(0xd8, 0xde, 0xe4))
        .label_style((FONT, 20))
        .axis_desc_style((FONT, 21))
        .y_labels(6)
        .y_label_formatter(&|share| format!("{share:.0}"))
        .x_desc("millions of events in a search")
        .y_desc("searches that have caught their bug, %")
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS) {
        let style = colour.stroke_width(3);
        chart
            .draw_series(LineSeries::new(line.points(budget), style))?
            .label(format!("{}: {} of {}", line.strategy, line.caught(), line.catches.len()))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .legend_area_size(34)
        .margin(14)
        .label_font((FONT, 21))
        .background_style(WHITE)
        .draw()?;
    area.present()?;
    drop(chart);
    drop(area);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::hunt::Catch;
    use super::super::searches::Searches;
    use super::*;

    fn row(id: &str, guided: &[Option<u64>]) -> Row {
        let catch = |events: &Option<u64>| events.map(|events| Catch { events, ..Catch::default() });
        let catches = [("random", vec![None; guided.len()]), ("guided", guided.iter().map(catch).collect())];
        let catches = catches.into_iter().map(|(strategy, catches)| (strategy.to_owned(), catches)).collect();
        Row { id: id.into(), expected: Vec::new(), outcome: None, searches: Some(Searches { catches }) }
    }

    #[test]
    fn a_chart_has_a_line_for_each_strategy_and_its_numbers_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut alone = row("c", &[Some(5)]);
        alone.searches.iter_mut().for_each(|searches| searches.catches.retain(|strategy, _| strategy == "guided"));
        let rows = [row("a", &[Some(3_000_000), None]), row("b", &[Some(1_000_000), None]), alone];
        let plan = Plan { budget: "4M".into(), repetitions: 2 };
        write(folder.path(), &rows, &plan).unwrap();
        let svg = fs::read_to_string(folder.path().join("search.svg")).unwrap();
        assert!(svg.contains("random: 0 of 4") && svg.contains("guided: 2 of 4") && !svg.contains("directed"), "{svg}");
        let json: Value = serde_json::from_slice(&fs::read(folder.path().join("search.json")).unwrap()).unwrap();
        assert_eq!(json["strategies"]["guided"]["events_per_catch"], 6_000_000, "3 + 4 + 1 + 4 million for 2 catches");
        assert_eq!(json["strategies"]["random"]["events_per_catch"], Value::Null);
        assert_eq!(json["bugs"]["b"]["guided"], json!({ "events": [1_000_000, null], "median": null }));
        assert!(write(folder.path(), &[], &plan).is_err(), "nothing to draw");
    }

    #[test]
    fn a_line_rises_at_each_catch_and_ends_at_the_budget() {
        let line = Line { strategy: "guided", catches: vec![Some(3_000_000), None, Some(1_000_000), Some(4_100_000)] };
        let expected =
            [(0.0, 0.0), (1.0, 0.0), (1.0, 25.0), (3.0, 25.0), (3.0, 50.0), (4.0, 50.0), (4.0, 75.0), (4.0, 75.0)];
        assert_eq!(line.points(4_000_000), expected);
    }
}
