//! `/livez`, `/readyz` and `/v1/status`: the node's status.

use crate::client_service::{ClientService, has_applied};
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use raft_proto::wire::raft::{MemberStatus, Role, StatusResponse};
use serde_json::{Value, json};

pub(super) fn routes(service: ClientService) -> Router {
    Router::new()
        .route("/livez", routing::get(async || "ok\n"))
        .route("/readyz", routing::get(ready))
        .route("/v1/status", routing::get(status))
        .with_state(service)
}

/// `ok`, or a line for each sub-check that fails. `?exclude=NAME` leaves one out.
async fn ready(State(service): State<ClientService>, RawQuery(query): RawQuery) -> (StatusCode, String) {
    const NOT: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    let Some(status) = service.status_now().await else { return (NOT, "the node is ending\n".to_owned()) };
    let failed = failed_checks(&status, query.as_deref().unwrap_or_default());
    if failed.is_empty() { (StatusCode::OK, "ok\n".to_owned()) } else { (NOT, failed) }
}

fn failed_checks(status: &StatusResponse, query: &str) -> String {
    let checks = [
        ("leader", status.leader.is_some(), "no leader is known"),
        (
            "applied",
            has_applied(status.applied, status.commit),
            "too much that is known to be committed is not applied yet",
        ),
        ("running", status.role() != Role::Stopped, "the replica has stopped for good"),
        ("disk_space", !status.no_space, "the disk is full: this node accepts no entries until there is space"),
    ];
    let is_excluded = |name: &str| query.split('&').any(|part| part.strip_prefix("exclude=") == Some(name));
    let failed = checks.iter().filter(|(name, holds, _)| !holds && !is_excluded(name));
    failed.map(|(name, _, reason)| format!("{name}: {reason}\n")).collect()
}

async fn status(State(service): State<ClientService>) -> Response {
    match service.status_now().await {
        Some(status) => Json(describe(&status)).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the node is ending\n").into_response(),
    }
}

fn describe(status: &StatusResponse) -> Value {
    let role = status.role().as_str_name().trim_start_matches("ROLE_").to_lowercase().replace('_', "-");
    json!({
        "id": status.id,
        "cluster_id": format!("{:x}", status.cluster_id),
        "incarnation": status.incarnation,
        "role": role,
        "term": status.term,
        "leader": status.leader,
        "last": status.last,
        "durable": status.durable,
        "commit": status.commit,
        "applied": status.applied,
        "state_hash": format!("{:x}", status.state_hash),
        "ready": status.ready,
        "lease_reads": status.lease_reads,
        "no_space": status.no_space,
        "members": status.members.iter().map(member).collect::<Vec<_>>(),
    })
}

fn member(member: &MemberStatus) -> Value {
    json!({
        "id": member.id,
        "voter": member.voter,
        "peer_url": member.peer_url,
        "client_url": member.client_url,
        "admin_url": member.admin_url,
        "connected": member.connected,
        "contact_ms": member.contact_ms,
        "match_index": member.match_index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sub_check_has_a_name_and_can_be_excluded() {
        let good = StatusResponse { leader: Some(1), ready: true, ..StatusResponse::default() };
        assert_eq!(failed_checks(&good, ""), "");
        let full = StatusResponse { no_space: true, ..good.clone() };
        assert!(failed_checks(&full, "verbose").starts_with("disk_space: the disk is full"));
        assert_eq!(failed_checks(&full, "verbose&exclude=disk_space"), "");
        let lost = StatusResponse { leader: None, ready: false, commit: 1_001, ..full };
        let failed = failed_checks(&lost, "");
        let names: Vec<_> = failed.lines().filter_map(|line| line.split(':').next()).collect();
        assert_eq!(names, ["leader", "applied", "disk_space"]);
        let stopped = StatusResponse { role: Role::Stopped.into(), ..good };
        assert_eq!(failed_checks(&stopped, ""), "running: the replica has stopped for good\n");
    }

    #[test]
    fn the_answer_has_every_field_and_roles_by_name() {
        let members = vec![MemberStatus { id: 2, contact_ms: Some(5), ..MemberStatus::default() }];
        let status = StatusResponse {
            id: 1,
            role: Role::PreCandidate.into(),
            state_hash: vec![1, 0xab].into(),
            members,
            ..StatusResponse::default()
        };
        let answer = describe(&status);
        assert_eq!(answer["role"], "pre-candidate");
        assert_eq!(answer["state_hash"], "01ab");
        assert_eq!(answer["leader"], Value::Null);
        assert_eq!(answer["members"][0]["contact_ms"], 5);
    }
}
