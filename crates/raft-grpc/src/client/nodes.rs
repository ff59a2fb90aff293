//! The nodes a client knows of, by URL: their connections, the last thing heard from each, and whom to ask next.

use super::retry::RetryState;
use super::{ClientError, ClientOptions, Stub};
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;
use tonic::transport::{Channel, Endpoint};

/// Nodes name others, and nobody checks them: this many are remembered.
const MAX_NODES: usize = 64;

/// The largest answer that is read: the largest value a node can be told to accept, and what is around it.
const MAX_ANSWER_BYTES: usize = 65 << 20;

/// All nodes known.
///
/// Invariant: not empty, and `cursor` is one of them.
#[derive(Debug)]
pub(super) struct Nodes {
    known: BTreeMap<String, Node>,
    connect_timeout: Duration,
    /// Who led when last heard of, or is said to.
    leader: Option<String>,
    /// Whom to ask if no leader is known. Goes round on its own: hints that lead in a circle must not keep it from
    /// anybody.
    cursor: String,
}

#[derive(Debug)]
struct Node {
    endpoint: Endpoint,
    /// Connects when it is first used, and again whenever it has to.
    channel: Option<Channel>,
    heard: Option<String>,
}

/// One spelling for one URL: a scheme, no slash at the end.
pub(super) fn normal(url: &str) -> String {
    let url = url.trim();
    let scheme = if url.contains("://") { "" } else { "http://" };
    format!("{scheme}{}", url.trim_end_matches('/'))
}

impl Nodes {
    pub(super) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        // Half of an attempt, so that a node that is gone is told from one that is slow: the request surely never left.
        let connect_timeout = options.attempt_timeout / 2;
        let mut nodes = Self { known: BTreeMap::new(), connect_timeout, leader: None, cursor: String::new() };
        for url in options.endpoints.iter().rev() {
            nodes.cursor = normal(url);
            nodes.learn(&normal(url))?;
        }
        if nodes.known.is_empty() {
            return Err(ClientError::Endpoint { problem: "no endpoints: name at least one http://HOST:PORT".into() });
        }
        Ok(nodes)
    }

    /// Remembers a node.
    fn learn(&mut self, url: &str) -> Result<&mut Node, ClientError> {
        let unusable =
            |why: String| ClientError::Endpoint { problem: format!("{url}: {why}; an endpoint is http://HOST:PORT") };
        if !self.known.contains_key(url) {
            if self.known.len() >= MAX_NODES {
                return Err(unusable(format!("more than {MAX_NODES} nodes are named")));
            }
            let endpoint = Endpoint::from_shared(url.to_string()).map_err(|error| unusable(error.to_string()))?;
            if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().host().is_none_or(str::is_empty) {
                return Err(unusable("not usable".into()));
            }
            let endpoint = endpoint
                .connect_timeout(self.connect_timeout)
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(Duration::from_secs(2))
                .keep_alive_while_idle(true);
            self.known.insert(url.to_string(), Node { endpoint, channel: None, heard: None });
        }
        self.known.get_mut(url).ok_or_else(|| unusable("not remembered".into()))
    }

    /// The URLs of all nodes known, in their order.
    pub(super) fn urls(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }

    /// The service of a node, which becomes known if it is not.
    pub(super) fn stub(&mut self, url: &str) -> Result<Stub, ClientError> {
        let node = self.learn(url)?;
        let channel = node.channel.get_or_insert_with(|| node.endpoint.connect_lazy()).clone();
        Ok(Stub::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES).max_encoding_message_size(usize::MAX))
    }

    /// Whom to ask now.
    pub(super) fn target(&self) -> String {
        self.leader.as_ref().unwrap_or(&self.cursor).clone()
    }

    /// A node answered.
    pub(super) fn answered(&mut self, url: String, as_leader: bool) {
        if as_leader {
            self.leader = Some(url);
        }
    }

    /// `from` does not lead and says who does. Whether that is of use.
    pub(super) fn follow(&mut self, from: &str, hint: &str) -> bool {
        let hint = normal(hint);
        if hint == from || self.learn(&hint).is_err() {
            return false;
        }
        self.leader = Some(hint);
        true
    }

    /// Nobody is known to lead, least of all `from`: the next is asked.
    pub(super) fn pass_on(&mut self, from: &str) {
        self.leader = None;
        self.turn();
        if self.cursor == from {
            self.turn();
        }
    }

    fn turn(&mut self) {
        let after = self.known.range::<str, _>((Excluded(self.cursor.as_str()), Unbounded)).next();
        if let Some((next, _)) = after.or_else(|| self.known.first_key_value()) {
            self.cursor = next.clone();
        }
    }

    /// Keeps what was heard from a node.
    pub(super) fn hear(&mut self, url: &str, heard: String) {
        if let Some(node) = self.known.get_mut(url) {
            node.heard = Some(heard);
        }
    }

    /// An operation begins: what was heard earlier is no news of it.
    pub(super) fn forget_what_was_heard(&mut self) {
        for node in self.known.values_mut() {
            node.heard = None;
        }
    }

    fn heard(&self) -> Vec<(String, String)> {
        self.known.iter().filter_map(|(url, node)| Some((url.clone(), node.heard.clone()?))).collect()
    }

    /// Nobody answered, and nothing can have happened.
    pub(super) fn no_effect(&self, after: Duration) -> ClientError {
        ClientError::NoEffect { after, heard: self.heard() }
    }

    /// The time is up.
    pub(super) fn gave_up(&self, retry: &RetryState) -> ClientError {
        if !retry.is_uncertain() {
            return self.no_effect(retry.deadline());
        }
        let after = humantime::format_duration(retry.deadline());
        ClientError::OutcomeUnknown { why: format!("no leader told it within {after}"), heard: self.heard() }
    }

    /// A node refused for good; an earlier attempt elsewhere may have got through all the same.
    pub(super) fn refused(&mut self, url: &str, reason: String, retry: &RetryState) -> ClientError {
        if !retry.is_uncertain() {
            return ClientError::Refused { url: url.to_string(), reason };
        }
        self.hear(url, reason);
        ClientError::OutcomeUnknown {
            why: "refused after an attempt that was not answered".into(),
            heard: self.heard(),
        }
    }

    /// The session ended while the fate of an attempt was open.
    pub(super) fn session_gone(&self) -> ClientError {
        let why = "the session ended while an attempt was not answered".into();
        ClientError::OutcomeUnknown { why, heard: self.heard() }
    }

    /// The state machine's answer is none of this client's language.
    pub(super) fn misread(&self, command: bool) -> ClientError {
        let reason = "its answer cannot be read: is it of another version?";
        if command {
            return ClientError::OutcomeUnknown { why: reason.into(), heard: self.heard() };
        }
        ClientError::Refused { url: self.target(), reason: reason.into() }
    }
}
