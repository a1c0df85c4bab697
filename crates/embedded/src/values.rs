//! How values are laid out: a checksum over key and value, then fields of fixed size, then bytes.
//!
//! The key is part of the checksum: a sound value in the wrong place is damage too.

use bytes::Bytes;
use stentor_cluster::{Head, Header};
use stentor_types::{EventNumber, Sequence, Timestamp};
use xxhash_rust::xxh3::Xxh3;

/// Bytes of the checksum that a value begins with.
pub(crate) const CHECKSUM: usize = 8;
const HEADER: usize = 33;

/// A value does not fit its checksum, or is too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage;

/// Puts a checksum before a value.
pub(crate) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(CHECKSUM + value.len());
    sealed.extend_from_slice(&checksum(key, value).to_be_bytes());
    sealed.extend_from_slice(value);
    sealed
}

/// Takes the checksum off a value.
pub(crate) fn unseal(key: &[u8], sealed: &Bytes) -> Result<Bytes, Damage> {
    let (expected, value) = sealed.split_at_checked(CHECKSUM).ok_or(Damage)?;
    if expected != checksum(key, value).to_be_bytes() {
        return Err(Damage);
    }
    Ok(sealed.slice(CHECKSUM..))
}

fn checksum(key: &[u8], value: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(&(key.len() as u64).to_be_bytes());
    hasher.update(key);
    hasher.update(value);
    hasher.digest()
}

/// A record with its header.
pub(crate) fn encode_record(header: &Header, record: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + record.len());
    put_header(&mut value, header);
    value.extend_from_slice(record);
    value
}

/// The header and the record.
pub(crate) fn decode_record(value: &Bytes) -> Result<(Header, Bytes), Damage> {
    let mut rest = &value[..];
    let header = take_header(&mut rest)?;
    Ok((header, value.slice(HEADER..)))
}

/// A head.
pub(crate) fn encode_head(head: &Head) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER + 16);
    value.extend_from_slice(&head.sequence.0.to_be_bytes());
    put_header(&mut value, &head.header);
    value.extend_from_slice(&head.snapshot.map_or(0, |sequence| sequence.0).to_be_bytes());
    value
}

/// A head.
pub(crate) fn decode_head(value: &Bytes) -> Result<Head, Damage> {
    let mut rest = &value[..];
    let sequence = Sequence(take(&mut rest)?);
    let header = take_header(&mut rest)?;
    let snapshot = take(&mut rest)?;
    Ok(Head { sequence, header, snapshot: (snapshot > 0).then_some(Sequence(snapshot)) })
}

fn put_header(value: &mut Vec<u8>, header: &Header) {
    let deadline = header.next_deadline.map_or(0, |at| at.0);
    for number in [header.first.0, header.last.0, header.at.0, deadline] {
        value.extend_from_slice(&number.to_be_bytes());
    }
    value.push(u8::from(header.attached) | u8::from(header.snapshot) << 1);
}

fn take_header(rest: &mut &[u8]) -> Result<Header, Damage> {
    let (first, last, at, deadline) = (take(rest)?, take(rest)?, take(rest)?, take(rest)?);
    let (flags, after) = rest.split_first().ok_or(Damage)?;
    *rest = after;
    Ok(Header {
        first: EventNumber(first),
        last: EventNumber(last),
        at: Timestamp(at),
        next_deadline: (deadline > 0).then_some(Timestamp(deadline)),
        attached: flags & 1 != 0,
        snapshot: flags & 2 != 0,
    })
}

/// A value that begins with its time, so that of two the later one can stay.
pub(crate) fn timed(at: Timestamp, numbers: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(8 * (numbers.len() + 1) + bytes.len());
    value.extend_from_slice(&at.0.to_be_bytes());
    numbers.iter().for_each(|number| value.extend_from_slice(&number.to_be_bytes()));
    value.extend_from_slice(bytes);
    value
}

/// The time, as many numbers, and the rest.
pub(crate) fn untimed<const N: usize>(
    value: &Bytes,
) -> Result<(Timestamp, [u64; N], Bytes), Damage> {
    let mut rest = &value[..];
    let at = Timestamp(take(&mut rest)?);
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = take(&mut rest)?;
    }
    Ok((at, numbers, value.slice(8 * (N + 1)..)))
}

/// Takes a number off the front.
pub(crate) fn take(rest: &mut &[u8]) -> Result<u64, Damage> {
    let (number, after) = rest.split_at_checked(8).ok_or(Damage)?;
    *rest = after;
    Ok(u64::from_be_bytes(number.try_into().map_err(|_| Damage)?))
}
