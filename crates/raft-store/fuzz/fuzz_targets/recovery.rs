//! Fuzzes the start of a node with random folders and with damaged ones: see raft-store's `conformance::check_bytes`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    raft_store::conformance::check_bytes(bytes);
});
