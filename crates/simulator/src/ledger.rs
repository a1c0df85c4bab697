//! What must hold of the log, checked record by record as it becomes durable, by a reader of its own.
//!
//! Knows the promises, not how they are kept: it follows turns, control, presence and numbers from the
//! events alone.

mod clients;
mod hand_back;
mod people;
mod presence;
mod story;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use bytes::Bytes;
use stentor_postoffice::{DIRECTORY_ENTRIES_MAX, Directory, Effect, Rules, State};
use stentor_types::{
    Audience, BotResult, ClientInstance, EffectId, EventNumber, Mid, Role, Sequence, SessionId,
    Timestamp, UserKey,
};
use stentor_wire::{decode_commit, decode_directory};

use self::story::Fresh;
pub(crate) use self::{story::Story, turns::TurnFate};
use crate::{
    log::{Append, Entity},
    world::Violation,
};

/// Results that the bot gave to each attempt.
pub(crate) type Results = BTreeMap<(SessionId, EffectId), Vec<BotResult>>;

/// A mid, and the session if it is numbered for each anew.
type Key = (Option<SessionId>, Mid);

/// All that was ever made durable, as the checks need it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) stories: BTreeMap<SessionId, Story>,
    directories: BTreeMap<UserKey, (Option<Sequence>, Timestamp, Directory)>,
    /// The session that each claim of each visitor leads to.
    pub(crate) claims: BTreeMap<(UserKey, String), SessionId>,
    /// Which message each mid is, and whether it is a note.
    expected: BTreeMap<Key, (usize, bool)>,
    /// What each mid became.
    mids: BTreeMap<Key, (SessionId, EventNumber)>,
    /// Those that number their messages across connections, for each session anew.
    instances: BTreeSet<ClientInstance>,
    /// Texts that may be shown in the bot's voice.
    shown: BTreeSet<String>,
    /// The stamps under which events were shown.
    stamps: BTreeMap<(SessionId, UserKey), BTreeMap<EventNumber, i64>>,
    /// The last event of each session that somebody was told to be durable. Shared with what is asked meanwhile.
    told: Rc<BTreeMap<SessionId, EventNumber>>,
}

pub(crate) fn violation(invariant: &'static str, message: String) -> Violation {
    Violation { invariant, message }
}

/// Passes if `holds`.
pub(crate) fn ensure(
    holds: bool,
    invariant: &'static str,
    message: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(violation(invariant, message())) }
}

// === impl Ledger ===

impl Ledger {
    /// A gateway has numbered a message, or a client has, for one session.
    pub(crate) fn sent(
        &mut self,
        session: Option<SessionId>,
        mid: Mid,
        message: usize,
        note: bool,
    ) {
        if session.is_some() {
            self.instances.insert(mid.client);
        }
        self.expected.insert((session, mid), (message, note));
    }

    /// Somebody is told that a message is event `n`, or that it was refused for good.
    pub(crate) fn settled(
        &self,
        session: Option<SessionId>,
        mid: Mid,
        n: Option<EventNumber>,
    ) -> Result<(SessionId, EventNumber, usize), String> {
        let key = (session, mid);
        let (session, found) =
            self.mids.get(&key).ok_or_else(|| format!("{mid:?} is settled but not in the log"))?;
        if n.is_some_and(|n| n != *found) {
            return Err(format!("{mid:?} is event {found}, but {n:?} is acknowledged"));
        }
        let (message, _) = self.expected.get(&key).ok_or_else(|| format!("nobody sent {mid:?}"))?;
        Ok((*session, *found, *message))
    }

    /// Somebody is told that a session has come as far as `n`.
    pub(crate) fn told(&mut self, session: SessionId, n: EventNumber) {
        let told = Rc::make_mut(&mut self.told).entry(session).or_insert(n);
        *told = n.max(*told);
    }

    /// How far each session has come as far as anybody was told.
    pub(crate) fn told_so_far(&self) -> Rc<BTreeMap<SessionId, EventNumber>> {
        Rc::clone(&self.told)
    }

    /// What leaves must be in the log, byte for byte.
    pub(crate) fn durable(
        &self,
        session: SessionId,
        n: EventNumber,
        bytes: Option<&Bytes>,
    ) -> Result<(), String> {
        let stored = self.stories.get(&session).and_then(|story| story.event(n));
        match (stored, bytes) {
            (None, _) => Err(format!("event {n} of {session} is shown, the log lacks it")),
            (Some(stored), Some(bytes)) if stored != bytes => {
                Err(format!("event {n} of {session} is not what the log has"))
            }
            _ => Ok(()),
        }
    }

    /// An event reaches a client of the second dialect: the log's own bytes if it may see them, and nothing
    /// else if not.
    pub(crate) fn delivered(
        &self,
        session: SessionId,
        n: EventNumber,
        role: Role,
        shown: Option<&Bytes>,
    ) -> Result<(), String> {
        self.durable(session, n, shown)?;
        let audience = self.stories.get(&session).and_then(|story| story.audience(n));
        let may_see = audience == Some(Audience::All) || role == Role::Agent;
        if may_see != shown.is_some() {
            return Err(format!(
                "event {n} of {session} is withheld or shown wrongly to a {role:?}"
            ));
        }
        Ok(())
    }

