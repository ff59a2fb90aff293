//! Clusters of real processes for tests: started, killed, asked, and gone when the test ends.
//!
//! In reading order: `command` runs the binary to its end, `ports` are the cluster's own for as long as it lives, `node`
//! is one process, `cluster` all of them, `load` what clients ask meanwhile and the judgement over the answers. Nothing
//! here waits for a time: it waits for a condition, with a deadline that is far away.

pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod dev;
pub(crate) mod folder;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod wait;
