//! The directories of visitors: which session a claim leads to.
//!
//! A directory is written before the first commit of a session that it names. A crash between the two
//! leaves a name for a session in which nothing has happened yet, which is no different from a session
//! that is opened on demand.
//!
//! An unknown claim leads to a new session, also while the store cannot be asked whether it was known once;
//! the directory then begins anew. A bare reconnect that only the store could place has to try again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log, Ownership};
use stentor_postoffice::{Directory, Resolved};
use stentor_store::{DirectoryRow, Store, StoreError};
use stentor_types::{
    AppId, CommitId, EventNumber, Partition, Sequence, SessionId, Timestamp, Visitor,
};
use stentor_wire::{DirectoryRecord, decode_directory_by, encode_directory};
use tracing::{error, warn};

use crate::{Shared, actor::Trouble, committer::Committed, load::LoadError};

/// Directories kept in memory. Overflow: those nobody is using are forgotten and read again when needed.
const CACHED_MAX: usize = 65_536;
/// How often a claim is resolved again because somebody else had written.
const CONFLICTS_MAX: u32 = 5;

type Slot = Arc<tokio::sync::Mutex<Option<Known>>>;

/// The directories in memory.
pub(crate) struct Directories<L, S, B> {
    shared: Arc<Shared<L, S, B>>,
    slots: Mutex<HashMap<(AppId, Visitor), Slot>>,
}

/// A directory as the log has it.
#[derive(Debug)]
struct Known {
    directory: Directory,
    head: Option<Sequence>,
    at: Timestamp,
}

// === impl Directories ===

impl<L: Log, S: Store, B: Ownership> Directories<L, S, B> {
    pub(crate) fn new(shared: Arc<Shared<L, S, B>>) -> Self {
        Self { shared, slots: Mutex::default() }
    }

    /// The session that a visitor's claim leads to; `None` for a bare reconnect that leads nowhere.
    pub(crate) async fn resolve(
        &self,
        app: &AppId,
        visitor: Visitor,
        claimed: Option<&str>,
    ) -> Result<Option<SessionId>, Trouble> {
        let partition = visitor.placement.partition();
        if !self.shared.served.has(partition) {
            return Err(Trouble::Moved);
        }
        let slot = self.slot(app, visitor);
        let mut known = slot.lock().await;
        for _ in 0..=CONFLICTS_MAX {
            let current = match known.take() {
                Some(current) => current,
                None => self.load(app, visitor, claimed.is_some()).await?,
            };
            let before = current.directory.clone();
            let fresh = SessionId::new(visitor.placement, self.shared.random.id());
            let now = self.shared.clock.now().max(Timestamp(current.at.0.saturating_add(1)));
            match current.directory.resolve(claimed, fresh, now) {
                // What writes nothing is not fenced by the log: a stale owner must not answer it.
                Resolved::Known(session) => {
                    self.shared.fenced(partition).await?;
                    *known = Some(current);
                    return Ok(Some(session));
                }
                Resolved::Nowhere => {
                    self.shared.fenced(partition).await?;
                    *known = Some(current);
                    return Ok(None);
                }
                Resolved::Changed(session, directory) => {
                    let changed = Known { directory, head: current.head, at: now };
                    match self.write(app, visitor, &changed).await? {
                        Appended::Stored(sequence) => {
                            *known = Some(Known { head: Some(sequence), ..changed });
                            if session == fresh {
                                self.shared.fresh.add(session);
                            }
                            return Ok(Some(session));
                        }
                        // Read anew and resolve again: somebody else may have named the session.
                        Appended::Conflict { actual } => {
                            if !self.shared.bus.confirm(partition).await {
                                return Err(Trouble::Moved);
                            }
                            // The log is lost, or has forgotten it: nothing is newer than what is here.
                            if actual.is_none() {
                                let directory = before;
                                *known = Some(Known { directory, head: None, at: now });
                            }
                        }
                        Appended::Damaged => return Err(Trouble::Damaged),
                        Appended::TooLarge(cause) => {
                            error!(%app, user = %visitor.user, %cause, "a directory is too large for the log");
                            return Err(Trouble::Damaged);
                        }
                    }
                }
            }
        }
        Err(Trouble::TryAgain)
    }

    /// A session that a visitor must not come back to any more: the directory no longer names it, and nothing that did
    /// is left. May be done again.
    pub(crate) async fn leave(
        &self,
        app: &AppId,
        visitor: Visitor,
        session: SessionId,
    ) -> Result<(), Trouble> {
        let slot = self.slot(app, visitor);
        let mut known = slot.lock().await;
        for _ in 0..=CONFLICTS_MAX {
            let current = match known.take() {
                Some(current) => current,
                None => self.load(app, visitor, false).await?,
            };
            let directory = current.directory.without(session);
            if directory == current.directory && current.head.is_none() {
                return Ok(());
            }
            let now = self.shared.clock.now().max(Timestamp(current.at.0.saturating_add(1)));
            let changed = Known { directory, head: current.head, at: now };
            let record = self.record(app, visitor, &changed);
            match self.append(app, visitor, &changed, record.clone()).await? {
                Appended::Stored(sequence) => {
                    *known = Some(Known { head: Some(sequence), ..changed });
                    let again = |cause: &dyn std::error::Error| {
                        let cause = crate::metrics::chain(cause);
                        warn!(%app, user = %visitor.user, cause, "what a directory was before is not wholly erased yet");
                        Trouble::TryAgain
                    };
                    let erased = self.shared.log.erase(&entity(app, visitor), sequence).await;
                    erased.map_err(|cause| again(&cause))?;
                    let row = DirectoryRow { at: now, directory: record };
                    let kept = self.shared.store.put_directory(app, visitor.user, row).await;
                    return kept.map_err(|cause| again(&cause));
                }
                Appended::Conflict { .. } => {
                    if !self.shared.bus.confirm(visitor.placement.partition()).await {
                        return Err(Trouble::Moved);
                    }
                }
                Appended::Damaged | Appended::TooLarge(_) => return Err(Trouble::Damaged),
            }
        }
        Err(Trouble::TryAgain)
    }

