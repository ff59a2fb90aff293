//! Scenario files: what is refused is refused with its line, its field and what would be right; what is accepted
//! survives being written and read again; nothing panics.

use proptest::prelude::*;
use raft_core::{LogIndex, NodeId, Term};
use raft_sim::scenario::model::{Condition, Expectations, Links, StepAction, Targets, Trigger};
use raft_sim::scenario::parse::{Recorded, ScenarioFile, parse};
use raft_sim::scenario::write::write;
use std::time::Duration;

/// A good file to break. Its header takes lines 1 to 6, so that what a test appends begins in line 7.
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

/// What is appended to a good file, and how it is refused.
const MALFORMED: &[(&str, &str)] = &[
    ("durration = \"5s\"", "7: durration: unknown field `durration`, did you mean `duration`?"),
    ("seeds = \"5..5\"", "7: seeds: `5..5` is an empty range"),
    ("seeds = 5", "7: seeds: expected seeds such as \"0..100\", found integer `5`"),
    ("[raft]\npre_vote = \"yes\"", "8: raft.pre_vote: expected a boolean, found string \"yes\""),
    (
        "[raft]\nelection_timout = \"1s\"",
        "8: raft.election_timout: unknown field `election_timout`, did you mean `election_timeout`?",
    ),
    (
        "[raft]\nfsync = 1",
        "8: raft.fsync: unknown field `fsync`, known here: election_timeout, heartbeat_interval, pre_vote, check_quorum, stickiness, lease_reads, max_clock_drift_ppm, max_append_bytes, max_inflight_messages, max_write_stall, max_inflight_bytes, max_uncommitted_bytes, max_unpersisted_bytes, max_apply_bytes, max_retained_bytes, max_pending_reads, snapshot_after_entries, trailing_entries, max_cached_bytes, snapshot_chunk_bytes, snapshot_bytes_per_second, snapshot_timeout, snapshot_patience, priority, election_timeout_of, priority_of",
    ),
    ("[raft]\nlease_reads = true\nstickiness = false", "8: raft.lease_reads: needs `stickiness`"),
    ("[raft]\nmax_write_stall = \"0ms\"", "8: raft.max_write_stall: must be above 0"),
    (
        "[raft]\nmax_apply_bytes = 0",
        "8: raft.max_apply_bytes: expected an integer from 1 to 1099511627776, found integer `0`",
    ),
    (
        "[raft]\nmax_pending_reads = 0",
        "8: raft.max_pending_reads: expected an integer from 1 to 1048576, found integer `0`",
    ),
    ("[raft]\npriority = 101", "8: raft.priority: expected an integer from 0 to 100, found integer `101`"),
    ("[raft.priority_of]\nn4 = 0", "8: raft.priority_of.n4: unknown node `n4`: this scenario has n1 to n3"),
    (
        "[raft]\nmax_clock_drift_ppm = 1_000_000",
        "8: raft.max_clock_drift_ppm: expected an integer from 0 to 999999, found integer `1000000`",
    ),
    ("[clients]\nreads = \"leese\"", "8: clients.reads: unknown value `leese`, did you mean `lease`?"),
    ("[raft]\nelection_timeout = \"300ms..150ms\"", "8: raft.election_timeout: `300ms..150ms` ends before it starts"),
    (
        "[raft]\nelection_timeout = \"40ms..80ms\"",
        "8: raft.election_timeout: must start above the heartbeat interval, 50ms",
    ),
    (
        "[raft.election_timeout_of]\nn4 = \"1s\"",
        "8: raft.election_timeout_of.n4: unknown node `n4`: this scenario has n1 to n3",
    ),
    ("[initial.n1]\nlog = [1, 3, 2]", "8: initial.n1.log: the terms of a log never fall, but 2 follows 3"),
    ("[initial.n1]\nlog = [2]", "8: initial.n1.log: must start with an entry of term 1: entry 1 is the configuration"),
    ("[initial.n1]\nlog = [1, 3]\nterm = 2", "9: initial.n1.term: must be at least the last term of the log, 3"),
    ("[initial.n1]\nterm = 2", "7: initial.n1.log: `log` is missing"),
    ("[network]\nloss = \"101%\"", "8: network.loss: `101%` is more than 100%"),
    (
        "[network]\nloss = 0.5",
        "8: network.loss: expected a percentage such as \"2.5%\" or parts per million from 0 to 1000000, found floating point `0.5`",
    ),
    (
        "[network]\nloss = 1_000_001",
        "8: network.loss: expected a percentage such as \"2.5%\" or parts per million from 0 to 1000000, found integer `1000001`",
    ),
    (
        "[network]\ndelay = \"5 sec\"",
        "8: network.delay: expected a duration such as \"150ms\", \"1.5s\", \"10us\" or \"2m\", found `5 sec`",
    ),
    ("[clients]\ncount = -1", "8: clients.count: expected an integer from 0 to 64, found integer `-1`"),
    (
        "[clients]\nmix = { get = 0 }",
        "8: clients.mix: at least one of get, put, cas, delete, range and txn must be above 0",
    ),
    ("[[at]]\nkill = \"leader\"", "7: at[0].time: `time` is missing"),
    ("[[at]]\ntime = \"11s\"\nheal = true", "8: at[0].time: is after the end of the run, 10s"),
    (
        "[[at]]\ntime = \"1s\"\nkil = \"leader\"",
        "7: at[0]: has no action: write one of kill, power_loss, wipe, disk_rolled_back, bit_rot, misdirected_write, eio, enospc, fsync_failed, restart, cut, isolate, partition, heal, drop, \
         network, slow_disk, drift, pause, resume, campaign, take_snapshot, put, get, change, transfer, expect\nstory.toml:9: at[0].kil: unknown field `kil`, did you mean `kill`?",
    ),
    ("[[at]]\ntime = \"1s\"\nkill = \"leadr\"", "9: at[0].kill: unknown node `leadr`, did you mean `leader`?"),
    ("[[at]]\ntime = \"1s\"\nkill = \"n4\"", "9: at[0].kill: unknown node `n4`: this scenario has n1 to n3"),
    (
        "[[at]]\ntime = \"1s\"\nkill = \"n1\"\nheal = true",
        "10: at[0].heal: a step has one action, this one has kill and heal",
    ),
    (
        "[[at]]\ntime = \"1s\"\nkill = \"n1\"\nkeep = \"nothing\"",
        "10: at[0].keep: `keep` does not go with the other fields here",
    ),
    (
        "[[at]]\ntime = \"1s\"\npower_loss = \"n1\"\nkeep = \"nothin\"",
        "10: at[0].keep: unknown value `nothin`, did you mean `nothing`?",
    ),
    (
        "[[at]]\ntime = \"1s\"\ncut = \"1-3\"",
        "9: at[0].cut: expected a link such as \"n1>n3\" (one way) or \"n1<>n3\" (both), found `1-3`",
    ),
    (
        "[[at]]\ntime = \"1s\"\ncut = [\"n1>n2\", \"n1>n4\"]",
        "9: at[0].cut[1]: unknown node `n4`: this scenario has n1 to n3",
    ),
    ("[[at]]\ntime = \"1s\"\ncut = []", "9: at[0].cut: names no link"),
    ("[[at]]\ntime = \"1s\"\ncut = 3", "9: at[0].cut: expected a link such as \"n1>n3\", found integer `3`"),
    (
        "[[at]]\ntime = \"1s\"\ncut = [\"n1>n2\", 3]",
        "9: at[0].cut[1]: expected a link such as \"n1>n3\", found integer `3`",
    ),
    ("[[at]]\ntime = \"1s\"\ndrift = \"n1\"", "7: at[0].ppm: `ppm` is missing"),
    ("[[at]]\ntime = \"1s\"\ndrift = \"n1\"\nppm = 0", "10: at[0].ppm: must not be 0"),
    (
        "[[at]]\ntime = \"1s\"\ndrift = \"n1\"\nppm = -1_000_000",
        "10: at[0].ppm: expected an integer from -900000 to 9000000, found integer `-1000000`",
    ),
    (
        "[[at]]\ntime = \"1s\"\ndrift = \"n1\"\nppm = \"5%\"",
        "10: at[0].ppm: expected an integer from -900000 to 9000000, found string \"5%\"",
    ),
    ("[[at]]\ntime = \"1s\"\npause = \"n1\"\nppm = 5", "10: at[0].ppm: `ppm` does not go with the other fields here"),
    ("[[at]]\ntime = \"1s\"\nresume = \"n4\"", "9: at[0].resume: unknown node `n4`: this scenario has n1 to n3"),
    ("[[at]]\ntime = \"1s\"\nget = \"k\"", "7: at[0].to: `to` is missing"),
    ("[[at]]\ntime = \"1s\"\nget = \" \"\nto = \"n1\"", "9: at[0].get: names no key"),
    (
        "[expect]\ncommitted_within = \"1s\"\nstalled_for = \"1s\"",
        "9: expect.stalled_for: contradicts `committed_within`",
    ),
    ("[expect]\nstalled_for = \"0ms\"", "8: expect.stalled_for: must be above 0"),
    (
        "[expect]\nlast = { n1 = \"7@\" }",
        "8: expect.last.n1: expected an entry such as \"7@3\" (index at term) or \"7\", found `7@`",
    ),
    ("[expect]\nlast = { n4 = \"7\" }", "8: expect.last.n4: unknown node `n4`: this scenario has n1 to n3"),
    ("[[at]]\ntime = \"1s\"\npartition = \"n1 n2 | n2\"", "9: at[0].partition: n2 is in two groups"),
    (
        "[[at]]\ntime = \"1s\"\ndrop = \"heartbeats\"",
        "9: at[0].drop: unknown message kind `heartbeats`, did you mean `heartbeat`?",
    ),
    (
        "[[at]]\ntime = \"1s\"\nput = \"k1\"\nto = \"leader\"",
        "9: at[0].put: expected a put such as \"k1 = v1\", found `k1`",
    ),
    ("[[at]]\ntime = \"1s\"\nslow_disk = \"n1\"", "7: at[0].latency: `latency` is missing"),
    (
        "[[at]]\ntime = \"1s\"\nexpect = { sometimes = [\"election\"] }",
        "9: at[0].expect.sometimes: is known only at the end of the run: write it under [expect]",
    ),
    (
        "[[when]]\nkill = \"n1\"",
        "7: when[0]: has no condition: write one of leader, role, holds, committed, leader_appended, voted_for, \
          decided, joint, snapshot, sending_snapshot",
    ),
    (
        "[[when]]\nrole = \"candidat\"\nkill = \"n1\"",
        "8: when[0].role: unknown role `candidat`, did you mean `candidate`?",
    ),
    (
        "[[when]]\nholds = \"7@\"\nkill = \"n1\"",
        "8: when[0].holds: expected an entry such as \"7@3\" (index at term) or \"7\", found `7@`",
    ),
    (
        "[[when]]\nleader = \"any\"\ncommitted = 3\nkill = \"n1\"",
        "9: when[0].committed: a step has one condition, this one has leader and committed",
    ),
    ("founders = 4", "7: founders: expected an integer from 1 to 3, found integer `4`"),
    ("founders = 0", "7: founders: expected an integer from 1 to 3, found integer `0`"),
    ("founders = 2\n[initial.n3]\nlog = [1]", "8: initial.n3: unknown node `n3`: this scenario has n1 to n2"),
    ("[[at]]\ntime = \"1s\"\nchange = \"ad n3\"", "9: at[0].change: unknown change `ad`, did you mean `add`?"),
    ("[[at]]\ntime = \"1s\"\nchange = \"add n4\"", "9: at[0].change: unknown node `n4`: this scenario has n1 to n3"),
    ("[[at]]\ntime = \"1s\"\nchange = \"n3\"", "9: at[0].change: expected a change such as \"add n4\", found `n3`"),
    (
        "[[at]]\ntime = \"1s\"\nchange = \"add n3, promote n3\"",
        "9: at[0].change: n3 is named twice: what is added has to catch up before it is promoted",
    ),
    (
        "[[at]]\ntime = \"1s\"\ntransfer = \"leader\"",
        "9: at[0].transfer: unknown node `leader`: this scenario has n1 to n3",
    ),
    (
        "[[when]]\ndecided = \"n1; n2\"\nheal = true",
        "8: when[0].decided: expected learners such as \"learners n4\", found `n2`",
    ),
    (
        "[[when]]\njoint = true\nheal = true",
        "8: when[0].joint: expected \"any\" or a node such as \"n1\", found boolean `true`",
    ),
    ("[expect]\nconfiguration = \"n1; learners n1\"", "8: expect.configuration: n1 is both a voter and a learner"),
    (
        "[swarm]\nfeatures = [\"los\"]\nmean_interval = \"1s\"\nheal_at = \"5s\"",
        "8: swarm.features[0]: unknown fault `los`, did you mean `loss`?",
    ),
    (
        "[swarm]\nfeatures = [\"loss\"]\nmean_interval = \"1s\"\nheal_at = \"10s\"",
        "10: swarm.heal_at: must be before the end of the run, 10s",
    ),
    (
        "[swarm]\nheal_at = \"5s\"",
        "7: swarm.features: `features` is missing\nstory.toml:7: swarm.mean_interval: `mean_interval` is missing",
    ),
    ("[swarm]\nfeatures = [\"loss\"]\nheal_at = \"5s\"", "7: swarm.mean_interval: `mean_interval` is missing"),
    (
        "[expect]\nsometimes = [\"elections\"]",
        "8: expect.sometimes[0]: unknown mark `elections`, did you mean `election`?",
    ),
    ("[expect]\nleader = \"n1\"\nno_leader = true", "9: expect.no_leader: contradicts `leader`"),
    ("[expect]\nmin_term = 3\nmax_term = 2", "9: expect.max_term: is below `min_term`"),
    (
        "[raft]\nsnapshot_after_entries = 0",
        "8: raft.snapshot_after_entries: expected an integer from 1 to 1073741824, found integer `0`",
    ),
    (
        "[raft]\ntrailing_entries = -1",
        "8: raft.trailing_entries: expected an integer from 0 to 1073741824, found integer `-1`",
    ),
    (
        "[raft]\nmax_cached_bytes = \"1k\"",
        "8: raft.max_cached_bytes: expected an integer from 0 to 1099511627776, found string \"1k\"",
    ),
    ("[raft]\nsnapshot_timeout = \"0ms\"", "8: raft.snapshot_timeout: must be above 0"),
    ("[network]\nsnapshot_loss = \"101%\"", "8: network.snapshot_loss: `101%` is more than 100%"),
    ("[network]\nsnapshot_transfer = \"2s..1s\"", "8: network.snapshot_transfer: `2s..1s` ends before it starts"),
    (
        "[[when]]\nsnapshot = 0\nheal = true",
        "8: when[0].snapshot: expected an integer from 1 to 4611686018427387904, found integer `0`",
    ),
    (
        "[[when]]\nsending_snapshot = \"n4\"\nheal = true",
        "8: when[0].sending_snapshot: unknown node `n4`: this scenario has n1 to n3",
    ),
    ("[expect]\nsnapshot = { n4 = 7 }", "8: expect.snapshot.n4: unknown node `n4`: this scenario has n1 to n3"),
    (
        "[raft]\npre_vote = 1\nmax_apply_byte = 2\npriority = 50\n[clients]\nthink = \"x\"",
        "8: raft.pre_vote: expected a boolean, found integer `1`\n\
         story.toml:9: raft.max_apply_byte: unknown field `max_apply_byte`, did you mean `max_apply_bytes`?\n\
         story.toml:12: clients.think: expected a duration such as \"150ms\", \"1.5s\", \"10us\" or \"2m\", found `x`",
    ),
    ("at = 3", "7: at: expected steps such as [[at]]"),
    ("raft = 3", "7: raft: expected a table, found integer `3`"),
    (
        "[[at]]\ntime = \"1s\"\nnetwork = { loss = \"x\" }",
        "9: at[0].network.loss: expected a percentage such as \"2.5%\" (at most four decimals), found `x`",
    ),
    (
        "[recorded]\nhash = \"12\"",
        "7: recorded.seed: `seed` is missing\nstory.toml:8: recorded.hash: expected a trace hash of 32 hexadecimal digits, found `12`",
    ),
];

