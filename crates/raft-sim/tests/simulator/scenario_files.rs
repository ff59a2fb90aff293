//! Scenario files: a refusal names its line, its field and a valid value; an accepted file is the same after it is
//! written and read again; no file causes a panic.

use proptest::prelude::*;
use raft_core::{LogIndex, NodeId, Term};
use raft_sim::scenario::feature::FEATURES;
use raft_sim::scenario::model::{Condition, Expectations, Links, StepAction, Targets, Trigger};
use raft_sim::scenario::parse::{Recorded, ScenarioFile, parse};
use raft_sim::scenario::write::write;
use std::time::Duration;

/// A valid file that tests change. Its header takes lines 1 to 6, so text that a test appends begins in line 7.
const HEADER: &str = r#"version = 1
title = "A title"
story = "A story."
source = "Raft §5.2"
nodes = 3
duration = "10s"
"#;

fn read(text: &str) -> Result<ScenarioFile, String> {
    parse("story.toml", text.as_bytes()).map_err(|problems| problems.to_string())
}

/// `malformed.txt` has text to append to a valid file, with a blank line between two cases, and each refusal after
/// `=>`.
#[test]
fn malformed_files_are_refused_with_line_field_and_suggestion() {
    let cases: Vec<&str> = include_str!("malformed.txt").split("\n\n").collect();
    for case in &cases {
        let (expected, appended): (Vec<&str>, Vec<&str>) = case.lines().partition(|line| line.starts_with("=> "));
        let refusal = read(&format!("{HEADER}{}\n", appended.join("\n"))).expect_err(case);
        assert_eq!(refusal, expected.join("\n").replace("=> ", "story.toml:"), "of:\n{case}");
    }
    assert_eq!(cases.len(), 104);
}

