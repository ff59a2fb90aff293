//! The marks of requests that a follower forwards to the leader.

use crate::record::RecordKind;
use raft_core::RejectReason;
use raft_node::{ForwardEnd, Reply};

/// The mark that a record reaches, if it reaches one.
pub(super) fn mark(kind: &RecordKind) -> Option<&'static str> {
    match kind {
        RecordKind::ForwardedReplyReceived { reply, .. } => {
            let is_done =
                matches!(reply.reply, Reply::Applied { .. } | Reply::Answer { .. } | Reply::SessionOpened { .. });
            is_done.then_some("forwarded")
        }
        RecordKind::ForwardedReplySent { reply, .. } => {
            let met_follower = matches!(reply.reply, Reply::Rejected { reason: RejectReason::NotLeader { .. } });
            met_follower.then_some("forward_met_follower")
        }
        RecordKind::ForwardEnded { why, .. } => Some(match why {
            ForwardEnd::OverLimit => "forward_busy",
            ForwardEnd::NotSent => "forward_not_sent",
            ForwardEnd::TimedOut => "forward_timed_out",
            ForwardEnd::LeaderLost => "forward_leader_lost",
        }),
        _ => None,
    }
}
