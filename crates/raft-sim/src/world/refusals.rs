//! The acts that a scenario asks once and whose refusal it expects: each answer is compared with the expected name.

use crate::record::SimTime;
use crate::scenario::refusals::Refusal;
use raft_core::{NodeId, RequestId};
use std::collections::BTreeMap;
use std::fmt::Display;

/// An act that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    /// The operator's task with this number.
    Task(u64),
    /// The backup that this request begins.
    Backup(RequestId),
    /// The order to this node to campaign.
    Campaign(NodeId),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    expected: BTreeMap<Act, (String, Refusal)>,
    failures: Vec<String>,
}

impl Refusals {
    /// Expects this refusal of the act, if there is one to expect.
    pub(crate) fn expect(&mut self, act: Act, refused: Option<Refusal>, label: impl FnOnce() -> String) {
        self.expected.extend(refused.map(|refused| (act, (label(), refused))));
    }

    /// Takes the answer of an act: the names of the refusal, none if it was not refused.
    pub(crate) fn answered(&mut self, act: Act, names: &[&str], answer: &dyn Display, at: SimTime) {
        let Some((label, Refusal(name))) = self.expected.remove(&act) else { return };
        if !names.contains(&name) {
            let (ms, ns) = (at.0 / 1_000_000, at.0 % 1_000_000);
            self.failures
                .push(format!("at {ms}.{ns:06} ms: expected \"{label}\" refused as `{name}`, found: {answer}"));
        }
    }

    /// The acts that were not refused as expected, a sentence each.
    pub(crate) fn failures(&self) -> Vec<String> {
        let open = self.expected.values();
        let open = open.map(|(label, name)| format!("expected \"{label}\" refused as `{}`, found no answer", name.0));
        self.failures.iter().cloned().chain(open).collect()
    }
}
