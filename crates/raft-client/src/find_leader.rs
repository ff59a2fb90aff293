//! The choice of the next node: the leader that another node named (leader hint) or has asked on behalf of the client, or the
//! next known node; and the connections to them.

use crate::client::ClientOptions;
use crate::error::ClientError;
use crate::retry::RetryState;
use crate::service::client_client::ClientClient;
use raft_proto::wire::raft::ServedBy;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// The most remembered nodes: nodes name others, and a name can be wrong.
const MAX_NODES: usize = 64;

/// The largest accepted answer: the largest value that a node can be configured to accept, and its envelope.
const MAX_ANSWER_BYTES: usize = 65 << 20;

/// The time of an attempt, until a node has said its election timeout.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// The bounds of an election timeout as the time of an attempt.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);

/// The first and the longest time for which a node that does not answer is not asked only because it leads.
const AVOIDED: std::ops::Range<Duration> = Duration::from_secs(1)..Duration::from_secs(30);

/// The stub of a node's service.
pub(crate) type Stub = ClientClient<Channel>;

/// The known nodes.
///
/// Invariant: not empty, and `cursor` is one of them.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    known: BTreeMap<String, Node>,
    /// As in the options.
    pub(crate) attempt_timeout: Option<Duration>,
    /// As a node has said.
    election_timeout: Option<Duration>,
    /// The node that last answered as leader, or that another named as leader.
    leader: Option<String>,
    /// The node to ask if no leader is known. It goes round independently of hints, so that hints in a circle cannot
    /// hide a node.
    cursor: String,
}

#[derive(Clone, Debug)]
struct Node {
    endpoint: Endpoint,
    /// It connects on first use, and reconnects when needed.
    channel: Option<Channel>,
    failure: Option<String>,
    /// It did not answer: until when it is avoided, and how long that is.
    avoided: Option<(Instant, Duration)>,
}

/// The normal form of a URL: with a scheme, without a slash at the end.
pub(crate) fn normal(url: &str) -> String {
    let url = url.trim();
    let scheme = if url.contains("://") { "" } else { "http://" };
    format!("{scheme}{}", url.trim_end_matches('/'))
}

