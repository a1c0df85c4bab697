//! An app whose every value has been checked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use stentor_tokens::{Claims, Keys, Role, TokenError};
use stentor_types::AppId;
use url::Url;

use crate::secret::Secret;

/// One tenant: its bot, origins, texts and limits. Only valid ones exist.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// Its name.
    pub id: AppId,
    /// Its bot; an app may have none.
    pub bot: Option<Bot>,
    /// Origins that may open sockets: scheme, host and port, lower case, as a browser sends them.
    pub origins: Vec<String>,
    /// What visitors are told.
    pub texts: Texts,
    /// What they may do.
    pub limits: Limits,
    /// How long the log keeps a session; it must be at hand for that long to be resumed at once.
    pub log_retention: Duration,
    /// How long the history keeps it.
    pub history_retention: Duration,
    /// How long a visitor without a connection still counts as present.
    pub visitor_grace: Duration,
    /// How long an agent without a connection still counts as present.
    pub agent_grace: Duration,
    /// Keys of the operator, who vouches for visitors and agents with them.
    pub keys: Keys,
    /// Subjects and ids of tokens that are not believed any more.
    pub revoked: BTreeSet<String>,
    /// Settings for hosted widgets, passed on as they are.
    pub widget: BTreeMap<String, serde_json::Value>,
}

/// How an app's bot is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bot {
    /// Where Requests are posted to.
    pub url: Url,
    /// What is sent as bearer token.
    pub key: Option<Secret<String>>,
    /// The name under which the bot speaks.
    pub name: String,
    /// Its picture.
    pub avatar: Option<String>,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Whole seconds between a failed attempt and the next; at least 1.
    pub retry_delay_s: u32,
    /// Calls to this bot at the same time.
    pub concurrent_calls: usize,
}

/// What visitors are told in the bot's voice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// A message was too long.
    pub too_long: String,
    /// Messages came too fast.
    pub too_fast: String,
    /// A message could not be taken for another reason.
    pub refused: String,
    /// Too many messages were waiting for the bot; the oldest was given up.
    pub queue_full: String,
    /// A person was wanted, and nobody has come in time.
    pub nobody_free: String,
}

/// What visitors may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Longest message, in bytes of its frame.
    pub message_bytes: usize,
    /// Messages per second and visitor in the long run.
    pub messages_per_second: f64,
    /// Messages that may come at once.
    pub burst: u32,
    /// Sockets of one visitor.
    pub connections_per_user: usize,
}

/// All apps at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AppSet {
    apps: BTreeMap<AppId, Arc<App>>,
}

// === impl App ===

impl App {
    /// Its name.
    #[must_use]
    pub const fn id(&self) -> &AppId {
        &self.id
    }

    /// The name under which its bot speaks.
    #[must_use]
    pub fn bot_name(&self) -> &str {
        self.bot.as_ref().map_or("Bot", |bot| &bot.name)
    }

    /// Whether sockets from this origin belong to it.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
    }

    /// What a token says that the operator stands by, and the key that has signed it.
    ///
    /// # Errors
    /// None of the keys has signed it, it is not for this app or not for now, or it was taken back.
    pub fn vouched(&self, token: &str) -> Result<(Claims, String), TokenError> {
        let (claims, key) = stentor_tokens::verify(token, &self.keys, self.id.as_str())?;
        if self.has_revoked(&claims.sub, claims.jti.as_deref()) {
            return Err(TokenError::Revoked);
        }
        Ok((claims, key))
    }

    /// Whether the operator has taken back what a subject, or a token with this id, was given.
    #[must_use]
    pub fn has_revoked(&self, subject: &str, token: Option<&str>) -> bool {
        self.revoked.contains(subject) || token.is_some_and(|token| self.revoked.contains(token))
    }

    /// Whether who shows this token may have sessions erased: a program of the operator, and no person.
    #[must_use]
    pub fn lets_erase(&self, token: &str) -> bool {
        self.vouched(token).is_ok_and(|(claims, _)| claims.role == Role::Integration)
    }
}

// === impl Texts ===

impl Default for Texts {
    fn default() -> Self {
        Self {
            too_long: "That message is too long for me. Could you say it in fewer words?".into(),
            too_fast: "That was a little fast for me. Please wait a moment and send it again."
                .into(),
            refused: "I could not take that message. Please try again.".into(),
            queue_full: "Please give me a moment: I could not read all of your messages.".into(),
            nobody_free: "Nobody is free just now. My colleagues know that you are waiting.".into(),
        }
    }
}

// === impl Limits ===

impl Default for Limits {
    /// 64 KiB is far beyond what people type; five a second far beyond how fast.
    fn default() -> Self {
        Self {
            message_bytes: 65_536,
            messages_per_second: 5.0,
            burst: 20,
            connections_per_user: 50,
        }
    }
}

// === impl AppSet ===

impl AppSet {
    /// A set of apps. Of two with one name the later one counts.
    #[must_use]
    pub fn new(apps: impl IntoIterator<Item = App>) -> Self {
        Self { apps: apps.into_iter().map(|app| (app.id.clone(), Arc::new(app))).collect() }
    }

    /// The app of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(&AppId::try_new(name).ok()?)
    }

    /// The single app whose origins contain this one; none if there are several.
    #[must_use]
    pub fn by_origin(&self, origin: &str) -> Option<&Arc<App>> {
        let mut allowing = self.apps.values().filter(|app| app.allows(origin));
        let first = allowing.next()?;
        allowing.next().is_none().then_some(first)
    }

    /// Whether any app allows this origin.
    #[must_use]
    pub fn any_allows(&self, origin: &str) -> bool {
        self.apps.values().any(|app| app.allows(origin))
    }

    /// The app, if there is exactly one.
    #[must_use]
    pub fn only(&self) -> Option<&Arc<App>> {
        let mut apps = self.apps.values();
        let first = apps.next()?;
        apps.next().is_none().then_some(first)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.apps.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.apps.is_empty()
    }
}
