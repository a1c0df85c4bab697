//! How keys are laid out, so that what is read together lies together.
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `records` | entity, sequence | header, record |
//! | `heads` | entity | newest sequence, header, newest snapshot |
//! | `events` | app, 0, session, n | time, event |
//! | `sessions` | app, 0, session | row |
//! | `directories` | app, 0, user | row |
//! | `listings` | app, 0, session | time |
//! | `places` | app, 0, time and session inverted | time, listing |
//! | `erasures` | app, 0, session | time, certificate |
//! | `meta` | name | value |
//!
//! An entity is: partition, app, 0, kind (0 session, 1 directory), 24 bytes of id. Numbers are big-endian,
//! so that keys sort as they count.

use stentor_cluster::{Entity, EntityKind};
use stentor_types::{AppId, EventNumber, PlacementKey, Sequence, SessionId, Timestamp, UserKey};

pub(crate) const SESSION: u8 = 0;
pub(crate) const DIRECTORY: u8 = 1;

/// The key of an entity; a prefix of the keys of its records.
pub(crate) fn entity(entity: &Entity) -> Vec<u8> {
    let app = entity.app.as_str().as_bytes();
    let mut key = Vec::with_capacity(app.len() + 27);
    key.push(entity.partition().number());
    key.extend_from_slice(app);
    key.push(0);
    match entity.kind {
        EntityKind::Session(session) => {
            key.push(SESSION);
            key.extend_from_slice(&session.to_bytes());
        }
        EntityKind::Directory(placement, user) => {
            key.push(DIRECTORY);
            key.extend_from_slice(&placement.0.to_be_bytes());
            key.extend_from_slice(&user.0);
        }
    }
    key
}

/// The entity that a key names; nothing if it names none.
pub(crate) fn parse_entity(key: &[u8]) -> Option<Entity> {
    let rest = key.get(1..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let app = AppId::try_new(std::str::from_utf8(rest.get(..end)?).ok()?).ok()?;
    let kind = *rest.get(end + 1)?;
    let id: [u8; 24] = rest.get(end + 2..)?.try_into().ok()?;
    let session = SessionId::from_bytes(id);
    let kind = match kind {
        SESSION => EntityKind::Session(session),
        DIRECTORY => {
            let user = id.get(8..)?.try_into().ok()?;
            EntityKind::Directory(PlacementKey(session.key().0), UserKey(user))
        }
        _ => return None,
    };
    let entity = Entity { app, kind };
    (key.first() == Some(&entity.partition().number())).then_some(entity)
}

/// The key of a record.
pub(crate) fn record(entity: &[u8], sequence: Sequence) -> Vec<u8> {
    let mut key = Vec::with_capacity(entity.len() + 8);
    key.extend_from_slice(entity);
    key.extend_from_slice(&sequence.0.to_be_bytes());
    key
}

/// The entity's part and the sequence of a record's key.
pub(crate) fn split_record(key: &[u8]) -> Option<(&[u8], Sequence)> {
    let (entity, sequence) = key.split_at_checked(key.len().checked_sub(8)?)?;
    Some((entity, Sequence(u64::from_be_bytes(sequence.try_into().ok()?))))
}

/// The key of a session in the store; a prefix of the keys of its events.
pub(crate) fn session(app: &AppId, session: SessionId) -> Vec<u8> {
    let mut key = app_prefix(app);
    key.extend_from_slice(&session.to_bytes());
    key
}

/// The key of an event in the store.
pub(crate) fn event(app: &AppId, id: SessionId, n: EventNumber) -> Vec<u8> {
    let mut key = session(app, id);
    key.extend_from_slice(&n.0.to_be_bytes());
    key
}

/// The session's part of an event's key.
pub(crate) fn split_event(key: &[u8]) -> Option<&[u8]> {
    key.get(..key.len().checked_sub(8)?)
}

/// The key of a directory in the store.
pub(crate) fn directory(app: &AppId, user: UserKey) -> Vec<u8> {
    let mut key = app_prefix(app);
    key.extend_from_slice(&user.0);
    key
}

/// The key of a session's place in the list of its app: inverted, so that the newest comes first.
pub(crate) fn place(app: &AppId, at: Timestamp, session: SessionId) -> Vec<u8> {
    let mut key = app_prefix(app);
    key.extend_from_slice(&(!at.0).to_be_bytes());
    key.extend(session.to_bytes().map(|byte| !byte));
    key
}

/// The time and the session of a place's key.
pub(crate) fn parse_place(key: &[u8]) -> Option<(Timestamp, SessionId)> {
    let (rest, session) = key.split_at_checked(key.len().checked_sub(24)?)?;
    let (_, at) = rest.split_at_checked(rest.len().checked_sub(8)?)?;
    let session: [u8; 24] = session.try_into().ok()?;
    let at = u64::from_be_bytes(at.try_into().ok()?);
    Some((Timestamp(!at), SessionId::from_bytes(session.map(|byte| !byte))))
}

/// What all keys of an app in the store begin with.
pub(crate) fn app_prefix(app: &AppId) -> Vec<u8> {
    let mut key = Vec::with_capacity(app.as_str().len() + 33);
    key.extend_from_slice(app.as_str().as_bytes());
    key.push(0);
    key
}
