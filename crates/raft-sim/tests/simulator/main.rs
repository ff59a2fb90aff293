//! Tests of the simulator from outside. All of them are in one program, so their shared code is compiled once.

mod cli;
mod deploy;
mod dying;
mod explorer;
mod folder_on_sim_disk;
mod golden;
mod marks;
mod regressions;
mod scenario_files;
mod store_on_sim_disk;
