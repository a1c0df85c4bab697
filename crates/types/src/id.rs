//! Identities. Those that come from outside are checked when they are made; a visitor's own id is a
//! bearer secret and exists here only as a hash.

use std::{fmt, sync::Arc};

use sha2::{Digest, Sha256};

use crate::{PlacementKey, SessionId};

/// The longest id that may become part of a subject, a key or a file name.
const TOKEN_CHARS_MAX: usize = 64;

/// A string cannot be used as an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} must be {rule}")]
pub struct InvalidId {
    /// Which kind of id was refused.
    pub what: &'static str,
    /// What it has to look like.
    pub rule: &'static str,
}

/// Names one app (tenant): 1 to 64 characters of `A-Z a-z 0-9 _ -`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppId(Arc<str>);

/// Who a visitor is, within one app: 128 bits of SHA-256 over app and user id.
///
/// The user id itself is what proves a visitor's identity, so it is never stored or logged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey(pub [u8; 16]);

/// A visitor and where they are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Visitor {
    /// Who.
    pub user: UserKey,
    /// Which owner serves them.
    pub placement: PlacementKey,
}

/// The name under which a user appears to other clients of a session.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Alias(pub Arc<str>);

/// Names one attempt to write; random, so that a writer recognises its own commit at the head.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommitId(pub u128);

/// Random id of a log: a log that was lost, recreated or restored has another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u128);

// === impl AppId ===

impl AppId {
    /// Checks and wraps an app's name.
    ///
    /// # Errors
    /// The name is empty, longer than 64 characters, or has a character outside `A-Z a-z 0-9 _ -`.
    pub fn try_new(name: &str) -> Result<Self, InvalidId> {
        let fits = !name.is_empty()
            && name.len() <= TOKEN_CHARS_MAX
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(InvalidId { what: "app id", rule: "1 to 64 characters of A-Z a-z 0-9 _ -" })
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for AppId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AppId({})", self.0)
    }
}

// === impl UserKey ===

impl UserKey {
    /// The key of a user id within an app. Different apps never share a key.
    #[must_use]
    pub fn of(app: &AppId, user: &str) -> Self {
        Self(digest_128(&[b"user", app.as_str().as_bytes(), user.as_bytes()]))
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "UserKey({:032x})", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for UserKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

// === impl Visitor ===

impl Visitor {
    /// The visitor that a user id names within an app.
    #[must_use]
    pub fn of(app: &AppId, user: &str) -> Self {
        Self { user: UserKey::of(app, user), placement: PlacementKey::of(app, user) }
    }

    /// The visitor whom a token of the operator names. Not the one who claims the same id without a token.
    #[must_use]
    pub fn vouched(app: &AppId, subject: &str) -> Self {
        Self::of(app, &format!("vouched\0{subject}"))
    }
}

// === impl Alias ===

impl Alias {
    /// The alias of a user in one session. It differs from session to session and cannot be turned
    /// back into the user id.
    #[must_use]
    pub fn of(session: &SessionId, user: UserKey) -> Self {
        let digest = digest_128(&[b"alias", session.to_string().as_bytes(), &user.0]);
        Self(format!("v-{:016x}", u128::from_be_bytes(digest) >> 64).into())
    }

    /// The alias as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl CommitId ===

impl fmt::Debug for CommitId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CommitId({:032x})", self.0)
    }
}

// === impl Incarnation ===

impl fmt::Debug for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Incarnation({:032x})", self.0)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

/// First 128 bits of SHA-256 over the parts, each preceded by its length so that no two lists of
/// parts give the same input.
fn digest_128(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i17_an_app_id_is_a_safe_token() {
        for good in ["a", "demo", "A_b-9", &"x".repeat(64)] {
            assert!(AppId::try_new(good).is_ok(), "{good}");
        }
        for bad in ["", "a.b", "a b", "a/b", "ä", "*", ">", "a\n", &"x".repeat(65)] {
            assert!(AppId::try_new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn s6_one_user_id_is_two_users_in_two_apps() {
        let (one, two) = (AppId::try_new("one").unwrap(), AppId::try_new("two").unwrap());
        assert_ne!(UserKey::of(&one, "u"), UserKey::of(&two, "u"));
        assert_eq!(UserKey::of(&one, "u"), UserKey::of(&one, "u"));
    }

    #[test]
    fn i23_an_alias_does_not_contain_the_user_key() {
        let app = AppId::try_new("demo").unwrap();
        let visitor = Visitor::of(&app, "secret-user");
        let session = SessionId::new(visitor.placement, 7);
        let alias = Alias::of(&session, visitor.user);
        assert!(!visitor.user.to_string().contains(&alias.as_str()[2..]));
        assert_ne!(alias, Alias::of(&SessionId::new(visitor.placement, 8), visitor.user));
    }
}
