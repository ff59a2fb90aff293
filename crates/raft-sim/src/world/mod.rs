//! The world: machines, links, clients, and the queue of what will happen. One event at a time, each a pure function of
//! the state and the run's choices; what happened leaves as a stream of records.
//!
//! A world is a value: a copy of it goes on exactly like the original. It must not know who watches.

mod call;
pub mod client;
pub mod clock;
mod configurations;
mod crash;
pub mod disk;
mod disk_faults;
mod disk_lane;
mod healed;
pub mod host;
pub mod network;
pub(crate) mod operator;
mod pause;
mod peers;
pub mod queue;
mod snapshots;
mod space;
pub mod working;

use crate::faults::FaultCounts;
use crate::faults::swarm::{Swarm, SwarmEvent, as_drawn};
use crate::record::{NodeView, Record, RecordKind, SimTime};
use crate::rng::{Choices, Site};
use crate::scenario::model::{Expectations, Scenario};
use crate::steps::Script;
use crate::world::client::{ClientOutput, Clients};
use crate::world::clock::NodeClock;
use crate::world::disk::{PowerCase, SimDisk};
use crate::world::host::{Host, first_write};
use crate::world::network::{Copy, Network};
use crate::world::operator::{FIRST_OF_CLIENTS, Operator, OperatorEvent};
use crate::world::queue::Queue;
use bytes::Bytes;
use configurations::Configurations;
use peers::Sender;
use raft_check::history::Operation;
use raft_core::{Configuration, NodeId, RequestId, nanos};
use raft_node::{NodeInput, NodeOutput, Reply, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

const CLOCK: Site = Site::new("clock");
const REQUEST_DELAY: Site = Site::new("request delay");
const REPLY_DELAY: Site = Site::new("reply delay");

pub use crate::checkers::Healed;

/// What leaves the world.
#[derive(Clone, Debug, PartialEq)]
pub enum Emission {
    /// From here on records carry this view, until the next one.
    View(Option<NodeView>),
    /// Something happened. Its `view` is left to the reader: all records of a call share one.
    Record(Box<Record>),
    /// A step wants this judged now.
    Expect(Expectations),
}

/// The whole world.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) now: SimTime,
    pub(crate) choices: Choices,
    pub(crate) fault_counts: FaultCounts,
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) script: Script,
    pub(crate) swarm: Option<Swarm>,
    pub(crate) operator: Operator,
    pub(crate) configurations: Configurations,
    /// When a fault or a repair last changed something.
    pub(crate) disturbed: SimTime,
    pub(crate) emissions: Vec<Emission>,
    queue: Queue<Event>,
    /// What waits for nodes that are paused, in order.
    paused_queue: BTreeMap<NodeId, Vec<Event>>,
    history: Vec<Operation>,
    /// The record of each client's latest invocation.
    invoked: BTreeMap<usize, u64>,
    records: u64,
    /// The number of the running call, and of the latest.
    call: u64,
    calls: u64,
    /// What the newest power loss left, if that was one of counted outcomes.
    power_case: Option<PowerCase>,
    /// Reused between calls.
    outputs: Vec<NodeOutput>,
    batch: Vec<(NodeInput, (Option<u64>, RecordKind))>,
    /// How many times a thread might have been at something else, and when it is.
    pub(crate) moments: Moments,
}

/// The moments at which a run could have gone on in another way, nothing else changed: a node's thread looks into its inbox,
/// a disk begins with a task. An enumeration has one of them take longer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moments {
    /// So many were there.
    pub(crate) count: u64,
    /// This one takes so much longer.
    pub(crate) longer: Option<(u64, Duration)>,
    /// Whose that was, once it has come.
    pub(crate) node: Option<NodeId>,
}

impl Moments {
    /// One more of them, of this node: how much longer it takes.
    fn next(&mut self, node: NodeId) -> Option<Duration> {
        self.count += 1;
        let (_, longer) = self.longer.filter(|(moment, _)| *moment == self.count)?;
        self.node = Some(node);
        Some(longer)
    }
}

/// What can be planned.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Step(usize),
    Swarm(SwarmEvent),
    Operator(OperatorEvent),
    Restart { node: NodeId },
    DiskDone { node: NodeId, incarnation: u64 },
    Wake { node: NodeId, incarnation: u64 },
    Unreachable { node: NodeId, peer: NodeId, cause: u64 },
    DeliverSnapshot { copy: Copy, bytes: Bytes, cause: u64, sender: Sender },
    Deliver { copy: Copy, bytes: Bytes, cause: u64, sender: Sender },
    Request { node: NodeId, id: RequestId, request: Request, cause: Option<u64> },
    Timer { node: NodeId, incarnation: u64 },
    ClientWake { slot: usize, generation: u64 },
    Reply { slot: usize, id: RequestId, reply: Reply, cause: u64 },
}

