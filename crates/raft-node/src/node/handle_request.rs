//! How a node handles a client's request: as an input of the core, as a waiting watch, by a message to the leader, or with a
//! reply at once.

use super::Node;
use crate::clients::envelope::Envelope;
use crate::clients::reads::Read;
use crate::interface::forwards::LeaderRequest;
use crate::interface::outputs::{NodeOutput, Outputs};
use crate::interface::requests::{Reply, Request};
use crate::interface::state_machine::StateMachine;
use raft_core::{Input, ReadMode, RejectReason, RequestId, RoleKind};

impl<S: StateMachine> Node<S> {
    /// A request of a client: forwards it to the leader it knows, if only a leader can execute it.
    pub(super) fn request(&mut self, id: RequestId, mut request: Request, outputs: &mut Outputs) -> Option<Input> {
        if let Some(leader) = self.forwarding.leader() {
            match LeaderRequest::of(request) {
                Ok(request) => {
                    self.forwarding.forward(self.now, leader, (id, request), outputs);
                    return None;
                }
                Err(other) => request = other,
            }
        }
        self.execute_here(id, request, outputs)
    }

    /// The end of a call: requests that wait for a node that no longer leads end, and replies to forwarded ones go back.
    pub(super) fn end_forwarding(&mut self, start: usize, outputs: &mut Outputs) {
        let leader = self.raft.leader().filter(|_| self.raft.role() == RoleKind::Follower);
        self.forwarding.set_leader(leader, outputs);
        self.forwarding.on_time(self.now, outputs);
        self.forwarding.send_replies(outputs.get_mut(start..).unwrap_or_default());
    }

    /// Executes a request on this node. It is never forwarded: a request that a peer has forwarded must not go in circles.
    pub(super) fn execute_here(&mut self, id: RequestId, request: Request, outputs: &mut Outputs) -> Option<Input> {
        let is_stopped = self.raft.role() == RoleKind::Stopped;
        let envelope = match request {
            Request::OpenSession => Envelope::OpenSession,
            Request::Command(command) => Envelope::Command(command),
            Request::Query { query, mode } => {
                self.reads.insert(id, Read::Query(query));
                return Some(Input::Read { id, mode });
            }
            Request::BeginBackup { is_stale: false } => {
                self.reads.insert(id, Read::Backup);
                return Some(Input::Read { id, mode: ReadMode::Safe });
            }
            Request::StaleQuery { .. } | Request::Watch { .. } | Request::BeginBackup { .. } if is_stopped => {
                outputs.push(NodeOutput::rejected(id, RejectReason::Stopped));
                return None;
            }
            Request::StaleQuery { query } => {
                outputs.push(NodeOutput::Reply { id, reply: self.state.answer(&query) });
                return None;
            }
            Request::BeginBackup { .. } => {
                let reply = self.begin_backup(id);
                outputs.push(NodeOutput::Reply { id, reply });
                return None;
            }
            Request::ContinueBackup { backup } => {
                outputs.push(NodeOutput::Reply { id, reply: self.backups.next(backup) });
                return None;
            }
            Request::Watch { cluster: Some(cluster), .. } if cluster != self.cluster => {
                outputs.push(NodeOutput::Reply { id, reply: Reply::OtherCluster });
                return None;
            }
            Request::Watch { query, .. } => {
                if !self.watches.insert(id, query) {
                    outputs.push(NodeOutput::rejected(id, RejectReason::Busy));
                }
                return None;
            }
            // The write counts the bytes of the change: changes are rare, and small compared with the reserve.
            Request::ChangeMembership { change } => {
                return self.admit(id, 0, outputs).then_some(Input::ChangeMembership { id, change });
            }
            Request::TransferLeadership { to } => return Some(Input::TransferLeadership { id, to }),
        };
        let command = envelope.encode();
        self.admit(id, command.len(), outputs).then_some(Input::Propose { id, command })
    }

    /// Whether the entry of a request fits into the reserve beside those in flight; if not, replies here.
    fn admit(&mut self, id: RequestId, bytes: usize, outputs: &mut Outputs) -> bool {
        if self.disk_budget.admit_command(bytes) {
            return true;
        }
        // The core's reply, without the core: it might become leader in this very call and accept the request.
        let reason = match self.raft.role() {
            RoleKind::Leader => RejectReason::Busy,
            RoleKind::Stopped => RejectReason::Stopped,
            RoleKind::Follower | RoleKind::PreCandidate | RoleKind::Candidate => {
                RejectReason::NotLeader { leader: self.raft.leader() }
            }
        };
        outputs.push(NodeOutput::rejected(id, reason));
        false
    }
}
