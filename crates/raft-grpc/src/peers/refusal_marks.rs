//! The refusals of a stream that mean something to the caller's program: metadata marks them, so that their texts can change.

use raft_core::NodeId;
use tonic::Status;
use tonic::metadata::MetadataValue;

/// The metadata that marks a refusal.
const REFUSED: &str = "raft-refused";
/// The caller has another disk than at its first call: it must end.
const ANOTHER_DISK: &str = "another-disk";
/// The caller is no member: it may only ask whether it is one.
const NOT_A_MEMBER: &str = "not-a-member";

pub(crate) fn another_disk_message(node: NodeId) -> String {
    let id = node.0;
    format!(
        "node {id} is known with another disk: if its disk was lost, remove node {id} and add the machine under a new id"
    )
}

pub(super) fn another_disk(node: NodeId) -> Status {
    marked(ANOTHER_DISK, another_disk_message(node))
}

pub(super) fn is_another_disk(status: &Status) -> bool {
    has(status, ANOTHER_DISK)
}

pub(super) fn not_a_member(message: String) -> Status {
    marked(NOT_A_MEMBER, message)
}

pub(super) fn is_not_a_member(status: &Status) -> bool {
    has(status, NOT_A_MEMBER)
}

fn marked(mark: &'static str, message: String) -> Status {
    let mut status = Status::failed_precondition(message);
    status.metadata_mut().insert(REFUSED, MetadataValue::from_static(mark));
    status
}

fn has(status: &Status, mark: &str) -> bool {
    status.metadata().get(REFUSED).is_some_and(|refused| refused == mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn a_refusal_is_known_by_its_mark_and_not_by_its_message() {
        let refused = another_disk(NodeId(2));
        assert!(is_another_disk(&refused) && refused.code() == Code::FailedPrecondition);
        let over_the_wire = Status::from_header_map(refused.into_http::<()>().headers()).expect("a status");
        assert!(is_another_disk(&over_the_wire) && !is_not_a_member(&over_the_wire), "{over_the_wire:?}");
        let message = another_disk_message(NodeId(2));
        assert_eq!(over_the_wire.message(), message);
        assert!(!message.contains('\n'));
        assert!(!is_another_disk(&Status::failed_precondition(message.clone())), "the message is not the mark");
        let other = not_a_member(message);
        assert!(!is_another_disk(&other) && is_not_a_member(&other), "{other:?}");
    }
}
