//! The files of `--trace` and `--history`.
//!
//! One file can hold many runs. Each run in a trace begins with a header line. In a history of many runs the keys carry
//! the run's name, so that operations of different runs stay separate.

use super::args::OutputArgs;
use anyhow::{Context, Result};
use raft_check::history::{Operation, write_history};
use raft_sim::record::Record;
use raft_sim::record::trace;
use raft_sim::run::{self, Sink};
use raft_sim::scenario::model::Scenario;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The requested files.
pub(crate) struct Outputs {
    trace: Option<Mutex<Trace>>,
    history: Option<History>,
}

/// The trace file and its first error: a full disk cannot interrupt a run.
pub(crate) struct Trace {
    out: BufWriter<File>,
    error: Option<io::Error>,
}

struct History {
    out: BufWriter<File>,
    many: bool,
    clients: u64,
}

impl Outputs {
    /// Creates the files; `many` says whether they will hold more than one run.
    pub(crate) fn create(args: &OutputArgs, many: bool) -> Result<Self> {
        let trace = args.trace.as_deref().map(create).transpose()?;
        let history = args.history.as_deref().map(create).transpose()?;
        Ok(Self {
            trace: trace.map(|out| Mutex::new(Trace { out, error: None })),
            history: history.map(|out| History { out, many, clients: 0 }),
        })
    }

    /// How many runs may be in progress at once: the events of two runs must not mix in one file.
    pub(crate) fn limit(&self, workers: usize) -> usize {
        if self.trace.is_some() { 1 } else { workers }
    }

    /// Whether the command needs the histories of runs.
    pub(crate) fn wants_history(&self) -> bool {
        self.history.is_some()
    }

    /// The trace file, for one run.
    pub(crate) fn trace(&self, scenario: &Scenario, seed: u64) -> Option<MutexGuard<'_, Trace>> {
        // A run that panicked leaves complete lines, so the file is still valid.
        let mut trace = self.trace.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = trace::write_head(&mut trace.out, &scenario.name, seed, run::nodes(scenario, seed));
        trace.note(opened);
        Some(trace)
    }

    /// Writes the operations of a run.
    pub(crate) fn write_history(&mut self, scenario: &str, seed: u64, operations: Vec<Operation>) -> Result<()> {
        let Some(history) = &mut self.history else { return Ok(()) };
        history.write(scenario, seed, operations).context("cannot write the history")
    }

    /// Checks that everything is written.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(trace) = self.trace {
            let mut trace = trace.into_inner().unwrap_or_else(PoisonError::into_inner);
            let flushed = trace.out.flush();
            trace.note(flushed);
            trace.error.map_or(Ok(()), Err).context("cannot write the trace")?;
        }
        self.history.map_or(Ok(()), |mut history| history.out.flush()).context("cannot write the history")
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(BufWriter::new(file))
}

impl Trace {
    fn note(&mut self, result: io::Result<()>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

impl Sink for Trace {
    fn record(&mut self, record: &Record) {
        if self.error.is_none() {
            let written = trace::write_record(&mut self.out, record);
            self.note(written);
        }
    }
}

impl History {
    fn write(&mut self, scenario: &str, seed: u64, mut operations: Vec<Operation>) -> io::Result<()> {
        if self.many {
            let clients = operations.iter().map(|operation| operation.client.saturating_add(1)).max().unwrap_or(0);
            for operation in &mut operations {
                operation.client = operation.client.saturating_add(self.clients);
                operation.key = format!("{scenario}/{seed}/{}", operation.key);
            }
            self.clients = self.clients.saturating_add(clients);
        }
        write_history(&mut self.out, &operations)
    }
}
