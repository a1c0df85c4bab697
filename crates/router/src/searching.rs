//! Which sessions a list is to show: a filter, and words that are looked for in what is known of a session and in
//! what was said in it lately.
//!
//! Nothing is kept in memory for it: what was said is read from the store, or where that is behind from the log, of
//! few sessions at a time.

use std::sync::Arc;

use bytes::Bytes;
use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_store::Store;
use stentor_types::{Alias, AppId, EventNumber, SessionId, UserKey, Visitor};
use stentor_wire::{decode_event, pb, session_id};
use tokio::task::JoinSet;

use crate::{
    Shared,
    actors::Key,
    history::{self, HistoryError},
    listed::text_of,
};

/// Events of a session whose texts are looked through, up to its last message.
const EVENTS_LOOKED_AT: u64 = 50;
/// Sessions that are read at the same time: with the longest events that may be, 25 MiB of them.
pub(crate) const TOGETHER_MAX: usize = 8;
/// Characters of a search that count.
const SEARCH_CHARS_MAX: usize = 100;
/// A session's id counts from so many characters on; fewer fit too many by chance.
const SID_CHARS_MIN: usize = 8;

/// What a list is to show.
pub(crate) struct Wanted<'a> {
    filter: pb::ListFilter,
    user: &'a Bytes,
    words: Vec<Word>,
}

/// Something to be found.
struct Word {
    lower: String,
    /// Whose user id it would be.
    users: [UserKey; 2],
}

/// What a session still has to have to be shown.
pub(crate) enum Fit {
    /// Nothing: it is shown.
    Yes,
    /// It cannot be shown.
    No,
    /// These words, in what was said. By their places among all words.
    If(Vec<usize>),
}

// === impl Wanted ===

impl<'a> Wanted<'a> {
    pub(crate) fn new(app: &AppId, request: &'a pb::ListRequest) -> Self {
        let search: String = request.search.chars().take(SEARCH_CHARS_MAX).collect();
        let words = search.split_whitespace().map(|word| Word {
            lower: word.to_lowercase(),
            users: [UserKey::of(app, word), Visitor::vouched(app, word).user],
        });
        Self { filter: request.filter(), user: &request.user, words: words.collect() }
    }

    /// Whether a session is to be shown, as far as its place in the list says.
    pub(crate) fn fits(&self, listed: &pb::Listed) -> Fit {
        let state = listed.state();
        let fits = match self.filter {
            pb::ListFilter::All => true,
            pb::ListFilter::Waiting => state == pb::ListedState::Waiting,
            pb::ListFilter::Mine => listed.users.contains(self.user),
            pb::ListFilter::Open => state != pb::ListedState::Ended,
            pb::ListFilter::Ended => state == pb::ListedState::Ended,
        };
        if !fits {
            return Fit::No;
        }
        let missing = self.words.iter().enumerate().filter(|(_, word)| !word.is_of(listed));
        let missing: Vec<_> = missing.map(|(place, _)| place).collect();
        if missing.is_empty() { Fit::Yes } else { Fit::If(missing) }
    }

    /// Whether all of these words are in what was said.
    pub(crate) fn are_in(&self, words: &[usize], said: &str) -> bool {
        words
            .iter()
            .all(|place| self.words.get(*place).is_some_and(|word| said.contains(&word.lower)))
    }
}

// === impl Word ===

impl Word {
    /// Whether it is in the last message, or names the visitor or the session.
    fn is_of(&self, listed: &pb::Listed) -> bool {
        let name = listed.display_name.as_deref().unwrap_or_default();
        let texts = [name, &listed.visitor, &listed.last_text];
        texts.iter().any(|text| text.to_lowercase().contains(&self.lower))
            || session_id(&listed.session).is_ok_and(|sid| self.names(&sid, &listed.visitor))
    }

