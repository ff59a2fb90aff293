//! The protocol, seen from outside: every test that drives replicas, in one program, so that the cluster they share is
//! compiled once.

mod cluster;
mod contract_answers;
mod contract_bounds;
mod contract_elections;
mod contract_leases;
mod contract_membership;
mod contract_priority;
mod contract_progress;
mod contract_promises;
mod contract_readback;
mod contract_refusals;
mod contract_snapshots;
mod contract_stalls;
mod contract_time;
mod contract_transfer;
mod digests;
mod figure_2;
mod figure_3;
mod total;
mod traces;
