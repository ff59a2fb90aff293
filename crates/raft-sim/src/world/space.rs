//! Room on a node's disk: the disk makes some ahead when nothing else waits, and the node hears how much there is.
//!
//! When, is decided where every host asks (`raft_store::Lookout`). This file must not decide it.

use super::World;
use super::call::Given;
use crate::lane::{Job, Working};
use crate::record::What;
use crate::rng::Site;
use raft_core::NodeId;
use raft_node::NodeInput;
use raft_store::Space;

const TEND: Site = Site::new("disk tends");
const APART: Site = Site::new("space told apart");

impl World {
    /// A node that keeps a reserve has started: it hears what room there is before anything else, and its disk makes more.
    pub(super) fn look_out(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let bytes = host.reserve_bytes();
        let Some(process) = host.process.as_mut().filter(|_| bytes > 0) else { return };
        let word = process.lookout.news(&process.store);
        let kept = self.emit(None, Some(node), What::ReserveKept { bytes });
        self.tell_of_space(node, word, Some(kept));
        if self.hosts.get(&node).and_then(|host| host.process.as_ref()).is_some_and(|process| process.working.is_none())
        {
            self.begin_job(node);
        }
    }

    /// Nothing waits for the disk: it makes room ahead, if there is less than is wanted.
    pub(super) fn tend(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut().filter(|process| process.lookout.tends(&process.store)) else {
            return;
        };
        host.tends += 1;
        let n = host.tends;
        match process.lookout.tend(&mut process.store) {
            Ok(word) => self.work(node, Working::Tend { word }, TEND, n),
            Err(error) => self.store_failed(node, &error.to_string()),
        }
    }

    /// The node asks for space.
    pub(super) fn ask_for_space(&mut self, node: NodeId, input: u64) {
        let asked = self.emit(Some(input), Some(node), What::SpaceAsked);
        self.ask_disk(node, Job::Space, asked);
    }

    /// The node hears a word about its room, if there is one.
    pub(super) fn tell_of_space(&mut self, node: NodeId, word: Option<Space>, cause: Option<u64>) {
        let given = word.map(|word| told(word, cause));
        self.call(node, given.into_iter().collect());
    }

    /// The node hears that writes are durable, and before that a word about its room, if there is one: in the same call or in
    /// one before, for a host may do either.
    pub(super) fn durable(&mut self, node: NodeId, word: Option<Space>, persisted: Given, wrote: u64) {
        let mut given: Vec<Given> = word.map(|word| told(word, Some(wrote))).into_iter().collect();
        if !given.is_empty() && self.choices.draw(APART, node.0, wrote).chance_ppm(500_000) {
            self.call(node, std::mem::take(&mut given));
        }
        given.push(persisted);
        self.call(node, given);
    }
}

fn told(word: Space, cause: Option<u64>) -> Given {
    let is_low = word == Space::Low;
    Given::new(cause, What::SpaceTold { is_low }, NodeInput::Space { is_low })
}
