//! The watch clients: each follows the changes of a range of keys at one node, and continues at another one after the last
//! revision that it has.
//!
//! After an answer it sends the next query to the same node, as a node's server does for a stream. Without an answer in time it
//! closes the connection and asks another node, as `raft-client` does when a stream breaks. If a map no longer remembers the next
//! changes, it goes on with the oldest ones that the map has; in another cluster it begins anew. The checkers decide whether an
//! answer is right.

use crate::record::{RecordKind, SimTime};
use crate::rng::Site;
use crate::world::network::CLIENTS;
use crate::world::{Event, NodeEvent, World};
use bytes::Bytes;
use raft_core::{NodeId, RequestId};
use raft_kv::command::{Answer, KeyRange, Query, Watch};
use raft_node::{Reply, Request};
use raft_store::ClusterId;

const RANGE: Site = Site::new("watch range");
const TARGET: Site = Site::new("watch target");
const PATIENCE: Site = Site::new("watch patience");
const PAUSE: Site = Site::new("watch pause");
const DELAY: Site = Site::new("watch delay");

/// The requests of watch clients have numbers from here on, each client's from a multiple of `PER_WATCHER`.
pub(crate) const FIRST_OF_WATCHES: u64 = 1 << 50;
const PER_WATCHER: u64 = 1 << 32;

#[derive(Clone, Debug, Default)]
pub(crate) struct Watchers {
    all: Vec<Watcher>,
}

#[derive(Clone, Debug)]
struct Watcher {
    range: KeyRange,
    /// The first revision that it has not received; 0: the next one that its node applies.
    from: u64,
    /// The cluster of what it has received.
    cluster: Option<ClusterId>,
    node: NodeId,
    /// The query that continues at this node.
    next: Option<Bytes>,
    asked: Option<RequestId>,
    requests: u64,
    /// Only the newest wake counts.
    generation: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum WatchEvent {
    Reply {
        id: RequestId,
        reply: Reply,
        cause: u64,
    },
    /// A client has waited long enough: for an answer, or after one.
    Wake {
        watcher: usize,
        generation: u64,
    },
}

impl Watchers {
    /// Whether a client still waits for the answer to this request.
    pub(crate) fn waits_for(&self, id: RequestId) -> bool {
        self.place_of(id).and_then(|place| self.all.get(place)).is_some_and(|watcher| watcher.asked == Some(id))
    }

    fn place_of(&self, id: RequestId) -> Option<usize> {
        usize::try_from(id.0.checked_sub(FIRST_OF_WATCHES)? / PER_WATCHER).ok()
    }
}

impl World {
    pub(crate) fn begin_watches(&mut self) {
        for watcher in 0..self.scenario.clients.watchers {
            let range = self.draw_watched_range(watcher);
            // From the first revision there is, or from now on.
            let from = self.choices.draw(RANGE, watcher, 3).below(2);
            let node = NodeId(0);
            let (cluster, next, asked) = (None, None, None);
            self.watchers.all.push(Watcher { range, from, cluster, node, next, asked, requests: 0, generation: 0 });
            let place = usize::try_from(watcher).unwrap_or(usize::MAX);
            self.wake_watcher_at(place, SimTime(0).after(self.scenario.clients.start));
        }
    }

    /// All keys, one key, or those from one on.
    fn draw_watched_range(&mut self, watcher: u64) -> KeyRange {
        let key = format!("k{}", 1 + self.choices.draw(RANGE, watcher, 1).below(self.scenario.clients.keys));
        match self.choices.draw(RANGE, watcher, 0).below(3) {
            0 => KeyRange::default(),
            1 => KeyRange::key(key.as_bytes()),
            _ => KeyRange { start: key.into(), end: None },
        }
    }

    pub(crate) fn watch_event(&mut self, event: WatchEvent) {
        match event {
            WatchEvent::Reply { id, reply, cause } if self.watchers.waits_for(id) => {
                self.watcher_receives(id, reply, cause)
            }
            WatchEvent::Reply { .. } => {}
            WatchEvent::Wake { watcher, generation } => self.watcher_wakes(watcher, generation),
        }
    }

