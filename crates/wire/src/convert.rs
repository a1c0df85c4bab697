//! Small things that occur in many messages.

use bytes::Bytes;
use stentor_types::{
    AppId, ClientInstance, ClockSegment, ConnectionId, EventNumber, FailureReason, GatewayId,
    Permissions, RejectCode, Role, SessionId, Stamp, UserKey,
};

use crate::{DecodeError, pb};

/// An app's name.
///
/// # Errors
/// It is no valid app id.
pub fn app_id(name: &str) -> Result<AppId, DecodeError> {
    AppId::try_new(name).map_err(|_| DecodeError::Field("app"))
}

/// The 16 bytes of a user key.
#[must_use]
pub fn user_to_bytes(user: UserKey) -> Bytes {
    Bytes::copy_from_slice(&user.0)
}

/// A user key of 16 bytes.
///
/// # Errors
/// There are not 16.
pub fn user_key(bytes: &[u8]) -> Result<UserKey, DecodeError> {
    bytes.try_into().map(UserKey).map_err(|_| DecodeError::Field("user"))
}

/// The 16 bytes of a client instance.
#[must_use]
pub fn client_to_bytes(client: ClientInstance) -> Bytes {
    Bytes::copy_from_slice(&client.0.to_be_bytes())
}

/// A client instance of 16 bytes.
///
/// # Errors
/// There are not 16.
pub fn client_instance(bytes: &[u8]) -> Result<ClientInstance, DecodeError> {
    let bytes = bytes.try_into().map_err(|_| DecodeError::Field("client"))?;
    Ok(ClientInstance(u128::from_be_bytes(bytes)))
}

/// The 24 bytes of a session id.
#[must_use]
pub fn session_to_bytes(session: SessionId) -> Bytes {
    Bytes::copy_from_slice(&session.to_bytes())
}

/// A session id of 24 bytes.
///
/// # Errors
/// There are not 24.
pub fn session_id(bytes: &[u8]) -> Result<SessionId, DecodeError> {
    bytes.try_into().map(SessionId::from_bytes).map_err(|_| DecodeError::Field("session"))
}

/// A connection for the wire.
#[must_use]
pub const fn connection_to_pb(connection: ConnectionId) -> pb::Connection {
    pb::Connection { gateway: connection.gateway.0, number: connection.number }
}

/// A connection from the wire.
///
/// # Errors
/// There is none.
pub fn connection_from_pb(connection: Option<pb::Connection>) -> Result<ConnectionId, DecodeError> {
    let connection = connection.ok_or(DecodeError::Field("connection"))?;
    Ok(ConnectionId { gateway: GatewayId(connection.gateway), number: connection.number })
}

/// A clock segment for the wire.
#[must_use]
pub fn clock_to_pb(user: UserKey, segment: ClockSegment) -> pb::Clock {
    pb::Clock {
        user: user_to_bytes(user),
        from: segment.from.0,
        offset_ms: segment.offset_ms,
        floor: segment.floor.0,
    }
}

/// A clock segment from the wire.
#[must_use]
pub const fn clock_from_pb(clock: &pb::Clock) -> ClockSegment {
    ClockSegment {
        from: EventNumber(clock.from),
        offset_ms: clock.offset_ms,
        floor: Stamp(clock.floor),
    }
}

/// A role for the wire.
#[must_use]
pub const fn role_to_pb(role: Role) -> pb::Role {
    match role {
        Role::Visitor => pb::Role::Visitor,
        Role::Agent => pb::Role::Agent,
    }
}

/// A role from the wire.
///
/// # Errors
/// It is not known here.
pub fn role_from_pb(role: i32) -> Result<Role, DecodeError> {
    match pb::Role::try_from(role) {
        Ok(pb::Role::Visitor) => Ok(Role::Visitor),
        Ok(pb::Role::Agent) => Ok(Role::Agent),
        Err(_) => Err(DecodeError::Field("role")),
    }
}

/// A reason for the wire.
#[must_use]
pub const fn failure_to_pb(reason: FailureReason) -> pb::FailureReason {
    match reason {
        FailureReason::TimedOut => pb::FailureReason::TimedOut,
        FailureReason::Unreachable => pb::FailureReason::Unreachable,
        FailureReason::Status => pb::FailureReason::Status,
        FailureReason::BadAnswer => pb::FailureReason::BadAnswer,
        FailureReason::BreakerOpen => pb::FailureReason::BreakerOpen,
        FailureReason::NotAllowed => pb::FailureReason::NotAllowed,
    }
}

/// A reason from the wire; one of a later version reads as the vaguest of ours.
#[must_use]
pub fn failure_from_pb(reason: i32) -> FailureReason {
    match pb::FailureReason::try_from(reason) {
        Ok(pb::FailureReason::TimedOut) => FailureReason::TimedOut,
        Ok(pb::FailureReason::Unreachable) | Err(_) => FailureReason::Unreachable,
        Ok(pb::FailureReason::Status) => FailureReason::Status,
        Ok(pb::FailureReason::BadAnswer) => FailureReason::BadAnswer,
        Ok(pb::FailureReason::BreakerOpen) => FailureReason::BreakerOpen,
        Ok(pb::FailureReason::NotAllowed) => FailureReason::NotAllowed,
    }
}

/// A rejection for the wire.
#[must_use]
pub const fn reject_to_pb(code: RejectCode) -> pb::RejectCode {
    match code {
        RejectCode::Poison => pb::RejectCode::Poison,
        RejectCode::NotPermitted => pb::RejectCode::NotPermitted,
        RejectCode::TooManyConnections => pb::RejectCode::TooManyConnections,
        RejectCode::NotInControl => pb::RejectCode::NotInControl,
        RejectCode::Expired => pb::RejectCode::Expired,
        RejectCode::NoSession => pb::RejectCode::NoSession,
        RejectCode::Malformed => pb::RejectCode::Malformed,
        RejectCode::Erased => pb::RejectCode::Erased,
    }
}

/// A rejection from the wire; one of a later version reads as "not permitted".
pub(crate) fn reject_from_pb(code: i32) -> RejectCode {
    match pb::RejectCode::try_from(code) {
        Ok(pb::RejectCode::Poison) => RejectCode::Poison,
        Ok(pb::RejectCode::TooManyConnections) => RejectCode::TooManyConnections,
        Ok(pb::RejectCode::NotInControl) => RejectCode::NotInControl,
        Ok(pb::RejectCode::Expired) => RejectCode::Expired,
        Ok(pb::RejectCode::NoSession) => RejectCode::NoSession,
        Ok(pb::RejectCode::Malformed) => RejectCode::Malformed,
        Ok(pb::RejectCode::Erased) => RejectCode::Erased,
        Ok(pb::RejectCode::NotPermitted) | Err(_) => RejectCode::NotPermitted,
    }
}

pub(crate) const fn permissions(sends: bool, receives: bool) -> Permissions {
    Permissions { sends, receives }
}
