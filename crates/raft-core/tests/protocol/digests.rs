//! The state as data, the digest that tells any two states apart, and the fingerprint that ignores differences without
//! an effect (R46).

use crate::cluster::Cluster;
use crate::cluster::replica::*;
use crate::cluster::schedule::{for_random_cases, schedule};
use raft_core::{Config, Input, Instant, NodeId, Raft, Renaming, Seq, Term};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

fn fingerprint(raft: &Raft) -> u128 {
    raft.fingerprint(&Renaming::default())
}

#[test]
fn a_state_comes_back_whole_at_every_step_of_a_run() {
    for_random_cases(30, 6, &schedule(200), |(size, happenings)| {
        let mut cluster = Cluster::for_schedules(size);
        for happening in &happenings {
            cluster.happen(happening);
            for raft in cluster.servers.values().filter_map(|server| server.raft.as_ref()) {
                let bytes = serde_json::to_vec(raft).expect("a state is data");
                let back: Raft = serde_json::from_slice(&bytes).expect("what was written can be read");
                assert_eq!(&back, raft);
                assert_eq!((back.digest(), fingerprint(&back)), (raft.digest(), fingerprint(raft)));
            }
        }
    });
}

/// Every leaf of the value, with its path.
fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                leaves(value, &format!("{path}/{place}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, &format!("{path}/{name}"), found);
            }
        }
        Value::Number(_) | Value::Bool(_) => found.push(path.to_owned()),
        Value::Null | Value::String(_) => {}
    }
}

/// Whether a fingerprint may ignore a field: counters that only grow, the ids of requests, payloads, the term of an
/// announcement, and what matters only to a change of members.
fn may_be_alike(path: &str) -> bool {
    let growing =
        ["issued", "reported", "hard_state_write", "read", "round", "appended_bytes", "stalled_write", "lease_reads"];
    path.contains("/payload/")
        || path.contains("/in_flight/")
        || path.contains("/lowest/")
        || path.contains("/waiting/")
        || path.contains("/transfer/id")
        || path.ends_with("/announced/0")
        || path.ends_with("/leader_commit")
        || growing.iter().any(|name| path.ends_with(&format!("/{name}")))
}

#[test]
fn every_field_changes_the_digest_and_what_matters_the_fingerprint() {
    let fresh = || Replica::new(&[1, 1, 2]);
    let mut busy = fresh().established();
    busy.propose(1);
    busy.read(2);
    let sending = crate::snapshots::sending(|_| ());
    let states =
        [fresh(), fresh().following(3), fresh().pre_candidate(), fresh().candidate(), fresh().leader(), busy, sending];
    let (mut seen, mut compared) = (BTreeSet::new(), 0);
    for state in &states {
        let raft = &state.raft;
        let value = serde_json::to_value(raft).expect("a state is data");
        let mut paths = Vec::new();
        leaves(&value, "", &mut paths);
        for path in paths {
            let mut changed = value.clone();
            let leaf = changed.pointer_mut(&path).expect("it was found there");
            let another = match &*leaf {
                Value::Bool(flag) => Value::Bool(!flag),
                number => Value::from(number.as_u64().map_or(1, |number| number ^ 1)),
            };
            *leaf = another;
            // A change may shorten a set, and some numbers are out of range.
            let Ok(other) = serde_json::from_value::<Raft>(changed) else { continue };
            if other == *raft {
                continue;
            }
            assert_ne!(other.digest(), raft.digest(), "{path}");
            seen.insert(path.split('/').rfind(|name| name.parse::<u64>().is_err()).unwrap_or_default().to_owned());
            if !may_be_alike(&path) {
                compared += 1;
                assert_ne!(fingerprint(&other), fingerprint(raft), "{path}");
            }
        }
    }
    assert!(compared > 500 && seen.len() > 60, "{compared} compared; {seen:?}");
}

