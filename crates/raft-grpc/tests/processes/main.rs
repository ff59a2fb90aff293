//! The binary as its users meet it, in real processes: every test of it, in one program, so that what they share is
//! compiled once.

mod client_commands;
mod command_line;
mod dev;
mod earlier_command_lines;
mod hostile;
mod leases;
mod lost_disk;
mod refusals;
mod sigkills;
mod snapshots;
mod support;
mod three_processes;
mod watches;
