//! The clients. Each has a session and some operations open at a time, one in most scenarios. It retries with the same number,
//! and records an unclear outcome as unknown.
//!
//! A client knows only its own requests and the answers. The world delivers both.

mod operation;
mod several;

use crate::record::SimTime;
use crate::rng::{Choices, Site};
use crate::scenario::model::{ClientModel, Invocation};
use bytes::Bytes;
pub(crate) use operation::ClientOp;
use operation::{Ended, Finished, Pending};
use raft_check::history::{Operation, Status};
use raft_core::{NodeId, RejectReason, RequestId};
use raft_node::{Reply, Request, SessionId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const THINK: Site = Site::new("client think");
const TARGET: Site = Site::new("client target");

/// A client follows answers that name another node at once this often, then it waits: two nodes that name each other
/// must not make it loop.
const MAX_HOPS: u32 = 3;

/// The requests of a client to the world. Labels are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Deliver a request to a node. It belongs to the open operation of the client with this number.
    Send { slot: usize, client: u64, id: RequestId, node: NodeId, request: Request },
    /// Call [`Clients::wake`] at this time, with this generation.
    Wake { slot: usize, at: SimTime, generation: u64 },
    /// An operation began; the query is set if the operation is one and the client keeps no history.
    Invoked { client: u64, label: String, query: Option<Bytes>, is_stale: bool },
    /// An operation ended.
    Returned(Operation),
    /// An operation ended without a history.
    Ended { client: u64, label: String },
}

#[derive(Clone, Debug)]
pub struct Clients {
    model: ClientModel,
    nodes: u64,
    /// Whether a client without an answer asks the nodes one after the other. Otherwise it draws the next one.
    in_turn: bool,
    slots: Vec<Client>,
    /// Whether each client keeps which operations it has begun.
    pub(crate) keep_begun: bool,
}

/// The owner of a session. It does several operations at a time if it has several lanes.
#[derive(Clone, Debug)]
struct Client {
    slot: usize,
    /// How many numbers it has used, beyond the first.
    lives: u64,
    session: Option<SessionId>,
    sequence: u64,
    operations: u64,
    attempts: u64,
    generation: u64,
    /// The last value of each key that it has seen.
    seen: BTreeMap<String, Option<String>>,
    /// A scripted client has one operation, sends each request once and ends.
    scripted: bool,
    /// The operations that it has begun, if they are kept.
    begun: Vec<Invocation>,
    lanes: Vec<Lane>,
}

/// One operation at a time. In a history each lane is a client of its own, because operations of one client do not overlap.
#[derive(Clone, Debug)]
struct Lane {
    /// Its number in the run. A lane that cannot know the outcome of its operation continues under a new one.
    number: u64,
    target: NodeId,
    hops: u32,
    /// The generation of its newest wake; earlier ones do not count.
    generation: u64,
    /// Its place among the lanes of the client.
    place: u64,
    /// The operations that it does, if they are given.
    planned: Option<VecDeque<Invocation>>,
    /// The number of its next operation, if that is given.
    next: Option<u64>,
    /// When it began its operation, or first wanted to.
    woken: SimTime,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    /// The lane is between two operations, or before the first.
    Resting,
    /// The lane waits for a session, with an operation that is already invoked, if there is one.
    Opening { attempts: Vec<RequestId>, waiting: Option<Pending> },
    /// The lane waits for the end of an operation.
    Waiting(Pending),
    /// The lane does nothing more.
    Done,
}

impl Clients {
    /// The clients of a world with this many nodes, and their first wakes.
    pub fn new(model: &ClientModel, nodes: u64, choices: &mut Choices, out: &mut Vec<ClientOutput>) -> Self {
        let mut clients = Self { model: model.clone(), nodes, in_turn: false, slots: Vec::new(), keep_begun: false };
        for slot in 0..usize::try_from(model.count).unwrap_or(usize::MAX) {
            let mut client = Client::new(slot, false);
            for place in 0..model.open {
                let mut lane = client.new_lane(NodeId(0));
                lane.planned = planned_for(model, slot as u64, place);
                lane.target = clients.another_target(&mut client, lane.target, choices);
                client.rest(&mut lane, &clients.model, SimTime(0).after(model.start), choices, out);
                client.lanes.push(lane);
            }
            clients.slots.push(client);
        }
        clients
    }

    /// The operations that the clients have begun, in the order of their times.
    pub(crate) fn begun(&self) -> Vec<Invocation> {
        let mut begun: Vec<Invocation> = self.slots.iter().flat_map(|client| &client.begun).copied().collect();
        begun.sort();
        begun
    }