    fn names(&self, sid: &SessionId, visitor: &str) -> bool {
        let is_user = |user: &UserKey| Alias::of(sid, *user).as_str() == visitor;
        self.users.iter().any(is_user)
            || (self.lower.len() >= SID_CHARS_MIN && sid.to_string().starts_with(&self.lower))
    }
}

/// What was said lately in each of these sessions up to these events, in lower case and in their order.
pub(crate) async fn said<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    shared: &Arc<Shared<L, S, B>>,
    app: &AppId,
    sessions: &[(SessionId, EventNumber)],
) -> Result<Vec<String>, HistoryError> {
    let mut reading = JoinSet::new();
    for (place, (session, last)) in sessions.iter().copied().enumerate() {
        let shared = Arc::clone(shared);
        let key = Key { app: app.clone(), session };
        reading.spawn(async move { (place, lately(&shared, &key, last).await) });
    }
    let mut all = vec![String::new(); sessions.len()];
    while let Some(read) = reading.join_next().await {
        // Nobody aborts them, and a panic is reported where it happens.
        let Ok((place, events)) = read else { continue };
        let Some(said) = all.get_mut(place) else { continue };
        // One damaged session must not close the list of all.
        let events = match events {
            Err(error) if error.is_damage() => Vec::new(),
            events => events?,
        };
        for bytes in events {
            let text = decode_event(&bytes).ok().and_then(|event| text_of(&event.kind));
            if let Some((_, text)) = text {
                said.push_str(&text.to_lowercase());
                said.push('\n');
            }
        }
    }
    Ok(all)
}

/// The events of a session up to this one: out of the store if it has all of them, which is one request.
async fn lately<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    shared: &Shared<L, S, B>,
    key: &Key,
    last: EventNumber,
) -> Result<Vec<Bytes>, HistoryError> {
    let first = EventNumber(last.0.saturating_sub(EVENTS_LOOKED_AT - 1).max(1));
    let stored = shared.store.events(&key.app, key.session, first, last).await?;
    if stored.len() as u64 == (last.0 + 1).saturating_sub(first.0) {
        return Ok(stored.into_iter().map(|stored| stored.event).collect());
    }
    // There may be more behind the last message, which the log has to be read through.
    let head = EventNumber(last.0.saturating_add(EVENTS_LOOKED_AT));
    let read = history::read(shared, key, first, last, head).await?;
    Ok(read.into_iter().map(|(_, event)| event).collect())
}

#[cfg(test)]
mod tests {
    use stentor_types::PlacementKey;

    use super::*;

    #[test]
    fn a_search_wants_every_word_somewhere() {
        let app = AppId::try_new("demo").unwrap();
        let sid = SessionId::new(PlacementKey(0x1234_5678_9abc_def0), 7);
        let visitor = Visitor::vouched(&app, "Customer-42").user;
        let listed = pb::Listed {
            session: stentor_wire::session_to_bytes(sid),
            visitor: Alias::of(&sid, visitor).as_str().to_owned(),
            display_name: Some("Eve Ünal".into()),
            last_text: "Where is my PARCEL?".into(),
            ..Default::default()
        };
        let fits = |search: &str, said: &str| {
            let request = pb::ListRequest { search: search.into(), ..Default::default() };
            let wanted = Wanted::new(&app, &request);
            match wanted.fits(&listed) {
                Fit::Yes => true,
                Fit::No => false,
                Fit::If(words) => wanted.are_in(&words, said),
            }
        };
        for search in ["", "  ", "parcel", "eve parcel", "ünal", "Customer-42", "12345678"] {
            assert!(fits(search, ""), "{search}");
        }
        assert!(fits(&sid.to_string(), "") && fits(&listed.visitor, ""));
        assert!(!fits("parcel bob", "") && fits("Bob parcel", "my name is bob\n"));
        assert!(!fits("Bob giraffe", "my name is bob\n"));
        for search in ["customer-42", "Customer-4", "1234567", "56789abc"] {
            assert!(!fits(search, ""), "{search}");
        }
    }
}
