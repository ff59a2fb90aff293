//! `docs/scenarios.md` and `docs/trace.md` against the code, in both directions: each name in the code is in the document, and
//! each name in the document exists.

use crate::checkers::MARKS;
use crate::faults::Fault;
use crate::record::{Record, trace};
use crate::run::{self, Sink};
use crate::scenario::feature::FEATURES;
use crate::scenario::names::MESSAGE_KINDS;
use crate::scenario::parse::parse;
use crate::scenario::refusals::REFUSALS;
use crate::scenario::steps::{ACTIONS, CONDITIONS, options};
use crate::testing::swarm;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const SCENARIOS: &str = include_str!("../../../docs/scenarios.md");
const TRACE: &str = include_str!("../../../docs/trace.md");

type Names = BTreeSet<String>;

/// A row of a table: its cells.
type Row = Vec<String>;

/// The text under the heading that contains this, up to the next heading.
fn section<'a>(document: &'a str, heading: &str) -> &'a str {
    let mut sections =
        document.split("\n#").filter(|section| section.lines().next().unwrap_or_default().contains(heading));
    let section = sections.next().unwrap_or_else(|| panic!("no section about {heading}"));
    assert!(sections.next().is_none(), "two sections about {heading}");
    section
}

/// The rows of the tables whose first header cell is this.
fn table(text: &str, header: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut is_in = false;
    for line in text.lines() {
        // A bar in code is escaped.
        let cells = line.replace("\\|", "\u{1}");
        let Some(cells) = cells.strip_prefix("| ").and_then(|cells| cells.strip_suffix('|')) else {
            is_in &= line.starts_with("|-");
            continue;
        };
        let cells: Row = cells.split('|').map(|cell| cell.trim().to_owned()).collect();
        if is_in {
            rows.push(cells);
        } else {
            is_in = cells[0] == header;
        }
    }
    assert!(!rows.is_empty(), "no table of {header}");
    rows
}

/// The words in code in a text: of `leader = "n1"` the first one.
fn code(text: &str) -> Vec<String> {
    let spans = text.split('`').skip(1).step_by(2);
    spans.map(|span| span.split([' ', '=', '(']).next().unwrap_or_default().to_owned()).collect()
}

/// The words in code in the first cells.
fn first_cells(rows: &[Row]) -> Names {
    rows.iter().flat_map(|row| code(&row[0])).collect()
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names.into_iter().map(str::to_owned).collect()
}

/// The fields that a reader knows where this line stands.
fn fields(lines: &str) -> Names {
    let header = "version = 1\ntitle = \"t\"\nstory = \"s\"\nsource = \"s\"\n";
    let text = format!("{header}{lines}\n");
    let problems = parse("docs.toml", text.as_bytes()).expect_err("an unknown field").to_string();
    let known = problems.lines().find_map(|line| line.split_once("unknown field `zzzzzzzzzzzz`, known here: "));
    let (_, known) = known.unwrap_or_else(|| panic!("{problems}"));
    names(known.split(", "))
}

