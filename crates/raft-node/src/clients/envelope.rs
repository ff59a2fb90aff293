//! What a node puts into the command bytes of a log entry (`proto/session.proto`): the state machine's command, wrapped
//! in what makes it apply exactly once.
//!
//! This file must not know what a session is worth: see `sessions`.

use crate::node::outputs::SessionId;
use bytes::Bytes;
use prost::Message;
use raft_proto::wire::session;

/// The content of a command entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Open a session, named by the index of this entry.
    OpenSession,
    /// Apply a command exactly once.
    Command(SessionCommand),
    /// Apply a command that the leader's state machine has asked for, in no session: it does no harm twice.
    Internal(Bytes),
}

/// A command with its place in a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCommand {
    /// The session.
    pub session: SessionId,
    /// The command's number in the session, from 1; a retry repeats it.
    pub sequence: u64,
    /// The lowest number whose answer the client still waits for: answers below it may be forgotten.
    pub lowest_pending: u64,
    /// The state machine's command, opaque to the node.
    pub command: Bytes,
}

impl Envelope {
    /// As the bytes of a log entry.
    pub fn encode(self) -> Bytes {
        use session::session_command::Kind;
        let kind = match self {
            Self::OpenSession => Kind::OpenSession(session::OpenSession {}),
            Self::Command(SessionCommand { session: SessionId(session), sequence, lowest_pending, command }) => {
                Kind::Command(session::Command { session, sequence, lowest_pending, command })
            }
            Self::Internal(command) => Kind::Own(session::OwnCommand { command }),
        };
        session::SessionCommand { kind: Some(kind) }.encode_to_vec().into()
    }

    /// From the bytes of a log entry; none if they are something else. The command shares their memory.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        use session::session_command::Kind;
        Some(match session::SessionCommand::decode(bytes.clone()).ok()?.kind? {
            Kind::OpenSession(session::OpenSession {}) => Self::OpenSession,
            Kind::Command(session::Command { session, sequence, lowest_pending, command }) => {
                let session = SessionId(session);
                Self::Command(SessionCommand { session, sequence, lowest_pending, command })
            }
            Kind::Own(session::OwnCommand { command }) => Self::Internal(command),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn opening_reads_back_and_other_bytes_are_refused() {
        assert_eq!(Envelope::decode(&Envelope::OpenSession.encode()), Some(Envelope::OpenSession));
        for garbage in [&b""[..], b"\xff", b"\x12\x7f", b"garbage"] {
            assert_eq!(Envelope::decode(&Bytes::from_static(garbage)), None, "{garbage:?}");
        }
    }

    proptest! {
        #[test]
        fn commands_read_back(session: u64, sequence: u64, lowest_pending: u64, command: Vec<u8>) {
            let session = SessionId(session);
            let command = Bytes::from(command);
            let own = Envelope::Internal(command.clone());
            let in_session = Envelope::Command(SessionCommand { session, sequence, lowest_pending, command });
            for envelope in [own, in_session] {
                prop_assert_eq!(Envelope::decode(&envelope.clone().encode()), Some(envelope));
            }
        }

        #[test]
        fn any_bytes_are_survived(garbage: Vec<u8>) {
            if let Some(envelope) = Envelope::decode(&Bytes::from(garbage)) {
                prop_assert_eq!(Envelope::decode(&envelope.clone().encode()), Some(envelope));
            }
        }
    }
}
