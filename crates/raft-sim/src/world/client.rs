//! The clients. Each has a session and one operation open at a time, retries with the same number, and records an
//! unclear outcome as unknown.
//!
//! A client knows only its own requests and the answers. The world delivers both.

mod operation;
mod several;

use crate::record::SimTime;
use crate::rng::{Choices, Site};
use crate::scenario::model::ClientModel;
use bytes::Bytes;
use operation::{ClientOp, Ended, Finished, Pending};
use raft_check::history::{Operation, Status};
use raft_core::{NodeId, RejectReason, RequestId};
use raft_node::{Reply, Request, SessionId};
use std::collections::BTreeMap;
use std::time::Duration;

const THINK: Site = Site::new("client think");
const TARGET: Site = Site::new("client target");

/// A client follows answers that name another node at once this often, then it waits: two nodes that name each other
/// must not make it loop.
const MAX_HOPS: u32 = 3;

/// The requests of a client to the world. Labels are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutput {
    /// Deliver a request to a node.
    Send { slot: usize, id: RequestId, node: NodeId, request: Request },
    /// Call [`Clients::wake`] at this time, with this generation. A later one of the same slot replaces it.
    Wake { slot: usize, at: SimTime, generation: u64 },
    /// An operation began; the query is set if the operation is one and the client keeps no history.
    Invoked { slot: usize, client: u64, label: String, query: Option<Bytes> },
    /// An operation ended.
    Returned(Operation),
    /// An operation ended without a history.
    Ended { client: u64, label: String },
}

#[derive(Clone, Debug)]
pub struct Clients {
    model: ClientModel,
    nodes: u64,
    slots: Vec<Client>,
}

/// One slot holds one client at a time: a new client replaces one that cannot know the outcome of its operation.
#[derive(Clone, Debug)]
struct Client {
    slot: usize,
    lives: u64,
    session: Option<SessionId>,
    sequence: u64,
    target: NodeId,
    operations: u64,
    attempts: u64,
    hops: u32,
    generation: u64,
    state: State,
    /// The last value of each key that it has seen.
    seen: BTreeMap<String, Option<String>>,
    /// A scripted client has one operation, sends each request once and ends.
    scripted: bool,
}

#[derive(Clone, Debug)]
enum State {
    /// The client is between two operations, or before the first.
    Resting,
    /// The client waits for a session. If it is scripted, its operation is already invoked.
    Opening { attempts: Vec<RequestId>, scripted: Option<Pending> },
    /// The client waits for the end of an operation.
    Waiting(Pending),
    /// The client does nothing more.
    Done,
}

impl Clients {
    /// The clients of a world with this many nodes, and their first wakes.
    pub fn new(model: &ClientModel, nodes: u64, choices: &mut Choices, out: &mut Vec<ClientOutput>) -> Self {
        let mut clients = Self { model: model.clone(), nodes, slots: Vec::new() };
        for slot in 0..usize::try_from(model.count).unwrap_or(usize::MAX) {
            let mut client = Client::new(slot, NodeId(0), false);
            client.target = clients.another_target(&mut client, choices);
            client.rest(&clients.model, SimTime(0).after(model.start), choices, out);
            clients.slots.push(client);
        }
        clients
    }

