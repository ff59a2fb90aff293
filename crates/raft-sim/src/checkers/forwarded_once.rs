//! A request is forwarded once, by the node that its client asked: a node that a peer has asked never forwards.
//!
//! First to catch: a node that forwards what was forwarded to it, or forwards a request twice. It backs up no other checker:
//! a request on a detour is still applied once.

use super::ghost::Ghost;
use super::property::{Fact, Property, Violation};
use crate::record::RecordKind;
use raft_core::{NodeId, RequestId};
use std::collections::BTreeMap;

const NAME: &str = "forwarded_once";

#[derive(Clone, Default)]
pub(super) struct ForwardedOnce {
    /// Requests of clients that a process has and has not forwarded: the record of each.
    asked: BTreeMap<NodeId, BTreeMap<RequestId, u64>>,
}

impl Property for ForwardedOnce {
    fn check(&mut self, _: &Ghost, fact: &Fact<'_>) -> Option<Violation> {
        let node = fact.record.node?;
        let asked = self.asked.entry(node).or_default();
        match &fact.record.kind {
            RecordKind::Started { .. } => asked.clear(),
            RecordKind::Requested { id, .. } => drop(asked.insert(*id, fact.record.number)),
            RecordKind::Replied { id, .. } => drop(asked.remove(id)),
            RecordKind::RequestForwarded { id, to, .. } => {
                let message = format!("{node} forwards request {} to {to}, and no client has just asked it", id.0);
                let earlier = fact.record.cause.unwrap_or(fact.record.number);
                return asked.remove(id).is_none().then(|| fact.contradicts(NAME, earlier, message));
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::script::*;
    use super::*;
    use crate::record::{Unhashed, Verdict};
    use raft_node::{ForwardId, ForwardedRequest, LeaderRequest};

    fn forwards(script: &mut Script, id: u64) {
        let request = ForwardedRequest { id: ForwardId { origin: 1, number: id }, request: LeaderRequest::OpenSession };
        let (id, verdict) = (RequestId(id), Verdict::Delivered { copies: 1 });
        script.push(Some(2), RecordKind::RequestForwarded { id, to: NodeId(1), request, verdict });
    }

    #[test]
    fn what_no_client_asked_for_or_was_forwarded_already_fires() {
        for (ids, words) in [(vec![1], ""), (vec![1, 1], "forwards request 1"), (vec![1, 2], "forwards request 2")] {
            let mut script = Script::led();
            script.push(Some(2), RecordKind::Requested { id: RequestId(1), command: Unhashed(None) });
            ids.iter().for_each(|id| forwards(&mut script, *id));
            if words.is_empty() {
                assert_silent(ForwardedOnce::default(), &script);
            } else {
                assert_fires(ForwardedOnce::default(), NAME, &script, words);
            }
        }
    }
}
