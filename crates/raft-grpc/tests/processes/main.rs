//! The binary as users run it, in real processes. All of its tests are in one program, so their shared code is compiled
//! once.

mod backups;
mod client_commands;
mod command_line;
mod dev;
mod earlier_command_lines;
mod forwarding;
mod full_disk;
mod hostile;
mod leases;
mod lost_disk;
mod members;
mod refusals;
mod sigkills;
mod snapshots;
mod support;
mod three_processes;
mod watches;