    /// Adds a client that puts one value at one node, or gets the key if there is no value; it never retries.
    pub fn scripted(
        &mut self,
        now: SimTime,
        node: NodeId,
        key: String,
        value: Option<String>,
        out: &mut Vec<ClientOutput>,
    ) {
        let mut client = Client::new(self.slots.len(), node, true);
        let op = match value {
            Some(value) => ClientOp::Put { key, value, ttl_ms: 0 },
            None => ClientOp::Get { key, mode: operation::scripted_mode(self.model.reads) },
        };
        let needs_session = !op.is_read();
        let pending = Pending::new(client.number(), op, now, &self.model);
        out.push(pending.invoked(client.slot));
        client.wake_at(pending.give_up, out);
        if needs_session {
            let id = client.send(Request::OpenSession, out);
            client.state = State::Opening { attempts: vec![id], scripted: Some(pending) };
        } else {
            client.state = State::Waiting(pending);
            self.attempt(&mut client, out);
        }
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
        self.with(slot, |clients, client| {
            if client.generation != generation {
                return;
            }
            client.hops = 0;
            match std::mem::replace(&mut client.state, State::Done) {
                State::Resting => clients.begin(client, now, choices, out),
                State::Opening { scripted: Some(pending), .. } => client.end(pending.gave_up(), now, out),
                State::Opening { attempts, scripted: None } => {
                    client.target = clients.another_target(client, choices);
                    client.state = State::Opening { attempts, scripted: None };
                    clients.retry(client, now, out);
                }
                State::Waiting(pending) if now >= pending.give_up || client.scripted => {
                    clients.finish(client, pending.gave_up(), now, choices, out);
                }
                State::Waiting(pending) => {
                    client.target = clients.another_target(client, choices);
                    client.state = State::Waiting(pending);
                    clients.retry(client, now, out);
                }
                State::Done => {}
            }
        });
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
        self.with(slot, |clients, client| match std::mem::replace(&mut client.state, State::Done) {
            State::Opening { attempts, scripted } if attempts.contains(&id) => match (reply, scripted) {
                (Reply::SessionOpened { session }, scripted) => {
                    client.session = Some(*session);
                    match scripted {
                        Some(pending) => {
                            client.state = State::Waiting(pending);
                            clients.attempt(client, out);
                        }
                        None => clients.begin(client, now, choices, out),
                    }
                }
                // The client never sent the put itself.
                (_, Some(pending)) => client.end(pending.ended(Ended::surely_not()), now, out),
                (reply, None) => {
                    client.state = State::Opening { attempts, scripted: None };
                    clients.follow(client, reply, now, out);
                }
            },
            State::Waiting(mut pending) if pending.open.contains(&id) => match pending.answer(id, reply) {
                Some(ended) => {
                    if *reply == Reply::SessionExpired {
                        client.leave_session();
                    }
                    clients.finish(client, pending.ended(ended), now, choices, out);
                }
                None if client.scripted && pending.open.is_empty() => client.end(pending.gave_up(), now, out),
                None => {
                    client.state = State::Waiting(pending);
                    if !client.scripted {
                        clients.follow(client, reply, now, out);
                    }
                }
            },
            other => client.state = other,
        });
    }

    /// All clients start anew, with other sessions: operations that are open end as they do when a client gives up.
    pub fn restart(&mut self, now: SimTime, choices: &mut Choices, out: &mut Vec<ClientOutput>) {
        for slot in 0..self.slots.len() {
            self.with(slot, |clients, client| {
                match std::mem::replace(&mut client.state, State::Done) {
                    State::Done => return,
                    State::Waiting(pending) | State::Opening { scripted: Some(pending), .. } => {
                        client.end(pending.gave_up(), now, out);
                    }
                    State::Resting | State::Opening { scripted: None, .. } => {}
                }
                if !client.scripted {
                    client.lives += 1;
                    client.leave_session();
                    client.rest(&clients.model, now, choices, out);
                }
            });
        }
    }

    /// Operations that are open when the world ends never return.
    pub fn end(&mut self, out: &mut Vec<ClientOutput>) {
        for client in &mut self.slots {
            match std::mem::replace(&mut client.state, State::Done) {
                State::Waiting(pending) | State::Opening { scripted: Some(pending), .. } => {
                    out.extend(pending.never_returned().returned(None));
                }
                _ => {}
            }
        }
    }

    /// Lends a client and the rest of the clients to `act`.
    fn with(&mut self, slot: usize, act: impl FnOnce(&Self, &mut Client)) {
        let Some(place) = self.slots.get_mut(slot) else { return };
        let mut client = std::mem::replace(place, Client::new(slot, NodeId(0), false));
        act(self, &mut client);
        if let Some(place) = self.slots.get_mut(slot) {
            *place = client;
        }
    }

    /// Begins the next operation, or first opens a session.
    fn begin(&self, client: &mut Client, now: SimTime, choices: &mut Choices, out: &mut Vec<ClientOutput>) {
        if client.session.is_none() {
            client.state = State::Opening { attempts: Vec::new(), scripted: None };
            return self.retry(client, now, out);
        }
        client.operations += 1;
        let others = self.model.count.max(1);
        let op = ClientOp::draw(&self.model, client.slot, client.operations, others, &client.seen, choices);
        if !op.is_read() {
            client.sequence += 1;
        }
        let pending = Pending::new(client.number(), op, now, &self.model);
        out.push(pending.invoked(client.slot));
        client.state = State::Waiting(pending);
        self.retry(client, now, out);
    }