    /// Adds a client that sends one operation to one node, and never retries.
    pub(crate) fn scripted(&mut self, now: SimTime, node: NodeId, op: ClientOp, out: &mut Vec<ClientOutput>) {
        let mut client = Client::new(self.slots.len(), true);
        let mut lane = client.new_lane(node);
        let needs_session = !op.is_read();
        let pending = Pending::new(lane.number, op, now, &self.model);
        out.push(pending.invoked());
        client.wake_at(&mut lane, pending.give_up, out);
        if needs_session {
            let id = client.send(&lane, Request::OpenSession, out);
            lane.state = State::Opening { attempts: vec![id], waiting: Some(pending) };
        } else {
            lane.state = State::Waiting(pending);
            client.attempt(&mut lane, out);
        }
        client.lanes.push(lane);
        self.slots.push(client);
    }

    /// Handles a [`ClientOutput::Wake`] whose time has come.
    pub fn wake(
        &mut self,
        slot: usize,
        generation: u64,
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        self.with(
            slot,
            |lane| lane.generation == generation,
            |clients, client, lane| {
                lane.hops = 0;
                match std::mem::replace(&mut lane.state, State::Done) {
                    State::Resting => {
                        lane.woken = now;
                        clients.begin(client, lane, now, choices, out);
                    }
                    State::Opening { waiting: Some(pending), .. } | State::Waiting(pending)
                        if now >= pending.give_up || client.scripted =>
                    {
                        clients.finish(client, lane, pending.gave_up(), now, choices, out);
                    }
                    State::Done => {}
                    waits => {
                        lane.target = clients.another_target(client, lane.target, choices);
                        lane.state = waits;
                        clients.retry(client, lane, now, out);
                    }
                }
            },
        );
    }

    /// Handles an answer to a client. An answer that the client no longer waits for has no effect.
    pub fn reply(
        &mut self,
        slot: usize,
        id: RequestId,
        reply: &Reply,
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        self.with(
            slot,
            |lane| lane.waits_for(id),
            |clients, client, lane| {
                match std::mem::replace(&mut lane.state, State::Done) {
                    State::Opening { attempts, waiting } => match (reply, waiting) {
                        (Reply::SessionOpened { session }, waiting) => {
                            client.open(*session);
                            match waiting {
                                Some(pending) => clients.send_first(client, lane, pending, now, out),
                                None => clients.begin(client, lane, now, choices, out),
                            }
                        }
                        // The client never sent the put itself.
                        (_, Some(pending)) if client.scripted => {
                            lane.end(pending.ended(Ended::surely_not()), now, out);
                        }
                        (reply, waiting) => {
                            lane.state = State::Opening { attempts, waiting };
                            clients.follow(client, lane, reply, now, out);
                        }
                    },
                    State::Waiting(pending) => clients.answered(client, lane, (pending, id, reply), now, choices, out),
                    other => lane.state = other,
                }
            },
        );
    }

    fn answered(
        &self,
        client: &mut Client,
        lane: &mut Lane,
        (mut pending, id, reply): (Pending, RequestId, &Reply),
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        let ended = pending.answer(id, reply);
        if *reply == Reply::SessionExpired {
            client.expire(pending.place.0);
            // No attempt can have had an effect, so the command may go into another session.
            if self.model.retry_expired && pending.open.is_empty() && !pending.op.is_read() && !client.scripted {
                return self.send_first(client, lane, pending, now, out);
            }
        }
        match ended {
            Some(ended) => self.finish(client, lane, pending.ended(ended), now, choices, out),
            None if client.scripted && pending.open.is_empty() => lane.end(pending.gave_up(), now, out),
            None => {
                lane.state = State::Waiting(pending);
                if !client.scripted {
                    self.follow(client, lane, reply, now, out);
                }
            }
        }
    }

    /// Operations that are open when the world ends never return.
    pub fn end(&mut self, out: &mut Vec<ClientOutput>) {
        for lane in self.slots.iter_mut().flat_map(|client| &mut client.lanes) {
            match std::mem::replace(&mut lane.state, State::Done) {
                State::Waiting(pending) | State::Opening { waiting: Some(pending), .. } => {
                    out.extend(pending.never_returned().returned(None));
                }
                _ => {}
            }
        }
    }

