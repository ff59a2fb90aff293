//! Who leads, by what the nodes say of themselves.

use raft_grpc::services::client_client::ClientClient;
use raft_proto::wire::raft::{Role, StatusRequest, StatusResponse};
use std::time::Duration;
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

/// How long a node may take to say how it is.
const PATIENCE: Duration = Duration::from_millis(500);

/// The node that leads and is ready, of those with these ids and URLs for clients.
pub(super) async fn find(nodes: Vec<(u64, String)>) -> Option<u64> {
    let mut asked = JoinSet::new();
    for (id, url) in nodes {
        asked.spawn(async move {
            // A node that does not answer is not one that leads.
            let answer = tokio::time::timeout(PATIENCE, status(url)).await.ok()??;
            (answer.id == id).then_some(answer)
        });
    }
    let answers: Vec<StatusResponse> = asked.join_all().await.into_iter().flatten().collect();
    leader_of(&answers)
}

async fn status(url: String) -> Option<StatusResponse> {
    let channel = Endpoint::from_shared(url).ok()?.connect_timeout(PATIENCE).connect().await.ok()?;
    Some(ClientClient::new(channel).status(StatusRequest {}).await.ok()?.into_inner())
}

/// The leader of the newest term: one of an older term has not heard yet that it leads no more.
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
    fn the_leader_of_the_newest_term_leads_once_it_is_ready() {
        let old = status(1, Role::Leader, 3, true);
        let new = status(2, Role::Leader, 4, true);
        let follower = status(3, Role::Follower, 4, true);
        assert_eq!(leader_of(&[old.clone(), new, follower.clone()]), Some(2));
        assert_eq!(leader_of(&[old, follower.clone()]), Some(1));
        assert_eq!(leader_of(&[status(2, Role::Leader, 4, false), follower]), None);
        assert_eq!(leader_of(&[]), None);
    }

    #[test]
    fn nodes_that_do_not_answer_do_not_lead() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let free = super::super::ports::free(1).expect("a free port");
        let urls = vec![(1, super::super::folder::url(free[0].client)), (2, "no URL".to_owned())];
        assert_eq!(runtime.block_on(find(urls)), None);
    }
}
