//! Reads arbitrary bytes as inputs of one replica. Expects no panic, a deadline in the future, and memory within the
//! limits.
#![no_main]

#[path = "../../tests/protocol/inputs.rs"]
mod inputs;

use inputs::Bytes;
use libfuzzer_sys::fuzz_target;
use raft_core::{Action, Config, Configuration, Input, Instant, Message, NodeId, Raft, RecoveredState, WriteId};

fn replica(bytes: &mut Bytes<'_>) -> Raft {
    let config = Config {
        observe: true,
        lease_reads: bytes.flag(),
        pre_vote: bytes.flag(),
        max_cached_bytes: 200,
        max_apply_bytes: 200,
        max_unpersisted_bytes: 2_000,
        max_uncommitted_bytes: 2_000,
        max_append_bytes: 200,
        trailing_entries: 1,
        ..Config::new(NodeId(1))
    };
    let voters = 1..=1 + u64::from(bytes.below(3));
    Raft::new(config, RecoveredState::bootstrap(Configuration::of_voters(voters.map(NodeId)))).expect("a legal start")
}

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = Bytes(bytes);
    let mut raft = replica(&mut bytes);
    let (mut now, mut last_write) = (Instant(0), WriteId(0));
    while !bytes.0.is_empty() {
        now = Instant(now.0.saturating_add(u64::from(bytes.byte()) * 2_000_000));
        let input = if bytes.below(5) == 0 { Input::Persisted { write: last_write } } else { bytes.input() };
        for action in raft.step(Message { now, input }) {
            if let Action::Persist(write) = action {
                assert!(write.id > last_write);
                last_write = write.id;
            }
        }
        assert!(raft.deadline().is_none_or(|deadline| deadline > now));
        let status = raft.status();
        assert!(status.commit <= status.last.index && status.peers.len() <= 5);
        // One append may bring four entries of 64 bytes, and configurations.
        assert!(status.cached_bytes <= 400 + status.unpersisted_bytes + 1_000);
    }
});
