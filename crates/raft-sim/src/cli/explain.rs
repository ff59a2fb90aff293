//! `raft-sim explain`: one run as a text, a line per event. It uses no wall clock: equal runs give equal texts.

use super::args::ReplayArgs;
use super::exit::Exit;
use super::files;
use super::replay::once;
use anyhow::Result;
use raft_sim::record::Record;
use raft_sim::record::explain;
use raft_sim::run::Sink;
use std::io::{self, BufWriter, Stdout, Write};

/// Prints one run of a file.
pub(crate) fn explain(args: &ReplayArgs) -> Result<Exit> {
    let file = files::load(&args.file)?;
    let mut printer = Printer { out: BufWriter::new(io::stdout()), error: None };
    let outcome = once(&file, args, &mut printer);
    printer.error.map_or(Ok(()), Err)?;
    let report = outcome?;
    let mut out = printer.out;
    for finding in &report.violations {
        writeln!(out, "FAIL {}: {}", finding.property, finding.message)?;
    }
    writeln!(out, "trace hash {}", report.hash())?;
    out.flush()?;
    Ok(report.exit())
}

struct Printer {
    out: BufWriter<Stdout>,
    error: Option<io::Error>,
}

impl Sink for Printer {
    fn record(&mut self, record: &Record) {
        if self.error.is_none() {
            self.error = writeln!(self.out, "{}", explain::line(record)).err();
        }
    }
}