    /// Lends a client, its first lane that fits, and the rest of the clients to `act`.
    fn with(&mut self, slot: usize, fits: impl Fn(&Lane) -> bool, act: impl FnOnce(&Self, &mut Client, &mut Lane)) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        let Some(number) = place.lanes.iter().position(fits) else { return };
        let mut client = std::mem::replace(place, Client::new(slot, false));
        let mut lane = client.lanes.swap_remove(number);
        act(self, &mut client, &mut lane);
        client.lanes.push(lane);
        let last = client.lanes.len() - 1;
        client.lanes.swap(number, last);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = client;
        }
    }

    /// Begins the next operation, or first opens a session.
    fn begin(
        &self,
        client: &mut Client,
        lane: &mut Lane,
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        if client.session.is_none() {
            return self.open_session(client, lane, None, now, out);
        }
        client.operations = lane.next.take().unwrap_or(client.operations + 1);
        if self.keep_begun {
            let at = Duration::from_nanos(lane.woken.0);
            let (client_number, lane) = (client.slot as u64 + 1, lane.place + 1);
            client.begun.push(Invocation { at, client: client_number, lane, number: client.operations });
        }
        let others = self.model.count.max(1);
        let op = ClientOp::draw(&self.model, client.slot, client.operations, others, &client.seen, choices);
        let pending = Pending::new(lane.number, op, now, &self.model);
        out.push(pending.invoked());
        self.send_first(client, lane, pending, now, out);
    }

    /// Sends an operation for the first time, or for the first time in this session.
    fn send_first(
        &self,
        client: &mut Client,
        lane: &mut Lane,
        mut pending: Pending,
        now: SimTime,
        out: &mut Vec<ClientOutput>,
    ) {
        if !pending.op.is_read() {
            let Some(session) = client.session else {
                return self.open_session(client, lane, Some(pending), now, out);
            };
            client.sequence += 1;
            pending.place = (session, client.sequence);
        }
        lane.state = State::Waiting(pending);
        if client.scripted { client.attempt(lane, out) } else { self.retry(client, lane, now, out) }
    }

    fn open_session(
        &self,
        client: &mut Client,
        lane: &mut Lane,
        waiting: Option<Pending>,
        now: SimTime,
        out: &mut Vec<ClientOutput>,
    ) {
        lane.state = State::Opening { attempts: Vec::new(), waiting };
        self.retry(client, lane, now, out);
    }

    /// Sends what the lane waits for once more, and plans the next retry.
    fn retry(&self, client: &mut Client, lane: &mut Lane, now: SimTime, out: &mut Vec<ClientOutput>) {
        let patience = now.after(self.model.retry_after.max(Duration::from_nanos(1)));
        let at = match &lane.state {
            State::Waiting(pending) | State::Opening { waiting: Some(pending), .. } => patience.min(pending.give_up),
            _ => patience,
        };
        client.wake_at(lane, at, out);
        client.attempt(lane, out);
    }

    /// Handles an answer that ends nothing: if it names a leader, asks there at once; otherwise waits for the next
    /// retry.
    fn follow(&self, client: &mut Client, lane: &mut Lane, reply: &Reply, now: SimTime, out: &mut Vec<ClientOutput>) {
        let hint = match reply {
            Reply::Rejected { reason: RejectReason::NotLeader { leader } } => *leader,
            Reply::Lost => Some(lane.target),
            _ => None,
        };
        let Some(leader) = hint.filter(|leader| (1..=self.nodes).contains(&leader.0)) else { return };
        if lane.hops < MAX_HOPS {
            lane.hops += 1;
            lane.target = leader;
            self.retry(client, lane, now, out);
        }
    }

    fn finish(
        &self,
        client: &mut Client,
        lane: &mut Lane,
        ended: Finished,
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        let known = ended.status != Status::Unknown;
        if let Some(line) = &ended.line {
            operation::remember(&mut client.seen, line);
        }
        lane.end(ended, now, out);
        if client.scripted {
            return;
        }
        if !known {
            // The operation may take effect at any time, and a client has one at a time.
            lane.number = client.next_number();
            // The only lane begins with another session; others stay, and abandon the command with a higher number.
            if client.lanes.is_empty() {
                client.session = None;
            }
        }
        client.rest(lane, &self.model, now, choices, out);
    }

    /// From now on each client finds the leader in time, if there is one: progress must not depend on what it draws.
    pub(crate) const fn ask_in_turn(&mut self) {
        self.in_turn = true;
    }

    /// A node other than the current target: drawn, or the next one.
    fn another_target(&self, client: &mut Client, target: NodeId, choices: &mut Choices) -> NodeId {
        client.attempts += 1;
        let draw = choices.draw(TARGET, client.slot as u64, client.attempts);
        if target == NodeId(0) || self.nodes < 2 {
            return NodeId(1 + draw.below(self.nodes));
        }
        if self.in_turn {
            return NodeId(target.0 % self.nodes + 1);
        }
        let other = 1 + draw.below(self.nodes - 1);
        NodeId(if other >= target.0 { other + 1 } else { other })
    }
}

