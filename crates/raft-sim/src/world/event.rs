//! The events that a world plans, and their rank among events of the same node and time.

use crate::faults::ends::FaultEnd;
use crate::faults::swarm::SwarmEvent;
use crate::world::backups::BackupEvent;
use crate::world::messages::{Delivery, Forged};
use crate::world::operator::OperatorEvent;
use crate::world::watchers::WatchEvent;
use raft_core::{NodeId, RequestId};
use raft_node::{ForwardId, Reply, Request};

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Step(usize),
    Swarm(SwarmEvent),
    FaultEnds(FaultEnd),
    Operator(OperatorEvent),
    Backup(BackupEvent),
    Watch(WatchEvent),
    ClientWake {
        slot: usize,
        generation: u64,
    },
    Reply {
        slot: usize,
        id: RequestId,
        reply: Reply,
        cause: u64,
    },
    Restart(NodeId),
    /// The host of a removed node ends its process.
    RemovedEnds {
        node: NodeId,
        incarnation: u64,
    },
    Node(NodeId, NodeEvent),
}

/// An event for the process of a node.
#[derive(Clone, Debug)]
pub(crate) enum NodeEvent {
    /// The disk has finished its task.
    DiskDone {
        incarnation: u64,
    },
    Deliver(Delivery),
    /// A stranger's message.
    Forged(Forged),
    Request {
        id: RequestId,
        request: Request,
        cause: Option<u64>,
    },
    /// The connection of a backup is closed.
    CancelBackup {
        id: RequestId,
    },
    /// The connection of a watch is closed.
    CancelWatch {
        id: RequestId,
    },
    Timer {
        incarnation: u64,
    },
    /// The transport has noticed that a message to this peer was lost.
    Unreachable {
        peer: NodeId,
        cause: u64,
    },
    /// The transport has not sent this request to the leader.
    NotForwarded {
        incarnation: u64,
        id: ForwardId,
        cause: u64,
    },
    /// The thread is free again.
    Wake {
        incarnation: u64,
    },
}

impl NodeEvent {
    /// The start of the process that the event belongs to; `None` for whichever process runs.
    pub(crate) const fn incarnation(&self) -> Option<u64> {
        match self {
            Self::DiskDone { incarnation }
            | Self::Timer { incarnation }
            | Self::NotForwarded { incarnation, .. }
            | Self::Wake { incarnation } => Some(*incarnation),
            Self::Deliver(_)
            | Self::Forged(_)
            | Self::Request { .. }
            | Self::CancelBackup { .. }
            | Self::CancelWatch { .. }
            | Self::Unreachable { .. } => None,
        }
    }

    /// Whether it comes from another machine.
    pub(crate) const fn comes_from_outside(&self) -> bool {
        matches!(self, Self::Deliver(_) | Self::Request { .. })
    }

    /// Whether it puts something into the node's inbox.
    pub(crate) const fn brings_input(&self) -> bool {
        !matches!(self, Self::Timer { .. } | Self::Wake { .. })
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::DiskDone { .. } => 1,
            Self::Deliver(delivery) => {
                if delivery.is_about_snapshot() {
                    6
                } else {
                    2
                }
            }
            Self::Request { .. } | Self::CancelBackup { .. } | Self::CancelWatch { .. } => 3,
            Self::Timer { .. } => 4,
            Self::Unreachable { .. } | Self::NotForwarded { .. } => 5,
            Self::Forged(_) => 8,
            Self::Wake { .. } => 7,
        }
    }
}

impl Event {
    /// The owner of the event (0 for the world and the clients), and its rank among events of the same node and time.
    pub(crate) const fn place(&self) -> (u64, u8) {
        match self {
            Self::Step(_) => (0, 0),
            Self::Swarm(_) | Self::FaultEnds(_) => (0, 1),
            Self::Reply { .. } => (0, 2),
            Self::ClientWake { .. } => (0, 3),
            Self::Operator(_) => (0, 4),
            Self::Backup(_) => (0, 5),
            Self::Watch(_) => (0, 6),
            Self::Restart(node) => (node.0, 0),
            Self::RemovedEnds { node, .. } => (node.0, 8),
            Self::Node(node, event) => (node.0, event.rank()),
        }
    }
}
