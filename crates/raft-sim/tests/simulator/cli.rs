//! The binary as users run it: exit codes, output, files.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder that belongs to one test, inside the build folder.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{test}"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("the build folder is writable");
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the build folder is writable");
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        let binary = env!("CARGO_BIN_EXE_raft-sim");
        Command::new(binary).args(args).current_dir(&self.0).output().expect("the binary starts")
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

const QUIET: &str = r#"
version = 1
title = "A quiet cluster"
story = "It elects a leader and serves its clients."
source = "Raft §5.2"
seeds = "0..3"
duration = "2s"
[expect]
leader = "any"
sometimes = ["leader_elected"]
"#;

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn a_scenario_that_holds_passes_and_ends_with_the_hash() {
    let folder = Folder::new("pass");
    folder.write("quiet.toml", QUIET);
    let output = folder.run(&["run", "quiet.toml"]);
    let text = stdout(&output);
    assert_eq!(code(&output), 0, "{text}{}", stderr(&output));
    assert!(text.starts_with("PASS quiet  3 seeds  6.0 s simulated in "), "{text}");
    let hash = last_line(&text).strip_prefix("trace hash ").expect("the hash comes last");
    assert!(hash.len() == 32 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{hash}");
    assert!(!text.contains('\u{1b}'), "no colours unless stdout is a terminal");
    assert_eq!(stderr(&output), "", "no progress bar unless stderr is a terminal");
    assert!(!folder.0.join("raft-sim-failures").exists(), "nothing failed");
    let without_command = folder.run(&["quiet.toml"]);
    assert_eq!(last_line(&stdout(&without_command)), last_line(&text));
}

#[test]
fn the_hash_depends_on_the_seeds_and_not_on_the_workers() {
    let folder = Folder::new("workers");
    folder.write("a.toml", QUIET);
    folder.write("b.toml", &QUIET.replace("duration = \"2s\"", "duration = \"1s\""));
    let hash = |args: &[&str]| last_line(&stdout(&folder.run(args))).to_owned();
    let one = hash(&["run", ".", "-j", "1"]);
    assert!(one.starts_with("trace hash "), "{one}");
    assert_eq!(one, hash(&["run", ".", "-j", "2"]));
    assert_eq!(one, hash(&["run", "a.toml", "b.toml", "-j", "3"]));
    assert_eq!(one, hash(&["run", ".", "--twice"]));
    assert_ne!(one, hash(&["run", ".", "--seeds", "1..4"]));
    assert_ne!(one, hash(&["run", "b.toml", "a.toml"]));
}

#[test]
fn wrong_usage_is_code_2_and_a_bad_scenario_code_4() {
    let folder = Folder::new("usage");
    folder.write("quiet.toml", QUIET);
    folder.write("bad.toml", &QUIET.replace("duration", "durration"));
    for (expected, args) in [
        (2, &["run", "quiet.toml", "--sedes", "0..3"][..]),
        (2, &["run", "quiet.toml", "--seeds", "3..3"]),
        (2, &["run", "quiet.toml", "-j", "0"]),
        (2, &["swarm", "--nodes", "10"]),
        (2, &["swarm", "--profile", "none"]),
        (2, &["swarm", "--seeds", "0..3", "--for", "1s"]),
        (2, &["replay"]),
        (2, &["run", "quiet.toml", "--case", "3"]),
        (2, &["run", "quiet.toml", "--case", "3.1"]),
        (4, &["run", "missing.toml"]),
        (4, &["replay", "missing.toml"]),
        (4, &["run", "quiet.toml", "--trace", "no/such/folder/trace.jsonl"]),
    ] {
        let output = folder.run(args);
        assert_eq!(code(&output), expected, "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).is_empty() && output.stdout.is_empty(), "{args:?}");
    }
    let output = folder.run(&["run", "quiet.toml", "bad.toml"]);
    assert_eq!(code(&output), 4);
    let expected = "bad.toml:7: durration: unknown field `durration`, did you mean `duration`?\n";
    assert_eq!(stderr(&output), expected);
    assert_eq!(stdout(&output), "", "no run starts if a file is invalid");
    assert_eq!(code(&folder.run(&["--help"])), 0);
    assert_eq!(code(&folder.run(&["--version"])), 0);
}

#[test]
fn an_expectation_that_fails_is_code_2_and_can_be_replayed() {
    let folder = Folder::new("expectation");
    folder.write("lonely.toml", &QUIET.replace("leader = \"any\"", "no_leader = true"));
    let output = folder.run(&["run", "lonely.toml", "--out", "kept"]);
    let text = stdout(&output);
    assert_eq!(code(&output), 2, "{text}");
    assert!(text.starts_with("FAIL lonely  3 seeds"), "{text}");
    assert!(text.contains("expected no leader"), "{text}");
    assert!(text.contains("  the last 40 events before it:\n"), "{text}");
    let recorded = folder.0.join("kept/lonely-seed-0.toml");
    assert!(recorded.exists(), "{text}");
    let again = text.lines().find_map(|line| line.trim().strip_prefix("reproduce: ")).expect("a command");
    let replayed = Command::new("sh").args(["-c", again]).current_dir(&folder.0).output().expect("a shell");
    assert_eq!(code(&replayed), 2, "{again}: {}", stderr(&replayed));
    assert_eq!(stderr(&replayed), "", "the recorded run repeats");
    let direct = folder.run(&["replay", "lonely.toml", "--seed", "0"]);
    assert_eq!(last_line(&stdout(&direct)), last_line(&stdout(&replayed)));
}

#[test]
fn a_mark_that_is_never_reached_is_code_2() {
    let folder = Folder::new("mark");
    folder.write("calm.toml", &QUIET.replace("[\"leader_elected\"]", "[\"leader_elected\", \"truncation\"]"));
    let output = folder.run(&["run", "calm.toml"]);
    assert_eq!(code(&output), 2);
    assert_eq!(code(&folder.run(&["run", "calm.toml", "--seeds", "0..2"])), 0, "two runs may miss a mark");
    assert!(
        stdout(&output).contains("sometimes: expected `truncation` in at least one run, found it in none of 3"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn json_has_the_documented_shape() {
    let folder = Folder::new("json");
    folder.write("quiet.toml", QUIET);
    folder.write("lonely.toml", &QUIET.replace("leader = \"any\"", "no_leader = true"));
    let report = |args: &[&str]| -> (i32, Value) {
        let output = folder.run(args);
        (code(&output), serde_json::from_slice(&output.stdout).expect("one JSON object"))
    };
    let (exit, good) = report(&["run", "quiet.toml", "--format", "json"]);
    assert_eq!((exit, &good["schema"], &good["runs"]), (0, &Value::from(2), &Value::from(3)));
    assert_eq!(good["violations"], Value::Array(Vec::new()));
    assert!(good["events"].as_u64() > Some(100), "{good}");
    assert!(good["sometimes"]["leader_elected"].as_u64() >= Some(3), "{good}");
    assert_eq!(good["faults"]["loss"], serde_json::json!({ "injected": 0, "mattered": 0 }));
    let text = stdout(&folder.run(&["run", "quiet.toml"]));
    assert_eq!(last_line(&text), format!("trace hash {}", good["hash"].as_str().expect("a text")));
    assert!(good["per_1000_events"]["commits"].as_f64() > Some(1.0), "{good}");
    assert_eq!(good["reached_in"]["leader_elected"], 3);
    assert!(text.contains(" events; per 1 000: ") && text.contains(" commits, "), "{text}");
    assert!(!text.contains("marks reached"), "a script need not reach every mark: {text}");
    let (exit, bad) = report(&["run", "lonely.toml", "--format", "json"]);
    let first = &bad["violations"][0];
    assert_eq!((exit, &first["scenario"], &first["seed"]), (2, &Value::from("lonely"), &Value::from(0)));
    assert_eq!(first["property"], "expectation");
    for field in ["message", "file", "reproduce"] {
        assert!(first[field].is_string(), "{field}: {first}");
    }
    assert!(first["facts"].is_array(), "{first}");
}

#[test]
fn the_guided_tour_holds() {
    let folder = Folder::new("tour");
    let output = folder.run(&["--seeds", "0..2"]);
    assert_eq!(code(&output), 0, "{}", stdout(&output));
    assert!(stdout(&output).lines().filter(|line| line.starts_with("PASS ")).count() >= 15, "{}", stdout(&output));
}

#[test]
fn swarms_run_and_shards_share_the_seeds() {
    let folder = Folder::new("swarm");
    let runs = |args: &[&str]| -> u64 {
        let output = folder.run(args);
        let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        report["runs"].as_u64().expect("a number")
    };
    assert_eq!(runs(&["swarm", "--profile", "net", "--nodes", "3", "--seeds", "0..3", "--format", "json"]), 3);
    assert_eq!(runs(&["swarm", "--seeds", "0..5", "--shard", "0/2", "--format", "json"]), 3);
    assert_eq!(runs(&["swarm", "--seeds", "0..5", "--shard", "1/2", "--format", "json"]), 2);
    assert_eq!(runs(&["swarm", "--profile", "disk", "--for", "1ns", "-j", "1", "--format", "json"]), 1, "one at least");
}

/// Runs a command with each share of its runs, and returns the names of the reports.
fn shares(folder: &Folder, args: &[&str], of: u64) -> Vec<String> {
    let report = |index: u64| {
        let (share, name) = (format!("{index}/{of}"), format!("share-{index}.json"));
        let output = folder.run(&[args, &["--shard", &share, "--format", "json"]].concat());
        folder.write(&name, &stdout(&output));
        name
    };
    (0..of).map(report).collect()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(output)))
}

#[test]
fn the_merged_report_of_all_shares_is_the_report_of_the_whole_campaign() {
    let folder = Folder::new("merge");
    folder.write("quiet.toml", QUIET);
    folder.write("lonely.toml", &QUIET.replace("leader = \"any\"", "no_leader = true"));
    folder.write("calm.toml", &QUIET.replace("[\"leader_elected\"]", "[\"leader_elected\", \"truncation\"]"));
    let scripts = &["run", "quiet.toml", "lonely.toml", "calm.toml", "--coverage"][..];
    for args in [scripts, &["swarm", "--nodes", "3", "--seeds", "5..12", "--coverage"]] {
        let whole = folder.run(&[args, &["--format", "json"]].concat());
        let mut names = shares(&folder, args, 3);
        names.rotate_left(1);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let merged = folder.run(&[&["merge"], names.as_slice()].concat());
        assert_eq!(json(&merged), json(&whole), "{args:?}");
        assert_eq!((code(&merged), stderr(&merged)), (code(&whole), String::new()), "{args:?}");
        let text = stdout(&folder.run(&[&["merge", "--format", "text"], names.as_slice()].concat()));
        assert_eq!(last_line(&text), last_line(&stdout(&folder.run(args))), "{text}");
    }
    let part = folder.run(&["merge", "share-2.json"]);
    assert_eq!(json(&part)["shares"], serde_json::json!(["2/3"]));
    assert_eq!(stderr(&part), "the whole lacks the shares 0/3, 1/3: merge their reports too\n");
}

#[test]
fn coverage_is_the_same_for_any_workers_and_shows_the_empty_cells() {
    let folder = Folder::new("coverage");
    let args = |jobs| ["swarm", "--profile", "net", "--nodes", "3", "--seeds", "0..4", "--coverage", "-j", jobs];
    let text = stdout(&folder.run(&args("1")));
    let without_speed = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(without_speed(&text), without_speed(&stdout(&folder.run(&args("3")))));
    assert!(text.contains(" abstract states; unseen mass "), "{text}");
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    let cells = |name: &str| row(name).split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert!(
        cells("loss ").iter().any(|cell| cell != "-") && cells("bit_rot ").iter().all(|cell| cell == "-"),
        "{text}"
    );
    assert_eq!(cells("loss ").len(), 9, "{text}");
    let plain = stdout(&folder.run(&["swarm", "--profile", "net", "--nodes", "3", "--seeds", "0..4"]));
    assert_eq!(last_line(&plain), last_line(&text), "measuring changes no run");
    assert!(!plain.contains("unseen mass"), "{plain}");
}

#[test]
fn a_campaign_ends_once_the_unseen_mass_is_below_the_limit_whatever_the_workers_do() {
    let folder = Folder::new("unseen");
    let args =
        |jobs| ["swarm", "--profile", "net", "--nodes", "1", "--until-unseen", "0.6", "-j", jobs, "--format", "json"];
    let report = json(&folder.run(&args("1")));
    assert_eq!(report, json(&folder.run(&args("3"))));
    assert!(report["runs"].as_u64() > Some(1), "{report}");
    let mass = |report: &Value| report["coverage"]["unseen_mass"].as_f64().expect("a number");
    assert!(mass(&report) < 0.6, "{report}");
    let seeds = format!("0..{}", report["runs"].as_u64().expect("a number") - 1);
    let before = json(&folder.run(&[
        "swarm",
        "--profile",
        "net",
        "--nodes",
        "1",
        "--seeds",
        &seeds,
        "--coverage",
        "--format",
        "json",
    ]));
    assert!(
        mass(&before) >= 0.6 || before["coverage"]["observations"].as_u64() <= Some(1),
        "it could have ended before: {before}"
    );
    let bounded =
        folder.run(&["swarm", "--nodes", "1", "--until-unseen", "1e-9", "--seeds", "0..2", "--format", "json"]);
    assert_eq!(json(&bounded)["runs"], 2, "the seeds end it too");
    for args in [&["swarm", "--until-unseen", "2"][..], &["swarm", "--until-unseen", "0.1", "--trace", "t.jsonl"]] {
        assert_eq!(code(&folder.run(args)), 2, "{args:?}");
    }
}

#[test]
fn the_reports_of_searches_are_joined() {
    let folder = Folder::new("searches");
    folder.write("calm.toml", &HASTY.replace("heals_within = 1", "heals_within = 100"));
    let search = |seed: &str, more: &[&str]| {
        let args = ["search", "--from", "calm.toml", "--budget", "20k", "--seed", seed];
        folder.run(&[&args, more].concat())
    };
    let [one, two] = ["1", "2"].map(|seed| {
        let output = search(seed, &["--format", "json"]);
        folder.write(&format!("{seed}.json"), &stdout(&output));
        json(&output)
    });
    let whole = json(&folder.run(&["merge", "2.json", "1.json"]));
    assert_eq!(whole, json(&folder.run(&["merge", "1.json", "2.json"])));
    for field in ["events", "runs", "branches"] {
        let sum = [&one, &two].map(|report| report[field].as_u64().expect("a number")).iter().sum::<u64>();
        assert_eq!(whole[field].as_u64(), Some(sum), "{field}");
    }
    assert_eq!(whole["searches"], serde_json::json!([one["searches"][0], two["searches"][0]]));
    assert_eq!(json(&folder.run(&["merge", "1.json"])), one);
    let text = stdout(&folder.run(&["merge", "--format", "text", "1.json", "2.json"]));
    assert!(text.starts_with("PASS search  ") && text.contains("\n  guided, seed 2, "), "{text}");
    let alone = stdout(&search("1", &[]));
    assert_eq!(last_line(&alone), last_line(&stdout(&folder.run(&["merge", "--format", "text", "1.json"]))));
    folder.write("swarm.json", &stdout(&folder.run(&["swarm", "--nodes", "1", "--seeds", "0..1", "--format", "json"])));
    folder.write("old.json", &stdout(&search("1", &["--format", "json"])).replace("\"schema\":2", "\"schema\":1"));
    for (names, expected) in [
        (["1.json", "1.json"], "1.json: expected searches that no other report has, found the one of seed 1 again"),
        (["swarm.json", "2.json"], "2.json: expected a report of `run` or `swarm` like the others"),
        (["1.json", "old.json"], "old.json: expected a search's report of schema 2, found schema 1"),
    ] {
        let output = folder.run(&[&["merge"][..], &names].concat());
        assert!(code(&output) == 4 && stderr(&output).contains(expected), "{}", stderr(&output));
    }
    folder.write("hasty.toml", HASTY);
    let find = folder.run(&["search", "--from", "hasty.toml", "--budget", "1M", "--format", "json"]);
    folder.write("find.json", &stdout(&find));
    let joined = folder.run(&["merge", "1.json", "find.json", "--format", "text"]);
    assert_eq!((code(&find), code(&joined)), (2, 2));
    let joined = stdout(&joined);
    assert!(joined.starts_with("FAIL search  ") && joined.contains("\n  expectation, seed "), "{joined}");
}

#[test]
fn reports_that_do_not_belong_together_are_refused() {
    let folder = Folder::new("mixed");
    folder.write("quiet.toml", QUIET);
    let report =
        |name: &str, args: &[&str]| folder.write(name, &stdout(&folder.run(&[args, &["--format", "json"]].concat())));
    report("a.json", &["swarm", "--nodes", "1", "--seeds", "0..2"]);
    report("b.json", &["swarm", "--nodes", "1", "--seeds", "1..3"]);
    report("nodes.json", &["swarm", "--nodes", "2", "--seeds", "2..3"]);
    report("quiet.json", &["run", "quiet.toml"]);
    report("covered.json", &["swarm", "--nodes", "1", "--seeds", "2..3", "--coverage"]);
    let text = fs::read_to_string(folder.0.join("a.json")).expect("a report");
    let build = json(&folder.run(&["merge", "a.json"]))["build"].as_str().expect("a name").to_owned();
    folder.write("build.json", &text.replace(&build, "0123456789abcdef"));
    folder.write("schema.json", &text.replace("\"schema\":2", "\"schema\":1"));
    folder.write("cut.json", text.get(..100).expect("a report is longer"));
    folder.write("other.json", "{}");
    for (name, expected) in [
        ("b.json", "expected runs that no other report has, found seed 1 of `swarm-all` again"),
        ("nodes.json", "expected the same scenario `swarm-all` in all reports, found another one of that name"),
        ("quiet.json", "expected the scenarios swarm-all, found quiet"),
        ("covered.json", "expected no coverage, found one"),
        ("build.json", "found build 0123456789abcdef: merge reports of one build"),
        ("schema.json", "expected a report of schema 2, found schema 1"),
        ("cut.json", "expected a report of --format json: "),
        ("other.json", "found no field `schema`"),
        ("missing.json", "cannot read it"),
    ] {
        let output = folder.run(&["merge", "a.json", name]);
        assert_eq!((code(&output), stdout(&output).as_str()), (4, ""), "{name}");
        let error = stderr(&output);
        assert!(error.starts_with(&format!("{name}: ")) && error.contains(expected), "{error}");
    }
    assert_eq!(code(&folder.run(&["merge"])), 2);
}

#[test]
fn explanations_are_stable_and_traces_and_histories_are_json_lines() {
    let folder = Folder::new("explain");
    folder.write("quiet.toml", QUIET);
    let explain = |extra: &[&str]| stdout(&folder.run(&[&["explain", "quiet.toml", "--seed", "1"], extra].concat()));
    let text = explain(&[]);
    assert_eq!(text, explain(&["--trace", "trace.jsonl", "--history", "history.jsonl"]));
    assert!(text.contains("becomes leader of term 2: a quorum voted for it, Raft §5.2"), "{text}");
    let trace = fs::read_to_string(folder.0.join("trace.jsonl")).expect("the trace");
    let lines: Vec<Value> = trace.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(trace.lines().all(|line| line.starts_with("{\"version\":1,")), "version first");
    assert_eq!((&lines[0]["kind"], &lines[0]["seed"]), (&Value::from("run"), &Value::from(1)));
    assert_eq!(lines.len(), text.lines().count(), "one line for each event, and one more for the head and the hash");
    let sent = lines.iter().find(|line| line["kind"] == "sent").expect("something was sent");
    assert!(
        sent["message"]["kind"].is_string() && sent["term"].is_u64() && sent["configuration"].is_object(),
        "{sent}"
    );
    let history = fs::read_to_string(folder.0.join("history.jsonl")).expect("the history");
    let operations = raft_check::history::read_history(history.as_bytes()).expect("a history");
    assert!(operations.len() > 10, "clients did something");
}

#[test]
fn a_history_of_many_runs_keeps_them_apart() {
    let folder = Folder::new("history");
    folder.write("quiet.toml", QUIET);
    assert_eq!(code(&folder.run(&["run", "quiet.toml", "--history", "history.jsonl", "--trace", "trace.jsonl"])), 0);
    let history = fs::read_to_string(folder.0.join("history.jsonl")).expect("the history");
    let operations = raft_check::history::read_history(history.as_bytes()).expect("a history");
    for seed in 0..3 {
        let prefix = format!("quiet/{seed}/");
        assert!(operations.iter().any(|operation| operation.key.starts_with(&prefix)), "{prefix}");
    }
    let trace = fs::read_to_string(folder.0.join("trace.jsonl")).expect("the trace");
    let runs = trace.lines().filter(|line| line.contains("\"kind\":\"run\"")).count();
    assert_eq!(runs, 3, "each run begins with a header line");
}

/// A short run with every crash.
const ENUMERATED: &str = r#"
version = 1
title = "Every crash of a first election"
story = "One node is crashed wherever it does something."
source = "Raft §5.2"
nodes = 3
duration = "2s"
[raft]
election_timeout = "100ms..200ms"
heartbeat_interval = "40ms"
[clients]
count = 1
think = "40ms"
[enumerate]
until = "220ms"
sample = 20
[expect]
leader = "any"
"#;

#[test]
fn an_enumerated_scenario_is_sampled_evenly_and_the_hash_does_not_depend_on_the_workers() {
    let folder = Folder::new("enumerated");
    folder.write("every.toml", ENUMERATED);
    let one = folder.run(&["run", "every.toml", "-j", "1", "--twice"]);
    let text = stdout(&one);
    assert_eq!(code(&one), 0, "{text}{}", stderr(&one));
    let sampled: u64 = text.split_whitespace().nth(2).and_then(|word| word.parse().ok()).expect("a count");
    assert!(text.contains(" crash points, ") && (15..=20).contains(&sampled), "{text}");
    assert_eq!(last_line(&text), last_line(&stdout(&folder.run(&["run", "every.toml", "-j", "3"]))));
    let some = folder.run(&["run", "every.toml", "--seeds", "3..5"]);
    assert!(stdout(&some).starts_with("PASS every  2 of "), "{}", stdout(&some));
    let case = folder.run(&["run", "every.toml", "--case", "3.1"]);
    assert!(stdout(&case).starts_with("PASS every  1 crash points, 1 outcome"), "{}", stdout(&case));
    assert_eq!(code(&folder.run(&["run", "every.toml", "--case", "999999.0"])), 2, "there is no such point");
}

#[test]
fn a_crash_that_leads_astray_is_named_with_the_command_that_repeats_it() {
    let folder = Folder::new("astray");
    folder.write("every.toml", &ENUMERATED.replace("leader = \"any\"", "max_term = 1"));
    let output = folder.run(&["run", "every.toml", "--seeds", "7..8"]);
    let text = stdout(&output);
    assert_eq!(code(&output), 2, "{text}");
    assert!(text.contains("(case 7.0: n"), "{text}");
    let again = text.lines().find_map(|line| line.strip_prefix("  reproduce: ")).expect("a command");
    assert!(again.ends_with("run every.toml --case 7.0"), "{again}");
    let again = folder.run(&["run", "every.toml", "--case", "7.0"]);
    assert!(code(&again) == 2 && stdout(&again).contains("(case 7.0: n"), "{}", stdout(&again));
}

/// A swarm whose majority never heals as fast as it should.
const HASTY: &str = r#"
version = 1
title = "A hasty swarm"
story = "No majority heals within one election timeout in all runs."
source = "Raft §2"
nodes = 3
duration = "4s"
[swarm]
features = ["loss", "partition", "kill", "pause"]
mean_interval = "300ms"
heal_at = "2s"
[expect]
heals_within = 1
"#;

#[test]
fn a_find_of_a_search_is_recorded_and_repeats() {
    let folder = Folder::new("hasty");
    folder.write("hasty.toml", HASTY);
    let output = folder.run(&["search", "--from", "hasty.toml", "--budget", "1M", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!((code(&output), report["violations"][0]["property"].as_str()), (2, Some("expectation")), "{report}");
    let file = report["violations"][0]["file"].as_str().expect("a recorded run").to_owned();
    let message = report["violations"][0]["message"].as_str().expect("a message").to_owned();
    let again = folder.run(&["replay", &file]);
    assert!(code(&again) == 2 && stdout(&again).contains(&message), "{}", stdout(&again));
}

#[test]
fn a_bench_counts_what_a_swarm_counts() {
    let folder = Folder::new("bench");
    let json = |args: &[&str]| -> Value {
        let output = folder.run(args);
        assert_eq!(code(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    };
    let bench = json(&["bench", "--seeds", "3..5", "--repeat", "2", "--format", "json"]);
    let swarm = json(&["swarm", "--seeds", "3..5", "--format", "json"]);
    for field in ["hash", "events", "runs", "build"] {
        assert_eq!(bench[field], swarm[field], "{field}");
    }
    let runs = swarm["scenarios"][0]["runs"].as_array().expect("runs");
    let simulated: u64 = runs.iter().filter_map(|run| run["simulated_us"].as_u64()).sum();
    assert_eq!((bench["simulated_us"].as_u64(), bench["repetitions"].as_u64()), (Some(simulated), Some(2)));
    // One copy each 1000 events of the first run; a call may have several events.
    let (events, copies) = (runs[0]["events"].as_u64().expect("events"), bench["copies"].as_u64().expect("copies"));
    assert!(copies > 0 && copies <= events / 1000, "{copies} copies in {events} events");
    let text = stdout(&folder.run(&["bench", "--seeds", "3..4", "--repeat", "1"]));
    assert!(text.starts_with("swarm all, seeds 3..4, one core, all checkers; medians of 1 repetition\n"), "{text}");
    assert!(last_line(&text).starts_with("trace hash "), "{text}");
}

#[test]
fn a_search_that_finds_nothing_is_the_same_for_all_workers() {
    let folder = Folder::new("calm");
    folder.write("calm.toml", &HASTY.replace("heals_within = 1", "heals_within = 100"));
    folder.write("quiet.toml", QUIET);
    let search = |more: &[&str]| {
        let output = folder.run(&[&["search", "--budget", "60k", "--from", "calm.toml", "quiet.toml"], more].concat());
        assert_eq!(code(&output), 0, "{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    };
    let text = search(&["-j", "1"]);
    assert_eq!(last_line(&text), last_line(&search(&["-j", "3"])));
    assert_ne!(last_line(&text), last_line(&search(&["--seed", "1"])));
    assert_ne!(last_line(&text), last_line(&search(&["--strategy", "random"])));
    assert!(text.starts_with("PASS search  ") && text.contains("\n  never: "), "{text}");
    let stories = folder.run(&["search", "--from", "quiet.toml"]);
    assert!(code(&stories) == 4 && stderr(&stories).contains("expected at least one swarm"), "{}", stderr(&stories));
}

#[test]
fn check_explores_a_box_and_says_how_it_ended() {
    let folder = Folder::new("check");
    let small = ["check", "--terms", "1", "--entries", "0", "--crashes", "0", "--in-flight", "2", "--symmetry"];
    let run = |more: &[&str]| folder.run(&[&small, more].concat());
    let done = run(&[]);
    assert_eq!(code(&done), 0, "{}", stderr(&done));
    let text = stdout(&done);
    assert!(text.starts_with("PASS check  3 nodes, 1 terms, 0 entries, 0 crashes, 2 in flight"), "{text}");
    assert!(text.contains("every state was visited") && text.contains("bytes a state"), "{text}");
    let json: Value = serde_json::from_slice(&run(&["--format", "json"]).stdout).expect("one object");
    assert_eq!((&json["end"], &json["frontier"]), (&Value::from("exhausted"), &Value::from(0)));
    assert_eq!(json["violations"], Value::Array(Vec::new()));

    let open = run(&["--heartbeats", "any", "--memory", "1KiB"]);
    assert_eq!(code(&open), 5, "{}", stderr(&open));
    assert!(stdout(&open).starts_with("INCONCLUSIVE check"), "{}", stdout(&open));
    let wrong = run(&["--nodes", "9"]);
    assert_eq!((code(&wrong), stderr(&wrong).trim()), (4, "expected 1 to 5 nodes, found 9"));
    let path = folder.write("path.txt", "n1 election timeout\nn4 restart\n").display().to_string();
    let wrong = run(&["--steps", &path]);
    assert_eq!(code(&wrong), 4);
    assert!(stderr(&wrong).contains("expected one step `n4 restart`"), "{}", stderr(&wrong));
    assert_eq!(code(&run(&["--steps", "no-such-file"])), 4);
}
