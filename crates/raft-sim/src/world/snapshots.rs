//! Snapshots on their way from one node to another, and what a node wants done about its own.
//!
//! A snapshot leaves when its file is read, takes the time of a message and that of its transfer, and is lost with the
//! connection: when either end's process has ended, or the link is cut when it would arrive. Then the sender's host hears
//! of it, or does not; by seed. The receiver keeps it in a file, hands it to its node, and says so.

use super::call::Given;
use super::disk_lane::Question;
use super::{Emission, Event, World};
use crate::faults::Fault;
use crate::lane::{Arrived, Job, Sending};
use crate::network::{INSTALL_SNAPSHOT_RESPONSE, Link};
use crate::record::{Verdict, What};
use crate::rng::{Site, link_key};
use bytes::Bytes;
use raft_core::{NodeId, SnapshotOutcome};
use raft_node::{NodeInput, NodeOutput, check_snapshot};

const PROGRESS: Site = Site::new("snapshot progress");
const FAILURE: Site = Site::new("snapshot failure");
const FAILURE_DELAY: Site = Site::new("snapshot failure delay");

impl World {
    /// What a node asks for about snapshots, and about the log that they cover.
    pub(super) fn carry_out_for_snapshots(&mut self, node: NodeId, input: u64, output: NodeOutput) {
        let cause = Some(input);
        match output {
            NodeOutput::SaveSnapshot { meta, data } => {
                let bytes = data.len() as u64;
                let asked = self.emit(cause, Some(node), What::SnapshotTaken { meta: meta.clone(), bytes });
                self.ask_disk(node, Job::Save { meta, data }, asked);
            }
            NodeOutput::LoadSnapshot { meta } => {
                let asked = self.emit(cause, Some(node), What::SnapshotWanted { meta: meta.clone() });
                if let Some(process) = self.hosts.get_mut(&node).and_then(|host| host.process.as_mut()) {
                    process.wanted = Some(meta.last);
                }
                self.ask_disk(node, Job::Load { meta }, asked);
            }
            NodeOutput::Restored { meta, state_hash } => {
                self.emit(cause, Some(node), What::Restored { meta, state_hash });
            }
            NodeOutput::SnapshotUnreadable { meta, error } => {
                self.store_failed(node, &format!("the snapshot of {} cannot be read: {error}", meta.last));
            }
            NodeOutput::SendSnapshot { to, term, meta } => {
                self.ask_disk(node, Job::Send(Sending { to, term, meta }), input);
            }
            NodeOutput::Compact { before } => {
                let asked = self.emit(cause, Some(node), What::Compacted { before });
                self.ask_disk(node, Job::Compact { before }, asked);
            }
            NodeOutput::ReadLog { read, first, last, max_bytes } => {
                let asked = self.emit(cause, Some(node), What::ReadAsked { read, first, last, max_bytes });
                self.read_log(node, Question { read, first, last, max_bytes }, asked);
            }
            _ => {}
        }
    }

    /// A snapshot has been read and leaves; or it is gone already, because a newer one has taken its place.
    pub(super) fn depart(&mut self, node: NodeId, sending: Sending, data: Option<Bytes>, cause: u64) {
        let Sending { to, term, meta } = sending;
        let link = (node, to);
        let incarnation_of = |world: &Self, id| world.hosts.get(&id).map_or(0, |host| host.incarnation);
        let incarnations = (incarnation_of(self, node), incarnation_of(self, to));
        let Some(data) = data else { return self.fail(link, incarnations.0, cause, 0) };
        let up = self.hosts.get(&to).is_some_and(|host| host.process.is_some());
        let sending = self.network.send_snapshot(&mut self.choices, &mut self.ledger, link, up);
        let bytes = data.len() as u64;
        let what = What::SnapshotSent { to, term, meta: meta.clone(), bytes, verdict: sending.verdict };
        let sent = self.emit(Some(cause), Some(node), what);
        if !matches!(sending.verdict, Verdict::Delivered { .. }) {
            return self.fail(link, incarnations.0, sent, sent);
        }
        for copy in sending.copies.into_iter().flatten() {
            let n = copy.message * 2 + u64::from(copy.duplicate);
            if self.choices.draw(PROGRESS, link_key(node, to), n).chance_ppm(500_000) {
                let outcome = SnapshotOutcome::Progress;
                let news = Event::SnapshotNews { node, to, incarnation: incarnations.0, outcome, cause: sent };
                self.plan_after(copy.delay / 2, news);
            }
            let (meta, data) = (meta.clone(), data.clone());
            let arrived = Arrived { copy, term, meta, data, incarnations };
            self.plan_after(copy.delay, Event::SnapshotArrives { arrived, cause: sent });
        }
    }

