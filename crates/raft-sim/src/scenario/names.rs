//! The names of roles and messages in a scenario file.

use crate::faults::Fault;
use crate::world::network::{FORWARDED_REPLY, FORWARDED_REQUEST, INSTALL_SNAPSHOT, INSTALL_SNAPSHOT_RESPONSE};
use raft_core::RoleKind;

pub(crate) const ROLES: [(RoleKind, &str); 5] = [
    (RoleKind::Follower, "follower"),
    (RoleKind::PreCandidate, "pre_candidate"),
    (RoleKind::Candidate, "candidate"),
    (RoleKind::Leader, "leader"),
    (RoleKind::Stopped, "stopped"),
];

/// The values of [`raft_core::Rpc::kind`], and the kinds of messages that carry snapshots and forwarded requests.
pub(crate) const MESSAGE_KINDS: [&str; 12] = [
    "pre_vote",
    "pre_vote_response",
    "request_vote",
    "request_vote_response",
    "heartbeat",
    "append_entries",
    "append_entries_response",
    "timeout_now",
    INSTALL_SNAPSHOT,
    INSTALL_SNAPSHOT_RESPONSE,
    FORWARDED_REQUEST,
    FORWARDED_REPLY,
];

/// The kinds of faults, with the further effects of crashes and links.
pub(crate) fn faults() -> Vec<(Fault, &'static str)> {
    Fault::ALL.iter().map(|fault| (*fault, fault.name())).collect()
}

/// The value with this name in a table, or the problem of the name.
pub(crate) fn named<T: Copy>(table: &[(T, &'static str)], what: &str, text: &str) -> Result<T, String> {
    let found = table.iter().find(|(_, name)| *name == text).map(|(value, _)| *value);
    found.ok_or_else(|| super::suggest::unknown(what, text, table.iter().map(|(_, name)| *name)))
}

/// The name of this value in a table that holds all values.
pub(crate) fn name_of<T: Copy + PartialEq>(table: &[(T, &'static str)], value: T) -> &'static str {
    table.iter().find(|(candidate, _)| *candidate == value).map_or("", |(_, name)| name)
}
