//! The world: machines, links, clients, and the queue of planned events. It handles one event at a time, and each is a
//! pure function of the state and the run's choices. The events leave as a stream of records.
//!
//! A world is a value: a copy of it continues exactly like the original. It must not know its observers.

mod backups;
mod call;
pub mod client;
pub mod clock;
mod configurations;
pub mod disk;
mod disk_tasks;
mod event;
mod healed;
pub mod host;
mod idle;
mod link_order;
mod messages;
pub mod network;
mod new_cluster;
pub(crate) mod operator;
pub mod queue;
pub(crate) mod refusals;
mod settings;
pub(crate) mod steps;
mod watchers;

use crate::branch::Branch;
use crate::faults::swarm::{Swarm, as_drawn, features_of};
use crate::faults::{FaultCounts, FaultSet};
use crate::record::{NodeView, Record, RecordKind, SimTime, Unhashed};
use crate::rng::{Choices, Site};
use crate::scenario::feature::Feature;
use crate::scenario::model::{Expectations, Scenario};
use crate::world::backups::Backups;
use crate::world::client::{ClientOutput, Clients};
use crate::world::clock::NodeClock;
use crate::world::disk::{PowerCase, SimDisk};
use crate::world::host::{Host, RecordedInput, first_write};
use crate::world::network::{CLIENTS, Link, Network};
use crate::world::operator::{FIRST_OF_BACKUPS, FIRST_OF_CLIENTS, Operator};
use crate::world::queue::Queue;
use crate::world::refusals::Refusals;
use configurations::Configurations;
use raft_check::history::Operation;
use raft_core::{Configuration, EntryId, NodeId, RequestId, RoleKind, nanos};
use raft_node::{NodeInput, NodeOutput, Reply, Request};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use steps::{Act, Script};
use watchers::{FIRST_OF_WATCHES, Watchers};

const CLOCK: Site = Site::new("clock");
const REQUEST_DELAY: Site = Site::new("request delay");
const REPLY_DELAY: Site = Site::new("reply delay");

pub use crate::checkers::Healed;
pub(crate) use event::{Event, NodeEvent};
pub(crate) use messages::{Forged, Packet};

#[derive(Clone, Debug, PartialEq)]
pub enum Emission {
    /// From here on records carry this view, until the next one.
    View(Option<Box<NodeView>>),
    /// An event happened. The reader fills in its `view`: all records of a call share one.
    Record(Box<Record>),
    /// A step requires this check now.
    Expect(Box<Expectations>),
}

#[derive(Clone, Debug)]
pub struct World {
    pub(crate) scenario: Arc<Scenario>,
    pub(crate) now: SimTime,
    pub(crate) choices: Choices,
    pub(crate) fault_counts: FaultCounts,
    /// All machines, except the one that [`on`](Self::on) has lent out.
    pub(crate) hosts: BTreeMap<NodeId, Box<Host>>,
    pub(crate) network: Network,
    pub(crate) clients: Clients,
    pub(crate) script: Script,
    /// The actions of steps and of the swarm, if they are to be kept.
    pub(crate) acts: Option<Vec<Act>>,
    /// The features of this run, if it is one of a swarm.
    pub(crate) features: BTreeSet<Feature>,
    pub(crate) swarm: Option<Swarm>,
    /// How many of the scenario's branches are past.
    branched: usize,
    pub(crate) operator: Operator,
    pub(crate) backups: Backups,
    pub(crate) refusals: Refusals,
    pub(crate) watchers: Watchers,
    /// How many clusters have ended: each later one is made from old data.
    clusters: u64,
    rebuild_failure: Option<String>,
    pub(crate) configurations: Configurations,
    /// The nodes whose hosts ended them because they are no members.
    pub(crate) ended: BTreeSet<NodeId>,
    /// The time of the newest change by a fault or a repair.
    pub(crate) disturbed: SimTime,
    pub(crate) emissions: Vec<Emission>,
    queue: Queue<Event>,
    history: Vec<Operation>,
    /// The record of each client's latest invocation, by its number.
    invoked: BTreeMap<u64, u64>,
    records: u64,
    /// The number of the current call, or of the latest.
    call: u64,
    calls: u64,
    /// The outcome of the newest power loss, if it was an enumerated one.
    pub(crate) power_case: Option<PowerCase>,
    /// The memory is reused between calls.
    outputs: Vec<NodeOutput>,
    batch: Vec<(NodeInput, (Option<u64>, RecordKind))>,
    pub(crate) scheduling: SchedulingPoints,
    /// The run is over: clients and steps do nothing more.
    is_quiet: bool,
}