impl Event {
    /// Whose it is (0: the world's and the clients'), and its rank among events of the same node and time.
    const fn place(&self) -> (u64, u8) {
        match self {
            Self::Step(_) => (0, 0),
            Self::Swarm(_) => (0, 1),
            Self::Reply { .. } => (0, 2),
            Self::ClientWake { .. } => (0, 3),
            Self::Operator(_) => (0, 4),
            Self::Restart { node } => (node.0, 0),
            Self::DiskDone { node, .. } => (node.0, 1),
            Self::Deliver { copy, .. } => (copy.link.1.0, 2),
            Self::Request { node, .. } => (node.0, 3),
            Self::Timer { node, .. } => (node.0, 4),
            Self::Unreachable { node, .. } => (node.0, 5),
            Self::DeliverSnapshot { copy, .. } => (copy.link.1.0, 6),
            Self::Wake { node, .. } => (node.0, 7),
        }
    }
}

impl World {
    /// A world at its beginning: all machines started, clients and steps planned.
    pub fn new(scenario: &Arc<Scenario>, seed: u64) -> Self {
        let mut choices = Choices::new(seed);
        let scenario = &as_drawn(scenario, &mut choices);
        let mut wakes = Vec::new();
        let clients = Clients::new(&scenario.clients, scenario.nodes, &mut choices, &mut wakes);
        let mut world = Self {
            scenario: Arc::clone(scenario),
            now: SimTime(0),
            fault_counts: FaultCounts::default(),
            hosts: BTreeMap::new(),
            network: Network::new(scenario.network.clone()),
            clients,
            script: Script::new(&scenario.steps),
            swarm: None,
            operator: Operator::default(),
            configurations: Configurations::new(Configuration::default()),
            disturbed: SimTime(0),
            emissions: Vec::new(),
            queue: Queue::new(),
            paused_queue: BTreeMap::new(),
            history: Vec::new(),
            invoked: BTreeMap::new(),
            records: 0,
            call: 0,
            calls: 0,
            power_case: None,
            outputs: Vec::new(),
            batch: Vec::new(),
            moments: Moments::default(),
            choices,
        };
        world.bootstrap();
        world.plan_steps();
        world.begin_swarm();
        world.for_clients(wakes, None);
        world
    }

    fn bootstrap(&mut self) {
        const SECOND: u64 = 1_000_000_000;
        let scenario = Arc::clone(&self.scenario);
        let founders = self.draw_founders();
        let configuration = Configuration::of_voters((1..=founders).map(NodeId));
        self.configurations = Configurations::new(configuration.clone());
        for id in self.nodes() {
            let clock = NodeClock::new(self.choices.draw(CLOCK, id.0, 0).below(SECOND));
            let founding = || first_write(configuration.clone(), scenario.initial.get(&id));
            let founding = (id.0 <= founders).then(founding);
            let settings = self.draw_settings(id);
            let models = (&scenario.disk, &scenario.process.inbox());
            self.hosts.insert(id, Host::new(id, clock, &settings, models, founding));
            self.start(id);
        }
    }

    /// All nodes of the scenario.
    pub fn nodes(&self) -> BTreeSet<NodeId> {
        (1..=self.scenario.nodes).map(NodeId).collect()
    }

    /// The true time.
    pub const fn now(&self) -> SimTime {
        self.now
    }

    /// The finished operations, in the order in which they ended.
    pub fn history(&self) -> &[Operation] {
        &self.history
    }

    /// Of each node, how many outputs and disk calls there were.
    pub(crate) fn counters(&self) -> BTreeMap<NodeId, (u64, u64)> {
        let calls = |host: &Host| host.disk_to_see().map_or(0, SimDisk::calls);
        self.hosts.iter().map(|(id, host)| (*id, (host.outputs, calls(host)))).collect()
    }

    /// The faults so far.
    pub const fn fault_counts(&self) -> &FaultCounts {
        &self.fault_counts
    }

