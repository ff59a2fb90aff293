//! The stream of a watch: it sends each answer to the client and the next query, which the answer contains, to the
//! node.
//!
//! It sends the next query only when there is space for its answer, so a slow client delays no other. A client that is
//! too slow ends: the node no longer remembers the changes that it missed, or an answer waits too long.

use bytes::Bytes;
use raft_node::Reply;
use raft_proto::wire::raft as w;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

type Answers = mpsc::Sender<Result<w::WatchResponse, Status>>;

/// Space for one answer, and for the end of the stream, which fits even if the client does not take that answer.
pub(super) fn channel() -> (Answers, ReceiverStream<Result<w::WatchResponse, Status>>) {
    let (answers, stream) = mpsc::channel(2);
    (answers, ReceiverStream::new(stream))
}

/// Feeds the stream until there is no next query, the client is gone, or the node ends.
pub(super) async fn feed<F: Future<Output = Reply>>(
    mut query: Bytes,
    ask: impl Fn(Bytes) -> F,
    refuse: impl Fn(Reply) -> w::Refused,
    answers: Answers,
    closing: &CancellationToken,
    limit: Duration,
) {
    use w::watch_response::Outcome;
    let Ok(last_place) = answers.clone().reserve_owned().await else { return };
    let says = |outcome| w::WatchResponse { outcome: Some(outcome) };
    let ends = loop {
        let reply = tokio::select! {
            reply = ask(query) => reply,
            () = answers.closed() => return,
            () = closing.cancelled() => break Err(Status::unavailable("the node is ending: continue at another")),
        };
        let Reply::Watched { applied, response, next } = reply else { break Ok(says(Outcome::Refused(refuse(reply)))) };
        let answer = says(Outcome::Answer(w::Answer { applied: applied.0, response }));
        let Some(next) = next else { break Ok(answer) };
        query = next;
        let sent = tokio::select! {
            sent = answers.send_timeout(Ok(answer), limit) => sent,
            () = closing.cancelled() => break Err(Status::unavailable("the node is ending: continue at another")),
        };
        match sent {
            Ok(()) => {}
            Err(mpsc::error::SendTimeoutError::Closed(_)) => return,
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => {
                let message = format!("the watch is too slow: an answer was not taken for {limit:?}");
                break Err(Status::resource_exhausted(message));
            }
        }
    };
    last_place.send(ends);
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_core::{LogIndex, RejectReason};
    use std::cell::Cell;
    use std::future::ready;
    use tokio_stream::StreamExt;
    use tonic::Code;

    /// Answers with the query itself and returns a longer next query; it ends at four bytes.
    fn echo(query: Bytes) -> Reply {
        let next = (query.len() < 4).then(|| [&query[..], b"+"].concat().into());
        Reply::Watched { applied: LogIndex(7), response: query, next }
    }

    fn refuse(_: Reply) -> w::Refused {
        w::Refused { reason: Some(w::refused::Reason::Busy(w::Busy {})) }
    }

    fn said(response: Option<Result<w::WatchResponse, Status>>) -> String {
        use w::watch_response::Outcome;
        match response {
            Some(Ok(w::WatchResponse { outcome: Some(Outcome::Answer(answer)) })) => {
                format!("{:?} at {}", answer.response, answer.applied)
            }
            Some(Ok(response)) => format!("{:?}", response.outcome),
            Some(Err(status)) => format!("{:?}", status.code()),
            None => "the end".to_owned(),
        }
    }

    #[tokio::test]
    async fn answers_follow_each_other_until_there_is_nothing_to_ask() {
        let (answers, mut stream) = channel();
        let closing = CancellationToken::new();
        let fed = feed(Bytes::from_static(b"ab"), |query| ready(echo(query)), refuse, answers, &closing, TIMEOUT);
        let read = async {
            let mut lines = Vec::new();
            loop {
                lines.push(said(stream.next().await));
                if lines.last().is_some_and(|line| line == "the end") {
                    return lines;
                }
            }
        };
        let ((), lines) = tokio::join!(fed, read);
        assert_eq!(lines, ["b\"ab\" at 7", "b\"ab+\" at 7", "b\"ab++\" at 7", "the end"]);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_told_why_it_ends_and_no_more_is_asked_meanwhile() {
        let (answers, mut stream) = channel();
        let (closing, asked) = (CancellationToken::new(), Cell::new(0));
        let ask = |_| {
            asked.set(asked.get() + 1);
            ready(echo(Bytes::from_static(b"x")))
        };
        feed(Bytes::new(), ask, refuse, answers, &closing, TIMEOUT).await;
        assert_eq!(asked.get(), 2, "one in the stream, and one that waits");
        assert_eq!(said(stream.next().await), "b\"x\" at 7");
        let Some(Err(status)) = stream.next().await else { panic!("it ends with a reason") };
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("too slow"), "{status}");
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn it_ends_when_nobody_listens_when_it_is_refused_and_when_the_node_ends() {
        let never = |_| std::future::pending::<Reply>();
        let closing = CancellationToken::new();
        let (answers, stream) = channel();
        drop(stream);
        feed(Bytes::new(), never, refuse, answers, &closing, TIMEOUT).await;

        let (answers, mut stream) = channel();
        let busy = |_| ready(Reply::Rejected { reason: RejectReason::Busy });
        feed(Bytes::new(), busy, refuse, answers, &closing, TIMEOUT).await;
        assert!(said(stream.next().await).contains("Busy"));
        assert!(stream.next().await.is_none());

        let (answers, mut stream) = channel();
        closing.cancel();
        feed(Bytes::new(), never, refuse, answers, &closing, TIMEOUT).await;
        assert_eq!(said(stream.next().await), "Unavailable");
    }
}
