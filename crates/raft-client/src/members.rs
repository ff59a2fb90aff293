//! Asks every node for its status, and combines the answers by member.

use crate::ask::cause;
use crate::find_leader::{Nodes, Stub, normal};
use raft_proto::wire::raft::{MemberStatus, Role, StatusRequest, StatusResponse};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinSet;

/// A member, or an endpoint that did not answer and belongs to no known member.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberView {
    /// `None` if no node that answered knows whose endpoint this is.
    pub id: Option<u64>,
    /// The URL for clients: where the member answered, otherwise as other nodes say. It is empty if no node knows it.
    pub url: String,
    /// Its own status, or the reason why there is none.
    pub answer: Result<StatusResponse, String>,
    /// The leader's facts about it; without a leader, those of the node that answered with the highest term.
    pub known: Option<MemberStatus>,
}

pub(crate) async fn status_of(mut stub: Stub, timeout: Duration) -> Result<StatusResponse, String> {
    match tokio::time::timeout(timeout, stub.status(StatusRequest {})).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(cause(&status)),
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(timeout))),
    }
}

/// Asks all known nodes, then the nodes that they name, until no answer names a new one.
pub(crate) async fn ask_all(nodes: &mut Nodes, timeout: Duration) -> Vec<MemberView> {
    let mut answers: BTreeMap<String, Result<StatusResponse, String>> = BTreeMap::new();
    let mut to_ask: BTreeSet<String> = nodes.urls().into_iter().collect();
    while !to_ask.is_empty() {
        let mut asked = JoinSet::new();
        for url in std::mem::take(&mut to_ask) {
            match nodes.stub(&url) {
                Ok(stub) => {
                    asked.spawn(async move { (url, status_of(stub, timeout).await) });
                }
                Err(error) => {
                    answers.insert(url, Err(error.to_string()));
                }
            }
        }
        // A task that panicked gives no answer, so its node is listed without one.
        while let Some(Ok((url, answer))) = asked.join_next().await {
            answers.insert(url, answer);
        }
        let statuses = answers.values().filter_map(|answer| answer.as_ref().ok());
        let named = statuses.flat_map(|status| &status.members).filter(|member| !member.client_url.is_empty());
        let named: BTreeSet<String> = named.map(|member| normal(&member.client_url)).collect();
        to_ask.extend(named.into_iter().filter(|url| !answers.contains_key(url)));
    }
    members_of(answers)
}

/// Combines the answers of nodes, by the URLs that were asked, to a list of members by id.
pub fn members_of(answers: BTreeMap<String, Result<StatusResponse, String>>) -> Vec<MemberView> {
    let mut known = known_members(&answers);
    let mut members: BTreeMap<u64, MemberView> = BTreeMap::new();
    let mut silent: BTreeMap<String, String> = BTreeMap::new();
    for (url, answer) in answers {
        match answer {
            // A node with two URLs answers twice.
            Ok(status) => {
                let known = known.get(&status.id).cloned();
                let id = status.id;
                members.entry(id).or_insert(MemberView { id: Some(id), url, answer: Ok(status), known });
            }
            Err(why) => {
                silent.insert(url, why);
            }
        }
    }
    known.retain(|id, _| !members.contains_key(id));
    for (id, member) in known {
        let url = if member.client_url.is_empty() { String::new() } else { normal(&member.client_url) };
        let why = silent.remove(&url).unwrap_or_else(|| "no node that answers knows where it serves clients".into());
        members.insert(id, MemberView { id: Some(id), url, answer: Err(why), known: Some(member) });
    }
    let answered_elsewhere: BTreeSet<String> =
        members.values().filter_map(|member| member.known.as_ref().map(|known| normal(&known.client_url))).collect();
    silent.retain(|url, _| !answered_elsewhere.contains(url));
    let strangers = silent.into_iter().map(|(url, why)| MemberView { id: None, url, answer: Err(why), known: None });
    members.into_values().chain(strangers).collect()
}

/// The facts of all nodes about each member: a leader's answer comes first, then the one with the highest term.
fn known_members(answers: &BTreeMap<String, Result<StatusResponse, String>>) -> BTreeMap<u64, MemberStatus> {
    let mut statuses: Vec<&StatusResponse> = answers.values().filter_map(|answer| answer.as_ref().ok()).collect();
    statuses.sort_by_key(|status| (status.role() == Role::Leader, status.term));
    let mut known: BTreeMap<u64, MemberStatus> = BTreeMap::new();
    for member in statuses.into_iter().flat_map(|status| &status.members) {
        let mut member = member.clone();
        if let Some(earlier) = known.get(&member.id).filter(|_| member.client_url.is_empty()) {
            member.client_url.clone_from(&earlier.client_url);
        }
        known.insert(member.id, member);
    }
    known
}