    /// A snapshot is lost: its sender's host hears of that, or does not.
    pub(super) fn fail(&mut self, link: Link, incarnation: u64, cause: u64, n: u64) {
        let key = link_key(link.0, link.1);
        if self.choices.draw(FAILURE, key, n).chance_ppm(500_000) {
            let delay = self.choices.draw(FAILURE_DELAY, key, n).in_range(&self.scenario.network.delay);
            let (node, to) = link;
            let outcome = SnapshotOutcome::Failed;
            self.plan_after(delay, Event::SnapshotNews { node, to, incarnation, outcome, cause });
        }
    }

    /// The last byte of a snapshot arrives, if the connection still stands.
    pub(super) fn snapshot_arrives(&mut self, arrived: Arrived, cause: u64) {
        let (from, to) = arrived.copy.link;
        let runs = |id, incarnation| {
            let host = self.hosts.get(&id).filter(|host| host.incarnation == incarnation);
            host.is_some_and(|host| host.process.is_some())
        };
        let stands = runs(from, arrived.incarnations.0) && runs(to, arrived.incarnations.1);
        let cut = self.network.cut_of((from, to)).or_else(|| self.network.cut_of((to, from)));
        let is_whole = check_snapshot(&arrived.data, arrived.meta.last).is_ok();
        if stands && cut.is_none() && is_whole {
            self.network.arrived(&mut self.ledger, &arrived.copy);
            return self.ask_disk(to, Job::Keep(arrived), cause);
        }
        if let Some(fault) = cut {
            self.ledger.matter(fault);
        }
        self.ledger.matter(Fault::SnapshotLost);
        self.emissions.push(Emission::View(None));
        let lost = self.emit(Some(cause), Some(to), What::SnapshotLost { from, meta: arrived.meta });
        self.fail((from, to), arrived.incarnations.0, lost, lost);
    }

    /// A snapshot that has arrived is in its file: the node is told, and then the sender.
    pub(super) fn kept(&mut self, node: NodeId, incarnation: u64, arrived: Arrived, durable: bool, cause: u64) {
        let Arrived { copy, term, meta, incarnations, .. } = arrived;
        let (from, last) = (copy.link.0, meta.last);
        let what = What::SnapshotReceived { from, term, meta: meta.clone(), durable };
        let input = NodeInput::SnapshotReceived { from, term, meta };
        let named = self.call(node, vec![Given::new(Some(cause), what, input)]);
        self.delete_unless_named(node, incarnation, last, named == Some(last));
        if self.process_of(node, incarnation).is_none() {
            return;
        }
        let up = self.hosts.get(&from).is_some_and(|host| host.process.is_some());
        let link = (node, from);
        let kind = INSTALL_SNAPSHOT_RESPONSE;
        let sending = self.network.send(&mut self.choices, &mut self.ledger, link, kind, up);
        for copy in sending.copies.into_iter().flatten() {
            let outcome = SnapshotOutcome::Delivered;
            let news = Event::SnapshotNews { node: from, to: node, incarnation: incarnations.0, outcome, cause };
            self.plan_after(copy.delay, news);
        }
    }

    /// The sender's host hears what became of a snapshot. It may have sent another since: it says what it hears.
    pub(super) fn snapshot_news(
        &mut self,
        node: NodeId,
        to: NodeId,
        incarnation: u64,
        outcome: SnapshotOutcome,
        cause: u64,
    ) {
        if self.process_of(node, incarnation).is_some() {
            let what = What::SnapshotOutcome { to, outcome };
            self.call(node, vec![Given::new(Some(cause), what, NodeInput::SnapshotSent { to, outcome })]);
        }
    }

    /// The node is told to take a snapshot now. One that is paused does not hear it.
    pub(crate) fn take_snapshot(&mut self, node: NodeId) {
        if self.hosts.get(&node).is_some_and(|host| !host.paused) {
            self.call(node, vec![Given::new(None, What::SnapshotWished, NodeInput::TakeSnapshot)]);
        }
    }
}
