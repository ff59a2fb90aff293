//! Pinned runs: the hash of all events, and the text that people read. A change of either is a change of behaviour, or
//! of the records: review it as code, then accept it (`INSTA_UPDATE=always cargo test`, and the new hash from the
//! message).

use raft_sim::record::Record;
use raft_sim::record::explain;
use raft_sim::run::run;
use raft_sim::scenario::model::Scenario;
use raft_sim::scenario::parse::parse;

fn tour(name: &str) -> Scenario {
    let file = format!("{}/../../sim-scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    parse(&format!("{name}.toml"), &bytes).unwrap_or_else(|problems| panic!("{problems}")).scenario
}

#[test]
fn the_same_scenario_and_seed_give_the_same_trace_hash_on_every_machine() {
    let golden = [
        ("first-election", 0, "a0b0c9fc73371be853afc906caaf0cf2"),
        ("figure-8", 1, "63ac398d34310d502c9ffbd060691c79"),
        ("swarm-all", 2, "b0d8e14f7628f2aceedb6493f5bd9ea8"),
    ];
    let hashes = golden.map(|(name, seed, _)| {
        let result = run(&tour(name), seed, &mut ());
        assert_eq!((result.violation, result.failures), (None, Vec::new()), "{name}");
        (name, seed, format!("{:032x}", result.hash))
    });
    assert_eq!(hashes, golden.map(|(name, seed, expected)| (name, seed, expected.to_owned())));
}

/// The first lines of a run as `raft-sim explain` prints it.
fn explained(name: &str, lines: usize) -> String {
    let mut records: Vec<Record> = Vec::new();
    run(&tour(name), 0, &mut records);
    records.iter().take(lines).map(|record| explain::line(record) + "\n").collect()
}

#[test]
fn an_election_a_vote_that_survives_a_restart_and_the_repair_of_figure_7_as_text() {
    for (name, lines) in [("first-election", 80), ("vote-survives-restart", 60), ("log-repair-figure-7", 120)] {
        insta::assert_snapshot!(name, explained(name, lines));
    }
}