    /// Sends the next query to the same node; without one, begins at another node.
    fn watcher_wakes(&mut self, place: usize, generation: u64) {
        let Some(watcher) = self.watchers.all.get_mut(place).filter(|watcher| watcher.generation == generation) else {
            return;
        };
        let (node, silent) = (watcher.node, watcher.asked.take());
        if let Some(id) = silent {
            let delay = self.choices.draw(DELAY, id.0, 2).in_range(&self.scenario.network.delay);
            if !self.is_lost((CLIENTS, node)) {
                self.plan_after(delay, Event::Node(node, NodeEvent::CancelWatch { id }));
            }
        }
        let nodes = self.scenario.nodes;
        let Some(watcher) = self.watchers.all.get_mut(place) else { return };
        let query = watcher.next.take().unwrap_or_else(|| {
            let draw = self.choices.draw(TARGET, place as u64, watcher.requests);
            let others = if watcher.node == NodeId(0) || nodes < 2 { nodes } else { nodes - 1 };
            let other = 1 + draw.below(others);
            let skips = others < nodes && other >= watcher.node.0;
            watcher.node = NodeId(if skips { other + 1 } else { other });
            let watch = Watch { range: watcher.range.clone(), from: watcher.from, begun: false };
            Query::Watch(watch).encode()
        });
        self.send_watch(place, query);
    }

    fn send_watch(&mut self, place: usize, query: Bytes) {
        let Some(watcher) = self.watchers.all.get_mut(place) else { return };
        watcher.requests += 1;
        let id = RequestId(FIRST_OF_WATCHES + place as u64 * PER_WATCHER + watcher.requests);
        watcher.asked = Some(id);
        let (node, cluster) = (watcher.node, watcher.cluster);
        let label = format!("watch {} at {node}", show(&watcher.range, watcher.from));
        let kind = RecordKind::WatchSent { watcher: place as u64 + 1, id, label, query: query.clone() };
        let sent = self.emit_outside(None, kind);
        if !self.is_lost((CLIENTS, node)) {
            let delay = self.choices.draw(DELAY, id.0, 0).in_range(&self.scenario.network.delay);
            let request = Request::Watch { query, cluster };
            self.plan_after(delay, Event::Node(node, NodeEvent::Request { id, request, cause: Some(sent) }));
        }
        let patience = self.choices.draw(PATIENCE, id.0, 0).in_range(&self.scenario.clients.watch_patience);
        self.wake_watcher_at(place, self.now.after(patience));
    }

    pub(crate) fn answer_watch(&mut self, id: RequestId, reply: Reply, cause: u64) {
        let delay = self.choices.draw(DELAY, id.0, 1).in_range(&self.scenario.network.delay);
        self.plan_after(delay, Event::Watch(WatchEvent::Reply { id, reply, cause }));
    }

    fn watcher_receives(&mut self, id: RequestId, reply: Reply, cause: u64) {
        let Some(place) = self.watchers.place_of(id) else { return };
        // An answer names its cluster.
        let cluster = Some(self.cluster());
        let Some(watcher) = self.watchers.all.get_mut(place) else { return };
        watcher.asked = None;
        if let Some(label) = watcher.receive(reply, cluster) {
            self.emit_outside(Some(cause), RecordKind::Watched { watcher: place as u64 + 1, label });
        }
        let pause = self.choices.draw(PAUSE, id.0, 0).in_range(&self.scenario.clients.watch_pause);
        self.wake_watcher_at(place, self.now.after(pause));
    }

    fn wake_watcher_at(&mut self, place: usize, at: SimTime) {
        let Some(watcher) = self.watchers.all.get_mut(place) else { return };
        watcher.generation += 1;
        let generation = watcher.generation;
        self.plan(at, Event::Watch(WatchEvent::Wake { watcher: place, generation }));
    }
}

impl Watcher {
    /// Takes a reply; returns what it says, if it is an answer.
    fn receive(&mut self, reply: Reply, cluster: Option<ClusterId>) -> Option<String> {
        let (response, next) = match reply {
            Reply::Watched { response, next, .. } => (response, next),
            Reply::OtherCluster => {
                (self.from, self.cluster, self.next) = (0, None, None);
                return Some("begins anew: it has changes of another cluster".to_owned());
            }
            _ => return None,
        };
        self.cluster = cluster;
        Some(match Answer::decode(&response) {
            Some(Answer::Changes { events, through }) => {
                (self.from, self.next) = (through.saturating_add(1), next);
                format!("has {} changes up to revision {through}", events.len())
            }
            Some(Answer::Compacted { oldest, .. }) => {
                self.from = oldest;
                format!("misses the changes before revision {oldest}")
            }
            _ => "cannot read the answer".to_owned(),
        })
    }
}

/// Formats what a client watches, for people.
fn show(range: &KeyRange, from: u64) -> String {
    let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    let end = range.end.as_ref().map(name).unwrap_or_default();
    let from = if from == 0 { "now on".to_owned() } else { format!("revision {from} on") };
    if *range == KeyRange::key(&range.start) {
        format!("{} from {from}", name(&range.start))
    } else {
        format!("{}..{end} from {from}", name(&range.start))
    }
}
