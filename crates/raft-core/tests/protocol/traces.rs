//! Golden traces: scripts and all their events, as `Display` prints them. Review a changed snapshot like changed code.

use crate::cluster::{Cluster, image, script};
use raft_core::NodeId;

/// Runs a script on three nodes and compares its trace with `snapshots/NAME.snap`.
fn golden(name: &str, script: &str) {
    golden_from(name, Cluster::with(3, |_| ()), script);
}

fn golden_from(name: &str, mut cluster: Cluster, script: &str) {
    let trace = script::run(&mut cluster, script);
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, trace);
    });
}

/// n1 leads term 2 and all nodes are equal; the trace leaves the election out.
const ELECTED: &str = "quiet start; quiet pass 150; quiet campaign n1; quiet settle";

#[test]
fn first_election_of_three_nodes() {
    golden(
        "first_election_of_three_nodes",
        "start; pass 150; campaign n1
         deliver n1 n2; deliver n2 n1; persist n1
         deliver n1 n2 2; persist n2; deliver n2 n1; persist n1; settle",
    );
}

#[test]
fn replication_of_one_command() {
    let script = "propose n1; deliver n1 n2; persist n1; persist n2; deliver n2 n1; settle";
    golden("replication_of_one_command", &format!("{ELECTED}; {script}"));
}

#[test]
fn log_repair() {
    // Raft Figure 7 (f): a follower that led terms 2 and 3 and whose entries no other node has.
    let disks = [
        (NodeId(1), image(6, &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], 3)),
        (NodeId(2), image(3, &[1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3], 3)),
        (NodeId(3), image(6, &[1, 1, 1, 4, 4, 5, 5, 6, 6, 6], 3)),
    ];
    golden_from(
        "log_repair",
        Cluster::of_disks(disks.into_iter().collect(), |_| ()),
        "quiet start; quiet pass 150; cut n2; quiet campaign n1; quiet settle
         mend n2; quiet pass 50; quiet drop n1 n2 9; quiet drop n2 n1 9
         pass 50; deliver n1 n2; persist n2; deliver n2 n1
         deliver n1 n2; persist n2; deliver n2 n1",
    );
}

#[test]
fn a_vote_survives_a_restart() {
    golden(
        "a_vote_survives_a_restart",
        "quiet start; quiet pass 150; quiet campaign n1; quiet campaign n3
         quiet deliver n1 n2; quiet deliver n3 n2; quiet deliver n2 n1; quiet deliver n2 n3
         quiet persist n1; quiet persist n3
         deliver n1 n2; crash n2 1; restart n2; quiet pass 150; deliver n3 n2; deliver n2 n3",
    );
}

#[test]
fn a_leader_cut_off_steps_down() {
    let script = "cut n1; propose n1; read n1; quiet pass 299; wait n1";
    golden("a_leader_cut_off_steps_down", &format!("{ELECTED}; {script}"));
}

#[test]
fn a_read_round() {
    golden("a_read_round", &format!("{ELECTED}; read n1; read n1; deliver n1 n2; deliver n2 n1; settle"));
}