    /// One event is shown to one user under one stamp, always; later events under later ones.
    pub(crate) fn stamped(
        &mut self,
        session: SessionId,
        user: UserKey,
        n: EventNumber,
        time: i64,
    ) -> Result<(), String> {
        let stamps = self.stamps.entry((session, user)).or_default();
        if let Some(before) = stamps.insert(n, time)
            && before != time
        {
            return Err(format!("event {n} of {session} was shown at {before}, now at {time}"));
        }
        let before = stamps.range(..n).next_back().filter(|(_, before)| **before >= time);
        let after = stamps.range(n.next()..).next().filter(|(_, after)| **after <= time);
        match before.or(after) {
            Some((other, at)) => {
                Err(format!("event {n} of {session} is shown at {time}, event {other} at {at}"))
            }
            None if time % 2 != 0 => Err(format!("event {n} has the odd stamp {time}")),
            None => Ok(()),
        }
    }

    /// The stamp under which a user was shown an event.
    pub(crate) fn stamp(&self, session: SessionId, user: UserKey, n: EventNumber) -> Option<i64> {
        self.stamps.get(&(session, user))?.get(&n).copied()
    }

    /// Whether a user was shown something of another session under this stamp. A tab that came back
    /// without a word may have been in that one, and drops what comes under the same stamp in its own.
    pub(crate) fn shown_elsewhere(&self, session: SessionId, user: UserKey, stamp: i64) -> bool {
        self.stamps
            .iter()
            .filter(|((of, whose), _)| *of != session && *whose == user)
            .any(|(_, stamps)| stamps.values().any(|shown| *shown == stamp))
    }

    pub(crate) fn may_be_shown(&self, text: &str) -> bool {
        self.shown.contains(text)
    }

    pub(crate) fn state(&self, session: SessionId) -> Option<&State> {
        self.stories.get(&session).map(Story::state)
    }

    pub(crate) fn head(&self, session: SessionId) -> Option<Sequence> {
        self.stories.get(&session)?.head
    }

    pub(crate) fn events(&self, session: SessionId) -> Vec<Bytes> {
        self.stories.get(&session).map(|story| story.events.clone()).unwrap_or_default()
    }

    /// An attempt is handed to a connector: the log must know it as the open one.
    pub(crate) fn offered(&self, session: SessionId, effect: &Effect) -> Result<(), Violation> {
        let story = self
            .stories
            .get(&session)
            .ok_or_else(|| violation("I7", format!("an attempt of {session}, which has no log")))?;
        story.offered(effect)
    }

    /// A record is durable.
    pub(crate) fn stored(
        &mut self,
        append: &Append,
        sequence: Sequence,
        rules: &Rules,
        results: &Results,
    ) -> Result<String, Violation> {
        match append.entity {
            Entity::Directory(user) => self.directory_stored(user, append, sequence),
            Entity::Session(session) => {
                let record = decode_commit(&append.record).map_err(|error| {
                    violation("I3", format!("a record cannot be read: {error}"))
                })?;
                ensure(record.session == session, "I3", || "a record of another session".into())?;
                let story =
                    self.stories.entry(session).or_insert_with(|| Story::new(session, &record));
                let line = story.record(&record, append, sequence, rules, results)?;
                for Fresh { mid, n, note } in story.fresh.drain(..) {
                    let of = self.instances.contains(&mid.client).then_some(session);
                    let before = self.mids.insert((of, mid), (session, n));
                    ensure(before.is_none(), "I5", || {
                        format!("{mid:?} is event {n} of {session}, and already was {before:?}")
                    })?;
                    let sent = self.expected.get(&(of, mid));
                    ensure(sent.is_some(), "I4", || {
                        format!("nobody sent {mid:?}, event {n} of {session}")
                    })?;
                    let same = note.is_none_or(|note| sent.is_some_and(|(_, sent)| *sent == note));
                    ensure(same, "I20", || {
                        format!("event {n} of {session} is a note: {note:?}, was sent as {sent:?}")
                    })?;
                }
                self.shown.extend(story.shown.drain(..));
                Ok(line)
            }
        }
    }

    fn directory_stored(
        &mut self,
        user: UserKey,
        append: &Append,
        sequence: Sequence,
    ) -> Result<String, Violation> {
        let record = decode_directory(&append.record)
            .map_err(|error| violation("I3", format!("a directory cannot be read: {error}")))?;
        let (head, at, before) = self.directories.entry(user).or_default();
        ensure(record.previous == *head, "I1", || format!("directory of {user}: chain broken"))?;
        ensure(record.at > *at, "I10", || format!("directory of {user}: time stands still"))?;
        let entries = &record.directory.entries;
        ensure(entries.len() <= DIRECTORY_ENTRIES_MAX, "I15", || {
            format!("directory of {user} has {} entries", entries.len())
        })?;
        let forgotten = before.entries.iter().filter(|old| {
            entries
                .iter()
                .all(|entry| (&entry.claimed, entry.session) != (&old.claimed, old.session))
        });
        let forgotten: Vec<_> = forgotten.cloned().collect();
        let may_forget = usize::from(before.entries.len() == DIRECTORY_ENTRIES_MAX);
        ensure(forgotten.len() <= may_forget, "P2", || {
            format!("directory of {user} forgets {forgotten:?}")
        })?;
        for entry in entries {
            let Some(claimed) = &entry.claimed else { continue };
            let key = (user, claimed.clone());
            let known = *self.claims.entry(key).or_insert(entry.session);
            ensure(known == entry.session, "P2", || {
                format!("{claimed} of {user} led to {known}, now to {}", entry.session)
            })?;
        }
        for entry in forgotten {
            self.claims.remove(&(user, entry.claimed.unwrap_or_default()));
        }
        (*head, *at, *before) = (Some(sequence), record.at, record.directory);
        Ok(format!("durable: directory of {user}, {} entries", before.entries.len()))
    }
}
