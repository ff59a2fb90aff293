//! Changes of the members and transfers of leadership: from requests to the node's, and its replies back.

use super::{ClientService, entry_id};
use crate::config;
use raft_core::{InvalidChange, MembershipChange, NodeId, RejectReason, RoleKind, TargetProblem, TransferFailure};
use raft_node::{MemberStep, Reply, Request, StepRefusal, member_steps};
use raft_proto::wire::raft as w;
use raft_proto::wire::raft::change_members_response::Outcome;
use raft_proto::wire::raft::transfer_leadership_response::Outcome as TransferOutcome;
use raft_proto::wire::raft::{ChangeRefusal, ChangeRefused, MemberAddress, MemberContext, member_step};
use std::collections::BTreeSet;
use tonic::Status;

impl ClientService {
    pub(super) async fn change(&self, request: w::ChangeMembersRequest) -> Result<Outcome, Status> {
        let name = &self.identity.name;
        if !request.cluster.is_empty() && request.cluster != *name {
            let text = format!("this is cluster `{name}`, not `{}`: correct `cluster` or the address", request.cluster);
            return Ok(refused(ChangeRefusal::Unspecified, text));
        }
        let steps = request.steps.into_iter().map(step_from_wire).collect::<Result<Vec<_>, Status>>()?;
        let facts = self.facts().await.ok_or_else(|| Status::unavailable("the node is ending"))?;
        let (Some(configuration), Some(at), RoleKind::Leader) =
            (&facts.configuration, facts.configured_at, facts.status.role)
        else {
            let reason = RejectReason::NotLeader { leader: facts.status.leader };
            return Ok(self.outcome_of(&Reply::Rejected { reason }));
        };
        let steps = match member_steps(&steps, configuration, &self.book, name) {
            Ok(steps) if steps.is_empty() => return Ok(Outcome::Changed(entry_id(at))),
            Ok(steps) => steps,
            Err(refusal) => return Ok(step_refused(&refusal)),
        };
        let change = MembershipChange { expected: Some(at.index), steps, force: request.force };
        let reply = self.ask(Request::ChangeMembership { change }).await.reply;
        Ok(match &reply {
            Reply::Rejected { reason: RejectReason::NotCaughtUp { id } } => {
                let text = format!("node {} has not caught up", id.0);
                let progress = facts.status.peers.get(id).map_or(0, |peer| peer.match_index.0);
                Outcome::ChangeRefused(ChangeRefused {
                    reason: ChangeRefusal::NotCaughtUp.into(),
                    text,
                    match_index: progress,
                    last: facts.status.last.index.0,
                })
            }
            reply => self.outcome_of(reply),
        })
    }

    fn outcome_of(&self, reply: &Reply) -> Outcome {
        match reply {
            Reply::ConfigurationDecided { entry, .. } => Outcome::Changed(entry_id(*entry)),
            // Another change came between: the next attempt looks at it.
            Reply::Rejected { reason: RejectReason::NotReady | RejectReason::ConfigurationMismatch { .. } } => {
                refused(ChangeRefusal::NotReady, "another change is under way, or the leader is new".to_owned())
            }
            Reply::Rejected { reason: RejectReason::InvalidChange(reason) } => {
                step_refused(&StepRefusal::Invalid(*reason))
            }
            Reply::Rejected { reason: RejectReason::NoQuorumToCome { silent } } => {
                refused(ChangeRefusal::Unspecified, no_quorum(silent))
            }
            reply => self.refusal(reply).map_or(Outcome::Unknown(w::Unknown {}), Outcome::Refused),
        }
    }

    pub(super) async fn transfer(&self, to: Option<NodeId>) -> Result<TransferOutcome, Status> {
        if to == Some(self.identity.node) {
            let facts = self.facts().await.ok_or_else(|| Status::unavailable("the node is ending"))?;
            if facts.status.role == RoleKind::Leader {
                return Ok(TransferOutcome::TransferredTo(self.identity.node.0));
            }
        }
        let reply = self.ask(Request::TransferLeadership { to }).await.reply;
        Ok(match reply {
            Reply::LeadershipTransferred { to } => TransferOutcome::TransferredTo(to.0),
            Reply::TransferFailed { reason: TransferFailure::LeadershipLost } => {
                TransferOutcome::Unknown(w::Unknown {})
            }
            Reply::TransferFailed { reason } => TransferOutcome::Failed(reason.to_string()),
            Reply::Rejected { reason: RejectReason::UnfitTarget { id, why } } => {
                TransferOutcome::Failed(unfit(id, why))
            }
            Reply::Rejected { reason: reason @ RejectReason::NoTarget } => {
                TransferOutcome::Failed(format!("{reason}: `raft-grpc status` shows the voters that do not answer"))
            }
            reply => self.refusal(&reply).map_or(TransferOutcome::Unknown(w::Unknown {}), TransferOutcome::Refused),
        })
    }
}

