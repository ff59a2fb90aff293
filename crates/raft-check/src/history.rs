//! Client histories: each operation of each client, its result and its times, a JSON object per line, so that any
//! linearizability checker can read them.
//!
//! ```text
//! {"client":1,"op":"put","key":"k","value":"v","status":"ok","result":null,"invoke_ns":1,"return_ns":2}
//! ```
//!
//! A history omits how an operation reached the cluster: only the client's request and answer count.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, BufRead, Write};

/// One operation of one client, from its invocation to its return.
///
/// Invariant ([`Operation::check`]): `value` and `result` fit `op` and `status`, and it does not return before it begins.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Operation {
    /// A client has one operation open at a time.
    pub client: u64,
    pub op: Op,
    pub key: String,
    pub value: OpValue,
    pub status: Status,
    pub result: OpResult,
    /// When it was invoked, in nanoseconds of true time.
    pub invoke_ns: u64,
    /// When it returned or was given up; `None` if it never returned.
    pub return_ns: Option<u64>,
}

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Op {
    Put,
    Get,
    /// Compare and swap: store a value if the current one is the expected one.
    Cas,
    Delete,
}

/// The arguments of an operation: `null`, `"v"` or `["old","new"]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OpValue {
    /// No argument (get, delete).
    Null,
    /// The value to store (put).
    Value(String),
    /// The expected value (`None`: the key must be absent) and the one to store (cas).
    Cas(Option<String>, String),
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It took effect and its result is known.
    Ok,
    /// It has no effect, now or later.
    Fail,
    /// It may take effect at any time after its invocation, even after it was given up, or never.
    Unknown,
}

/// The result of an operation: `null`, `"v"` or `true`/`false`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OpResult {
    /// The result of a put, of a get that found no value, and of any operation that did not end [`Status::Ok`].
    Null,
    /// The value that a get found.
    Value(String),
    /// Whether a cas stored its value, or a delete found one to remove.
    Flag(bool),
}

impl Operation {
    /// Checks the invariant.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), &'static str> {
        let value_fits = match self.op {
            Op::Get | Op::Delete => self.value == OpValue::Null,
            Op::Put => matches!(self.value, OpValue::Value(_)),
            Op::Cas => matches!(self.value, OpValue::Cas(..)),
        };
        let result_fits = match (self.status, self.op) {
            (Status::Fail | Status::Unknown, _) | (Status::Ok, Op::Put) => self.result == OpResult::Null,
            (Status::Ok, Op::Get) => !matches!(self.result, OpResult::Flag(_)),
            (Status::Ok, Op::Cas | Op::Delete) => matches!(self.result, OpResult::Flag(_)),
        };
        if !value_fits {
            return Err("the value does not fit the operation");
        }
        if !result_fits {
            return Err("the result does not fit the operation and its status");
        }
        match self.return_ns {
            None if self.status == Status::Ok => Err("an operation of status ok has no return_ns"),
            Some(returned) if returned < self.invoke_ns => Err("return_ns is before invoke_ns"),
            _ => Ok(()),
        }
    }
}

/// Writes a history, a line per operation.
///
/// # Errors
/// An error of `out`.
pub fn write_history<'a>(out: &mut impl Write, history: impl IntoIterator<Item = &'a Operation>) -> io::Result<()> {
    for operation in history {
        serde_json::to_writer(&mut *out, operation)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Reads a history and skips empty lines.
///
/// # Errors
/// The first line that cannot be read, is not an operation, or contradicts itself.
pub fn read_history(input: impl BufRead) -> Result<Vec<Operation>, HistoryError> {
    let mut history = Vec::new();
    for (number, line) in (1..).zip(input.lines()) {
        let at = |problem: String| HistoryError { line: number, problem };
        let line = line.map_err(|error| at(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let operation: Operation = serde_json::from_str(&line).map_err(|error| at(error.to_string()))?;
        operation.check().map_err(|problem| at(problem.to_string()))?;
        history.push(operation);
    }
    Ok(history)
}

/// Why a history cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct HistoryError {
    /// The line, from 1.
    pub line: usize,
    pub problem: String,
}

impl fmt::Display for HistoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "history line {}: {}", self.line, self.problem)
    }
}

impl std::error::Error for HistoryError {}

