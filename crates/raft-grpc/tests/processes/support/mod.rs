//! Clusters of real processes for tests: they are started, killed and queried, and end with the test.
//!
//! In reading order: `command` runs the binary to its end, `ports` reserves ports for the life of a cluster, `node` is
//! one process, `cluster` all of them, `load` has the clients' requests and the check of their answers. This code never
//! waits for a time: it waits for a condition, with a distant deadline.

pub(crate) mod cluster;
pub(crate) mod command;
pub(crate) mod dev;
pub(crate) mod folder;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod wait;
