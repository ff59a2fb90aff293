//! After the end of a run that healed its clients stop, and every quota of the healed nodes returns to zero. A quota that an
//! entry, a read or a peer keeps for good shows only then.
//!
//! A copy of the world continues: the records and the hash of the run end before.

use super::{Host, World};
use crate::checkers::{Healed, Violation, queues};
use crate::scenario::model::Scenario;
use raft_core::{NodeId, nanos};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The time for it, in election timeouts. A forwarded request, the longest of them, waits for two.
const TIMEOUTS: u32 = 40;

/// How many events happen between two looks at the nodes.
const EVENTS: usize = 16;

type Counts = BTreeMap<&'static str, u64>;

impl World {
    /// The quotas of the healed nodes that do not return to zero. Each of them need be zero at one time only: keys that
    /// expire are commands too.
    pub(crate) fn never_idle(&self, healed: &Healed) -> Option<Violation> {
        let mut world = self.clone();
        let waits = world.scenario.raft.election_timeout.end.saturating_mul(TIMEOUTS);
        world.become_quiet(waits);
        let mut busy: BTreeMap<NodeId, Counts> =
            healed.nodes.iter().map(|node| (*node, world.counts(*node, healed))).collect();
        let mut goes_on = true;
        loop {
            busy.retain(|_, counts| !counts.is_empty());
            if !goes_on || busy.is_empty() {
                break;
            }
            goes_on = (0..EVENTS).all(|_| world.advance());
            world.emissions.clear();
            for (node, counts) in &mut busy {
                let now = world.counts(*node, healed);
                counts.retain(|name, count| {
                    now.get(name).is_some_and(|now| {
                        *count = *now;
                        true
                    })
                });
            }
        }
        let (node, counts) = busy.first_key_value()?;
        let counts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let message =
            format!("{node} still counts {}, {waits:?} after the last request of a client", counts.join(", "));
        Some(Violation { property: queues::NAME, message, facts: vec![self.records] })
    }

    /// Stops the clients and the steps, and lets the run last longer.
    fn become_quiet(&mut self, longer: Duration) {
        let duration = Duration::from_nanos(self.now.0.max(nanos(self.scenario.duration))).saturating_add(longer);
        self.scenario = Arc::new(Scenario { duration, ..(*self.scenario).clone() });
        self.script.conditional.clear();
        self.is_quiet = true;
    }

    /// The quotas of this node that are not zero. Those for a peer count only if the peer is healed too.
    fn counts(&self, node: NodeId, healed: &Healed) -> Counts {
        let counts = self.hosts.get(&node).map(|host| all_counts(host, &healed.nodes)).unwrap_or_default();
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

fn all_counts(host: &Host, healed: &BTreeSet<NodeId>) -> Vec<(&'static str, u64)> {
    let Some(process) = &host.process else { return Vec::new() };
    let (status, load, inbox) = (process.node.status(), process.node.load(), process.inbox.load());
    let peers = || status.peers.iter().filter(|(id, _)| healed.contains(id)).map(|(_, peer)| peer);
    vec![
        ("uncommitted bytes", status.uncommitted_bytes),
        ("bytes for the disk", status.unpersisted_bytes),
        ("bytes for the state machine", status.applying_bytes),
        ("reads in the core", status.pending_reads as u64),
        ("appends in flight", peers().map(|peer| peer.inflight_messages as u64).sum()),
        ("bytes in flight", peers().map(|peer| peer.inflight_bytes).sum()),
        ("snapshots in flight", peers().filter(|peer| peer.snapshot.is_some()).count() as u64),
        ("commands", load.commands as u64),
        ("reads", load.reads as u64),
        ("backups", load.backups as u64),
        ("forwarded requests", load.forwarded_requests as u64),
        ("forwarded bytes", load.forwarded_bytes),
        ("requests of peers", load.executing as u64),
        ("reserved bytes", load.reserved_bytes),
        ("messages in the inbox", inbox.messages as u64 + inbox.message_bytes),
        ("requests in the inbox", inbox.requests as u64 + inbox.request_bytes),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ms, quiet};

    fn ended(seed: u64) -> (World, Healed) {
        let scenario = Arc::new(quiet(3, ms(2_000)));
        let mut world = World::new(&scenario, seed);
        while world.advance() {
            world.emissions.clear();
        }
        let healed = world.healed().expect("no fault");
        (world, healed)
    }

    #[test]
    fn a_cluster_without_clients_becomes_idle() {
        for seed in 0..5 {
            let (world, healed) = ended(seed);
            let records = world.records;
            assert_eq!(world.never_idle(&healed), None, "seed {seed}");
            assert_eq!(world.records, records, "the run itself does not continue");
        }
    }

    #[test]
    fn a_quota_that_is_never_returned_is_reported() {
        let (mut world, mut healed) = ended(1);
        // A majority that hears nothing commits nothing: its leader keeps what it has appended.
        let leader = world.leader().expect("a leader");
        healed.nodes = [leader].into();
        while !world.counts(leader, &healed).contains_key("commands") {
            let scenario = Scenario { duration: ms(4_000), ..(*world.scenario).clone() };
            world.scenario = Arc::new(scenario);
            assert!(world.advance(), "a client sends a command");
        }
        let others: BTreeSet<NodeId> = world.nodes().into_iter().filter(|node| *node != leader).collect();
        world.on_each(&others, World::pause);
        world.scenario = Arc::new({
            let mut scenario = (*world.scenario).clone();
            // Soon after, its check of the quorum ends the commands.
            (scenario.duration, scenario.raft.election_timeout.end) = (Duration::from_nanos(world.now.0), ms(1));
            scenario
        });
        let violation = world.never_idle(&healed).expect("commands wait");
        assert_eq!((violation.property, violation.facts), ("queues", vec![world.records]));
        assert!(violation.message.starts_with(&format!("{leader} still counts ")), "{}", violation.message);
        assert!(violation.message.contains(" commands"), "{}", violation.message);
    }
}
