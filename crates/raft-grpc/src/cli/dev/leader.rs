//! Finds the leader of a development cluster from the statuses of its nodes.

use raft_client::{Client, ClientOptions, Role, StatusResponse};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(500);

/// The node that leads and is ready, among those with these ids and client URLs.
pub(super) async fn find(nodes: Vec<(u64, String)>) -> Option<u64> {
    let urls = nodes.iter().map(|(_, url)| url);
    let options = ClientOptions { deadline: TIMEOUT, attempt_timeout: Some(TIMEOUT), ..ClientOptions::new(urls) };
    let members = Client::new(options).ok()?.members().await;
    // A node that does not answer does not lead; an unknown id means that a node of another cluster uses this port.
    let answers = members.into_iter().filter_map(|member| member.answer.ok());
    let answers: Vec<StatusResponse> = answers.filter(|status| nodes.iter().any(|(id, _)| *id == status.id)).collect();
    leader_of(&answers)
}

/// The leader of the newest term: a leader of an older term does not know yet that it was replaced.
fn leader_of(answers: &[StatusResponse]) -> Option<u64> {
    let leaders = answers.iter().filter(|status| status.role() == Role::Leader && status.ready);
    leaders.max_by_key(|status| status.term).map(|status| status.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(id: u64, role: Role, term: u64, ready: bool) -> StatusResponse {
        StatusResponse { id, role: role.into(), term, ready, ..StatusResponse::default() }
    }

    #[test]
    fn the_ready_leader_of_the_newest_term_is_found() {
        let old = status(1, Role::Leader, 3, true);
        let new = status(2, Role::Leader, 4, true);
        let follower = status(3, Role::Follower, 4, true);
        assert_eq!(leader_of(&[old.clone(), new, follower.clone()]), Some(2));
        assert_eq!(leader_of(&[old, follower.clone()]), Some(1));
        assert_eq!(leader_of(&[status(2, Role::Leader, 4, false), follower]), None);
        assert_eq!(leader_of(&[]), None);
    }

    #[test]
    fn a_node_that_does_not_answer_does_not_lead() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let free = super::super::ports::free(2).expect("free ports");
        let urls = free.iter().zip(1..).map(|(ports, id)| (id, super::super::folder::url(ports.client))).collect();
        assert_eq!(runtime.block_on(find(urls)), None);
    }
}
