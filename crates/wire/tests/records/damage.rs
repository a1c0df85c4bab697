//! Damaged bytes are noticed, whatever they are.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use stentor_wire::{
    DecodeError, decode_commit, decode_directory, decode_event, decode_snapshot, encode_commit,
    encode_directory, pb,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    arbitrary::{directory, record},
    samples::{commit, directory as sample_directory},
};

/// Seals bytes as the format says: key of field 16, then the checksum of all before it.
pub(crate) fn sealed(body: &[u8]) -> Bytes {
    let mut bytes = body.to_vec();
    bytes.extend([0x81, 0x01]);
    bytes.extend(xxh3_64(body).to_le_bytes());
    bytes.into()
}

#[test]
fn every_flipped_bit_is_noticed() {
    for (record, is_ok) in [
        (encode_commit(&commit()), (|bytes| decode_commit(bytes).is_ok()) as fn(&Bytes) -> bool),
        (encode_directory(&sample_directory()), |bytes| decode_directory(bytes).is_ok()),
    ] {
        assert!(is_ok(&record));
        for place in 0..record.len() * 8 {
            let mut damaged = record.to_vec();
            damaged[place / 8] ^= 1 << (place % 8);
            assert!(!is_ok(&damaged.into()), "bit {place}");
        }
        for length in 0..record.len() {
            assert!(!is_ok(&record.slice(..length)), "cut to {length} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_flipped_bit_is_a_wrong_checksum(commit in record(), directory in directory(), at: prop::sample::Index) {
        let flipped = |bytes: Bytes| {
            let place = at.index(bytes.len() * 8);
            let mut damaged = bytes.to_vec();
            damaged[place / 8] ^= 1 << (place % 8);
            Bytes::from(damaged)
        };
        let commit = decode_commit(&flipped(encode_commit(&commit)));
        prop_assert!(matches!(commit, Err(DecodeError::Checksum)), "{:?}", commit);
        let directory = decode_directory(&flipped(encode_directory(&directory)));
        prop_assert!(matches!(directory, Err(DecodeError::Checksum)), "{:?}", directory);
    }

    #[test]
    fn no_bytes_make_reading_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(body.clone());
        let _ = (decode_commit(&bytes), decode_directory(&bytes), decode_event(&bytes), decode_snapshot(&bytes));
        let bytes = sealed(&body);
        let _ = (decode_commit(&bytes), decode_directory(&bytes));
    }

    #[test]
    fn no_damage_below_the_checksum_makes_reading_panic(record in record(), at: prop::sample::Index, byte: u8) {
        let bytes = encode_commit(&record);
        let mut body = bytes[..bytes.len() - 10].to_vec();
        if !body.is_empty() {
            let place = at.index(body.len());
            body[place] = byte;
        }
        let _ = decode_commit(&sealed(&body));
    }
}

#[test]
fn i2_a_record_whose_events_are_not_dense_is_refused() {
    let bytes = encode_commit(&commit());
    let mut record = pb::Commit::decode(&bytes[..bytes.len() - 10]).unwrap();
    assert!(decode_commit(&sealed(&record.encode_to_vec())).is_ok());
    record.events.swap(0, 1);
    let error = decode_commit(&sealed(&record.encode_to_vec())).unwrap_err();
    assert_eq!(error.to_string(), "field events is missing or out of range");
}
