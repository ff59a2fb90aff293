//! Everything that users and hosts exchange with a node: inputs, outputs, requests, disk jobs, options, the state machine.

pub(crate) mod disk_jobs;
pub(crate) mod forwards;
pub(crate) mod inputs;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod outputs;
pub(crate) mod requests;
pub(crate) mod state_machine;
