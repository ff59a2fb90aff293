//! Exit codes, and their priority when several problems occur.

use std::process::ExitCode;

/// How a command ends. The later variant wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All expectations held.
    Held,
    /// A checker exceeded its budget and cannot decide.
    Inconclusive,
    /// Liveness or another expectation failed.
    Expectation,
    /// The same scenario and seed gave two different runs.
    NotDeterministic,
    /// A safety property was violated.
    Safety,
    /// The code under test panicked.
    Panic,
    /// A scenario or a file is invalid; no run took place.
    Scenario,
    /// The command line is wrong; no run took place.
    Usage,
}

impl Exit {
    /// The number for the shell.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Held => 0,
            Self::Safety => 1,
            // Most programs use this code for wrong usage too: a message on stderr without a report tells the two
            // apart.
            Self::Expectation | Self::Usage => 2,
            Self::NotDeterministic => 3,
            Self::Scenario => 4,
            Self::Inconclusive => 5,
            Self::Panic => 101,
        })
    }
}
