//! Room on a node's disk: the disk makes some ahead when nothing else waits, and the node is given how much there is.
//!
//! When, is decided where every host asks ([`raft_node::DiskExecutor`]). This file must not decide it.

use super::World;
use crate::record::RecordKind;
use crate::rng::Site;
use crate::world::host::RecordedInput;
use crate::world::working::Working;
use raft_core::NodeId;
use raft_node::NodeInput;

const PREALLOCATION: Site = Site::new("disk tends");

impl World {
    /// A node that keeps a reserve has started: it is given what room there is before anything else, and its disk makes more.
    pub(super) fn look_out(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let bytes = host.reserve_bytes();
        let Some(process) = host.process.as_mut().filter(|_| bytes > 0) else { return };
        let input = process.executor.start(&process.store);
        let kept = self.emit(None, Some(node), RecordKind::ReserveKept { bytes });
        self.give_space(node, input, Some(kept));
        self.wake(node);
        self.serve_disk(node);
    }

    /// Nothing waits for the disk: it makes room ahead, if there is less than is wanted.
    pub(super) fn preallocate(&mut self, node: NodeId) {
        let Some(host) = self.hosts.get_mut(&node) else { return };
        let Some(process) = host.process.as_mut().filter(|process| process.executor.can_preallocate(&process.store))
        else {
            return;
        };
        match process.executor.preallocate(&mut process.store) {
            Ok(input) => self.work(node, Working::Preallocation { input }, PREALLOCATION),
            Err(error) => self.store_failed(node, &error.to_string()),
        }
    }

    /// The node is given what room there is, if that is to be given.
    pub(super) fn give_space(&mut self, node: NodeId, input: Option<NodeInput>, cause: Option<u64>) {
        if let Some(NodeInput::Space { is_low }) = input {
            self.give(node, RecordedInput::new(cause, RecordKind::SpaceTold { is_low }, NodeInput::Space { is_low }));
        }
    }
}
