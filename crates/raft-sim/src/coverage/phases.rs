//! The phases of the protocol that a cluster is in, several at a time. A fault tests a phase only if it strikes in it.

use crate::record::{NodeView, Record, RecordKind};
use raft_core::{LogIndex, NodeId, RoleKind, Term};
use std::collections::BTreeMap;

/// The table of all phases: the meaning of each, and its name in reports.
macro_rules! phases {
    ($($(#[doc = $doc:literal])+ $phase:ident = $name:literal,)+) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Phase {
            $($(#[doc = $doc])+ $phase,)+
        }

        impl Phase {
            pub const ALL: &'static [Self] = &[$(Self::$phase,)+];

            /// Its name in reports.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$phase => $name,)+
                }
            }
        }
    };
}

phases! {
    /// A node campaigns, or no node that is up leads the highest term.
    Election = "election",
    /// The leader has entries that are not committed.
    Replication = "replication",
    /// The leader's configuration is a joint one.
    Joint = "joint",
    /// The leader sends a snapshot.
    Snapshot = "snapshot",
    /// The leader transfers leadership.
    Transfer = "transfer",
    /// The leader has not yet answered a read that it accepted.
    Read = "read",
    /// A node has started and does not know yet what was committed before.
    Recovery = "recovery",
    /// A node is down.
    Down = "down",
    /// None of these.
    Idle = "idle",
}

impl Phase {
    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of phases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PhaseSet(u16);

impl PhaseSet {
    pub const fn has(self, phase: Phase) -> bool {
        self.0 & phase.bit() != 0
    }

    pub const fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }

    const fn set(&mut self, phase: Phase, is_in_it: bool) {
        if is_in_it {
            self.0 |= phase.bit();
        }
    }
}

/// The phases of a cluster, followed record by record.
#[derive(Clone, Debug, Default)]
pub struct Phases {
    nodes: BTreeMap<NodeId, Option<Node>>,
    call: u64,
    /// The highest commit index of any node.
    committed: LogIndex,
}

/// The facts of a view that its phases need.
#[derive(Clone, Copy, Debug)]
struct Node {
    role: RoleKind,
    term: Term,
    commit: LogIndex,
    /// What was committed when it started.
    goal: LogIndex,
    /// Its phases if it leads.
    leading: PhaseSet,
}

impl Phases {
    pub fn observe(&mut self, record: &Record) {
        if matches!(record.kind, RecordKind::NewCluster { .. }) {
            *self = Self::default();
        }
        let Some(id) = record.node else { return };
        match (&record.view, &record.kind) {
            (None, RecordKind::Crashed { .. } | RecordKind::RefusedToStart { .. }) => {
                self.nodes.insert(id, None);
            }
            (Some(view), kind) => {
                let starts = matches!(kind, RecordKind::Started { .. });
                // All records of a call have the same view.
                if starts || record.call == 0 || record.call != self.call {
                    self.call = record.call;
                    let known = self.nodes.get(&id).copied().flatten().filter(|_| !starts);
                    let goal = known.map_or(self.committed, |node| node.goal);
                    self.committed = self.committed.max(view.commit);
                    self.nodes.insert(id, Some(Node::new(view, goal)));
                }
            }
            (None, _) => {}
        }
    }

    /// The phases that the cluster is in.
    pub fn now(&self) -> PhaseSet {
        let up = || self.nodes.values().flatten();
        let term = up().map(|node| node.term).max().unwrap_or_default();
        let leader = up().find(|node| node.role == RoleKind::Leader && node.term == term);
        let campaigns = |node: &Node| matches!(node.role, RoleKind::PreCandidate | RoleKind::Candidate);
        let mut phases = leader.map_or_else(PhaseSet::default, |leader| leader.leading);
        phases.set(Phase::Election, leader.is_none() || up().any(campaigns));
        phases.set(Phase::Recovery, up().any(|node| node.commit < node.goal));
        phases.set(Phase::Down, self.nodes.values().any(Option::is_none));
        phases.set(Phase::Idle, phases == PhaseSet::default());
        phases
    }
}

impl Node {
    fn new(view: &NodeView, goal: LogIndex) -> Self {
        let mut leading = PhaseSet::default();
        leading.set(Phase::Replication, view.commit < view.last.index);
        leading.set(Phase::Joint, view.configuration.as_ref().is_some_and(|configuration| configuration.is_joint()));
        leading.set(Phase::Snapshot, view.in_flight.snapshots > 0);
        leading.set(Phase::Transfer, view.internals.0.transfer_to.is_some());
        leading.set(Phase::Read, view.quotas.pending_reads > 0);
        Self { role: view.role, term: view.term, commit: view.commit, goal, leading }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::script::{Script, founding, noop};
    use crate::record::CrashKind;

    /// The names of the phases after a run.
    fn phases(script: &Script) -> Vec<&'static str> {
        let mut phases = Phases::default();
        script.records.iter().for_each(|record| phases.observe(record));
        let now = phases.now();
        Phase::ALL.iter().filter(|phase| now.has(**phase)).map(|phase| phase.name()).collect()
    }

    #[test]
    fn a_cluster_is_in_every_phase_that_one_of_its_nodes_is_in() {
        assert_eq!(phases(&Script::started()), ["election"]);
        assert_eq!(phases(&Script::elected()), ["replication"]);
        let mut script = Script::led();
        assert_eq!(phases(&script), ["idle"]);
        script.step(1, |view| (view.in_flight.snapshots, view.quotas.pending_reads) = (1, 1));
        assert_eq!(phases(&script), ["snapshot", "read"]);
        script.step(3, |view| view.role = RoleKind::PreCandidate);
        assert_eq!(phases(&script), ["election", "snapshot", "read"]);
        script.crash(2, CrashKind::Kill);
        assert_eq!(phases(&script), ["election", "snapshot", "read", "down"]);
    }

    #[test]
    fn a_node_recovers_until_it_knows_what_was_committed_at_its_start() {
        let mut script = Script::led();
        script.crash(1, CrashKind::Kill);
        script.start(1, 2, Some(1), vec![founding(), noop(2, 2)]);
        assert!(phases(&script).contains(&"recovery"), "{:?}", phases(&script));
        script.commit(1, 2);
        assert!(!phases(&script).contains(&"recovery"), "{:?}", phases(&script));
    }
}