    /// Forgets the directories of a partition that somebody else serves from now on.
    pub(crate) fn forget(&self, partition: Partition) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|(_, visitor), _| visitor.placement.partition() != partition);
    }

    fn slot(&self, app: &AppId, visitor: Visitor) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= CACHED_MAX {
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry((app.clone(), visitor)).or_default())
    }

    async fn load(&self, app: &AppId, visitor: Visitor, claims: bool) -> Result<Known, Trouble> {
        self.try_load(app, visitor, claims).await.map_err(|cause| {
            let partition = visitor.placement.partition();
            let needed = cause.needs_logic();
            if let Some(moved) = needed.and_then(|needed| self.shared.give_up(partition, needed)) {
                return moved;
            }
            let chain = crate::metrics::chain(&cause);
            if cause.is_damage() {
                error!(%app, user = %visitor.user, cause = chain, "directory is damaged");
                Trouble::Damaged
            } else {
                warn!(%app, user = %visitor.user, cause = chain, "directory could not be read yet");
                Trouble::TryAgain
            }
        })
    }

    async fn try_load(
        &self,
        app: &AppId,
        visitor: Visitor,
        claims: bool,
    ) -> Result<Known, LoadError> {
        let entity = entity(app, visitor);
        let nothing = Known { directory: Directory::default(), head: None, at: Timestamp(0) };
        let (at, bytes, head) = match self.shared.log.head(&entity).await? {
            Some(head) => {
                let records = self.shared.log.read(&entity, head.sequence, 1).await?;
                let record = records.into_iter().next().ok_or(LoadError::Hole)?;
                (record.header.at, record.record, Some(head.sequence))
            }
            None => match self.stored(app, visitor).await {
                Ok(Some(row)) => (row.at, row.directory, None),
                Ok(None) => return Ok(nothing),
                Err(StoreError::Unavailable(_)) if claims && self.shared.keeping.is_shared() => {
                    return Ok(nothing);
                }
                Err(cause) => return Err(cause.into()),
            },
        };
        let decoded = decode_directory_by(&bytes, self.shared.logic)?;
        if head.is_some() && decoded.log_incarnation != self.shared.log.incarnation() {
            // An older copy of the log: the store may have seen more. If it cannot be asked, this must do.
            let row = self.stored(app, visitor).await.ok().flatten();
            if let Some(row) = row.filter(|row| row.at > at) {
                let decoded = decode_directory_by(&row.directory, self.shared.logic)?;
                let directory = decoded.directory;
                return Ok(Known { directory, head, at: row.at });
            }
        }
        Ok(Known { directory: decoded.directory, head, at })
    }

    async fn stored(
        &self,
        app: &AppId,
        visitor: Visitor,
    ) -> Result<Option<DirectoryRow>, StoreError> {
        self.shared.briefly(self.shared.store.directory(app, visitor.user)).await
    }

    async fn write(
        &self,
        app: &AppId,
        visitor: Visitor,
        changed: &Known,
    ) -> Result<Appended, Trouble> {
        let record = self.record(app, visitor, changed);
        self.append(app, visitor, changed, record).await
    }

    fn record(&self, app: &AppId, visitor: Visitor, changed: &Known) -> Bytes {
        encode_directory(&DirectoryRecord {
            app: app.clone(),
            user: visitor.user,
            previous: changed.head,
            id: CommitId(self.shared.random.id()),
            at: changed.at,
            log_incarnation: self.shared.log.incarnation(),
            min_logic: self.shared.min_logic(),
            directory: changed.directory.clone(),
        })
    }

    async fn append(
        &self,
        app: &AppId,
        visitor: Visitor,
        changed: &Known,
        record: Bytes,
    ) -> Result<Appended, Trouble> {
        // A record holds the whole directory: nothing before it is needed.
        let header = Header {
            first: EventNumber::NONE,
            last: EventNumber::NONE,
            at: changed.at,
            next_deadline: None,
            attached: false,
            snapshot: true,
        };
        let append = Append {
            entity: entity(app, visitor),
            expected: changed.head,
            header,
            record,
            effects: Vec::new(),
        };
        match self.shared.committer.append(append).await {
            Committed::Judged(appended) => Ok(appended),
            // Whether it was written is unknown; the next attempt reads it anew.
            Committed::Unknown | Committed::Failed => Err(Trouble::TryAgain),
        }
    }
}

impl<L, S, B> std::fmt::Debug for Directories<L, S, B> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Directories").finish_non_exhaustive()
    }
}

fn entity(app: &AppId, visitor: Visitor) -> Entity {
    Entity { app: app.clone(), kind: EntityKind::Directory(visitor.placement, visitor.user) }
}