/// The operations of a lane, if they are given, in the order of their times.
fn planned_for(model: &ClientModel, slot: u64, place: u64) -> Option<VecDeque<Invocation>> {
    let of_lane = |operation: &&Invocation| (operation.client, operation.lane) == (slot + 1, place + 1);
    let mut planned: Vec<Invocation> = model.operations.as_ref()?.iter().filter(of_lane).copied().collect();
    planned.sort();
    Some(planned.into())
}

impl Client {
    const fn new(slot: usize, scripted: bool) -> Self {
        Self {
            slot,
            lives: 0,
            session: None,
            sequence: 0,
            operations: 0,
            attempts: 0,
            generation: 0,
            seen: BTreeMap::new(),
            scripted,
            begun: Vec::new(),
            lanes: Vec::new(),
        }
    }

    fn new_lane(&mut self, target: NodeId) -> Lane {
        let number = if self.lanes.is_empty() { self.number() } else { self.next_number() };
        let (place, planned) = (self.lanes.len() as u64, None);
        Lane {
            number,
            target,
            hops: 0,
            generation: 0,
            place,
            planned,
            next: None,
            woken: SimTime(0),
            state: State::Resting,
        }
    }

    /// The number is unique in the run, and independent of other clients.
    const fn number(&self) -> u64 {
        self.lives * 1_000_000 + self.slot as u64 + 1
    }

    const fn next_number(&mut self) -> u64 {
        self.lives += 1;
        self.number()
    }

    /// Uses a session, unless another lane has opened one.
    const fn open(&mut self, session: SessionId) {
        if self.session.is_none() {
            (self.session, self.sequence) = (Some(session), 0);
        }
    }

    /// Leaves a session that has ended.
    fn expire(&mut self, session: SessionId) {
        self.session.take_if(|current| *current == session);
    }

    fn wake_at(&mut self, lane: &mut Lane, at: SimTime, out: &mut Vec<ClientOutput>) {
        self.generation += 1;
        lane.generation = self.generation;
        out.push(ClientOutput::Wake { slot: self.slot, at, generation: self.generation });
    }

    fn rest(
        &mut self,
        lane: &mut Lane,
        model: &ClientModel,
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        lane.state = State::Resting;
        if let Some(planned) = &mut lane.planned {
            let Some(Invocation { at, number, .. }) = planned.pop_front() else {
                lane.state = State::Done;
                return;
            };
            lane.next = Some(number);
            return self.wake_at(lane, now.max(SimTime(0).after(at)), out);
        }
        let think = choices.draw(THINK, self.slot as u64, self.operations).in_range(&model.think);
        self.wake_at(lane, now.after(think), out);
    }

    /// Sends what a lane waits for.
    fn attempt(&mut self, lane: &mut Lane, out: &mut Vec<ClientOutput>) {
        match std::mem::replace(&mut lane.state, State::Done) {
            State::Opening { mut attempts, waiting } => {
                attempts.push(self.send(lane, Request::OpenSession, out));
                lane.state = State::Opening { attempts, waiting };
            }
            State::Waiting(mut pending) => {
                let (session, sequence) = pending.place;
                let lowest = self.lanes.iter().filter_map(|other| other.sequence_in(session)).min();
                let lowest_pending = lowest.unwrap_or(sequence).min(sequence);
                let request = pending.op.request(pending.place, lowest_pending);
                pending.open.insert(self.send(lane, request, out));
                lane.state = State::Waiting(pending);
            }
            other => lane.state = other,
        }
    }

    fn send(&mut self, lane: &Lane, request: Request, out: &mut Vec<ClientOutput>) -> RequestId {
        self.attempts += 1;
        let id = RequestId((self.slot as u64 + 1) * 1_000_000 + self.attempts);
        out.push(ClientOutput::Send { slot: self.slot, client: lane.number, id, node: lane.target, request });
        id
    }
}

impl Lane {
    fn waits_for(&self, id: RequestId) -> bool {
        match &self.state {
            State::Opening { attempts, .. } => attempts.contains(&id),
            State::Waiting(pending) => pending.open.contains(&id),
            State::Resting | State::Done => false,
        }
    }

    /// The number of its open command, if it is one of this session.
    fn sequence_in(&self, session: SessionId) -> Option<u64> {
        match &self.state {
            State::Waiting(pending) if !pending.op.is_read() && pending.place.0 == session => Some(pending.place.1),
            _ => None,
        }
    }

    fn end(&mut self, finished: Finished, now: SimTime, out: &mut Vec<ClientOutput>) {
        self.state = State::Done;
        out.extend(finished.returned(Some(now.0)));
    }
}

#[cfg(test)]
mod tests;
