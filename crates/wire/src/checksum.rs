//! The checksum at the end of a record: xxh3-64 over all bytes before it.
//!
//! It is an ordinary protobuf field, the last one, so that it covers fields that the reader does not
//! know as well.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use xxhash_rust::xxh3::xxh3_64;

use crate::DecodeError;

/// Key of field 16 with wire type "64 bits", as a varint.
const KEY: [u8; 2] = [0x81, 0x01];
/// The key and the value.
const LENGTH: usize = KEY.len() + 8;

/// Encodes a message whose field 16 is unset and appends the checksum as that field.
pub(crate) fn seal(message: &impl Message) -> Bytes {
    let mut out = BytesMut::with_capacity(message.encoded_len() + LENGTH);
    // A growing buffer takes whatever is put into it: the result can only be Ok.
    let _ = message.encode(&mut out);
    let checksum = xxh3_64(&out);
    out.put_slice(&KEY);
    out.put_u64_le(checksum);
    out.freeze()
}

/// Checks that a record ends in the right checksum.
pub(crate) fn verify(record: &[u8]) -> Result<(), DecodeError> {
    let split = record.len().checked_sub(LENGTH).ok_or(DecodeError::Checksum)?;
    let (body, end) = record.split_at(split);
    let expected = xxh3_64(body).to_le_bytes();
    let fits = end.iter().eq(KEY.iter().chain(&expected));
    if fits { Ok(()) } else { Err(DecodeError::Checksum) }
}