fn refused(reason: ChangeRefusal, text: String) -> Outcome {
    Outcome::ChangeRefused(ChangeRefused { reason: reason.into(), text, ..ChangeRefused::default() })
}

fn no_quorum(silent: &BTreeSet<NodeId>) -> String {
    let nodes = silent.iter().map(|id| format!("node {}", id.0)).collect::<Vec<_>>().join(", ");
    format!(
        "no quorum of the voters to come answers: {nodes} does not. Start it, then repeat the change. With --force the change begins \
         without it, and the cluster takes no writes until a quorum answers"
    )
}

fn unfit(id: NodeId, why: TargetProblem) -> String {
    let id = id.0;
    let advice = match why {
        TargetProblem::IsLeader => "nothing is left to do".to_owned(),
        TargetProblem::NotAVoter => format!("`raft-grpc member promote {id}` makes a voter of a learner"),
        TargetProblem::LostData => format!("remove node {id}, and add the machine under a new id"),
        TargetProblem::Silent => "start it, or name another voter".to_owned(),
        TargetProblem::NeedsSnapshot | TargetProblem::FarBehind => {
            "try again when `raft-grpc status` shows a small lag, or name another voter".to_owned()
        }
        TargetProblem::NoSpace => "free space there, or name another voter".to_owned(),
    };
    format!("node {id} cannot take over: {why}: {advice}")
}

fn step_refused(refusal: &StepRefusal) -> Outcome {
    let (reason, text) = match refusal {
        StepRefusal::IsElsewhere { .. } => (ChangeRefusal::IsMember, refusal.to_string()),
        StepRefusal::SameUrl { .. } => (ChangeRefusal::Unspecified, refusal.to_string()),
        StepRefusal::Invalid(invalid) => match invalid {
            InvalidChange::Nothing => (ChangeRefusal::Unspecified, "the change changes nothing".to_owned()),
            InvalidChange::IsMember { id } => (ChangeRefusal::IsMember, format!("node {} is a member already", id.0)),
            InvalidChange::NoMember { id } => {
                (ChangeRefusal::NoMember, format!("node {} is no member: see `raft-grpc member list`", id.0))
            }
            InvalidChange::IsVoter { id } => (ChangeRefusal::IsVoter, format!("node {} is a voter already", id.0)),
            InvalidChange::NoVoter { id } => (ChangeRefusal::NoVoter, format!("node {} is a learner already", id.0)),
            InvalidChange::NoVotersLeft => {
                (ChangeRefusal::Unspecified, "no voter would be left: promote another member first".to_owned())
            }
        },
    };
    refused(reason, text)
}

fn step_from_wire(step: w::MemberStep) -> Result<MemberStep, Status> {
    use member_step::Kind;
    let node = |id: u64| match id {
        1..=raft_core::MAX_NUMBER => Ok(NodeId(id)),
        _ => Err(Status::invalid_argument(format!("node {id}: an id is a number from 1 to 2^62"))),
    };
    let at = |address: MemberAddress, needs_peer_url: bool| {
        let MemberAddress { id, peer_url, client_url } = address;
        if needs_peer_url && peer_url.is_empty() {
            return Err(Status::invalid_argument(format!("node {id}: the peer URL is missing")));
        }
        let address = MemberContext { peer_url: url(peer_url)?, client_url: url(client_url)?, cluster: String::new() };
        Ok((node(id)?, address))
    };
    Ok(match step.kind.ok_or_else(|| Status::invalid_argument("a step of the change is missing"))? {
        Kind::Add(address) => at(address, true).map(|(id, address)| MemberStep::Add { id, address })?,
        Kind::Update(address) => at(address, false).map(|(id, address)| MemberStep::Update { id, address })?,
        Kind::Complete(address) => at(address, false).map(|(id, address)| MemberStep::Complete { id, address })?,
        Kind::Promote(id) => MemberStep::Promote { id: node(id)? },
        Kind::Demote(id) => MemberStep::Demote { id: node(id)? },
        Kind::Remove(id) => MemberStep::Remove { id: node(id)? },
    })
}

/// A URL in its normal form; empty: unknown.
fn url(text: String) -> Result<String, Status> {
    if text.is_empty() {
        return Ok(text);
    }
    config::url(&text).map_err(|problem| Status::invalid_argument(format!("{text}: {problem}")))
}
