//! Records of the past: each must read for ever as the value that its text file describes.
//!
//! To add a record, add a case and run the tests once with `WRITE_CORPUS=1`: it writes the files that
//! are missing, and never one that is there. A file that no longer fits is a change of the format.
//! A new field that older records lack shows in the text: remove that, have it written again, and read
//! the difference.

#![expect(clippy::disallowed_methods, reason = "the corpus is in files")]

use std::{fmt::Debug, fs, path::PathBuf};

use bytes::Bytes;
use stentor_types::EventKind;
use stentor_wire::{
    DecodeError, decode_commit, decode_directory, decode_snapshot, encode_commit, encode_directory,
    encode_snapshot, pb,
};

use crate::{bus, samples};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus/v1").join(name)
}

fn case<T: Debug>(name: &str, now: &Bytes, decode: fn(&Bytes) -> Result<T, DecodeError>) {
    let (record, text) = (path(&format!("{name}.bin")), path(&format!("{name}.txt")));
    let writes = std::env::var_os("WRITE_CORPUS").is_some();
    if writes && !record.exists() {
        fs::create_dir_all(path("")).unwrap();
        fs::write(&record, now).unwrap();
    }
    let bytes = Bytes::from(fs::read(&record).expect(name));
    let value = format!("{:#?}\n", decode(&bytes).expect(name));
    if writes && !text.exists() {
        fs::write(&text, &value).unwrap();
    }
    assert_eq!(value, fs::read_to_string(&text).expect(name), "{name} no longer reads as it did");
}

#[test]
fn every_record_of_the_past_reads_as_it_did() {
    case("commit", &encode_commit(&samples::commit()), decode_commit);
    case("snapshot", &encode_snapshot(samples::session().state()), decode_snapshot);
    case("people", &encode_commit(&samples::people()), decode_commit);
    case("people-snapshot", &encode_snapshot(&samples::people_state()), decode_snapshot);
    case("erased", &encode_commit(&samples::erased()), decode_commit);
    case("erased-snapshot", &encode_snapshot(&samples::erased_state()), decode_snapshot);
    case("crowd", &encode_commit(&samples::crowd()), decode_commit);
    case("crowd-snapshot", &encode_snapshot(&samples::crowd_state()), decode_snapshot);
    case("directory", &encode_directory(&samples::directory()), decode_directory);
}

#[test]
fn every_message_of_the_bus_reads_as_it_did() {
    case("requests", &bus::together(&bus::requests()), bus::apart::<pb::Request>);
    case("replies", &bus::together(&bus::replies()), bus::apart::<pb::Reply>);
    case("fan-outs", &bus::together(&bus::fan_outs()), bus::apart::<pb::Fanout>);
    case("effects", &bus::together(&bus::effects()), bus::apart::<pb::Effect>);
    // Some fields came later.
    case("suspicious", &bus::together(&bus::requests()), bus::apart::<pb::Request>);
    case("crowd-replies", &bus::together(&bus::replies()), bus::apart::<pb::Reply>);
    case("counted-fan-outs", &bus::together(&bus::fan_outs()), bus::apart::<pb::Fanout>);
    let (requests, replies) = bus::erasing();
    case("erasing-requests", &bus::together(&requests), bus::apart::<pb::Request>);
    case("erasing-replies", &bus::together(&replies), bus::apart::<pb::Reply>);
    let (request, reply) = bus::erasing_for_programs();
    case("erasing-by-token", &bus::together(&[request]), bus::apart::<pb::Request>);
    case("erasing-forbidden", &bus::together(&[reply]), bus::apart::<pb::Reply>);
    case("dead-letters", &bus::together(&bus::dead_letters()), bus::apart::<pb::DeadLetter>);
}

#[test]
fn the_corpus_holds_every_kind_of_event() {
    let [record, people, erased, crowd] = ["commit.bin", "people.bin", "erased.bin", "crowd.bin"]
        .map(|name| decode_commit(&Bytes::from(fs::read(path(name)).unwrap())).unwrap());
    let name = |kind: &EventKind| match kind {
        // No `_`: whoever adds a kind adds a record that holds it.
        EventKind::Opened { .. } => 0,
        EventKind::Joined { .. } => 1,
        EventKind::Attached { .. } => 2,
        EventKind::Detached { .. } => 3,
        EventKind::GatewayLost { .. } => 4,
        EventKind::Left { .. } => 5,
        EventKind::Clock { .. } => 6,
        EventKind::Said(_) => 7,
        EventKind::TurnStarted { .. } => 8,
        EventKind::TurnFailed { .. } => 9,
        EventKind::Replied { .. } => 10,
        EventKind::TurnEnded { .. } => 11,
        EventKind::Draft { .. } => 12,
        EventKind::Notice { .. } => 13,
        EventKind::ControlChanged { .. } => 14,
        EventKind::Rejected { .. } => 15,
        EventKind::Unknown => 16,
        EventKind::DraftSent { .. } => 17,
        EventKind::DraftDone { .. } => 18,
        EventKind::SteppedIn { .. } => 19,
        EventKind::SteppedOut { .. } => 20,
        EventKind::Ended { .. } => 21,
        EventKind::Erased => 22,
        EventKind::Crowd { .. } => 23,
    };
    let kinds: std::collections::BTreeSet<i32> = record
        .commit
        .events
        .iter()
        .chain(&people.commit.events)
        .chain(&erased.commit.events)
        .chain(&crowd.commit.events)
        .map(|event| name(&event.kind))
        .collect();
    assert_eq!(kinds, (0..=23).collect());
    assert!(record.snapshot.is_some_and(|snapshot| decode_snapshot(&snapshot).is_ok()));
}
