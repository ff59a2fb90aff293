//! Watches that wait for a response: the node keeps only the next query of each.
//!
//! A response ends the query, and the client sends the next one. So the node never waits for a slow client; what that client
//! missed is in the state machine's memory, or too old. A watch is asked when it arrives, and again when one of its keys has changed;
//! watches that wait for the same get one response. *Without the numbers that the node counts meanwhile:* a watch whose keys do not
//! change for long would find its next change too old. This file must not know what a query means.

use crate::clients::watch_index::{Awaited, WatchIndex};
use crate::interface::outputs::{NodeOutput, Outputs};
use crate::interface::requests::Reply;
use crate::interface::state_machine::{ChangedKeys, StateMachine, Watched};
use bytes::Bytes;
use raft_core::{LogIndex, RequestId};
use std::collections::BTreeMap;

/// The most waiting watches.
const MAX_WAITING: usize = 100_000;

/// The waiting watches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Watches {
    /// Those that were never asked.
    new: BTreeMap<RequestId, Bytes>,
    /// The others, by what they wait for. They have had no response up to change number `seen`.
    asked: WatchIndex,
    awaited: BTreeMap<RequestId, Awaited>,
    seen: u64,
    /// The applied index of the state that has this change.
    applied: LogIndex,
}

impl Watches {
    pub(crate) fn len(&self) -> usize {
        self.new.len() + self.awaited.len()
    }

    /// Adds a watch; returns false if there are too many.
    pub(crate) fn insert(&mut self, id: RequestId, query: Bytes) -> bool {
        let fits = self.len() < MAX_WAITING;
        if fits {
            self.new.insert(id, query);
        }
        fits
    }

    /// Cancels a watch.
    pub(crate) fn remove(&mut self, id: RequestId) {
        self.new.remove(&id);
        if let Some(awaited) = self.awaited.remove(&id) {
            self.asked.remove(id, &awaited);
        }
    }

    /// Asks the state machine, which is at `applied`, the new queries and those whose keys have changed, and replies where it has a
    /// response.
    pub(crate) fn ask<S: StateMachine>(&mut self, applied: LogIndex, machine: &S, outputs: &mut Outputs) {
        if self.applied != applied {
            self.applied = applied;
            self.ask_changed(machine, outputs);
        }
        for (id, query) in std::mem::take(&mut self.new) {
            match machine.watch(&query, 0) {
                Watched::Later { prefix, query } => {
                    let awaited = (prefix, query);
                    self.asked.insert(id, awaited.clone());
                    self.awaited.insert(id, awaited);
                }
                Watched::Now { response, next } => {
                    outputs.push(NodeOutput::Reply { id, reply: Reply::Watched { applied, response, next } });
                }
            }
        }
    }

    fn ask_changed<S: StateMachine>(&mut self, machine: &S, outputs: &mut Outputs) {
        // Without a waiting watch only the number counts.
        let seen = if self.asked.is_empty() { u64::MAX } else { self.seen };
        let ChangedKeys { through, keys } = machine.changed_keys(seen);
        self.seen = through;
        let changed = keys.map_or_else(|| self.asked.all(), |keys| self.asked.matching(&keys));
        for awaited in changed {
            let Watched::Now { response, next } = machine.watch(&awaited.1, seen) else { continue };
            for id in self.asked.remove_group(&awaited) {
                self.awaited.remove(&id);
                let reply = Reply::Watched { applied: self.applied, response: response.clone(), next: next.clone() };
                outputs.push(NodeOutput::Reply { id, reply });
            }
        }
    }

    /// Removes all watches: the replica has stopped.
    pub(crate) fn take_all(&mut self) -> Vec<RequestId> {
        let Self { new, awaited, .. } = std::mem::take(self);
        new.into_keys().chain(awaited.into_keys()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_watches_is_limited() {
        let mut watches = Watches::default();
        assert!((0..MAX_WAITING as u64).all(|id| watches.insert(RequestId(id), Bytes::new())));
        assert!(!watches.insert(RequestId(u64::MAX), Bytes::new()));
        assert_eq!(watches.take_all().len(), MAX_WAITING);
        assert!(watches.insert(RequestId(1), Bytes::new()));
    }
}
