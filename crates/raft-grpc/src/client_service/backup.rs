//! The stream of a backup: asks the node for one chunk after the other and frames each as the backup file has it.
//!
//! The next chunk is asked for only when there is space for it, so a slow client delays nobody.

use super::{ClientService, LOST};
use crate::inbox::SharedInbox;
use raft_core::RequestId;
use raft_node::{Reply, Request};
use raft_proto::wire::raft as w;
use raft_store::{BackupHeader, BackupWriter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use w::backup_response::Outcome;

/// The longest time for a client to take what was sent.
const TIMEOUT: Duration = Duration::from_secs(30);

type Answers = mpsc::Sender<Result<w::BackupResponse, Status>>;

pub(super) fn start(service: ClientService, stale: bool) -> ReceiverStream<Result<w::BackupResponse, Status>> {
    let (answers, stream) = mpsc::channel(2);
    tokio::spawn(async move {
        let fed = tokio::select! {
            fed = feed(&service, stale, &answers) => fed,
            () = answers.closed() => return,
            () = service.closing.cancelled() => Err(Status::unavailable("the node is ending: begin again at another")),
        };
        if let Err(status) = fed {
            // The client may be gone.
            let _ = answers.send_timeout(Err(status), TIMEOUT).await;
        }
    });
    ReceiverStream::new(stream)
}

/// A backup at the node; a drop cancels it.
struct OpenBackup<'a> {
    inbox: &'a SharedInbox,
    id: RequestId,
}

impl Drop for OpenBackup<'_> {
    fn drop(&mut self) {
        self.inbox.cancel_watch(self.id);
    }
}

async fn feed(service: &ClientService, is_stale: bool, answers: &Answers) -> Result<(), Status> {
    let Some((backup, reply)) = service.inbox.request(Request::BeginBackup { is_stale }) else {
        return send(answers, Outcome::Refused(w::Refused { reason: Some(w::refused::Reason::Busy(w::Busy {})) }))
            .await;
    };
    let _open = OpenBackup { inbox: &service.inbox, id: backup };
    let meta = match reply.await.map_or(Reply::Unknown, |replied| replied.reply) {
        Reply::BackupBegun { meta } => *meta,
        reply => return send(answers, Outcome::Refused(service.refusal(&reply).unwrap_or(LOST))).await,
    };
    let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (mut file, begin) = BackupWriter::begin(&BackupHeader { cluster: service.identity.cluster, time_ms, meta });
    send(answers, Outcome::Data(begin)).await?;
    loop {
        match service.ask(Request::ContinueBackup { backup }).await.reply {
            Reply::BackupChunk { bytes } if bytes.is_empty() => return send(answers, Outcome::Data(file.end())).await,
            Reply::BackupChunk { bytes } => send(answers, Outcome::Data(file.data(&bytes))).await?,
            // Too many requests of others; the node has the backup still.
            Reply::Rejected { .. } => tokio::time::sleep(Duration::from_millis(10)).await,
            _ => return Err(Status::unavailable("the node has lost the backup: begin again")),
        }
    }
}

async fn send(answers: &Answers, outcome: Outcome) -> Result<(), Status> {
    let sent = answers.send_timeout(Ok(w::BackupResponse { outcome: Some(outcome) }), TIMEOUT).await;
    sent.map_err(|_| Status::resource_exhausted(format!("the backup is too slow: nothing was taken for {TIMEOUT:?}")))
}
