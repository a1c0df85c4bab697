//! Sessions and directories: one row each.

use bytes::Bytes;
use stentor_store::{DirectoryRow, SessionRow};
use stentor_types::{AppId, Epoch, EventNumber, Incarnation, SessionId, Timestamp, UserKey};

use crate::{
    metrics::Kind,
    request::{Connection, RequestError},
    values::{Life, bigint, number, write_time},
};

/// A session as it is read: epoch, projected, first, at, log, state.
type Session = (i64, i64, i64, i64, Vec<u8>, Vec<u8>);

impl Connection {
    /// Replaces the row of a session, unless there is a later one.
    pub(crate) async fn put_session(
        &self,
        app: &AppId,
        session: SessionId,
        row: &SessionRow,
        life: Life,
    ) -> Result<(), RequestError> {
        let Life::Seconds(ttl) = life else {
            self.metrics().too_old.inc();
            return Ok(());
        };
        let (epoch, projected) = (bigint(row.epoch.0), bigint(row.projected.0));
        let (first, at) = (bigint(row.first.0), bigint(row.at.0));
        let log = &row.log.0.to_be_bytes()[..];
        let (app, session, state) = (app.as_str(), session.to_string(), &row.state[..]);
        let time = write_time(row.at);
        let values = (app, session, epoch, projected, first, at, log, state, time, ttl);
        self.write(Kind::WriteSession, &self.statements().put_session, values).await
    }

    /// The row of a session.
    pub(crate) async fn session(
        &self,
        app: &AppId,
        session: SessionId,
    ) -> Result<Option<SessionRow>, RequestError> {
        let (statement, values) = (&self.statements().session, (app.as_str(), session.to_string()));
        let found = self.first::<Session>(Kind::ReadSession, statement, values).await?;
        let Some((epoch, projected, first, at, log, state)) = found else { return Ok(None) };
        let log = log.try_into().map_err(|_| RequestError::Answer("the log's id".into()))?;
        Ok(Some(SessionRow {
            epoch: Epoch(number(epoch)),
            projected: EventNumber(number(projected)),
            first: EventNumber(number(first)),
            at: Timestamp(number(at)),
            log: Incarnation(u128::from_be_bytes(log)),
            state: Bytes::from(state),
        }))
    }

    /// Replaces the directory of a visitor, unless there is a later one.
    pub(crate) async fn put_directory(
        &self,
        app: &AppId,
        user: UserKey,
        row: DirectoryRow,
        life: Life,
    ) -> Result<(), RequestError> {
        let Life::Seconds(ttl) = life else {
            self.metrics().too_old.inc();
            return Ok(());
        };
        let (at, directory) = (bigint(row.at.0), &row.directory[..]);
        let values = (app.as_str(), &user.0[..], at, directory, write_time(row.at), ttl);
        self.write(Kind::WriteDirectory, &self.statements().put_directory, values).await
    }

    /// The directory of a visitor.
    pub(crate) async fn directory(
        &self,
        app: &AppId,
        user: UserKey,
    ) -> Result<Option<DirectoryRow>, RequestError> {
        let (statement, values) = (&self.statements().directory, (app.as_str(), &user.0[..]));
        let found = self.first::<(i64, Vec<u8>)>(Kind::ReadDirectory, statement, values).await?;
        Ok(found.map(|(at, directory)| DirectoryRow {
            at: Timestamp(number(at)),
            directory: Bytes::from(directory),
        }))
    }
}