impl Nodes {
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let mut nodes = Self {
            known: BTreeMap::new(),
            attempt_timeout: options.attempt_timeout,
            election_timeout: None,
            leader: None,
            cursor: String::new(),
        };
        for url in options.endpoints.iter().rev() {
            nodes.cursor = normal(url);
            nodes.learn(&normal(url))?;
        }
        if nodes.known.is_empty() {
            return Err(ClientError::Endpoint { problem: "no endpoints: name at least one http://HOST:PORT".into() });
        }
        Ok(nodes)
    }

    /// The same nodes and connections, for requests that any node answers.
    pub(crate) fn without_leader(&self) -> Self {
        Self { leader: None, ..self.clone() }
    }

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
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(5))
                .keep_alive_timeout(Duration::from_secs(2))
                .keep_alive_while_idle(true);
            self.known.insert(url.to_string(), Node { endpoint, channel: None, failure: None, avoided: None });
        }
        self.known.get_mut(url).ok_or_else(|| unusable("not remembered".into()))
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.known.keys().cloned().collect()
    }

    /// The stub of a node, which becomes a known node.
    pub(crate) fn stub(&mut self, url: &str) -> Result<Stub, ClientError> {
        // This is half of an attempt: a timeout of the connection proves that no request was sent.
        let connect_timeout = self.attempt_timeout() / 2;
        let node = self.learn(url)?;
        let connect = || node.endpoint.clone().connect_timeout(connect_timeout).connect_lazy();
        let channel = node.channel.get_or_insert_with(connect).clone();
        Ok(Stub::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES).max_encoding_message_size(usize::MAX))
    }

    /// The node to ask now.
    pub(crate) fn target(&self) -> String {
        self.leader.as_ref().unwrap_or(&self.cursor).clone()
    }

    /// The longest time for one attempt: as the options say, else a node's election timeout within bounds.
    pub(crate) fn attempt_timeout(&self) -> Duration {
        let derived = || self.election_timeout.map_or(ATTEMPT_TIMEOUT, |timeout| timeout.clamp(SHORTEST, LONGEST));
        self.attempt_timeout.unwrap_or_else(derived)
    }

    /// A node has responded to a request, whatever its response.
    pub(crate) fn responded(&mut self, url: &str, served_by: Option<&ServedBy>) {
        if let Some(node) = self.known.get_mut(url) {
            node.avoided = None;
        }
        let said = served_by.filter(|served_by| served_by.election_timeout_ms > 0);
        let said = said.map(|served_by| Duration::from_millis(served_by.election_timeout_ms));
        if said.is_some() && said != self.election_timeout {
            self.election_timeout = said;
            // Other connections are made again, with the time that this leaves for connecting.
            self.known.iter_mut().filter(|(other, _)| *other != url).for_each(|(_, node)| node.channel = None);
        }
    }

    /// A node did not respond: it is not reached, or stands still.
    pub(crate) fn did_not_respond(&mut self, url: &str) {
        if let Some(node) = self.known.get_mut(url) {
            let length = node.avoided.map_or(AVOIDED.start, |(_, length)| (length * 2).min(AVOIDED.end));
            node.avoided = Some((Instant::now() + length, length));
        }
    }

    /// Until when a node is avoided, and how long that is.
    #[cfg(test)]
    pub(crate) fn avoided_mut(&mut self, url: &str) -> Option<&mut (Instant, Duration)> {
        self.known.get_mut(url)?.avoided.as_mut()
    }

    /// A node has answered a request for the leader: it is the leader, or has asked the leader. Then the leader is asked directly
    /// next, unless it did not respond a short time ago: then this node goes on asking it.
    pub(crate) fn answered(&mut self, url: String, served_by: Option<ServedBy>) {
        let direct = served_by.map(|served_by| served_by.client_url).filter(|direct| !direct.is_empty());
        let direct = direct.map(|direct| normal(&direct)).filter(|direct| {
            let avoided = |node: &mut Node| node.avoided.is_some_and(|(until, _)| Instant::now() < until);
            self.learn(direct).is_ok_and(|node| !avoided(node))
        });
        self.leader = Some(direct.unwrap_or(url));
    }

    /// Notes that `from` is not the leader and names another node. Returns false if that node cannot be asked.
    pub(crate) fn follow(&mut self, from: &str, hint: &str) -> bool {
        let hint = normal(hint);
        if hint == from || self.learn(&hint).is_err() {
            return false;
        }
        self.leader = Some(hint);
        true
    }

    /// Chooses the next node after `from`, because no leader is known.
    pub(crate) fn skip(&mut self, from: &str) {
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

    pub(crate) fn add_failure(&mut self, url: &str, failure: String) {
        if let Some(node) = self.known.get_mut(url) {
            node.failure = Some(failure);
        }
    }

    /// Begins an operation.
    pub(crate) fn clear_failures(&mut self) {
        for node in self.known.values_mut() {
            node.failure = None;
        }
    }

    fn failures(&self) -> Vec<(String, String)> {
        self.known.iter().filter_map(|(url, node)| Some((url.clone(), node.failure.clone()?))).collect()
    }

    pub(crate) fn no_effect(&self, after: Duration) -> ClientError {
        ClientError::NoEffect { after, failures: self.failures() }
    }

    /// The error after the deadline.
    pub(crate) fn gave_up(&self, retry: &RetryState) -> ClientError {
        if !retry.uncertain {
            return self.no_effect(retry.deadline);
        }
        self.unknown(&format!("no leader answered within {}", humantime::format_duration(retry.deadline)))
    }

    /// The error after a permanent refusal. An earlier attempt may still take effect.
    pub(crate) fn refused(&mut self, url: &str, reason: String, retry: &RetryState) -> ClientError {
        if !retry.uncertain {
            return ClientError::Refused { url: url.to_string(), reason };
        }
        self.add_failure(url, reason);
        self.unknown("refused after an attempt that was not answered")
    }

    /// The error if the outcome of an attempt stays unknown.
    pub(crate) fn unknown(&self, why: &str) -> ClientError {
        ClientError::OutcomeUnknown { why: why.into(), failures: self.failures() }
    }

    /// The error if the state machine's answer cannot be decoded.
    pub(crate) fn misread(&self, command: bool) -> ClientError {
        let reason = "its answer cannot be read: does it run another version?";
        if command {
            return self.unknown(reason);
        }
        ClientError::Refused { url: self.target(), reason: reason.into() }
    }
}
