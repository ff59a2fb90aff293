//! Reading a TOML table field by field: whatever is not asked for is unknown, and every problem knows its line.
//!
//! Problems are collected and reading goes on, so that one look at the file mends all of them. This file must not know
//! what a scenario is.

use super::problem::Problem;
use super::suggest;
use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The text being read and what was found wrong with it.
pub(crate) struct Reader<'t> {
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
}

impl<'t> Reader<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, problems: RefCell::default() }
    }

    /// The line of a byte, from 1.
    fn line(&self, byte: usize) -> usize {
        self.text.bytes().take(byte).filter(|&byte| byte == b'\n').count() + 1
    }

    /// Notes a problem at a place in the text.
    pub(crate) fn problem(&self, span: &Range<usize>, field: &str, message: impl Into<String>) {
        let problem = Problem { line: self.line(span.start), field: field.to_owned(), message: message.into() };
        self.problems.borrow_mut().push(problem);
    }

    /// All problems, by line.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems.dedup();
        problems
    }
}

/// A table. Ask for every field it may have, then [`finish`](Self::finish).
pub(crate) struct Fields<'r, 't> {
    reader: &'r Reader<'t>,
    table: &'r DeTable<'t>,
    path: String,
    span: Range<usize>,
    asked: Vec<&'static str>,
}

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Value<'r, 't> {
    reader: &'r Reader<'t>,
    value: &'r DeValue<'t>,
    path: String,
    span: Range<usize>,
}

impl<'r, 't> Fields<'r, 't> {
    pub(crate) fn root(reader: &'r Reader<'t>, table: &'r Spanned<DeTable<'t>>) -> Self {
        // Problems of the file as a whole are of its first line, whatever its root table spans.
        Self { reader, table: table.get_ref(), path: String::new(), span: 0..0, asked: Vec::new() }
    }

    /// The field of this name, if it is there.
    pub(crate) fn get(&mut self, name: &'static str) -> Option<Value<'r, 't>> {
        self.asked.push(name);
        let (key, value) = self.table.iter().find(|(key, _)| key.get_ref() == name)?;
        Some(self.value_of(key.get_ref(), value))
    }

    /// The field of this name; a problem if it is not there.
    pub(crate) fn require(&mut self, name: &'static str) -> Option<Value<'r, 't>> {
        let value = self.get(name);
        if value.is_none() {
            self.problem_with(name, format!("`{name}` is missing"));
        }
        value
    }

    /// Which of these fields are there.
    pub(crate) fn present(&self, names: &[&'static str]) -> Vec<&'static str> {
        names.iter().copied().filter(|name| self.table.iter().any(|(key, _)| key.get_ref() == name)).collect()
    }

    /// Notes a problem of the table as a whole.
    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.reader.problem(&self.span, &self.path, message);
    }

    /// Notes a problem of one field; of the table's first line, if the field is not there.
    pub(crate) fn problem_with(&self, name: &str, message: impl Into<String>) {
        let key = self.table.keys().find(|key| key.get_ref() == name);
        let span = key.map_or_else(|| self.span.clone(), Spanned::span);
        self.reader.problem(&span, &self.join(name), message);
    }

    /// Reports every field that was not asked for.
    pub(crate) fn finish(self) {
        self.finish_within(&[]);
    }

    /// Reports every field that was not asked for; one of the `vocabulary` is known, but not here.
    pub(crate) fn finish_within(self, vocabulary: &[&'static str]) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let message = if vocabulary.contains(&name) {
                format!("`{name}` does not go with the other fields here")
            } else {
                let known = self.asked.iter().chain(vocabulary).copied();
                format!("unknown field `{name}`{}", suggest::hint(name, known))
            };
            self.reader.problem(&key.span(), &self.join(name), message);
        }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn value_of(&self, name: &str, value: &'r Spanned<DeValue<'t>>) -> Value<'r, 't> {
        Value { reader: self.reader, value: value.get_ref(), path: self.join(name), span: value.span() }
    }
}

impl<'r, 't> Value<'r, 't> {
    /// Notes a problem of this value.
    pub(crate) fn problem(&self, message: impl Into<String>) {
        self.reader.problem(&self.span, &self.path, message);
    }

    fn expected(&self, what: &str) {
        self.problem(format!("expected {what}, found {}", describe(self.value)));
    }

    /// A text.
    pub(crate) fn text(&self, what: &str) -> Option<&'r str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.expected(what);
        }
        text
    }

    /// A text that `read` understands.
    pub(crate) fn read<T>(&self, what: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        read(self.text(what)?).map_err(|message| self.problem(message)).ok()
    }

    /// True or false.
    pub(crate) fn boolean(&self) -> Option<bool> {
        let boolean = self.value.as_bool();
        if boolean.is_none() {
            self.expected("true or false");
        }
        boolean
    }

    /// Whether it is an integer, for values that may also be something else.
    pub(crate) fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// Whether it is a list, for values that may also be something else.
    pub(crate) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// An integer within `range`, which may hold negative ones.
    pub(crate) fn signed(&self, range: RangeInclusive<i64>) -> Option<i64> {
        self.number(range)
    }

    /// An integer within `range`.
    pub(crate) fn integer(&self, range: RangeInclusive<u64>) -> Option<u64> {
        self.number(range)
    }

    fn number<N: TryFrom<i128> + PartialOrd + Display>(&self, range: RangeInclusive<N>) -> Option<N> {
        let Some(integer) = self.value.as_integer() else {
            self.expected("an integer");
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number.and_then(|number| N::try_from(number).ok()).filter(|number| range.contains(number));
        if number.is_none() {
            let shown = integer.as_str();
            self.problem(format!("{shown} is out of range: {} to {}", range.start(), range.end()));
        }
        number
    }

    /// The values of a list.
    pub(crate) fn list(&self, what: &str) -> Option<Vec<Self>> {
        let Some(array) = self.value.as_array() else {
            self.expected(what);
            return None;
        };
        let item = |(place, value): (usize, &'r Spanned<DeValue<'t>>)| Self {
            reader: self.reader,
            value: value.get_ref(),
            path: format!("{}[{place}]", self.path),
            span: value.span(),
        };
        Some(array.iter().enumerate().map(item).collect())
    }

    /// All fields of a table, whatever their names: for tables keyed by node.
    pub(crate) fn entries(&self) -> Vec<(&'r str, Self)> {
        let fields = self.table();
        let table = fields.iter().flat_map(|fields| fields.table.iter().map(move |(key, value)| (fields, key, value)));
        table.map(|(fields, key, value)| (key.get_ref().as_ref(), fields.value_of(key.get_ref(), value))).collect()
    }

    /// The fields of a table.
    pub(crate) fn table(&self) -> Option<Fields<'r, 't>> {
        let Some(table) = self.value.as_table() else {
            self.expected("a table");
            return None;
        };
        let (path, span) = (self.path.clone(), self.span.clone());
        Some(Fields { reader: self.reader, table, path, span, asked: Vec::new() })
    }
}

fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(integer) => format!("the integer {}", integer.as_str()),
        DeValue::Float(float) => format!("the number {}", float.as_str()),
        DeValue::Boolean(boolean) => format!("{boolean}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
