//! The trace: what was done, in order.

/// One call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A file was created, or cut to nothing.
    Create(String),
    /// Bytes were written at an offset.
    Write(String, u64, Vec<u8>),
    /// A file's length was set.
    Truncate(String, u64),
    /// A file was synced.
    Sync(String),
    /// A file got another name.
    Rename(String, String),
    /// A file was removed.
    Remove(String),
    /// A folder was made.
    MakeFolder(String),
    /// A folder was removed.
    RemoveFolder(String),
    /// The child considers something safe.
    Ack(Vec<u8>),
}

// === impl Operation ===

impl Operation {
    /// The operation as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (tag, one, two, number): (u8, &[u8], &[u8], u64) = match self {
            Self::Create(path) => (1, path.as_bytes(), &[], 0),
            Self::Write(path, offset, data) => (2, path.as_bytes(), data, *offset),
            Self::Truncate(path, length) => (3, path.as_bytes(), &[], *length),
            Self::Sync(path) => (4, path.as_bytes(), &[], 0),
            Self::Rename(from, to) => (5, from.as_bytes(), to.as_bytes(), 0),
            Self::Remove(path) => (6, path.as_bytes(), &[], 0),
            Self::MakeFolder(path) => (7, path.as_bytes(), &[], 0),
            Self::RemoveFolder(path) => (8, path.as_bytes(), &[], 0),
            Self::Ack(data) => (9, &[], data, 0),
        };
        let mut out = vec![tag];
        out.extend_from_slice(&number.to_le_bytes());
        for part in [one, two] {
            out.extend_from_slice(&(part.len() as u64).to_le_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    /// All operations of a trace; a torn one at the end is left out.
    #[must_use]
    pub fn decode_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut operations = Vec::new();
        while let Some(operation) = Self::decode(&mut bytes) {
            operations.push(operation);
        }
        operations
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let (tag, rest) = bytes.split_first()?;
        let mut rest = rest;
        let number = number(&mut rest)?;
        let one = part(&mut rest)?;
        let two = part(&mut rest)?;
        let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
        *bytes = rest;
        Some(match tag {
            1 => Self::Create(text(one)),
            2 => Self::Write(text(one), number, two.to_vec()),
            3 => Self::Truncate(text(one), number),
            4 => Self::Sync(text(one)),
            5 => Self::Rename(text(one), text(two)),
            6 => Self::Remove(text(one)),
            7 => Self::MakeFolder(text(one)),
            8 => Self::RemoveFolder(text(one)),
            9 => Self::Ack(two.to_vec()),
            _ => return None,
        })
    }
}

fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (number, rest) = bytes.split_at_checked(8)?;
    *bytes = rest;
    Some(u64::from_le_bytes(number.try_into().ok()?))
}

fn part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(number(bytes)?).ok()?;
    let (part, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}