    /// When the next event is, if there is one before the scenario's time is over.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        let end = SimTime(nanos(self.scenario.duration));
        self.queue.peek().map(|(place, _)| place.at).filter(|at| *at <= end)
    }

    /// Lets the next event happen; false when the scenario's time is over. What happened is in
    /// [`take_emissions`](Self::take_emissions).
    pub fn advance(&mut self) -> bool {
        let end = SimTime(nanos(self.scenario.duration));
        match self.queue.peek() {
            Some((place, _)) if place.at <= end => {}
            _ => {
                self.now = self.now.max(end);
                return false;
            }
        }
        if let Some((place, event)) = self.queue.pop() {
            self.now = place.at;
            self.happen(event);
            self.watch_script();
        }
        true
    }

    /// Ends the world: what clients have open never returns.
    pub fn finish(&mut self) {
        let mut out = Vec::new();
        self.clients.end(&mut out);
        self.for_clients(out, None);
    }

    /// What happened since the last time, in order. `into` is emptied first; its space is reused.
    pub fn take_emissions(&mut self, into: &mut Vec<Emission>) {
        into.clear();
        std::mem::swap(&mut self.emissions, into);
    }

    fn happen(&mut self, event: Event) {
        let Some(event) = self.hold_if_paused(event) else { return };
        match event {
            Event::Step(step) => self.step(step),
            Event::Swarm(event) => self.swarm_event(event),
            Event::Operator(event) => self.operator_event(event),
            Event::Restart { node } => self.start(node),
            Event::DiskDone { node, incarnation } => {
                self.disk_done(node, incarnation);
                // Whatever became of the task: an input that waited for this moment waits no longer.
                self.wake(node);
            }
            Event::Wake { node, incarnation } => self.looks(node, incarnation),
            Event::Unreachable { node, peer, cause } => {
                self.unreachable(node, peer, cause);
                self.wake(node);
            }
            Event::DeliverSnapshot { copy, bytes, cause, sender } => {
                self.deliver_snapshot(copy, bytes, cause, sender);
                self.wake(copy.link.1);
            }
            Event::Deliver { copy, bytes, cause, sender } => {
                self.deliver(copy, bytes, cause, sender);
                self.wake(copy.link.1);
            }
            Event::Request { node, id, request, cause } => {
                self.request(node, id, request, cause);
                self.wake(node);
            }
            Event::Timer { node, incarnation } => {
                self.timer(node, incarnation);
                self.wake(node);
            }
            Event::ClientWake { slot, generation } => {
                let mut out = Vec::new();
                self.clients.wake(slot, generation, self.now, &mut self.choices, &mut out);
                self.for_clients(out, None);
            }
            Event::Reply { slot, id, reply, cause } => {
                let mut out = Vec::new();
                self.clients.reply(slot, id, &reply, self.now, &mut self.choices, &mut out);
                self.for_clients(out, Some(cause));
            }
        }
    }

    /// Carries out what clients ask for; an operation that ends does so because of `cause`. A request is caused by the
    /// invocation it serves, so that retries can be told; opening a session serves no operation.
    pub(crate) fn for_clients(&mut self, out: Vec<ClientOutput>, cause: Option<u64>) {
        for output in out {
            match output {
                ClientOutput::Send { slot, id, node, request } => {
                    let delay = self.choices.draw(REQUEST_DELAY, slot as u64, id.0);
                    let at = self.now.after(delay.in_range(&self.scenario.network.delay));
                    let opens = request == Request::OpenSession;
                    let cause = if opens { None } else { self.invoked.get(&slot).copied() };
                    self.plan(at, Event::Request { node, id, request, cause });
                }
                ClientOutput::Wake { slot, at, generation } => self.plan(at, Event::ClientWake { slot, generation }),
                ClientOutput::Invoked { slot, client, label, query } => {
                    let kind = match query {
                        None => RecordKind::Invoked { client, label },
                        Some(query) => RecordKind::Queried { client, label, query },
                    };
                    let number = self.emit_outside(None, kind);
                    self.invoked.insert(slot, number);
                }
                ClientOutput::Returned(operation) => {
                    self.history.push(operation.clone());
                    self.emit_outside(cause, RecordKind::Returned { operation });
                }
                ClientOutput::Ended { client, label } => {
                    self.emit_outside(cause, RecordKind::Ended { client, label });
                }
            }
        }
    }

    /// Sends an answer back to its client: request numbers name their client.
    fn answer(&mut self, id: RequestId, reply: Reply, cause: u64) {
        if id.0 < FIRST_OF_CLIENTS {
            return self.answer_operator(id, reply);
        }
        let Some(slot) = usize::try_from(id.0 / FIRST_OF_CLIENTS).unwrap_or(0).checked_sub(1) else { return };
        let delay = self.choices.draw(REPLY_DELAY, slot as u64, id.0);
        let at = self.now.after(delay.in_range(&self.scenario.network.delay));
        self.plan(at, Event::Reply { slot, id, reply, cause });
    }

    pub(crate) fn plan(&mut self, at: SimTime, event: Event) {
        let (node, kind) = event.place();
        self.queue.push(at, node, kind, event);
    }

    pub(crate) fn plan_after(&mut self, delay: Duration, event: Event) {
        self.plan(self.now.after(delay), event);
    }

    /// Records something under the present view; returns its number.
    pub(crate) fn emit(&mut self, cause: Option<u64>, node: Option<NodeId>, kind: RecordKind) -> u64 {
        self.records += 1;
        let record = Record { number: self.records, at: self.now, cause, node, call: self.call, kind, view: None };
        self.emissions.push(Emission::Record(Box::new(record)));
        self.records
    }

    /// Records something of the world or a client.
    pub(crate) fn emit_outside(&mut self, cause: Option<u64>, kind: RecordKind) -> u64 {
        self.emissions.push(Emission::View(None));
        self.emit(cause, None, kind)
    }

    /// Records a fault or a step, in the scenario's words.
    pub(crate) fn emit_fault(&mut self, label: String) {
        self.emit_outside(None, RecordKind::Fault { label });
    }
}
