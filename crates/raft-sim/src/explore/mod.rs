//! The explorer: every interleaving of a small cluster, within limits.
//!
//! It drives the production core, not a model of it. A step is one call of one node, so the search is exhaustive over the
//! order of messages, writes, timers, requests, power losses and restarts. There is no time: a timer may fire whenever it
//! runs. docs/explorer.md says what this leaves out.
//!
//! # The files, in reading order
//!
//! - `replica`: one node with its disk, and the properties that it can break alone. `letter`: a message in flight.
//! - `packed`: a log in one word. `ghost`: the past that the other properties need, and these properties.
//! - `pool`: nodes, messages and pasts with their numbers, and the remembered steps. `state`: a state of numbers, and its
//!   fingerprint. `successors`: its steps.
//! - `table`: the visited states. `search`: breadth first. `heal`: the fair continuation. `script`: a path as lines.

mod ghost;
mod heal;
mod letter;
mod packed;
mod pool;
mod replica;
mod script;
mod search;
mod state;
mod successors;
mod table;

use crate::checkers::Violation;
pub use script::FIGURE_8;

/// What a search may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub nodes: usize,
    /// The elections: the first term is 1, and no term is above 1 plus this.
    pub terms: u64,
    /// The requests of clients that reach a leader. Each leader adds an entry of its own.
    pub entries: u32,
    pub crashes: u32,
    /// The messages in flight at a time; any others are lost.
    pub in_flight: usize,
    /// The messages that are lost; `None` is without a limit.
    pub drops: Option<u32>,
    /// The messages that arrive twice.
    pub duplicates: u32,
    /// The heartbeats of all leaders together; `None` is without a limit.
    pub heartbeats: Option<u32>,
    /// The election timeouts of one node between two starts, with pre-vote: its rounds do not raise the term.
    pub rounds: u32,
    pub pre_vote: bool,
    pub stickiness: bool,
    pub check_quorum: bool,
    /// Whether states that differ in the names of the nodes count as one.
    pub symmetry: bool,
    /// How many states lie between two whose fair continuation is tried, on average.
    pub heal_every: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            nodes: 3,
            terms: 2,
            entries: 1,
            crashes: 1,
            in_flight: 3,
            drops: None,
            duplicates: 0,
            heartbeats: Some(0),
            rounds: 2,
            pre_vote: false,
            stickiness: false,
            check_quorum: false,
            symmetry: false,
            heal_every: 4_096,
        }
    }
}

impl Limits {
    /// # Errors
    /// The first limit that is out of range, with its range.
    pub fn check(&self) -> Result<(), String> {
        let (nodes, in_flight) = (state::MAX_NODES, state::MAX_IN_FLIGHT);
        if self.nodes == 0 || self.nodes > nodes {
            return Err(format!("expected 1 to {nodes} nodes, found {}", self.nodes));
        }
        if self.in_flight == 0 || self.in_flight > in_flight {
            return Err(format!("expected 1 to {in_flight} messages in flight, found {}", self.in_flight));
        }
        let longest = self.terms.saturating_add(u64::from(self.entries)).saturating_add(1);
        if self.terms == 0 || longest > packed::MOST {
            let most = packed::MOST - 1;
            return Err(format!(
                "expected at least one term, and terms and entries of at most {most} together, found {}",
                longest - 1
            ));
        }
        let counted = [Some(self.crashes), self.drops, self.heartbeats, Some(self.duplicates)];
        if let Some(many) = counted.into_iter().flatten().find(|&count| count > 200) {
            return Err(format!("expected at most 200 crashes, drops, heartbeats and duplicates, found {many}"));
        }
        Ok(())
    }

    /// Whether the states differ in times: some guard depends on them.
    fn keeps_time(&self) -> bool {
        self.stickiness || self.check_quorum
    }
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// There are no other states within the limits.
    Exhausted,
    Broken(Broken),
    /// The caller stopped it, for this reason.
    Stopped(&'static str),
}

/// A violation, and the shortest way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub violation: Violation,
    /// One line for each step; the text before the first two spaces in a row can be read as a step again.
    pub steps: Vec<String>,
}

/// The size of a search so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    pub states: u64,
    pub transitions: u64,
    /// The steps from the first state to the farthest one.
    pub depth: u64,
    /// The states whose steps are not taken yet.
    pub frontier: u64,
    /// The different nodes in all states, and the different messages.
    pub nodes: u64,
    pub messages: u64,
    /// The different steps of one node: as often the production core was called.
    pub calls: u64,
    /// The states whose fair continuation converged.
    pub healed: u64,
    /// The highest sum of all tables and the frontier.
    pub bytes: u64,
}

/// Explores all states within the limits from the end of a path. The path has one step in each line. From time to time
/// it asks `keep_on` whether to go on; an answer is the reason to stop.
///
/// # Errors
/// The first line of the path that is no step, and the steps that are possible there.
pub fn explore(
    limits: &Limits,
    path: &str,
    keep_on: &mut dyn FnMut(&Figures) -> Option<&'static str>,
) -> Result<(End, Figures), String> {
    limits.check()?;
    search::Search::new(limits, path)?.run(keep_on)
}
