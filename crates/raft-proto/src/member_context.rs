//! What the hosts store with a member of a configuration: its addresses. Opaque to the core.

use crate::wire::raft::MemberContext;
use bytes::Bytes;
use prost::Message;

/// The bytes of a member's context; equal contexts have equal bytes.
pub fn member_context_to_bytes(context: &MemberContext) -> Bytes {
    context.encode_to_vec().into()
}

/// A member's context. Bytes that are none, and no bytes, say nothing about the member.
pub fn member_context_from_bytes(bytes: &Bytes) -> MemberContext {
    MemberContext::decode(bytes.clone()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read_back_and_other_bytes_say_nothing() {
        let context = MemberContext {
            peer_url: "http://[::1]:7070".to_owned(),
            client_url: "http://localhost:7071".to_owned(),
            cluster: "raft".to_owned(),
        };
        assert_eq!(member_context_from_bytes(&member_context_to_bytes(&context)), context);
        assert!(member_context_to_bytes(&MemberContext::default()).is_empty());
        for bytes in [&b""[..], b"\xff\xff", b"\x0a\x7fx"] {
            assert_eq!(member_context_from_bytes(&Bytes::from_static(bytes)), MemberContext::default());
        }
    }
}
