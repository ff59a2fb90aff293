//! Any bytes, read as a node's folder, or as the life of one and the damage done to it: a start opens it or refuses with a
//! reason, and invents nothing. What that means, and how it is judged, is raft-store's `conformance::judge_bytes`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    raft_store::conformance::judge_bytes(bytes);
});
