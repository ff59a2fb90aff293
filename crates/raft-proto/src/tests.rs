//! Round trips of arbitrary values, and bytes that do not decode.

use crate::wire::raft as w;
use crate::{DecodeError, decode_rpc, decode_write, encode_rpc, encode_write};
use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use prost::Message;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendOutcome, Configuration, Entries, Entry, EntryId, HardState, LogIndex,
    NodeId, Payload, PreVote, PreVoteResponse, RequestVote, RequestVoteResponse, Round, Rpc, Seq, Term, TimeoutNow,
    Vote, VoteRefusal, Write, WriteId,
};
use std::time::Duration;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, any::<u64>()]
}

fn entry_id() -> impl Strategy<Value = EntryId> {
    (number(), number()).prop_map(|(index, term)| EntryId::new(index, term))
}

fn content() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let ids = || btree_set(number().prop_map(NodeId), 0..4);
    let members = btree_map(number().prop_map(NodeId), content(), 0..4);
    (ids(), ids(), ids(), members).prop_map(|(voters, outgoing, leaving, members)| Configuration {
        voters,
        outgoing,
        leaving,
        members,
    })
}

fn entries() -> impl Strategy<Value = Entries> {
    let entry = (entry_id(), 0..3_u8, content(), configuration()).prop_map(|(id, kind, command, configuration)| {
        let payload = match kind {
            0 => Payload::Noop,
            1 => Payload::Command(command),
            _ => Payload::Configuration(configuration),
        };
        Entry { id, payload }
    });
    vec(entry, 0..5).prop_map(Entries::from)
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![
        Just(Vote::Granted),
        Just(Vote::Refused(VoteRefusal::StaleTerm)),
        Just(Vote::Refused(VoteRefusal::LeaderAlive)),
        number().prop_map(|id| Vote::Refused(VoteRefusal::AlreadyVoted { candidate: NodeId(id) })),
        entry_id().prop_map(|last| Vote::Refused(VoteRefusal::LogBehind { last })),
        (entry_id(), any::<bool>())
            .prop_map(|(since, current)| Vote::Refused(VoteRefusal::NotAMember { since, current })),
    ]
}

fn outcome() -> impl Strategy<Value = AppendOutcome> {
    prop_oneof![
        number().prop_map(|index| AppendOutcome::Matched { index: LogIndex(index) }),
        Just(AppendOutcome::StaleTerm),
        Just(AppendOutcome::AnotherLeader),
        (entry_id(), entry_id()).prop_map(|(prev, hint)| AppendOutcome::Mismatch { prev, hint }),
    ]
}

fn rpc() -> impl Strategy<Value = Rpc> {
    let (term, round, seq) = (|| number().prop_map(Term), || number().prop_map(Round), || number().prop_map(Seq));
    prop_oneof![
        (term(), round(), entry_id()).prop_map(|(term, round, last)| Rpc::PreVote(PreVote { term, round, last })),
        (term(), round(), vote()).prop_map(|(term, round, vote)| Rpc::PreVoteResponse(PreVoteResponse {
            term,
            round,
            vote
        })),
        (term(), entry_id(), any::<bool>()).prop_map(|(term, last, transfer)| Rpc::RequestVote(RequestVote {
            term,
            last,
            transfer
        })),
        (term(), entry_id()).prop_map(|(term, last)| Rpc::TimeoutNow(TimeoutNow { term, last })),
        (term(), vote()).prop_map(|(term, vote)| Rpc::RequestVoteResponse(RequestVoteResponse { term, vote })),
        (term(), seq(), entry_id(), number().prop_map(LogIndex), entries()).prop_map(
            |(term, seq, prev, leader_commit, entries)| {
                Rpc::AppendEntries(AppendEntries { term, seq, prev, leader_commit, entries })
            }
        ),
        (term(), seq(), outcome(), number(), any::<bool>()).prop_map(|(term, seq, outcome, stickiness, no_space)| {
            let stickiness = Duration::from_nanos(stickiness);
            Rpc::AppendEntriesResponse(AppendEntriesResponse { term, seq, outcome, stickiness, no_space })
        }),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let hard_state = (number(), proptest::option::of(number()))
        .prop_map(|(term, vote)| HardState { term: Term(term), voted_for: vote.map(NodeId) });
    (proptest::option::of(hard_state), proptest::option::of(number()), entries()).prop_map(
        |(hard_state, truncate_from, entries)| Write {
            id: WriteId(0),
            hard_state,
            truncate_from: truncate_from.map(LogIndex),
            snapshot: None,
            entries,
        },
    )
}

proptest! {
    #[test]
    fn every_rpc_round_trips(rpc in rpc()) {
        prop_assert_eq!(decode_rpc(encode_rpc(&rpc).into()), Ok(rpc));
    }

    #[test]
    fn every_write_round_trips_without_its_id(write in write(), id in number()) {
        let numbered = Write { id: WriteId(id), ..write.clone() };
        prop_assert_eq!(decode_write(encode_write(&numbered).into()), Ok(write));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        // Accepted bytes have an equivalent encoding: the decoder ignores nothing.
        if let Ok(rpc) = decode_rpc(bytes.clone()) {
            prop_assert_eq!(decode_rpc(encode_rpc(&rpc).into()), Ok(rpc));
        }
        if let Ok(write) = decode_write(bytes) {
            prop_assert_eq!(decode_write(encode_write(&write).into()), Ok(write));
        }
    }

    #[test]
    fn mutated_messages_are_decoded_or_refused(
        rpc in rpc(), write in write(), place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mutate = |mut bytes: Vec<u8>| {
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
                bytes.truncate(if cut { place } else { bytes.len() });
            }
            Bytes::from(bytes)
        };
        if let Ok(rpc) = decode_rpc(mutate(encode_rpc(&rpc))) {
            prop_assert_eq!(decode_rpc(encode_rpc(&rpc).into()), Ok(rpc));
        }
        if let Ok(write) = decode_write(mutate(encode_write(&write))) {
            prop_assert_eq!(decode_write(encode_write(&write).into()), Ok(write));
        }
    }
}