#[test]
fn every_field_is_in_the_document_and_every_field_in_it_exists() {
    const UNKNOWN: &str = "zzzzzzzzzzzz = 1";
    let of_tables = table(section(SCENARIOS, "`[network]`"), "field");
    let of = |suffix: &str| -> Names {
        let is_of = |row: &&Row| match suffix {
            "" => !row[0].ends_with(')'),
            suffix => row[0].ends_with(suffix),
        };
        first_cells(&of_tables.iter().filter(is_of).cloned().collect::<Vec<_>>())
    };
    assert_eq!(fields(&format!("[network]\n{UNKNOWN}")), of(""));
    assert_eq!(fields(&format!("[disk]\n{UNKNOWN}")), of("(disk)"));
    assert_eq!(fields(&format!("[process]\n{UNKNOWN}")), of("(process)"));
    let fields_of = |heading: &str| first_cells(&table(section(SCENARIOS, heading), "field"));
    for heading in ["raft", "clients", "enumerate", "recorded", "swarm"] {
        assert_eq!(fields(&format!("[{heading}]\n{UNKNOWN}")), fields_of(&format!("`[{heading}]`")), "{heading}");
    }
    let nodes: Names = (1..=9).map(|node| format!("n{node}")).collect();
    let mut expected = fields_of("`[expect]`");
    expected.extend(nodes);
    assert_eq!(fields(&format!("[expect]\n{UNKNOWN}")), expected);
    let beliefs = first_cells(&table(section(SCENARIOS, "`[expect]`"), "belief"));
    assert_eq!(fields(&format!("[expect.n1]\n{UNKNOWN}")), beliefs);
    let is_named = |name: &String, text: &str| {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        text.split(|letter| !is_letter(letter)).any(|word| word == name)
    };
    let initial = fields(&format!("[initial.n1]\nlog = [1]\n{UNKNOWN}"));
    assert!(initial.iter().all(|name| is_named(name, section(SCENARIOS, "`[initial]`"))), "{initial:?}");
    let mix = table(section(SCENARIOS, "`[clients]`"), "field").into_iter().find(|row| row[0] == "`mix`");
    let mix = mix.expect("a row about the mix").concat();
    assert!(fields(&format!("[clients.mix]\n{UNKNOWN}")).iter().all(|name| is_named(name, &mix)), "{mix}");
    let headings = SCENARIOS.lines().filter(|line| line.starts_with("### ")).flat_map(code);
    let tables = headings.map(|heading| heading.trim_matches(['[', ']']).to_owned());
    let root: Names = fields_of("Fields of the file").into_iter().chain(tables).collect();
    assert_eq!(fields(UNKNOWN), root);
}

#[test]
fn every_step_is_in_the_document_and_every_step_in_it_exists() {
    let text = section(SCENARIOS, "`[[at]]`");
    let conditions = table(text, "`[[when]]` waits until");
    let actions = table(text, "action");
    assert_eq!(leading(&conditions), names(CONDITIONS.split(", ")));
    assert_eq!(leading(&actions), names(ACTIONS.split(", ")));
    for row in conditions.iter().chain(&actions) {
        let name = code(&row[0]).remove(0);
        // Of `call = "write"`, `"read"` only the first is a field.
        let with: Names = code(row.last().expect("a cell")).into_iter().filter(|word| !word.starts_with('"')).collect();
        assert_eq!(with, names(options(&name).iter().copied()), "{name}");
    }
    let drops = actions.iter().find(|row| row[0].starts_with("`drop")).expect("a row");
    assert_eq!(code(&drops[1]).into_iter().collect::<Names>(), names(MESSAGE_KINDS));
}

/// The first words in code of the first cells.
fn leading(rows: &[Row]) -> Names {
    rows.iter().filter_map(|row| code(&row[0]).into_iter().next()).collect()
}

#[test]
fn every_feature_fault_mark_and_refusal_is_in_the_document_and_the_others_do_not_exist() {
    let swarm = section(SCENARIOS, "`[swarm]`");
    let features = first_cells(&table(swarm, "features"));
    assert_eq!(features, names(FEATURES.iter().map(|(_, name)| *name)));
    let (_, effects) = swarm.split_once("Reports count").expect("a paragraph about reports");
    let effects: Names = code(effects).into_iter().collect();
    let faults = names(Fault::ALL.iter().map(|fault| fault.name()));
    let of_features = faults.intersection(&features).cloned().collect();
    assert_eq!(&effects | &of_features, faults);
    assert_eq!(first_cells(&table(SCENARIOS, "marks")), names(MARKS));
    let named: Names =
        code(section(SCENARIOS, "`[[at]]`")).into_iter().chain(code(section(TRACE, "Replies"))).collect();
    let missing: Vec<_> = REFUSALS.iter().filter(|name| !named.contains(**name)).collect();
    assert_eq!(missing, [&""; 0]);
}

