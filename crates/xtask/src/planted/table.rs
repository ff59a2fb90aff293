//! The table of bugs and their catches, in Markdown.

use super::hunt::{Catch, Outcome};

/// A bug or the control, and its outcome.
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) outcome: Outcome,
    pub(crate) expected: Vec<String>,
    pub(crate) seconds: f64,
}

const HEAD: [&str; 5] = ["bug", "caught by", "expected property", "seeds", "seconds"];

/// The table, the control first.
pub(crate) fn print(rows: &[Row]) -> String {
    let mut lines: Vec<[String; 5]> = vec![HEAD.map(String::from)];
    lines.extend(rows.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
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

fn cells(row: &Row) -> [String; 5] {
    let is_control = row.expected.is_empty();
    let (caught, seeds) = match &row.outcome {
        Outcome::Caught(Catch { by, property, seeds }) => {
            let unexpected = !is_control && !row.expected.contains(property);
            let remark = if unexpected { " (another property)" } else { "" };
            (format!("{by}: {property}{remark}"), seeds.map_or("-".into(), |seeds| seeds.to_string()))
        }
        Outcome::Tripped(Catch { by, property, .. }) => (format!("NOT CAUGHT, only {by}: {property}"), "-".into()),
        Outcome::Missed { seeds } if is_control => ("nothing to catch: green".into(), seeds.to_string()),
        Outcome::Missed { seeds } => ("NOT CAUGHT".into(), seeds.to_string()),
        Outcome::Hung { command } => (format!("NOT CAUGHT: hung in `{command}`"), "-".into()),
    };
    [row.id.clone(), caught, row.expected.join(", "), seeds, format!("{:.1}", row.seconds)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catches_gaps_and_surprises_can_be_told_apart() {
        let row = |id: &str, outcome, expected: &[&str]| Row {
            id: id.into(),
            outcome,
            expected: expected.iter().map(|&it| it.into()).collect(),
            seconds: 1.25,
        };
        let caught =
            |property: &str, seeds| Outcome::Caught(Catch { by: "swarm all".into(), property: property.into(), seeds });
        let text = print(&[
            row("control", Outcome::Missed { seeds: 9 }, &[]),
            row("a", caught("x", Some(3)), &["x", "y"]),
            row("b", caught("z", None), &["x"]),
            row("c", Outcome::Missed { seeds: 9 }, &["x"]),
            row("d", Outcome::Tripped(Catch { by: "s".into(), property: "sometimes".into(), seeds: None }), &["x"]),
        ]);
        let expected = "\
| bug     | caught by                         | expected property | seeds | seconds |
|---------|-----------------------------------|-------------------|-------|---------|
| control | nothing to catch: green           |                   | 9     | 1.2     |
| a       | swarm all: x                      | x, y              | 3     | 1.2     |
| b       | swarm all: z (another property)   | x                 | -     | 1.2     |
| c       | NOT CAUGHT                        | x                 | 9     | 1.2     |
| d       | NOT CAUGHT, only s: sometimes     | x                 | -     | 1.2     |
";
        let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").replace('-', "");
        assert_eq!(squeeze(&text), squeeze(expected));
        assert!(text.lines().all(|line| line.chars().count() == text.lines().next().unwrap().chars().count()));
    }
}