/// Formats an operation, its result and its interval as `c1 cas k a -> b = true [5, 9]`.
impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.op {
            Op::Put => "put",
            Op::Get => "get",
            Op::Cas => "cas",
            Op::Delete => "delete",
        };
        write!(f, "c{} {name} {}", self.client, self.key)?;
        match &self.value {
            OpValue::Null => {}
            OpValue::Value(value) => write!(f, " {value}")?,
            OpValue::Cas(old, new) => write!(f, " {} -> {new}", old.as_deref().unwrap_or("nothing"))?,
        }
        match (self.status, &self.result) {
            (Status::Fail, _) => write!(f, " failed")?,
            (Status::Unknown, _) => write!(f, " unknown")?,
            (Status::Ok, OpResult::Value(value)) => write!(f, " = {value}")?,
            (Status::Ok, OpResult::Flag(flag)) => write!(f, " = {flag}")?,
            (Status::Ok, OpResult::Null) if self.op == Op::Get => write!(f, " = nothing")?,
            (Status::Ok, OpResult::Null) => write!(f, " ok")?,
        }
        match self.return_ns {
            Some(returned) => write!(f, " [{}, {returned}]", self.invoke_ns),
            None => write!(f, " [{}, never]", self.invoke_ns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(op: Op, value: OpValue, status: Status, result: OpResult) -> Operation {
        Operation { client: 1, op, key: "k".into(), value, status, result, invoke_ns: 1, return_ns: Some(2) }
    }

    fn examples() -> Vec<(Operation, &'static str)> {
        let value = |text: &str| OpValue::Value(text.into());
        vec![
            (
                operation(Op::Put, value("v"), Status::Ok, OpResult::Null),
                r#"{"client":1,"op":"put","key":"k","value":"v","status":"ok","result":null,"invoke_ns":1,"return_ns":2}"#,
            ),
            (
                operation(Op::Get, OpValue::Null, Status::Ok, OpResult::Value("v".into())),
                r#"{"client":1,"op":"get","key":"k","value":null,"status":"ok","result":"v","invoke_ns":1,"return_ns":2}"#,
            ),
            (
                operation(Op::Cas, OpValue::Cas(None, "v".into()), Status::Ok, OpResult::Flag(true)),
                r#"{"client":1,"op":"cas","key":"k","value":[null,"v"],"status":"ok","result":true,"invoke_ns":1,"return_ns":2}"#,
            ),
            (
                Operation { return_ns: None, ..operation(Op::Delete, OpValue::Null, Status::Unknown, OpResult::Null) },
                r#"{"client":1,"op":"delete","key":"k","value":null,"status":"unknown","result":null,"invoke_ns":1,"return_ns":null}"#,
            ),
        ]
    }

    #[test]
    fn lines_are_as_documented_and_read_back() {
        let (operations, lines): (Vec<_>, Vec<_>) = examples().into_iter().unzip();
        let mut written = Vec::new();
        write_history(&mut written, &operations).expect("a Vec takes everything");
        assert_eq!(String::from_utf8(written.clone()).expect("JSON is UTF-8"), lines.join("\n") + "\n");
        assert_eq!(read_history(written.as_slice()), Ok(operations));
    }

    #[test]
    fn errors_name_the_line() {
        let good = examples()[0].1;
        for (bad, expected) in [
            ("{", "EOF"),
            ("\u{0}", "expected"),
            (r#"{"client":1}"#, "missing field"),
            (&good.replace(r#""value":"v""#, r#""value":null"#), "value does not fit"),
            (&good.replace(r#""result":null"#, r#""result":true"#), "result does not fit"),
            (&good.replace(r#""return_ns":2"#, r#""return_ns":0"#), "before invoke_ns"),
            (&good.replace(r#""return_ns":2"#, r#""return_ns":null"#), "no return_ns"),
            (&good.replace(r#""op":"put""#, r#""op":"post""#), "unknown variant"),
        ] {
            let error = read_history(format!("{good}\n\n{bad}\n").as_bytes()).expect_err(bad);
            assert_eq!(error.line, 3, "{error}");
            assert!(error.problem.contains(expected), "{error}");
        }
        let error = read_history(&b"\xff\n"[..]).expect_err("not UTF-8");
        assert_eq!(error.line, 1);
    }

    #[test]
    fn an_operation_is_shown_in_one_line() {
        let lines: Vec<String> = examples().iter().map(|(operation, _)| operation.to_string()).collect();
        assert_eq!(
            lines,
            [
                "c1 put k v ok [1, 2]",
                "c1 get k = v [1, 2]",
                "c1 cas k nothing -> v = true [1, 2]",
                "c1 delete k unknown [1, never]"
            ]
        );
    }
}
