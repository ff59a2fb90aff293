//! Calling a node: what goes in, what comes out, and how each output is carried out.

use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::network::Copy;
use crate::record::{CrashKind, SimTime, What};
use bytes::Bytes;
use raft_core::{EntryId, NodeId, RequestId, Rpc};
use raft_node::{NodeInput, NodeOutput, Request};

/// An input, with the record that shows it.
pub(super) struct Given {
    cause: Option<u64>,
    what: What,
    input: NodeInput,
}

impl Given {
    pub(super) const fn new(cause: Option<u64>, what: What, input: NodeInput) -> Self {
        Self { cause, what, input }
    }
}

impl World {
    /// A copy of a message arrives, perhaps together with others.
    pub(super) fn deliver(&mut self, copy: Copy, bytes: Bytes, cause: u64) {
        let node = copy.link.1;
        let mut inputs = Vec::with_capacity(1);
        let mut next = Some((copy, bytes, cause));
        while let Some((copy, bytes, cause)) = next {
            if self.is_up_or_missed(node) {
                self.network.arrived(&mut self.ledger, &copy);
                let from = copy.link.0;
                match raft_proto::decode_rpc(bytes.clone()) {
                    Ok(rpc) => {
                        let what = What::Received { from, rpc: rpc.clone() };
                        inputs.push(Given { cause: Some(cause), what, input: NodeInput::Receive { from, rpc } });
                    }
                    Err(_) => {
                        self.emissions.push(Emission::View(None));
                        self.emit(Some(cause), Some(node), What::Garbage { from, bytes });
                    }
                }
            }
            next = self.next_of_batch(node);
        }
        self.call(node, inputs);
    }

    /// A client's request arrives.
    pub(super) fn request(&mut self, node: NodeId, id: RequestId, request: Request, cause: Option<u64>) {
        if !self.is_withdrawn(id) && self.is_up_or_missed(node) {
            let input = NodeInput::Request { id, request };
            self.call(node, vec![Given { cause, what: What::Requested { id }, input }]);
        }
    }

    /// The node is told to campaign. One that is paused does not hear it.
    pub(crate) fn campaign(&mut self, node: NodeId) {
        if self.hosts.get(&node).is_some_and(|host| host.paused) {
            return;
        }
        self.call(node, vec![Given { cause: None, what: What::CampaignAsked, input: NodeInput::Campaign }]);
    }

