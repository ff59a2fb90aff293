//! The merge of all sources, and the error of each mistake.

use super::*;
use crate::Exit;
use std::path::PathBuf;

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn flags(pairs: &[(Key, &str)]) -> Layer {
    let mut layer = Layer::default();
    for (key, text) in pairs {
        layer.flag(*key, *text);
    }
    layer
}

/// Calls `load` with the text of a file called `a.toml`.
fn merged(file: &str, environment: &[(&str, &str)], of_flags: &[(Key, &str)]) -> Result<Loaded, Failure> {
    let layers = vec![flags(of_flags), environment::read(variables(environment))?, file::parse("a.toml", file)?];
    Merge::new(layers).settle()
}

fn problem(file: &str, environment: &[(&str, &str)], of_flags: &[(Key, &str)]) -> String {
    let failure = merged(file, environment, of_flags).expect_err("refused");
    assert_eq!(failure.exit, Exit::Usage);
    assert!(!failure.message.contains('\n'), "more than a line: {}", failure.message);
    failure.message
}

fn row(loaded: &Loaded, key: Key) -> (String, String) {
    let row = loaded.rows.iter().find(|row| row.key == key).expect("every key has a row");
    (row.value.clone(), row.source.to_string())
}

/// Valid values of each key, then invalid values. Of the valid ones, the first three are no defaults, and both limits
/// are included. The invalid ones are just outside.
const VALUES: &[(Key, &[&str], &[&str])] = &[
    (Key::Id, &["5", "6", "7", "1", "4611686018427387904"], &["0", "4611686018427387905", "-1", "n1"]),
    (Key::Cluster, &["a", "b", "c"], &["a b"]),
    (Key::ListenPeer, &["[::1]:1", "127.0.0.1:1", "127.0.0.1:2"], &["7070"]),
    (Key::ListenClient, &["127.0.0.1:65535", "127.0.0.1:4", "127.0.0.1:5"], &["localhost:65536"]),
    (Key::ListenAdmin, &["[::1]:80", "127.0.0.1:7", "127.0.0.1:8"], &["::1:80"]),
    (Key::AdvertisePeer, &["http://a:1", "http://a:2", "http://a:3"], &["a:1"]),
    (Key::AdvertiseClient, &["http://a:1", "http://a:2", "http://a:3"], &["a:1"]),
    (Key::AdvertiseAdmin, &["http://a:1", "http://a:2", "http://a:3"], &["https://a:1"]),
    (Key::DataDir, &["x", "y", "z"], &[]),
    (Key::SegmentBytes, &["4KiB", "1MiB", "1TiB"], &["4095", "1099511627777"]),
    (Key::SnapshotAfterEntries, &["1", "4611686018427387904", "100", "0"], &["-1", "4611686018427387905", "1MiB"]),
    (Key::SnapshotAfterBytes, &["0", "1TiB", "1MiB"], &["1099511627777", "2TiB"]),
    (Key::SnapshotRate, &["0", "1TiB", "1MiB"], &["1099511627777"]),
    (Key::SnapshotTimeout, &["1s", "1h", "2s"], &["999ms", "3601s"]),
    (Key::TrailingEntries, &["0", "4611686018427387904", "7"], &["-1", "4611686018427387905"]),
    (Key::ElectionTimeout, &["200ms..10m", "1s..2s", "2s..4s"], &["1ms..2ms", "1s..11m"]),
    (Key::HeartbeatInterval, &["1ms", "499ms", "10ms"], &["999us", "0ms"]),
    (Key::Priority, &["0", "50", "99", "100"], &["101", "-1"]),
    (Key::MaxWriteStall, &["100ms", "1h", "1s"], &["99ms", "3601s"]),
    (Key::LeaseReads, &["true", "true", "true", "false"], &["1", "on", ""]),
    (Key::MaxClockDriftPpm, &["0", "999999", "200"], &["1000000", "-1"]),
    (Key::MaxRequestBytes, &["1KiB", "64MiB", "4KiB"], &["1023", "65MiB"]),
    (Key::MaxConnections, &["16", "1048576", "100"], &["15", "1048577"]),
    (Key::MaxPendingReads, &["1", "16777216", "100"], &["0", "16777217"]),
    (Key::MaxAppendBytes, &["4KiB", "16MiB", "8KiB"], &["4095", "17MiB"]),
    (Key::MaxInflightBytes, &["64KiB", "1GiB", "1MiB"], &["65535", "2GiB"]),
    (Key::MaxInflightMessages, &["1", "65536", "100"], &["0", "65537"]),
    (Key::MaxUncommittedBytes, &["64KiB", "1TiB", "1MiB"], &["65535", "2TiB"]),
    (Key::MaxUnpersistedBytes, &["64KiB", "1MiB", "1TiB"], &["65535", "2TiB"]),
    (Key::MaxApplyBytes, &["64KiB", "1MiB", "1TiB"], &["65535", "2TiB"]),
    (Key::MaxCachedBytes, &["0", "1TiB", "1MiB"], &["1099511627777"]),
    (Key::MaxRetainedBytes, &["0", "1MiB", "1TiB"], &["1099511627777"]),
    (Key::DiskReserve, &["4MiB", "64MiB", "1TiB"], &["16383", "2TiB"]),
    (Key::Peers, &["2=http://a:1", "2=http://a:2", "2=http://a:3"], &[]),
];

