//! The bytes of a backup file, as one node sends them. Nothing here is retried: another node's file is another file.

use crate::ask::{cause, reason};
use crate::error::ClientError;
use bytes::Bytes;
use raft_proto::wire::raft::{BackupResponse, backup_response};
use std::time::Duration;
use tonic::Streaming;

/// The longest time between two parts.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A backup that one node sends.
#[derive(Debug)]
pub struct Backup {
    url: String,
    begin: Option<Bytes>,
    stream: Streaming<BackupResponse>,
}

impl Backup {
    pub(crate) fn new(url: String, begin: Bytes, stream: Streaming<BackupResponse>) -> Self {
        Self { url, begin: Some(begin), stream }
    }

    /// The node that sends it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The next bytes of the file; none at its end. The file itself says whether it is complete: verify it.
    ///
    /// # Errors
    /// [`ClientError::NoEffect`] if the node or the connection fails: begin again, with a new file.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        if let Some(begin) = self.begin.take() {
            return Ok(Some(begin));
        }
        let why = match tokio::time::timeout(TIMEOUT, self.stream.message()).await {
            Ok(Ok(None)) => return Ok(None),
            Ok(Ok(Some(BackupResponse { outcome: Some(backup_response::Outcome::Data(data)) }))) => {
                return Ok(Some(data));
            }
            Ok(Ok(Some(BackupResponse { outcome: Some(backup_response::Outcome::Refused(refused)) }))) => {
                reason(&refused)
            }
            Ok(Ok(Some(BackupResponse { outcome: None }))) => "sent an answer that cannot be read".into(),
            Ok(Err(status)) => cause(&status),
            Err(_) => "sent nothing".into(),
        };
        Err(ClientError::NoEffect { after: TIMEOUT, failures: vec![(self.url.clone(), why)] })
    }
}