    /// A timer event has come. Deadlines move with every message; instead of planning an event for each, the one that
    /// is planned plans the next when it comes too early.
    pub(super) fn timer(&mut self, node: NodeId, incarnation: u64) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if host.incarnation != incarnation {
            return;
        }
        let clock = host.clock;
        let Some(process) = &mut host.process else {
            self.missed(node);
            return;
        };
        if process.timer != Some(self.now) {
            return;
        }
        process.timer = None;
        if process.node.deadline().is_some_and(|deadline| clock.when(deadline) <= self.now) {
            if !clock.is_true() {
                self.ledger.matter(Fault::ClockDrift);
            }
            self.call(node, vec![Given { cause: None, what: What::TimerFired, input: NodeInput::Tick }]);
        } else {
            self.arrange_timer(node);
        }
    }

    /// One call: all inputs, then all outputs in order, unless a crash strikes among them. Returns the snapshot that it has
    /// come to name in a record, if it has.
    pub(super) fn call(&mut self, node: NodeId, inputs: Vec<Given>) -> Option<EntryId> {
        let host = self.hosts.get_mut(&node)?;
        let process = host.process.as_mut().filter(|_| !inputs.is_empty())?;
        let (whats, inputs): (Vec<_>, Vec<_>) =
            inputs.into_iter().map(|given| ((given.cause, given.what), given.input)).unzip();
        let mut outputs = std::mem::take(&mut self.outputs);
        process.node.step(host.clock.read(self.now), inputs, &mut outputs);
        let snapshot_of = |output: &NodeOutput| match output {
            NodeOutput::Persist(write) => write.snapshot.as_ref().map(|taken| taken.meta.last),
            _ => None,
        };
        let named = outputs.iter().find_map(snapshot_of);
        let armed = host.armed.take_if(|_| !outputs.is_empty());
        host.outputs += outputs.len() as u64;
        self.emissions.push(Emission::View(host.view()));
        let mut input = 0;
        for (cause, what) in whats {
            input = self.emit(cause, Some(node), what);
        }
        let count = outputs.len();
        let strike = armed.as_ref().map_or(count, |armed| count.min(armed.after as usize));
        for output in outputs.drain(..).take(strike) {
            self.carry_out(node, input, output);
        }
        self.outputs = outputs;
        match armed {
            Some(armed) => {
                self.ledger.inject(Fault::CrashAtBoundary);
                if strike < count {
                    self.ledger.matter(Fault::CrashAtBoundary);
                }
                self.crash(node, armed.crash, armed.keep);
                if let Some(delay) = armed.restart_after {
                    self.plan_restart(node, delay);
                }
            }
            None => self.arrange_timer(node),
        }
        named
    }

    fn carry_out(&mut self, node: NodeId, input: u64, output: NodeOutput) {
        let cause = Some(input);
        match output {
            NodeOutput::Send { to, rpc } => self.send(node, input, to, rpc),
            NodeOutput::Persist(write) => self.persist(node, input, write),
            NodeOutput::Reply { id, reply } => {
                let replied = self.emit(cause, Some(node), What::Replied { id, reply: reply.clone() });
                self.answer(id, reply, replied);
            }
            NodeOutput::Applied { entries, state_hash } => {
                self.emit(cause, Some(node), What::Applied { entries, state_hash });
            }
            NodeOutput::ConfigurationChanged { configuration, at, committed } => {
                if committed {
                    self.configurations.committed(at, &configuration);
                }
                self.emit(cause, Some(node), What::ConfigurationChanged { configuration, at, committed });
            }
            NodeOutput::Stopped { reason } => {
                self.emit(cause, Some(node), What::Stopped { reason });
            }
            NodeOutput::Observe(event) => {
                self.emit(cause, Some(node), What::Observed(event));
            }
            NodeOutput::AskForSpace => self.ask_for_space(node, input),
            // Both are in every view.
            NodeOutput::LeadershipLost { .. } | NodeOutput::LeaderChanged { .. } => {}
            output => self.carry_out_for_snapshots(node, input, output),
        }
    }

    /// Over the wire as bytes, so that the encoding is part of every run.
    fn send(&mut self, node: NodeId, input: u64, to: NodeId, rpc: Rpc) {
        let up = self.hosts.get(&to).is_some_and(|host| host.process.is_some());
        let sending = self.network.send(&mut self.choices, &mut self.ledger, (node, to), rpc.kind(), up);
        let bytes = sending.copies[0].map(|_| Bytes::from(raft_proto::encode_rpc(&rpc)));
        let cause = self.emit(Some(input), Some(node), What::Sent { to, rpc, verdict: sending.verdict });
        for copy in sending.copies.into_iter().flatten() {
            if let Some(bytes) = bytes.clone() {
                self.plan_after(copy.delay, Event::Deliver { copy, bytes, cause });
            }
        }
    }

    /// Has a node's clock run too fast by `ppm` parts per million from now on; 0 sets it right.
    pub(crate) fn set_drift(&mut self, node: NodeId, ppm: i32) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        if ppm == 0 && host.clock.is_true() {
            return;
        }
        host.clock = host.clock.drifting(self.now, ppm);
        if ppm != 0 {
            self.ledger.inject(Fault::ClockDrift);
        }
        // A faster clock reaches its deadlines earlier; a planned event that comes too early plans the next.
        self.arrange_timer(node);
    }

    /// Plans the timer event of the node's deadline, unless one is planned that comes no later.
    pub(super) fn arrange_timer(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut() else { return };
        let Some(deadline) = process.node.deadline() else { return };
        let at = host.clock.when(deadline).max(self.now);
        if at == SimTime(u64::MAX) || process.timer.is_some_and(|planned| planned <= at) {
            return;
        }
        process.timer = Some(at);
        let incarnation = host.incarnation;
        self.plan(at, Event::Timer { node, incarnation });
    }

    pub(super) fn process_of(&mut self, node: NodeId, incarnation: u64) -> Option<&mut crate::host::Process> {
        let host = self.hosts.get_mut(&node).filter(|host| host.incarnation == incarnation)?;
        host.process.as_mut()
    }

    /// Whether the node is up; if not, something that was meant for it found nobody.
    pub(super) fn is_up_or_missed(&mut self, node: NodeId) -> bool {
        let up = self.hosts.get(&node).is_some_and(|host| host.process.is_some());
        if !up {
            self.missed(node);
        }
        up
    }

    fn missed(&mut self, node: NodeId) {
        match self.hosts.get(&node).and_then(|host| host.downed_by) {
            Some(CrashKind::Kill) => self.ledger.matter(Fault::Kill),
            Some(CrashKind::PowerLoss) => self.ledger.matter(Fault::PowerLoss),
            Some(CrashKind::DiskLoss) => self.ledger.matter(Fault::DiskWiped),
            Some(CrashKind::DiskRollback) => self.ledger.matter(Fault::DiskRolledBack),
            None => {}
        }
    }
}
