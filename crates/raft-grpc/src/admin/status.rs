//! `/livez`, `/readyz` and `/v1/status`: the node's status.

use crate::client_service::ClientService;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use raft_proto::wire::raft::{MemberStatus, StatusResponse};
use serde_json::{Value, json};

pub(super) fn routes(service: ClientService) -> Router {
    Router::new()
        .route("/livez", routing::get(async || "ok\n"))
        .route("/readyz", routing::get(ready))
        .route("/v1/status", routing::get(status))
        .with_state(service)
}

async fn ready(State(service): State<ClientService>) -> (StatusCode, &'static str) {
    const NOT: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match service.status_now().await {
        Some(status) if status.ready => (StatusCode::OK, "ok\n"),
        Some(status) if status.leader.is_none() => (NOT, "no leader is known\n"),
        Some(_) => (NOT, "not everything that is known to be committed is applied\n"),
        None => (NOT, "the node is ending\n"),
    }
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
    use raft_proto::wire::raft::Role;

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