    /// Sends the open operation once more, and plans the next retry.
    fn retry(&self, client: &mut Client, now: SimTime, out: &mut Vec<ClientOutput>) {
        let patience = now.after(self.model.retry_after.max(Duration::from_nanos(1)));
        let at = if let State::Waiting(pending) = &client.state { patience.min(pending.give_up) } else { patience };
        client.wake_at(at, out);
        self.attempt(client, out);
    }

    fn attempt(&self, client: &mut Client, out: &mut Vec<ClientOutput>) {
        match std::mem::replace(&mut client.state, State::Done) {
            State::Opening { mut attempts, scripted } => {
                attempts.push(client.send(Request::OpenSession, out));
                client.state = State::Opening { attempts, scripted };
            }
            State::Waiting(mut pending) => {
                let session = client.session.unwrap_or(SessionId(0));
                let sequence = if client.scripted { 1 } else { client.sequence };
                pending.open.insert(client.send(pending.op.request(session, sequence), out));
                client.state = State::Waiting(pending);
            }
            other => client.state = other,
        }
    }

    /// Handles an answer that ends nothing: if it names a leader, asks there at once; otherwise waits for the next
    /// retry.
    fn follow(&self, client: &mut Client, reply: &Reply, now: SimTime, out: &mut Vec<ClientOutput>) {
        let hint = match reply {
            Reply::Rejected { reason: RejectReason::NotLeader { leader } } => *leader,
            Reply::Lost => Some(client.target),
            _ => None,
        };
        let Some(leader) = hint.filter(|leader| (1..=self.nodes).contains(&leader.0)) else { return };
        if client.hops < MAX_HOPS {
            client.hops += 1;
            client.target = leader;
            self.retry(client, now, out);
        }
    }

    fn finish(
        &self,
        client: &mut Client,
        ended: Finished,
        now: SimTime,
        choices: &mut Choices,
        out: &mut Vec<ClientOutput>,
    ) {
        let known = ended.status != Status::Unknown;
        if let Some(line) = &ended.line {
            operation::remember(&mut client.seen, line);
        }
        client.end(ended, now, out);
        if client.scripted {
            return;
        }
        if !known {
            // A client has one operation open at a time, and this one may take effect at any time.
            client.lives += 1;
            client.leave_session();
        }
        client.rest(&self.model, now, choices, out);
    }

    /// Draws a node other than the current target.
    fn another_target(&self, client: &mut Client, choices: &mut Choices) -> NodeId {
        client.attempts += 1;
        let draw = choices.draw(TARGET, client.slot as u64, client.attempts);
        if client.target == NodeId(0) || self.nodes < 2 {
            return NodeId(1 + draw.below(self.nodes));
        }
        let other = 1 + draw.below(self.nodes - 1);
        NodeId(if other >= client.target.0 { other + 1 } else { other })
    }
}

impl Client {
    const fn new(slot: usize, target: NodeId, scripted: bool) -> Self {
        Self {
            slot,
            lives: 0,
            session: None,
            sequence: 0,
            target,
            operations: 0,
            attempts: 0,
            hops: 0,
            generation: 0,
            state: State::Resting,
            seen: BTreeMap::new(),
            scripted,
        }
    }

    /// The number is unique in the run, and independent of other clients.
    const fn number(&self) -> u64 {
        self.lives * 1_000_000 + self.slot as u64 + 1
    }

    const fn leave_session(&mut self) {
        self.session = None;
        self.sequence = 0;
    }

    fn wake_at(&mut self, at: SimTime, out: &mut Vec<ClientOutput>) {
        self.generation += 1;
        out.push(ClientOutput::Wake { slot: self.slot, at, generation: self.generation });
    }

    fn rest(&mut self, model: &ClientModel, now: SimTime, choices: &mut Choices, out: &mut Vec<ClientOutput>) {
        self.state = State::Resting;
        let think = choices.draw(THINK, self.slot as u64, self.operations).in_range(&model.think);
        self.wake_at(now.after(think), out);
    }

    fn send(&mut self, request: Request, out: &mut Vec<ClientOutput>) -> RequestId {
        self.attempts += 1;
        let id = RequestId((self.slot as u64 + 1) * 1_000_000 + self.attempts);
        out.push(ClientOutput::Send { slot: self.slot, id, node: self.target, request });
        id
    }

    fn end(&mut self, finished: Finished, now: SimTime, out: &mut Vec<ClientOutput>) {
        self.state = State::Done;
        out.extend(finished.returned(Some(now.0)));
    }
}

#[cfg(test)]
mod tests;
