//! Records of versions that do not exist yet.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use stentor_types::{Audience, EventKind, EventNumber, Stamp};
use stentor_wire::{
    DecodeError, LOGIC, decode_commit, decode_commit_by, decode_event, decode_snapshot,
    decode_snapshot_by, encode_commit, encode_snapshot, encode_snapshot_for, pb,
};

use crate::{damage::sealed, samples};

/// The event with a field appended that no version knows so far.
fn with_unknown_field(event: &pb::Event) -> Bytes {
    let mut bytes = BytesMut::from(&event.encode_to_vec()[..]);
    // Field 1000, length-delimited.
    bytes.put_slice(&[0xc2, 0x3e, 5]);
    bytes.put_slice(b"later");
    bytes.freeze()
}

fn parts() -> pb::Commit {
    let bytes = encode_commit(&samples::commit());
    pb::Commit::decode(&bytes[..bytes.len() - 10]).unwrap()
}

#[test]
fn i19_unknown_kinds_and_fields_survive_in_their_bytes() {
    let kind = Some(pb::event::Kind::Left(pb::Left {
        user: vec![1; 16].into(),
        alias: "v".into(),
        counted: false,
    }));
    let first = parts().first;
    let events = [
        with_unknown_field(&pb::Event { n: first, stamp: 4, audience: 0, kind: None }),
        with_unknown_field(&pb::Event { n: first + 1, stamp: 6, audience: 9, kind }),
    ];
    let mut record = parts();
    record.events = events.to_vec();
    let bytes = sealed(&record.encode_to_vec());
    let decoded = decode_commit(&bytes).unwrap();
    assert_eq!(decoded.events, events, "the very bytes");
    assert_eq!(encode_commit(&decoded), bytes, "passed on unchanged");
    let [unknown, left] = &decoded.commit.events[..] else { panic!("two events") };
    assert_eq!(
        (unknown.n, unknown.stamp, &unknown.kind),
        (EventNumber(first), Stamp(4), &EventKind::Unknown)
    );
    assert!(matches!(left.kind, EventKind::Left { .. }));
    assert_eq!(
        left.audience,
        Audience::Staff,
        "an audience that is not known sees as little as possible"
    );
}

#[test]
fn i19_an_event_with_a_value_that_is_not_known_yet_keeps_number_and_stamp() {
    let kinds = [
        pb::event::Kind::TurnEnded(pb::TurnEnded { turn: 1, how: 99 }),
        pb::event::Kind::Noticed(pb::Noticed { notice: 99, text: "x".into() }),
        pb::event::Kind::Joined(pb::Joined {
            user: vec![1; 16].into(),
            role: 99,
            ..Default::default()
        }),
    ];
    for kind in kinds {
        let event = pb::Event { n: 3, stamp: 4, audience: 0, kind: Some(kind) };
        let decoded = decode_event(&event.encode_to_vec().into()).unwrap();
        assert_eq!(
            (decoded.n, decoded.stamp, decoded.kind),
            (EventNumber(3), Stamp(4), EventKind::Unknown)
        );
    }
}

#[test]
fn records_that_this_version_must_not_read_are_refused() {
    let with = |change: fn(&mut pb::Commit)| {
        let mut record = parts();
        change(&mut record);
        decode_commit(&sealed(&record.encode_to_vec()))
    };
    assert!(matches!(with(|record| record.format = 2), Err(DecodeError::NewerFormat(2))));
    assert!(matches!(with(|record| record.min_logic = LOGIC + 1), Err(DecodeError::NewerLogic(_))));
    let state = encode_snapshot(samples::session().state());
    let mut snapshot = pb::Snapshot::decode(state).unwrap();
    snapshot.format = 2;
    let refused = decode_snapshot(&snapshot.encode_to_vec().into());
    assert!(matches!(refused, Err(DecodeError::NewerFormat(2))));
}

#[test]
fn whoever_decides_by_later_rules_reads_what_needs_them_and_passes_it_on() {
    let mut record = parts();
    record.min_logic = LOGIC + 1;
    let bytes = sealed(&record.encode_to_vec());
    assert!(matches!(decode_commit(&bytes), Err(DecodeError::NewerLogic(_))));
    let decoded = decode_commit_by(&bytes, LOGIC + 1).unwrap();
    assert_eq!(decoded.min_logic, LOGIC + 1);
    assert_eq!(encode_commit(&decoded), bytes, "passed on for the same readers");
}

#[test]
fn a_state_is_not_decided_from_by_lower_rules_than_it_was_made_by() {
    let session = samples::session();
    let state = session.state();
    let later = encode_snapshot_for(state, LOGIC + 1);
    assert!(matches!(decode_snapshot(&later), Err(DecodeError::NewerLogic(_))));
    assert_eq!(&decode_snapshot_by(&later, LOGIC + 1).unwrap(), state);
    // For readers of the first version not even the field is there.
    let first = pb::Snapshot::decode(encode_snapshot_for(state, 1)).unwrap();
    assert_eq!(first.min_logic, 0);
}

#[test]
fn cluster_26_what_is_left_of_an_erased_session_holds_no_word_and_no_name() {
    let (before, record) =
        (encode_snapshot(&samples::people_state()), encode_commit(&samples::erased()));
    let state = encode_snapshot(&samples::erased_state());
    let state_before = samples::people_state();
    let visitor = state_before.visitor.unwrap();
    let alias = state_before.participants.values().next().unwrap().alias.as_str().as_bytes();
    let holds = |bytes: &Bytes, part: &[u8]| bytes.windows(part.len()).any(|some| some == part);
    for part in [&visitor.0[..], alias] {
        assert!(holds(&before, part));
        assert!(!holds(&record, part) && !holds(&state, part));
    }
    assert!(state.len() < 64, "{state:?}");
    // An older version must not take it for one that somebody may go on with.
    assert!(matches!(decode_commit_by(&record, 1), Err(DecodeError::NewerLogic(2))));
    assert!(matches!(decode_snapshot_by(&state, 1), Err(DecodeError::NewerLogic(2))));
}