#[test]
fn malformed_files_are_refused_with_line_field_and_suggestion() {
    for (appended, expected) in MALFORMED {
        let refusal = read(&format!("{HEADER}{appended}\n")).expect_err(appended);
        assert_eq!(refusal, format!("story.toml:{expected}"), "of:\n{appended}");
    }
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

/// Every word of the format once, some of them with the signs that need care in TOML.
const EVERYTHING: &str = r##"
seeds = "3..5"
founders = 2
[raft]
election_timeout_of = { n1 = "100ms", n2 = "1s..2s" }
lease_reads = true
max_clock_drift_ppm = 7
priority = 50
priority_of = { n1 = 0, n3 = 100 }
max_write_stall = "1.5s"
max_inflight_bytes = 1
max_uncommitted_bytes = 2
max_unpersisted_bytes = 3
max_apply_bytes = 4
max_retained_bytes = 0
max_pending_reads = 5
[initial.n2]
term = 9
voted_for = "n1"
log = [1, 1, 4]
[network]
loss = "0.0001%"
delay = "10us..1.5ms"
[clients]
mix = { put = 1 }
reads = "mixed"
[[at]]
time = "1s"
kill = "leader"
after_actions = 0
[[at]]
time = "1s"
power_loss = "n1 n2"
keep = "everything"
[[at]]
time = "1s"
wipe = "n2"
after_actions = 1
[[at]]
time = "1s"
restart = "all"
[[at]]
time = "1s"
cut = "n1<>followers"
[[at]]
time = "1s"
cut = ["n1>n2", "n2<>leader"]
[[at]]
time = "1s"
drift = "n1"
ppm = -200_000
[[at]]
time = "1s"
pause = "leader"
[[at]]
time = "1s"
resume = "all"
[[at]]
time = "1s"
get = "k 1"
to = "followers"
[[at]]
time = "1s"
partition = "n1 n2 | n3"
[[at]]
time = "1s"
heal = true
[[at]]
time = "1s"
drop = "append_entries"
on = "n1>random"
[[at]]
time = "1s"
network = { loss = 1 }
[[at]]
time = "1s"
slow_disk = "n1"
latency = "1s"
[[at]]
time = "1s"
campaign = "n1"
[[at]]
time = "1s"
put = "k \" # = v = w"
to = "n1"
[[at]]
time = "1s"
change = "add n3, demote n1"
[[at]]
time = "1s"
transfer = "n2"
[[at]]
time = "1s"
transfer = "any"
[[at]]
time = "1s"
expect = { leader = "any", committed = 3, logs = { n1 = [1, 2] }, last = { n1 = "2@2", n2 = "1" }, stalled_for = "1s" }
[[when]]
leader = "n1"
heal = true
[[when]]
role = "pre_candidate"
node = "n2"
min_term = 4
heal = true
[[when]]
holds = "7@3"
heal = true
[[when]]
holds = "7"
node = "n1"
heal = true
[[when]]
committed = 7
heal = true
[[when]]
leader_appended = "any"
heal = true
[[when]]
voted_for = "n1"
heal = true
[[when]]
decided = "n1 n2; learners n3"
heal = true
[[when]]
joint = "n1"
heal = true
[[when]]
joint = "any"
heal = true
[[when]]
snapshot = 7
node = "n2"
heal = true
[[when]]
sending_snapshot = "any"
take_snapshot = "n1 n2"
[[when]]
sending_snapshot = "n3"
heal = true
[swarm]
features = ["loss", "duplicate", "reorder", "partition", "one_way_cut", "isolate_leader", "kill", "power_loss",
            "crash_at_boundary", "kill_restart_power_loss", "slow_disk", "clock_drift", "pause", "membership", "transfer",
            "snapshots", "lease_reads"]
mean_interval = "700ms"
heal_at = "8s"
[expect]
no_leader = true
converged = true
min_term = 2
max_term = 3
committed_within = "2s"
stalled_for = "1500ms"
configuration = "n1 n2"
heals_within = 20
sometimes = ["election", "truncation"]
logs = { n2 = [1] }
snapshot = { n1 = 7, n2 = 9 }
idle = true
"##;

#[test]
fn what_is_written_is_read_back() {
    let mut scenario = read(&format!("{HEADER}{EVERYTHING}")).expect("a good file").scenario;
    scenario.story = "Two\nlines, a \"quote\" and '''three'''.".to_owned();
    assert_eq!(scenario.expect.logs.get(&NodeId(2)), Some(&vec![Term(1)]));
    assert!(matches!(&scenario.steps[21].trigger, Trigger::When { .. }), "the times come first");
    assert!(scenario.steps.iter().any(|step| matches!(
        &step.trigger,
        Trigger::When { condition: Condition::Holds { index: LogIndex(7), term: None, .. }, .. }
    )));
    let recorded = Recorded {
        scenario: "story".to_owned(),
        seed: u64::from(u32::MAX),
        hash: Some(0x00ab_cdef),
        property: Some("election safety".to_owned()),
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
        // Regressions, in a folder of their own, explain less.
        if path.is_dir() {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let bytes = std::fs::read(&path).expect("readable");
        let scenario = parse("tour.toml", &bytes).unwrap_or_else(|problems| panic!("{name}: {problems}")).scenario;
        assert!(scenario.story.split_whitespace().count() > 30, "{name}: a learner wants to read more than that");
        assert_ne!(scenario.expect, Expectations::default(), "{name} expects nothing");
        let recorded = Recorded { scenario: "tour".to_owned(), seed: 3, hash: None, property: None };
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

    /// Lines of a good file, mixed up and cut: close enough to the format to reach every reader.
    #[test]
    fn no_mixture_of_good_lines_panics(places in proptest::collection::vec(0..240_usize, 0..60), cut in 0..3_000_usize) {
        let text = format!("{HEADER}{EVERYTHING}");
        let lines: Vec<&str> = text.lines().collect();
        let mixed: Vec<&str> = places.iter().filter_map(|place| lines.get(place % lines.len()).copied()).collect();
        let mixed = format!("{HEADER}{}", mixed.join("\n"));
        let bytes = mixed.as_bytes();
        if let Err(problems) = parse("mixed.toml", bytes.get(..cut).unwrap_or(bytes)) {
            prop_assert!(!problems.list.is_empty(), "refused without a reason");
        }
    }
}