#[test]
fn flags_win_over_the_environment_over_the_file_over_defaults_key_by_key() {
    let defaults = merged("id = 1", &[], &[]).expect("the defaults");
    assert!(VALUES.iter().map(|(key, ..)| key).eq(Key::ALL), "every key has its values");
    for (key, inside, _) in VALUES.iter().copied() {
        let (low, middle, high) = (inside[0], inside[1], inside[2]);
        let file = match key {
            Key::Peers => format!("id = 1\n[peers]\n{}", low.replacen('=', " = \"", 1) + "\""),
            Key::Id => format!("\nid = {low}"),
            _ => format!("id = 1\n{key} = \"{low}\""),
        };
        let line = if key == Key::Peers { 3 } else { 2 };
        let variable = key.variable();
        let environment = [(variable.as_str(), middle)];
        let (value, source) = row(&merged(&file, &[], &[]).expect("the file"), key);
        assert_eq!((value.as_str(), source), (low, format!("a.toml:{line}")));
        let with_variable = merged(&file, &environment, &[]).expect("the variable");
        assert_eq!(row(&with_variable, key), (middle.to_owned(), variable.clone()));
        let with_flag = merged(&file, &environment, &[(key, high)]).expect("the flag");
        assert_eq!(row(&with_flag, key), (high.to_owned(), key.flag()));
        // Only this key, and values that follow from it, have changed.
        for row in with_flag.rows.iter().filter(|row| row.key != key && row.key != Key::Id) {
            assert_eq!(row.source, Source::Default, "{}", row.key);
        }
        if key != Key::Id {
            let (value, source) = row(&defaults, key);
            assert_eq!(source, "default");
            assert!(![low, middle, high].contains(&value.as_str()), "{key}: {value} is an example, and the default");
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_core() {
    let settings = merged("id = 2", &[], &[]).expect("the defaults").settings;
    // These follow from other keys, so the documentation has no default to compare with.
    let advertised = [&settings.advertise_peer, &settings.advertise_client, &settings.advertise_admin];
    assert_eq!(advertised, ["http://127.0.0.1:7070", "http://127.0.0.1:7071", "http://127.0.0.1:7072"]);
    assert!(settings.data_dir.ends_with("raft-data/node2") && settings.peers.is_empty());
    // Settings with a default in the core have the same default here, except for times.
    let (ours, core) = (crate::host::core_config(&settings), raft_core::Config::new(NodeId(2)));
    let (seed, election_timeout, heartbeat_interval) =
        (ours.seed, ours.election_timeout.clone(), ours.heartbeat_interval);
    assert_eq!(ours, raft_core::Config { seed, election_timeout, heartbeat_interval, ..core });
}

#[test]
fn what_follows_from_a_value_follows_it() {
    let of_flags = [(Key::Id, "3"), (Key::ListenClient, "localhost:9001"), (Key::ListenAdmin, "[::1]:9002")];
    let settings = merged("", &[], &of_flags).expect("flags only").settings;
    assert_eq!(settings.advertise_client, "http://localhost:9001", "a name is not resolved");
    assert_eq!(settings.advertise_admin, "http://[::1]:9002");
    assert_eq!(settings.data_dir, PathBuf::from("raft-data/node3"));
}

#[test]
fn a_list_of_peers_is_one_value() {
    let file = "id = 1\n[peers]\n2 = \"http://a:1\"\n3 = \"http://b:1\"";
    let peers = |loaded: Loaded| loaded.settings.peers.keys().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!(peers(merged(file, &[], &[]).expect("the file")), [2, 3]);
    let environment = [("RAFT_PEERS", "4=http://c:1, 5=http://d:1,")];
    assert_eq!(peers(merged(file, &environment, &[]).expect("the variable")), [4, 5]);
    let of_flags = [(Key::Peers, "6=http://e:1"), (Key::Peers, "7=http://f:1")];
    assert_eq!(peers(merged(file, &environment, &of_flags).expect("flags")), [6, 7]);
    let none = merged(file, &[("RAFT_PEERS", "")], &[]).expect("no peers");
    assert_eq!(row(&none, Key::Peers), (String::new(), "set to none".to_owned()));
    assert!(none.settings.peers.is_empty());
}

#[test]
fn a_wrong_file_is_refused_with_the_line_and_the_advice() {
    let table = [
        // These names are unknown.
        (
            "id = 1\n\nheartbeat_intervall = 3",
            "a.toml:3: unknown key `heartbeat_intervall`, did you mean `heartbeat_interval`?",
        ),
        ("id = 1\n[node]\nlisten_per = \"x\"", "a.toml:3: unknown key `node.listen_per`, did you mean `listen_peer`?"),
        ("tls.cert = \"x\"", "a.toml:1: unknown key `tls.cert`, expected one of id, cluster"),
        ("[tls]", "a.toml:1: unknown key `tls`, expected one of id, cluster"),
        ("[peers]\n2 = \"http://a:1\"\ndata_dir = \"x\"", "a.toml:3: unknown key `peers.data_dir`"),
        ("[peers]\ndata_dir = \"x\"", "`data_dir` belongs above [peers]"),
        // These values have another type, or are not TOML.
        ("id = true", "a.toml:1: id = true: must be a number, 1 to 2^62"),
        ("id = 1\nlease_reads = 1", "a.toml:2: lease_reads = 1: must be true or false"),
        ("id = 0x10", "a.toml:1: id is of type integer: write a text or a decimal number"),
        ("\nelection_timeout = { start = \"1s\" }", "a.toml:2: election_timeout is of type table"),
        ("id = 1\n[peers]\n2 = 3.5", "a.toml:3: peers.2 is of type float"),
        (
            "id = 1\n[peers]\n2 = \"http://a:1,3=http://b:1\"",
            "a.toml:3: peers.2 = http://a:1,3=http://b:1: must be one",
        ),
        ("id = 1\nid = 2", "a.toml:2: not TOML: duplicate key"),
        ("id = 1\n= 2", "a.toml:2: not TOML: "),
        // These values contradict each other.
        (
            "id = 1\nheartbeat_interval = \"500ms\"",
            "a.toml:2: heartbeat_interval = 500ms: must be below the shortest election timeout, 500ms (default)",
        ),
        (
            "id = 1\nelection_timeout = \"50ms..1s\"",
            "a.toml:2: election_timeout = 50ms..1s: must begin above the heartbeat interval, 100ms (default)",
        ),
        (
            "id = 1\nlisten_admin = \"127.0.0.1:7071\"",
            "listen_admin (a.toml:2) and listen_client (default) are both 127.0.0.1:7071",
        ),
        ("cluster = \"a\"", "id is not set"),
    ];
    for (file, expected) in table {
        let problem = problem(file, &[], &[]);
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn unknown_variables_are_refused_with_a_suggestion() {
    let table = [
        ("RAFT_LISTEN_PER", "RAFT_LISTEN_PER: unknown variable, did you mean `RAFT_LISTEN_PEER`?"),
        ("RAFT_ENDPOINT", "did you mean `RAFT_ENDPOINTS`?"),
        ("RAFT_TLS_CERTIFICATE", "unknown variable, expected one of RAFT_ADVERTISE_ADMIN"),
    ];
    for (name, expected) in table {
        let problem = problem("id = 1", &[(name, "1")], &[]);
        assert!(problem.contains(expected), "{problem}");
    }
    let others = [("RAFT_ENDPOINTS", "x"), ("RAFT_LOG", "debug"), ("RAFTING", "x"), ("HOME", "x")];
    assert!(merged("id = 1", &others, &[]).is_ok(), "variables of other programs and of clients");
}

#[test]
fn values_out_of_range_are_refused_with_key_value_source_and_range() {
    for (key, inside, outside) in VALUES.iter().copied() {
        let id = if key == Key::Id { "" } else { "id = 1" };
        for text in inside {
            assert_eq!(merged(id, &[], &[(key, text)]).map(|_| ()), Ok(()), "{key} = {text}");
        }
        let (variable, flag) = (key.variable(), key.flag());
        // The range of an address contains its shape, with an example.
        let range = if key.name().starts_with("listen") { "HOST:PORT" } else { &key.range() };
        for text in outside {
            let sources = [
                (format!("a.toml:2: {key} = {text}: "), problem(&format!("{id}\n{key} = \"{text}\""), &[], &[])),
                (format!("{variable}: {key} = {text}: "), problem(id, &[(&variable, text)], &[])),
                (format!("{flag}: {key} = {text}: "), problem(id, &[], &[(key, text)])),
            ];
            for (beginning, problem) in sources {
                let kind = problem.contains(range) || problem.contains("must be a size such as 16MiB");
                assert!(problem.starts_with(&beginning) && kind, "{problem}");
            }
        }
    }
    assert!(problem("id = 1\ndata_dir = \"\"", &[], &[]).contains("a.toml:2: data_dir = : must be the path"));
}

#[test]
fn the_core_takes_every_limit_at_both_ends() {
    for (key, inside, _) in VALUES.iter().copied() {
        for text in inside.iter().filter(|_| key != Key::Id) {
            let settings = merged("id = 1", &[], &[(key, text)]).expect("in range").settings;
            assert_eq!(crate::host::core_config(&settings).check(), Ok(()), "{key} = {text}");
        }
    }
}

#[test]
fn a_disk_reserve_below_its_floor_is_refused_and_the_default_is_above_it() {
    let problem = problem("id = 1\ndisk_reserve = \"4194303\"", &[], &[]);
    let expected = "a.toml:2: disk_reserve = 4194303: must be at least 4MiB: 4 times the larger of max_append_bytes and \
                    max_request_bytes, 1MiB";
    assert_eq!(problem, expected);
    let reserve = |key, text| merged("id = 1", &[], &[(key, text)]).expect("in range").settings.disk_reserve;
    assert_eq!(reserve(Key::MaxRequestBytes, "64MiB"), 256 << 20);
    assert_eq!(reserve(Key::SegmentBytes, "128MiB"), 64 << 20);
    assert_eq!(reserve(Key::MaxInflightBytes, "20MiB"), 40 << 20);
}

#[test]
fn two_nodes_and_unreachable_addresses_are_warned_about() {
    let two = merged("id = 1\n[peers]\n2 = \"http://a:1\"", &[], &[]).expect("two nodes");
    assert_eq!(two.warnings.len(), 1);
    assert!(two.warnings.iter().any(|line| line.contains("two nodes survives no failure")));
    let three = merged("id = 1\n[peers]\n2 = \"http://a:1\"\n3 = \"http://a:2\"", &[], &[]).expect("three nodes");
    assert!(three.warnings.is_empty());
    let anywhere = [(Key::ListenClient, "0.0.0.0:7071")];
    let anywhere = merged("id = 1", &[], &anywhere).expect("works");
    assert!(anywhere.warnings.iter().any(|line| line.contains("set advertise_client")), "{:?}", anywhere.warnings);
    let any_port = [(Key::ListenPeer, "127.0.0.1:0"), (Key::ListenAdmin, "127.0.0.1:0")];
    let any_port = merged("id = 1", &[], &any_port).expect("works").warnings;
    assert_eq!(any_port.len(), 2, "{any_port:?}");
    let advertised = [(Key::ListenClient, "0.0.0.0:7071"), (Key::AdvertiseClient, "http://a:7071")];
    assert!(merged("id = 1", &[], &advertised).expect("works").warnings.is_empty());
}

#[test]
fn the_sample_has_every_key_and_every_default() {
    let sample = merged(SAMPLE, &[], &[]).expect("the sample");
    assert_eq!(sample.settings, merged("id = 1", &[], &[]).expect("the defaults").settings);
    assert!(sample.warnings.is_empty());
    // The commented values are valid too, and with them no key is missing.
    let all: String = SAMPLE.lines().map(uncommented).map(|line| line + "\n").collect();
    let all = merged(&all, &[], &[]).expect("the sample with all its lines");
    assert!(all.rows.iter().all(|row| matches!(row.source, Source::File { .. })), "{:?}", all.rows);
    assert_eq!(all.settings.peers.len(), 2);
    let without_peers = Settings { peers: sample.settings.peers.clone(), ..all.settings };
    assert_eq!(without_peers, sample.settings);
}

/// A line of the sample without the `# ` before a value.
fn uncommented(line: &str) -> String {
    match line.strip_prefix("# ") {
        Some(value) if value.contains(" = \"") => value.to_owned(),
        _ => line.to_owned(),
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.toml");
    let failure = load(Some(&missing), [], Layer::default()).expect_err("missing");
    assert!(failure.message.contains("missing.toml: cannot read the configuration"), "{failure}");
    let long = folder.path().join("long.toml");
    std::fs::write(&long, "#".repeat((1 << 20) + 1)).expect("written");
    assert!(load(Some(&long), [], Layer::default()).expect_err("long").message.contains("more than 1 MiB"));
    let binary = folder.path().join("binary.toml");
    std::fs::write(&binary, [0xff, 0xfe]).expect("written");
    assert!(load(Some(&binary), [], Layer::default()).expect_err("binary").message.contains("no UTF-8"));
    assert!(load(Some(folder.path()), [], Layer::default()).is_err(), "a folder");
}

#[test]
fn the_documentation_has_every_key() {
    let page = include_str!("../../../../docs/configuration.md");
    let defaults = merged("id = 1", &[], &[]).expect("the defaults");
    for key in Key::ALL.iter().copied() {
        let names = format!("| `{key}` | `{}` | `{}` | ", key.variable(), key.flag());
        let default = match key {
            Key::Id => "none: it has to be set".to_owned(),
            Key::AdvertisePeer => "`http://` and `listen_peer`".to_owned(),
            Key::AdvertiseClient => "`http://` and `listen_client`".to_owned(),
            Key::AdvertiseAdmin => "`http://` and `listen_admin`".to_owned(),
            Key::DataDir => "`raft-data/node` and the id".to_owned(),
            Key::Peers => "none: a cluster of one".to_owned(),
            _ => format!("`{}`", row(&defaults, key).0),
        };
        let line = format!("{names}{default} | {} |", key.range());
        assert!(page.lines().any(|other| other == line), "docs/configuration.md has no row {line}");
    }
}
