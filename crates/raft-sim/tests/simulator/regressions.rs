//! Runs that once showed a mistake, kept in `sim-scenarios/regressions`: none of them shows it any more.

use raft_sim::run::run;
use raft_sim::scenario::parse::parse;

#[test]
fn what_was_mended_stays_mended() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim-scenarios/regressions");
    let mut runs = 0;
    for entry in std::fs::read_dir(folder).expect("the regressions are there") {
        let path = entry.expect("a file").path();
        let bytes = std::fs::read(&path).expect("readable");
        let scenario = parse(&path.to_string_lossy(), &bytes).unwrap_or_else(|problems| panic!("{problems}")).scenario;
        for seed in scenario.seeds.clone() {
            let result = run(&scenario, seed, &mut ());
            assert_eq!((result.violation, result.failures), (None, Vec::new()), "{} with seed {seed}", scenario.name);
            runs += 1;
        }
    }
    assert!(runs > 0, "nothing was run");
}