/// The kinds of records in traces, by the kinds of the code: the first literal of each arm that is an argument alone.
fn kinds() -> Names {
    const SOURCE: &str = include_str!("record/trace.rs");
    let records = include_str!("record/mod.rs");
    let (_, variants) = records.split_once("pub enum RecordKind {\n").expect("the kinds");
    let (variants, _) = variants.split_once("\n}\n").expect("their end");
    let variant = |line: &str| {
        let name = line.strip_prefix("    ")?.split([' ', ',', '(']).next()?;
        name.starts_with(|letter: char| letter.is_ascii_uppercase()).then(|| name.to_owned())
    };
    let kind = |variant: String| {
        let arm =
            SOURCE.split(&format!("RecordKind::{variant}")).nth(1).unwrap_or_else(|| panic!("{variant} has no arm"));
        let arm = arm.split_once("=>").expect("an arm").1;
        let mut calls = arm.split('(').filter_map(|call| call.trim_start().strip_prefix('"'));
        let is_kind = |word: &str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        let word = calls.find_map(|call| call.split_once("\",").map(|(word, _)| word).filter(|word| is_kind(word)));
        word.unwrap_or_else(|| panic!("{variant} has no kind")).to_owned()
    };
    variants.lines().filter_map(variant).map(kind).collect()
}

#[derive(Default)]
struct Details {
    /// The fields of the details of each kind, and of each message and reply in them.
    records: BTreeMap<String, Names>,
    messages: BTreeMap<String, Names>,
    replies: BTreeMap<String, Names>,
}

fn note(into: &mut BTreeMap<String, Names>, kind: &str, value: &Value) {
    let fields = value.as_object().into_iter().flat_map(serde_json::Map::keys).cloned();
    into.entry(kind.to_owned()).or_default().extend(fields.filter(|name| !["kind", "term"].contains(&name.as_str())));
}

impl Sink for Details {
    fn record(&mut self, record: &Record) {
        let mut line = Vec::new();
        trace::write_record(&mut line, record).expect("memory");
        let line: Value = serde_json::from_slice(&line).expect("JSON");
        let (kind, detail) = (line["kind"].as_str().unwrap_or_default(), &line["detail"]);
        note(&mut self.records, kind, detail);
        if let Some(kind) = line["message"]["kind"].as_str() {
            note(&mut self.messages, kind, &line["message"]);
        }
        if let Some(kind) = detail["reply"]["kind"].as_str() {
            note(&mut self.replies, kind, &detail["reply"]);
        }
    }
}

/// Checks that the row of each kind names these fields.
fn assert_named(rows: &[Row], fields: &BTreeMap<String, Names>, except: &[&str]) {
    for (kind, fields) in fields.iter().filter(|(kind, _)| !except.contains(&kind.as_str())) {
        let row = rows.iter().find(|row| code(&row[0]).contains(kind)).unwrap_or_else(|| panic!("no row of {kind}"));
        let words: Names = row.iter().skip(1).flat_map(|cell| code(cell)).collect();
        let missing: Vec<&String> = fields.iter().filter(|field| !words.contains(*field)).collect();
        assert_eq!(missing, [""; 0], "{kind}: {row:?}");
    }
}

#[test]
fn every_record_is_in_the_document_and_every_record_in_it_exists() {
    let kinds = kinds();
    assert!(kinds.len() > 60 && kinds.contains("started") && kinds.contains("backup_finished"), "{kinds:?}");
    let text = section(TRACE, "Kinds");
    let rows = table(text, "kind");
    assert_eq!(first_cells(&rows), kinds);
    let mut seen = Details::default();
    for seed in 0..8 {
        run::run(&swarm(5), seed, &mut seen);
    }
    assert!(seen.records.len() > 40, "{:?}", seen.records.keys());
    // The line of a history has its own section, and the names of limits are those of a scenario.
    assert_named(&rows, &seen.records, &["returned", "limits_drawn"]);
    assert_named(&table(section(TRACE, "Messages"), "kind"), &seen.messages, &[]);
    assert_named(&table(section(TRACE, "Replies"), "kind"), &seen.replies, &[]);
}