/// A feature that exists is in this swarm, too: a new one is not forgotten.
#[test]
fn the_swarm_of_all_faults_has_every_feature() {
    let text = include_bytes!("../../../../sim-scenarios/swarm-all.toml");
    let file = parse("swarm-all.toml", text).expect("a valid file");
    let swarm = file.scenario.swarm.expect("a swarm");
    let missing: Vec<&str> =
        FEATURES.iter().filter(|(feature, _)| !swarm.features.contains(feature)).map(|(_, name)| *name).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn headers_are_checked_too() {
    assert_eq!(read("").expect_err("empty"), "story.toml:1: version: `version` is missing");
    let other = HEADER.replace("version = 1", "version = 2");
    let known = "story.toml:1: version: version 2 is not known; this build reads version 1";
    assert_eq!(read(&other).expect_err("another version"), known);
    let unreached_step = HEADER.replace("story = \"A story.\"\n", "").replace("nodes = 3", "nodes = 10");
    let both = "story.toml:1: story: `story` is missing\nstory.toml:4: nodes: expected an integer from 1 to 9, found integer `10`";
    assert_eq!(read(&unreached_step).expect_err("two problems at once"), both);
    let silent = HEADER.replace("A story.", " ");
    assert_eq!(read(&silent).expect_err("an empty story"), "story.toml:3: story: is empty");
    let broken = read(&format!("{HEADER}[raft\n")).expect_err("no TOML");
    assert!(broken.starts_with("story.toml:7: "), "{broken}");
    let binary = parse("story.toml", b"version = 1\n\xff").expect_err("no text");
    assert_eq!(binary.to_string(), "story.toml:2: the text is not UTF-8");
}

#[test]
fn a_scenario_means_what_it_says() {
    let steps = r#"
[[when]]
leader_appended = "any"
min_term = 2
after = "10ms"
cut = "leader>n1 n2"

[[at]]
time = "1s"
isolate = "leader"
"#;
    let scenario = read(&format!("{HEADER}{steps}")).expect("a good file").scenario;
    assert_eq!((scenario.name.as_str(), scenario.nodes), ("story", 3));
    assert_eq!(scenario.raft.election_timeout, Duration::from_millis(150)..Duration::from_millis(300));
    let [at, when] = scenario.steps.as_slice() else { panic!("two steps: {:?}", scenario.steps) };
    assert_eq!(at.trigger, Trigger::At(Duration::from_secs(1)));
    let links = Links { from: Targets::Leader, to: Targets::All, one_way: false };
    assert_eq!(at.action, StepAction::Cut { links: vec![links] });
    let condition = Condition::LeaderAppended { node: None, min_term: Term(2) };
    assert_eq!(when.trigger, Trigger::When { condition, after: Duration::from_millis(10) });
    let to = Targets::Nodes([NodeId(1), NodeId(2)].into());
    let links = Links { from: Targets::Leader, to, one_way: true };
    assert_eq!(when.action, StepAction::Cut { links: vec![links] });
}

#[test]
fn clocks_jump_both_ways() {
    let steps = "\n[[at]]\ntime = \"1s\"\njump = \"n1\"\nby = \"-1.5s\"\n\n[[at]]\ntime = \"1s\"\nsuspend = \"n2\"\n";
    let scenario = read(&format!("{HEADER}{steps}")).expect("a good file").scenario;
    let nodes = |id| Targets::Nodes([NodeId(id)].into());
    let actions: Vec<StepAction> = scenario.steps.iter().map(|step| step.action.clone()).collect();
    let jump = StepAction::Jump { nodes: nodes(1), by: -1_500_000_000 };
    assert_eq!(actions, [jump, StepAction::Suspend { nodes: nodes(2) }]);
    let recorded = Recorded { scenario: "story".to_owned(), seed: 3, hash: None, property: None, build: None };
    let text = write(&scenario, &recorded).expect("written");
    assert_eq!(parse("story.toml", text.as_bytes()).map(|file| file.scenario), Ok(scenario));
}

#[test]
fn a_step_that_never_triggers_names_its_line_and_condition() {
    let steps = "\n[[when]]\nleader = \"any\"\nheal = true\n\n[[when]]\nleader = \"any\"\nmin_term = 99\nheal = true\n";
    let mut scenario = read(&format!("{HEADER}{steps}")).expect("a good file").scenario;
    scenario.duration = Duration::from_secs(2);
    let failures = raft_sim::run::run(&scenario, 1, &mut ()).failures;
    let words = "story.toml:12: step 2 of 2 (`leader = \"any\", min_term = 99`) never triggered; 1 steps did not run";
    assert_eq!(failures, [words]);
}

/// Every word of the format once, some with characters that need escapes in TOML.
const EVERYTHING: &str = include_str!("everything.toml");

#[test]
fn what_is_written_is_read_back() {
    let mut scenario = read(EVERYTHING).expect("a good file").scenario;
    scenario.story = "Two\nlines, a \"quote\" and '''three'''.".to_owned();
    assert_eq!(scenario.expect.logs.get(&NodeId(2)), Some(&vec![Term(1)]));
    let waits: Vec<bool> = scenario.steps.iter().map(|step| matches!(step.trigger, Trigger::When { .. })).collect();
    assert!(waits.contains(&true) && waits.is_sorted(), "the times come first");
    assert!(scenario.steps.iter().any(|step| matches!(
        &step.trigger,
        Trigger::When { condition: Condition::Holds { index: LogIndex(7), term: None, .. }, .. }
    )));
    let recorded = Recorded {
        scenario: "story".to_owned(),
        seed: u64::from(u32::MAX),
        hash: Some(0x00ab_cdef),
        property: Some("election safety".to_owned()),
        build: Some("00ff12".to_owned()),
    };
    let text = write(&scenario, &recorded).expect("written");
    let again = parse("elsewhere/recorded.toml", text.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let path = "elsewhere/recorded.toml".to_owned();
    assert_eq!(
        again,
        ScenarioFile { scenario: raft_sim::scenario::model::Scenario { path, ..scenario }, recorded: Some(recorded) }
    );
}

#[test]
fn the_guided_tour_is_readable_and_survives_being_recorded() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../sim-scenarios");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the tour is there") {
        let path = entry.expect("a file").path();
        // Regressions have a separate folder and explain less.
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("readable");
        let scenario = parse("tour.toml", &bytes).unwrap_or_else(|problems| panic!("{name}: {problems}")).scenario;
        assert!(scenario.story.split_whitespace().count() > 30, "{name}: the story is too short for a reader");
        assert_ne!(scenario.expect, Expectations::default(), "{name} expects nothing");
        let recorded = Recorded { scenario: "tour".to_owned(), seed: 3, hash: None, property: None, build: None };
        let again = parse("tour.toml", write(&scenario, &recorded).expect("written").as_bytes());
        assert_eq!(again, Ok(ScenarioFile { scenario, recorded: Some(recorded) }), "{name}");
        files += 1;
    }
    assert!(files >= 22, "{files} files");
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse("bytes.toml", &bytes);
    }

    /// Mixed and cut lines of a valid file: they are close enough to the format to reach every reader.
    #[test]
    fn no_mixture_of_good_lines_panics(places in proptest::collection::vec(0..240_usize, 0..60), cut in 0..3_000_usize) {
        let lines: Vec<&str> = EVERYTHING.lines().collect();
        let mixed: Vec<&str> = places.iter().filter_map(|place| lines.get(place % lines.len()).copied()).collect();
        let mixed = format!("{HEADER}{}", mixed.join("\n"));
        let bytes = mixed.as_bytes();
        if let Err(problems) = parse("mixed.toml", bytes.get(..cut).unwrap_or(bytes)) {
            prop_assert!(!problems.list.is_empty(), "refused without a reason");
        }
    }
}