/// The points at which a run could continue in another way without any other change: a node's thread takes its inbox,
/// or a disk begins a task. An enumeration delays one of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SchedulingPoints {
    /// The number of points so far.
    pub(crate) count: u64,
    /// The number of the delayed point, and its delay.
    pub(crate) delayed: Option<(u64, Duration)>,
    /// The node of that point, once the run has reached it.
    pub(crate) node: Option<NodeId>,
}

impl SchedulingPoints {
    /// Counts a point of this node; returns its delay.
    fn next(&mut self, node: NodeId) -> Option<Duration> {
        self.count += 1;
        let (_, delay) = self.delayed.filter(|(number, _)| *number == self.count)?;
        self.node = Some(node);
        Some(delay)
    }
}

impl World {
    /// A world at its beginning: all machines are started, clients and steps are planned.
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
            acts: None,
            features: features_of(scenario, &mut choices),
            swarm: None,
            branched: 0,
            operator: Operator::default(),
            backups: Backups::default(),
            refusals: Refusals::default(),
            watchers: Watchers::default(),
            clusters: 0,
            rebuild_failure: None,
            configurations: Configurations::new(EntryId::ZERO, Configuration::default()),
            ended: BTreeSet::new(),
            disturbed: SimTime(0),
            emissions: Vec::new(),
            queue: Queue::new(),
            history: Vec::new(),
            invoked: BTreeMap::new(),
            records: 0,
            call: 0,
            calls: 0,
            power_case: None,
            outputs: Vec::new(),
            batch: Vec::new(),
            scheduling: SchedulingPoints::default(),
            is_quiet: false,
            choices,
        };
        world.network.set_fates(scenario.messages.clone());
        world.bootstrap();
        world.plan_steps();
        world.begin_swarm();
        world.for_clients(wakes, None);
        world.begin_watches();
        world
    }

    fn bootstrap(&mut self) {
        const SECOND: u64 = 1_000_000_000;
        let scenario = Arc::clone(&self.scenario);
        self.emit_cluster_limits();
        let founders = self.draw_founders();
        let configuration = Configuration::of_voters((1..=founders).map(NodeId));
        self.configurations = Configurations::new(EntryId::new(1, 1), configuration.clone());
        for id in self.nodes() {
            let clock = NodeClock::new(self.choices.draw(CLOCK, id.0, 0).below(SECOND));
            let founding = || first_write(configuration.clone(), scenario.initial.get(&id));
            let founding = (id.0 <= founders).then(founding);
            let settings = self.draw_settings(id);
            let models = (&scenario.disk, &scenario.process.inbox());
            self.hosts.insert(id, Box::new(Host::new(id, clock, &settings, models, founding)));
            self.start_node(id);
        }
    }

    pub fn nodes(&self) -> BTreeSet<NodeId> {
        (1..=self.scenario.nodes).map(NodeId).collect()
    }

    /// The leader of the highest term, if any node leads.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let running = self.hosts.values().filter_map(|host| Some((host.id, host.process.as_ref()?.node.status())));
        let leaders = running.filter(|(_, status)| status.role == RoleKind::Leader);
        leaders.max_by_key(|(_, status)| status.term).map(|(id, _)| id)
    }

    /// Whether a process of another node runs.
    pub(crate) fn is_up(&self, node: NodeId) -> bool {
        self.hosts.get(&node).is_some_and(|host| host.process.is_some())
    }

    /// From now on keeps what a scenario needs to repeat this run without a draw: actions, operations, messages that met a fault.
    pub(crate) fn keep_log(&mut self) {
        self.acts = Some(Vec::new());
        self.network.met = Some(BTreeMap::new());
        self.clients.keep_begun = true;
    }

    pub const fn now(&self) -> SimTime {
        self.now
    }

    /// The finished operations, in the order in which they ended.
    pub fn history(&self) -> &[Operation] {
        &self.history
    }

    /// The number of outputs and of disk calls, for each node.
    pub(crate) fn counters(&self) -> BTreeMap<NodeId, (u64, u64)> {
        let calls = |host: &Host| host.disk_to_see().map_or(0, SimDisk::calls);
        self.hosts.iter().map(|(id, host)| (*id, (host.outputs, calls(host)))).collect()
    }

    pub const fn fault_counts(&self) -> &FaultCounts {
        &self.fault_counts
    }

    /// The kinds of faults that struck since the last call.
    pub(crate) const fn take_struck(&mut self) -> FaultSet {
        self.fault_counts.take_struck()
    }

    /// The time of the next event, if there is one before the end of the scenario.
    pub(crate) fn next_at(&self) -> Option<SimTime> {
        let end = SimTime(nanos(self.scenario.duration));
        self.queue.peek().map(|(place, _)| place.at).filter(|at| *at <= end)
    }

    /// Lets the next event happen; returns false after the end of the scenario.
    /// [`take_emissions`](Self::take_emissions) returns the records.
    pub fn advance(&mut self) -> bool {
        self.branch_if_due();
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

    /// Makes the branches of the scenario whose events have happened.
    fn branch_if_due(&mut self) {
        if self.branched == self.scenario.branches.0.len() {
            return;
        }
        let scenario = Arc::clone(&self.scenario);
        while let Some(branch) = scenario.branches.0.get(self.branched).filter(|branch| branch.event <= self.records) {
            self.branched += 1;
            self.branch(branch);
        }
    }

    /// Redraws later choices.
    pub(crate) fn branch(&mut self, branch: &Branch) {
        self.choices.redraw(branch.salt, &branch.redrawn);
        self.begin_swarm_at_branch();
    }

    /// Ends the world: the open operations of clients never return.
    pub fn finish(&mut self) {
        let mut out = Vec::new();
        self.clients.end(&mut out);
        self.for_clients(out, None);
    }

    /// The records since the last call, in order. It first clears `into` and reuses its memory.
    pub fn take_emissions(&mut self, into: &mut Vec<Emission>) {
        into.clear();
        std::mem::swap(&mut self.emissions, into);
    }

    /// Lends a machine to `act`, together with the rest of the world; returns `None` if there is no such node.
    pub(crate) fn on<T>(&mut self, node: NodeId, act: impl FnOnce(&mut Self, &mut Host) -> T) -> Option<T> {
        let mut host = self.hosts.remove(&node)?;
        let result = act(self, &mut host);
        self.hosts.insert(node, host);
        Some(result)
    }

    /// Lends these machines, one after the other.
    pub(crate) fn on_each(&mut self, nodes: &BTreeSet<NodeId>, act: impl Fn(&mut Self, &mut Host)) {
        for &node in nodes {
            self.on(node, &act);
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Step(_) if self.script.is_over => {}
            Event::Step(_) | Event::ClientWake { .. } | Event::Reply { .. } if self.is_quiet => {}
            Event::Step(step) => self.step(step),
            Event::Swarm(event) => self.swarm_event(event),
            Event::FaultEnds(end) => self.fault_ends(end),
            Event::Operator(event) => self.operator_event(event),
            Event::Backup(event) => self.backup_event(event),
            Event::Watch(event) => self.watch_event(event),
            Event::Restart(node) => self.start_node(node),
            Event::RemovedEnds { node, incarnation } => self.removed_ends(node, incarnation),
            Event::Node(node, event) => {
                self.on(node, |world, host| world.node_event(host, event));
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

    /// Handles an event of a node with its running process, if the event belongs to that process.
    fn node_event(&mut self, host: &mut Host, event: NodeEvent) {
        if host.paused {
            return self.hold(host, event);
        }
        let is_wake = matches!(event, NodeEvent::Wake { .. });
        if event.incarnation().is_none_or(|incarnation| incarnation == host.incarnation) {
            if host.process.is_some() {
                self.process_event(host, event);
            } else {
                self.missed(host, &event);
            }
        }
        // Whatever the event did, an input that waited for it no longer waits.
        if !is_wake {
            self.wake(host);
        }
    }

    fn process_event(&mut self, host: &mut Host, event: NodeEvent) {
        match event {
            NodeEvent::DiskDone { .. } => self.disk_done(host),
            NodeEvent::Wake { .. } => self.thread_free(host),
            NodeEvent::Timer { .. } => self.timer(host),
            NodeEvent::Deliver(delivery) => self.deliver(host, delivery),
            NodeEvent::Forged(forged) => self.meet_stranger(host, forged),
            NodeEvent::Request { id, .. } if self.is_withdrawn(id) => {}
            NodeEvent::Request { id, request, cause } => {
                let command = match &request {
                    Request::Command(command) => Some((command.session.0, command.sequence)),
                    _ => None,
                };
                let input = NodeInput::Request { id, request };
                let kind = RecordKind::Requested { id, command: Unhashed(command) };
                self.enqueue(host, RecordedInput::new(cause, kind, input));
            }
            NodeEvent::CancelBackup { id } => {
                let (kind, input) = (RecordKind::BackupCancelled { id }, NodeInput::CancelWatch { id });
                self.enqueue(host, RecordedInput::new(None, kind, input));
            }
            NodeEvent::CancelWatch { id } => {
                let (kind, input) = (RecordKind::WatchCancelled { id }, NodeInput::CancelWatch { id });
                self.enqueue(host, RecordedInput::new(None, kind, input));
            }
            NodeEvent::NotForwarded { id, cause, .. } => {
                let (kind, input) = (RecordKind::NotForwarded { id }, NodeInput::NotForwarded { id });
                self.enqueue(host, RecordedInput::new(Some(cause), kind, input));
            }
            NodeEvent::Unreachable { peer, cause } => {
                let (kind, input) = (RecordKind::UnreachableTold { peer }, NodeInput::Unreachable { peer });
                self.enqueue(host, RecordedInput::new(Some(cause), kind, input));
            }
        }
    }

    /// Executes the requests of clients. `cause` is the record that ends an operation. The cause of a request is the
    /// invocation of its operation, so checkers can recognize retries. The opening of a session belongs to no
    /// operation.
    pub(crate) fn for_clients(&mut self, out: Vec<ClientOutput>, cause: Option<u64>) {
        for output in out {
            match output {
                ClientOutput::Send { node, .. } if self.is_lost((CLIENTS, node)) => {}
                ClientOutput::Send { slot, client, id, node, request } => {
                    let delay = self.choices.draw(REQUEST_DELAY, slot as u64, id.0);
                    let at = self.now.after(delay.in_range(&self.scenario.network.delay));
                    let opens = request == Request::OpenSession;
                    let cause = if opens { None } else { self.invoked.get(&client).copied() };
                    self.plan(at, Event::Node(node, NodeEvent::Request { id, request, cause }));
                }
                ClientOutput::Wake { slot, at, generation } => self.plan(at, Event::ClientWake { slot, generation }),
                ClientOutput::Invoked { client, label, query, is_stale } => {
                    let kind = match query {
                        Some(query) if is_stale => RecordKind::StaleQueried { client, label, query },
                        None => RecordKind::Invoked { client, label },
                        Some(query) => RecordKind::Queried { client, label, query },
                    };
                    let number = self.emit_outside(None, kind);
                    self.invoked.insert(client, number);
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

    /// Whether clients are cut off on this link: what they send, or are sent, is lost.
    fn is_lost(&mut self, link: Link) -> bool {
        let cut = self.network.cut_of(link);
        cut.iter().for_each(|fault| self.fault_counts.note_effect(*fault));
        cut.is_some()
    }

    /// Sends an answer of a node to its client: request numbers name their client.
    fn answer(&mut self, node: NodeId, (id, reply): (RequestId, Reply), cause: u64) {
        if id.0 < FIRST_OF_BACKUPS {
            return self.answer_operator(id, reply);
        }
        if id.0 < FIRST_OF_CLIENTS {
            return self.answer_backup(id, reply);
        }
        if self.is_lost((node, CLIENTS)) {
            return;
        }
        if id.0 >= FIRST_OF_WATCHES {
            return self.answer_watch(id, reply, cause);
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

    /// Records an event with the current view; returns its number.
    pub(crate) fn emit(&mut self, cause: Option<u64>, node: Option<NodeId>, kind: RecordKind) -> u64 {
        self.records += 1;
        let record = Record { number: self.records, at: self.now, cause, node, call: self.call, kind, view: None };
        self.emissions.push(Emission::Record(Box::new(record)));
        self.records
    }

    /// Records an event of the world or a client.
    pub(crate) fn emit_outside(&mut self, cause: Option<u64>, kind: RecordKind) -> u64 {
        self.emissions.push(Emission::View(None));
        self.emit(cause, None, kind)
    }

    /// Records a fault or a step, in the scenario's syntax.
    pub(crate) fn emit_fault(&mut self, label: String) {
        self.emit_outside(None, RecordKind::Fault { label });
    }
}
