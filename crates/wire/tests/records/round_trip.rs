//! What is written is what is read.

use bytes::Bytes;
use proptest::prelude::*;
use stentor_postoffice::Session;
use stentor_wire::{
    CommitRecord, decode_commit, decode_directory, decode_event, decode_snapshot, encode_commit,
    encode_directory, encode_event, encode_snapshot,
};

use crate::{
    arbitrary::{app, directory, event, record},
    generate::{actions, run},
};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_event_survives(event in event()) {
        prop_assert_eq!(decode_event(&encode_event(&event)).unwrap(), event);
    }

    #[test]
    fn every_commit_survives(record in record()) {
        let bytes = encode_commit(&record);
        let decoded = decode_commit(&bytes).unwrap();
        prop_assert_eq!(&encode_commit(&decoded), &bytes, "i3: the same bytes again");
        prop_assert_eq!(decoded, record);
    }

    #[test]
    fn every_directory_survives(record in directory()) {
        prop_assert_eq!(decode_directory(&encode_directory(&record)).unwrap(), record);
    }

    #[test]
    fn i10_a_session_read_back_from_its_records_is_the_live_one(actions in actions(), at: prop::sample::Index) {
        let run = run(&actions, |run, _, _| {
            let state = run.session.state();
            assert_eq!(&decode_snapshot(&encode_snapshot(state)).unwrap(), state);
        });
        // A log in which one record, any, holds a snapshot: reading may begin at the beginning or there.
        let mut live = Session::new(run.session.id(), run.session.state().epoch);
        let at = at.index(run.log.len().max(1));
        let mut log: Vec<Bytes> = Vec::new();
        for (place, commit) in run.log.iter().enumerate() {
            live.apply(commit);
            let mut record = CommitRecord::new(app(), live.id(), commit.clone());
            record.snapshot = (place == at).then(|| encode_snapshot(live.state()));
            log.push(encode_commit(&record));
        }
        prop_assert_eq!(&live, &run.session);
        let mut whole = Session::new(live.id(), live.state().epoch);
        let mut short = None::<Session>;
        for bytes in &log {
            let record = decode_commit(bytes).unwrap();
            whole.apply(&record.commit);
            if let Some(session) = &mut short {
                session.apply(&record.commit);
            }
            if let Some(snapshot) = record.snapshot {
                short = Some(Session::restore(live.id(), decode_snapshot(&snapshot).unwrap()));
            }
        }
        prop_assert_eq!(&whole, &live);
        if let Some(short) = short {
            prop_assert_eq!(&short, &live);
            prop_assert_eq!(short.open_effect(), live.open_effect());
        }
    }
}
