//! Exit codes, and which of them wins when several things went wrong.

use std::process::ExitCode;

/// How a command ends. The later variant wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Everything expected held.
    Held,
    /// A checker gave up within its budget and cannot say.
    Inconclusive,
    /// Liveness or another expectation failed.
    Expectation,
    /// The same scenario and seed gave two different runs.
    NotDeterministic,
    /// A safety property was violated.
    Safety,
    /// The code under test panicked.
    Panic,
    /// A scenario or a file cannot be used; nothing was run.
    Scenario,
    /// The command line is wrong; nothing was run.
    Usage,
}

impl Exit {
    /// The number for the shell.
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Held => 0,
            Self::Safety => 1,
            // What most programs say of wrong usage, too: a message on stderr and no report tells the two apart.
            Self::Expectation | Self::Usage => 2,
            Self::NotDeterministic => 3,
            Self::Scenario => 4,
            Self::Inconclusive => 5,
            Self::Panic => 101,
        })
    }
}
