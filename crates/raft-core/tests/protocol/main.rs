//! Tests of the protocol from outside. All tests that drive replicas are in one program, so their shared cluster is
//! compiled once. R1, R2 .. are the rules of the core in ARCHITECTURE.md.

mod cluster;
mod digests;
mod durability;
mod elections;
mod figure_2;
mod figure_3;
mod full_disks;
mod inputs;
mod leadership_transfer;
mod leases;
mod limits;
mod log_reads;
mod membership_changes;
mod priorities;
mod refusals;
mod removed_nodes;
mod replication;
mod requests;
mod snapshots;
mod stalled_disks;
mod timers;
mod total;
mod traces;
