//! A peer that is known with another disk: how it is told, and how it knows that it must end. Who is known, and with which
//! disk, the store decides.

use raft_core::NodeId;
use tonic::Status;
use tonic::metadata::MetadataValue;

/// The key and the value by which a program knows this refusal from others.
const REFUSED: &str = "raft-refused";
const ANOTHER_DISK: &str = "another-disk";

/// What is wrong, and what to do.
pub(crate) fn words(node: NodeId) -> String {
    let id = node.0;
    format!(
        "node {id} is known with another disk: if its disk was lost, remove node {id} and add the machine under a new id"
    )
}

/// The answer to the hello of such a node.
pub(super) fn another_disk(node: NodeId) -> Status {
    let mut status = Status::failed_precondition(words(node));
    status.metadata_mut().insert(REFUSED, MetadataValue::from_static(ANOTHER_DISK));
    status
}

/// Whether this is such an answer.
pub(super) fn is_another_disk(status: &Status) -> bool {
    status.metadata().get(REFUSED).is_some_and(|refused| refused == ANOTHER_DISK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn the_refusal_is_known_by_its_mark_and_not_by_its_words() {
        let refusal = another_disk(NodeId(2));
        assert!(is_another_disk(&refusal) && refusal.code() == Code::FailedPrecondition);
        let over_the_wire = Status::from_header_map(refusal.into_http::<()>().headers()).expect("a status");
        assert!(is_another_disk(&over_the_wire), "{over_the_wire:?}");
        assert_eq!(over_the_wire.message(), words(NodeId(2)));
        assert!(!words(NodeId(2)).contains('\n'));
        assert!(!is_another_disk(&Status::failed_precondition(words(NodeId(2)))), "the words alone are no mark");
        let mut other = Status::failed_precondition("no");
        other.metadata_mut().insert(REFUSED, MetadataValue::from_static("another reason"));
        assert!(!is_another_disk(&other));
    }
}
