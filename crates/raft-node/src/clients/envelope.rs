//! The command bytes of a log entry (`proto/session.proto`): the state machine's command and its place in a session.
//!
//! This file must not know the effect of a session: see `sessions`.

use crate::interface::requests::{SessionCommand, SessionId};
use bytes::Bytes;
use prost::Message;
use raft_proto::wire::session;
use raft_proto::wire::session::session_command::Kind;

/// The content of a command entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Open a session. Its name is the index of this entry.
    OpenSession,
    /// Apply a command exactly once.
    Command(SessionCommand),
    /// Apply a command of the leader's own state machine, outside sessions. It may be applied twice without harm.
    Internal(Bytes),
}

impl Envelope {
    /// The bytes of a log entry.
    pub fn encode(self) -> Bytes {
        let kind = match self {
            Self::OpenSession => Kind::OpenSession(session::OpenSession {}),
            Self::Command(SessionCommand { session: SessionId(session), sequence, lowest_pending, command }) => {
                Kind::Command(session::Command { session, sequence, lowest_pending, command })
            }
            Self::Internal(command) => Kind::Internal(session::InternalCommand { command }),
        };
        session::SessionCommand { kind: Some(kind) }.encode_to_vec().into()
    }

    /// Decodes the bytes of a log entry; `None` if they are not an envelope. The command shares their memory.
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        Some(match session::SessionCommand::decode(bytes.clone()).ok()?.kind? {
            Kind::OpenSession(session::OpenSession {}) => Self::OpenSession,
            Kind::Command(session::Command { session, sequence, lowest_pending, command }) => {
                Self::Command(SessionCommand { session: SessionId(session), sequence, lowest_pending, command })
            }
            Kind::Internal(session::InternalCommand { command }) => Self::Internal(command),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_no_envelope_are_refused() {
        for garbage in [&b""[..], b"\xff", b"\x12\x7f", b"garbage"] {
            assert_eq!(Envelope::decode(&Bytes::from_static(garbage)), None, "{garbage:?}");
        }
    }

    proptest! {
        #[test]
        fn round_trip(session: u64, sequence: u64, lowest_pending: u64, command: Vec<u8>) {
            let (session, command) = (SessionId(session), Bytes::from(command));
            let internal = Envelope::Internal(command.clone());
            let in_session = Envelope::Command(SessionCommand { session, sequence, lowest_pending, command });
            for envelope in [Envelope::OpenSession, internal, in_session] {
                prop_assert_eq!(Envelope::decode(&envelope.clone().encode()), Some(envelope));
            }
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(garbage: Vec<u8>) {
            if let Some(envelope) = Envelope::decode(&Bytes::from(garbage)) {
                prop_assert_eq!(Envelope::decode(&envelope.clone().encode()), Some(envelope));
            }
        }
    }
}
