//! A TOML document that serde reads. It notes a value that serde rejects with its line and field, omits it, and
//! continues, so that one pass over the file finds all problems.
//!
//! This file must not know what a scenario is.

use super::problem::Problem;
use super::suggest;
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Error, ValueDeserializer};

/// A value and its position.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// The document of the file, and its problems.
pub(crate) struct Document<'t> {
    text: &'t str,
    root: Value<'t>,
    problems: Vec<Problem>,
}

impl<'t> Document<'t> {
    pub(crate) fn parse(text: &'t str) -> Result<Self, Vec<Problem>> {
        let empty = Spanned::new(0..0, DeValue::Table(DeTable::new()));
        let mut document = Self { text, root: empty, problems: Vec::new() };
        match DeTable::parse(text) {
            // Problems of the whole file belong to its first line, whatever its root table spans.
            Ok(table) => document.root = Spanned::new(0..0, DeValue::Table(table.into_inner())),
            Err(error) => {
                document.note(&error.span().unwrap_or(0..0), "", error.message());
                return Err(document.problems);
            }
        }
        Ok(document)
    }

    pub(crate) fn table(&self) -> DeTable<'t> {
        self.root.get_ref().as_table().cloned().unwrap_or_default()
    }

    /// The value at this path, with the span of its key: `raft.priority_of.n1`, `at[2].kill`. If there is none, returns
    /// the value that would contain it.
    fn find(&self, path: &str) -> (Range<usize>, Result<&Value<'t>, &Value<'t>>) {
        let (mut span, mut value) = (self.root.span(), &self.root);
        for part in path.split(['.', '[']) {
            let found = match part.strip_suffix(']').and_then(|place| place.parse::<usize>().ok()) {
                Some(place) => {
                    value.get_ref().as_array().and_then(|items| items.get(place)).map(|item| (item.span(), item))
                }
                None => value
                    .get_ref()
                    .as_table()
                    .and_then(|table| table.get_key_value(part))
                    .map(|(key, item)| (key.span(), item)),
            };
            let Some(found) = found else { return (span, Err(value)) };
            (span, value) = found;
        }
        (span, Ok(value))
    }

    /// Whether there is a value at this path.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.find(path).1.is_ok()
    }

    /// The keys of the table at this path.
    pub(crate) fn keys(&self, path: &str) -> Vec<String> {
        let table = self.find(path).1.ok().and_then(|value| value.get_ref().as_table());
        table.into_iter().flat_map(DeTable::keys).map(|key| key.get_ref().to_string()).collect()
    }

    pub(crate) fn items(&mut self, path: &str) -> Vec<Value<'t>> {
        let Ok(value) = self.find(path).1 else { return Vec::new() };
        if let Some(items) = value.get_ref().as_array() {
            return items.iter().cloned().collect();
        }
        self.problem(path, format!("expected steps such as [[{path}]]"));
        Vec::new()
    }

    /// The line of the value at this path, from 1.
    pub(crate) fn line(&self, path: &str) -> usize {
        self.line_of(self.find(path).0.start)
    }

    fn line_of(&self, start: usize) -> usize {
        self.text.bytes().take(start).filter(|&byte| byte == b'\n').count() + 1
    }

    fn note(&mut self, span: &Range<usize>, field: &str, message: impl Into<String>) {
        let line = self.line_of(span.start);
        self.problems.push(Problem { line, field: field.to_owned(), message: message.into() });
    }

    /// Notes a problem of the value at this path, unless one of it or of an item in it is known: one follows from the
    /// other.
    pub(crate) fn problem(&mut self, path: &str, message: impl Into<String>) {
        let is_of = |field: &str| field.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
        if !self.problems.iter().any(|problem| is_of(&problem.field)) {
            let span = self.find(path).0;
            self.note(&span, path, message);
        }
    }

    /// Notes that a required value is missing.
    pub(crate) fn require(&mut self, path: &str) {
        if !self.has(path) {
            let name = path.rsplit('.').next().unwrap_or(path);
            self.problem(path, format!("`{name}` is missing"));
        }
    }

    /// Reads a value. It notes and omits invalid values; returns `None` if it cannot omit one. `more` are keys of the
    /// root that are valid although serde does not know them.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, mut value: Value<'t>, more: &[&'static str]) -> Option<T> {
        loop {
            let error = match T::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_default();
            let path = path_of(&self.root, &span).unwrap_or_default();
            match error.message().strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
                Some(name) => self.require(&if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }),
                None => self.note(&span, &path, describe(&error, if path.contains('.') { &[] } else { more })),
            }
            if !cut(&mut value, &span) {
                return None;
            }
        }
    }

    /// All problems, by line.
    pub(crate) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort();
        self.problems.dedup();
        self.problems
    }
}

/// The path of the key or value of this span.
fn path_of(value: &Value<'_>, span: &Range<usize>) -> Option<String> {
    let inside = |item: &Value<'_>| if item.span() == *span { Some(String::new()) } else { path_of(item, span) };
    match value.get_ref() {
        DeValue::Table(table) => table.iter().find_map(|(key, item)| {
            let rest = if key.span() == *span { Some(String::new()) } else { inside(item) }?;
            let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
            Some(format!("{}{dot}{rest}", key.get_ref()))
        }),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(place, item)| {
            let rest = inside(item)?;
            let dot = if rest.is_empty() || rest.starts_with('[') { "" } else { "." };
            Some(format!("[{place}]{dot}{rest}"))
        }),
        _ => None,
    }
}

/// Removes the key or value of this span; returns false if it is not inside.
fn cut(value: &mut Value<'_>, span: &Range<usize>) -> bool {
    match value.get_mut() {
        DeValue::Table(table) => {
            let found = table.iter().find(|(key, item)| key.span() == *span || item.span() == *span);
            match found.map(|(key, _)| key.get_ref().to_string()) {
                Some(key) => table.remove(key.as_str()).is_some(),
                None => table.iter_mut().any(|(_, item)| cut(item, span)),
            }
        }
        DeValue::Array(items) => {
            let count = items.len();
            *items = items.iter().filter(|item| item.span() != *span).cloned().collect();
            items.len() < count || items.iter_mut().any(|item| cut(item, span))
        }
        _ => false,
    }
}

/// Serde's message, with the expected value first. An unknown word gets the nearest known one as a suggestion.
fn describe(error: &Error, more: &[&'static str]) -> String {
    let message = error.message();
    for (start, what, more) in [("unknown field `", "field", more), ("unknown variant `", "value", &[])] {
        if let Some(rest) = message.strip_prefix(start) {
            // Serde lists the known words in backticks.
            let mut words = rest.split('`').step_by(2);
            let word = words.next().unwrap_or_default();
            return suggest::unknown(what, word, words.filter(|known| !known.is_empty()).chain(more.iter().copied()));
        }
    }
    let wrong = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let parts = wrong.and_then(|wrong| wrong.rsplit_once(", expected "));
    parts.map_or_else(|| message.to_owned(), |(found, expected)| format!("expected {expected}, found {found}"))
}