/// Runs the same inputs at another time, with other request ids, after more writes, appends and rounds.
#[test]
fn what_cannot_matter_does_not_change_the_fingerprint() {
    let no_jitter = |config: &mut Config| config.election_timeout.end = config.election_timeout.start;
    let run = |delay: u64, seed: u64, request: u64| {
        let mut n1 = Replica::unstarted(&[1, 1], 3, |config, _| {
            no_jitter(config);
            config.seed = seed;
        });
        n1.pass(delay);
        n1.tick();
        let mut n1 = n1.established();
        n1.propose(request);
        n1.read(request + 1);
        n1.raft
    };
    let (one, other) = (run(0, 1, 1), run(7_777, 2, 40));
    assert_ne!(one.digest(), other.digest());
    assert_eq!(fingerprint(&one), fingerprint(&other));

    // If the jitter draws something, the seed counts.
    let drawn = |seed| Replica::with(&[1, 1], 3, |config, _| config.seed = seed).raft;
    assert_ne!(fingerprint(&drawn(1)), fingerprint(&drawn(2)));

    // This replica has written twice as often, and all of it is durable.
    let mut writer = Replica::with(&[1, 1], 3, |config, _| no_jitter(config)).following(3);
    let mut plain = writer.raft.clone();
    writer.step(Input::Tick);
    let before = fingerprint(&plain);
    plain.step(raft_core::Message { now: writer.now, input: Input::Persisted { write: raft_core::WriteId(1) } });
    assert_eq!(fingerprint(&plain), before);
}

#[test]
fn nodes_may_change_names() {
    let swap = [(N2, N3), (N3, N2)].into_iter().collect();
    let renaming = Renaming { nodes: swap, ..Renaming::default() };
    let led_by = |leader: NodeId| {
        let mut n1 = Replica::with(&[1, 1], 3, |config, _| config.election_timeout.end = config.election_timeout.start);
        n1.receive(leader, heartbeat(3, 1, (0, 0), 0));
        n1.persist();
        n1.raft
    };
    assert_ne!(fingerprint(&led_by(N2)), fingerprint(&led_by(N3)));
    assert_eq!(led_by(N2).fingerprint(&renaming), fingerprint(&led_by(N3)));
    assert_eq!(led_by(N2).fingerprint(&renaming), led_by(N2).fingerprint(&renaming));
}

#[test]
fn what_a_follower_has_seen_counts_back_from_its_leaders_newest() {
    let seen = |seq| {
        let mut n1 = Replica::new(&[1, 1]).following(3);
        n1.receive(N2, heartbeat(3, seq, (2, 1), 0));
        n1.raft
    };
    let with = |newest| Renaming { newest: [(Term(3), Seq(newest))].into_iter().collect(), ..Renaming::default() };
    assert_eq!(seen(4).fingerprint(&with(6)), seen(8).fingerprint(&with(10)));
    assert_ne!(seen(4).fingerprint(&with(6)), seen(4).fingerprint(&with(7)));
    assert_ne!(fingerprint(&seen(4)), fingerprint(&seen(8)));
}

#[test]
fn far_away_is_far_away() {
    let after = |idle: Duration| {
        let mut n1 = Replica::with(&[1, 1], 3, |config, restored| {
            config.id = N9;
            restored.applied = raft_core::LogIndex(2);
        });
        n1.now = Instant(n1.now.0 + idle.as_nanos() as u64);
        n1.tick();
        n1.raft
    };
    let (hour, day) = (Duration::from_secs(3_600), Duration::from_secs(86_400));
    assert_ne!(after(hour).digest(), after(day).digest());
    assert_eq!(fingerprint(&after(hour)), fingerprint(&after(day)));
    assert_ne!(fingerprint(&after(hour)), fingerprint(&after(Duration::from_millis(5))));
}

#[test]
fn an_outline_lists_the_numbers_of_appends() {
    let plain = Renaming { timeless: true, plain: true, ..Renaming::default() };
    let outline = |raft: &Raft| raft.outline(&plain);
    let seen = |seq| {
        let mut n1 = Replica::new(&[1, 1]).following(3);
        n1.receive(N2, heartbeat(3, seq, (2, 1), 0));
        n1.raft
    };
    assert_eq!(outline(&seen(4)), (outline(&seen(8)).0, vec![(N1, Seq(4))]));
    assert_eq!(outline(&seen(8)).1, [(N1, Seq(8))]);

    // A heartbeat moves the time, the newest number and the marks, and not the positions of the peers.
    let mut leader = Replica::new(&[1, 1]).established();
    leader.pass(50);
    leader.tick();
    let before = leader.raft.clone();
    leader.pass(50);
    leader.tick();
    let of_peers = |raft: &Raft| outline(raft).1.into_iter().filter(|(id, _)| *id != N1).collect::<Vec<_>>();
    assert_ne!(fingerprint(&before), fingerprint(&leader.raft));
    assert_eq!((outline(&before).0, of_peers(&before)), (outline(&leader.raft).0, of_peers(&leader.raft)));
    let everything = |raft: &Raft| raft.outline(&Renaming { timeless: true, ..Renaming::default() });
    assert_ne!(everything(&before), everything(&leader.raft));
}
