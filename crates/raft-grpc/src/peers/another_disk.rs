//! The refusal of a peer with another disk than the known one: its message, and the mark that makes the peer end.

use raft_core::NodeId;
use tonic::Status;
use tonic::metadata::MetadataValue;

/// The metadata that marks this refusal.
const REFUSED: &str = "raft-refused";
const ANOTHER_DISK: &str = "another-disk";

pub(crate) fn message(node: NodeId) -> String {
    let id = node.0;
    format!(
        "node {id} is known with another disk: if its disk was lost, remove node {id} and add the machine under a new id"
    )
}

pub(super) fn refusal(node: NodeId) -> Status {
    let mut status = Status::failed_precondition(message(node));
    status.metadata_mut().insert(REFUSED, MetadataValue::from_static(ANOTHER_DISK));
    status
}

pub(super) fn is_another_disk(status: &Status) -> bool {
    status.metadata().get(REFUSED).is_some_and(|refused| refused == ANOTHER_DISK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn the_refusal_is_known_by_its_mark_and_not_by_its_message() {
        let refused = refusal(NodeId(2));
        assert!(is_another_disk(&refused) && refused.code() == Code::FailedPrecondition);
        let over_the_wire = Status::from_header_map(refused.into_http::<()>().headers()).expect("a status");
        assert!(is_another_disk(&over_the_wire), "{over_the_wire:?}");
        assert_eq!(over_the_wire.message(), message(NodeId(2)));
        assert!(!message(NodeId(2)).contains('\n'));
        assert!(!is_another_disk(&Status::failed_precondition(message(NodeId(2)))), "the message is not the mark");
        let mut other = Status::failed_precondition("no");
        other.metadata_mut().insert(REFUSED, MetadataValue::from_static("another reason"));
        assert!(!is_another_disk(&other));
    }
}