fn refusal(rpc: Option<w::peer_message::Rpc>) -> DecodeError {
    decode_rpc(w::PeerMessage { rpc }.encode_to_vec().into()).expect_err("a required part is missing")
}

#[test]
fn an_error_names_the_missing_field() {
    use w::peer_message::Rpc as Wire;
    let id = Some(w::EntryId::default());
    let append = w::AppendEntries { prev: id, ..Default::default() };
    let no_payload = w::AppendEntries { entries: vec![w::Entry::default()], ..append.clone() };
    let response = w::AppendEntriesResponse::default();
    let mismatch = w::Mismatch { prev: id, hint: None };
    let no_hint =
        w::AppendEntriesResponse { outcome: Some(w::append_entries_response::Outcome::Mismatch(mismatch)), ..response };
    let table = [
        (None, "PeerMessage.rpc"),
        (Some(Wire::PreVote(w::PreVote::default())), "PreVote.last"),
        (Some(Wire::PreVoteResponse(w::PreVoteResponse::default())), "PreVoteResponse.vote"),
        (Some(Wire::RequestVote(w::RequestVote::default())), "RequestVote.last"),
        (
            Some(Wire::RequestVoteResponse(w::RequestVoteResponse { vote: Some(w::Vote::default()), term: 1 })),
            "Vote.verdict",
        ),
        (Some(Wire::AppendEntries(w::AppendEntries::default())), "AppendEntries.prev"),
        (Some(Wire::AppendEntries(no_payload)), "Entry.payload"),
        (Some(Wire::AppendEntriesResponse(response)), "AppendEntriesResponse.outcome"),
        (Some(Wire::AppendEntriesResponse(no_hint)), "Mismatch.hint"),
    ];
    for (rpc, place) in table {
        assert_eq!(refusal(rpc), DecodeError::Missing(place));
    }
    // A oneof variant of a later version: field 100 of PeerMessage, empty.
    assert_eq!(decode_rpc(Bytes::from_static(&[0xa2, 0x06, 0x00])), Err(DecodeError::Missing("PeerMessage.rpc")));
}

#[test]
fn a_configuration_has_one_encoding() {
    let refused = |configuration: w::Configuration| {
        let payload = Some(w::entry::Payload::Configuration(configuration));
        let entry = w::Entry { index: 1, term: 1, payload };
        let append = w::AppendEntries { prev: Some(w::EntryId::default()), entries: vec![entry], ..Default::default() };
        refusal(Some(w::peer_message::Rpc::AppendEntries(append)))
    };
    let member = |id| w::Member { id, context: Bytes::new() };
    let voters = w::Configuration { voters: vec![2, 1], ..Default::default() };
    assert_eq!(refused(voters), DecodeError::NotAscending("Configuration.voters"));
    let outgoing = w::Configuration { outgoing: vec![2, 2], ..Default::default() };
    assert_eq!(refused(outgoing), DecodeError::NotAscending("Configuration.outgoing"));
    let leaving = w::Configuration { leaving: vec![3, 1], ..Default::default() };
    assert_eq!(refused(leaving), DecodeError::NotAscending("Configuration.leaving"));
    let members = w::Configuration { members: vec![member(1), member(1)], ..Default::default() };
    assert_eq!(refused(members), DecodeError::NotAscending("Configuration.members"));
}

#[test]
fn commands_share_the_memory_of_the_buffer() {
    let command = Bytes::from(vec![7_u8; 64]);
    let entry = Entry { id: EntryId::new(1, 1), payload: Payload::Command(command) };
    let write =
        Write { id: WriteId(1), hard_state: None, truncate_from: None, snapshot: None, entries: vec![entry].into() };
    let bytes = Bytes::from(encode_write(&write));
    let range = bytes.as_ptr_range();
    let decoded = decode_write(bytes.clone()).expect("just encoded");
    let Payload::Command(command) = &decoded.entries[0].payload else { panic!("a command went in") };
    assert!(range.contains(&command.as_ptr()));
}
