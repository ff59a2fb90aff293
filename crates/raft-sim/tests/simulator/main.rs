//! The simulator seen from outside: every test of it, in one program, so that what they share is compiled once.

mod cli;
mod dying;
mod folder_on_sim_disk;
mod golden;
mod regressions;
mod scenario_files;
mod store_on_sim_disk;
