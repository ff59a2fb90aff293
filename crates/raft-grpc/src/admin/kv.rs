//! `/v1/kv/{key}`: the map for `curl`. Any node can be asked, because its clients find the leader. A value is the body,
//! unchanged.
//!
//! HTTP has no sessions here: each request applies its command at most once, and a repeated request is a new command.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use raft_client::{Client, ClientError, ClientOptions, Consistency, Written};
use serde_json::json;
use std::sync::{Arc, Mutex, PoisonError};

/// The idle clients, kept because each has a session and connections.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    idle: Arc<Mutex<Vec<Client>>>,
    options: ClientOptions,
}

const KEPT: usize = 16;

impl Clients {
    pub(super) fn new(endpoints: Vec<String>) -> Self {
        Self { idle: Arc::default(), options: ClientOptions::new(endpoints) }
    }

    /// Runs `work` with an idle client, or with a new one.
    async fn lend<T>(&self, work: impl AsyncFnOnce(&mut Client) -> Result<T, ClientError>) -> Result<T, Failed> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut client = match idle {
            Some(client) => client,
            None => Client::new(self.options.clone()).map_err(Failed)?,
        };
        let result = work(&mut client).await;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(client);
        }
        result.map_err(Failed)
    }
}

pub(super) fn routes(clients: Clients) -> Router {
    let key = routing::get(get).put(put).delete(delete);
    Router::new().route("/v1/kv/{*key}", key).with_state(clients)
}

async fn get(State(clients): State<Clients>, Path(key): Path<String>) -> Result<Response, Failed> {
    let got = clients.lend(async |client| client.get(key, Consistency::Linearizable).await).await?;
    let revision = [("x-raft-modified-revision", got.modified_revision), ("x-raft-revision", got.revision)]
        .map(|(name, revision)| (name, revision.to_string()));
    Ok(match got.value {
        Some(value) => (revision, value).into_response(),
        None => (StatusCode::NOT_FOUND, revision, "there is no such key\n").into_response(),
    })
}

async fn put(State(clients): State<Clients>, Path(key): Path<String>, value: Bytes) -> Result<Response, Failed> {
    let written = clients.lend(async |client| client.put(key, value).await).await?;
    Ok(Json(describe(&written)).into_response())
}

async fn delete(State(clients): State<Clients>, Path(key): Path<String>) -> Result<Response, Failed> {
    let deleted = clients.lend(async |client| client.delete(key).await).await?;
    let mut answer = describe(&deleted.written);
    answer["existed"] = deleted.existed.into();
    Ok(Json(answer).into_response())
}

fn describe(written: &Written) -> serde_json::Value {
    json!({ "revision": written.revision, "term": written.entry.term.0, "leader": written.leader })
}

struct Failed(ClientError);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = match &self.0 {
            ClientError::NoEffect { .. } => StatusCode::SERVICE_UNAVAILABLE,
            ClientError::OutcomeUnknown { .. } => StatusCode::GATEWAY_TIMEOUT,
            ClientError::Refused { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            ClientError::NotCaughtUp { .. } => StatusCode::CONFLICT,
            ClientError::Compacted { .. } | ClientError::OtherCluster { .. } => StatusCode::GONE,
            ClientError::Endpoint { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{}\n", self.0)).into_response()
    }
}
