//! People who log in on a page of the router: a code is spent once, for a cookie.
//!
//! The code is a token that an operator's key has signed; the cookie is one that the router has signed. Spent
//! codes are remembered by this process until they expire. Where nobody else remembers them, codes made before it
//! began are refused, because nothing is known about them; in a cluster the bus knows.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};
use stentor_apps::{App, AppSet};
use stentor_cluster::Ingress;
use stentor_tokens::{
    Claims, Key, Keys, LIFE_MAX_S, Purpose, Role, TokenError, inspect, mint, verify_for,
};

use super::Principal;
use crate::shared::now;

/// Name of the cookie.
const COOKIE: &str = "stentor_login";
/// Codes that are remembered. Overflow: nobody can log in until some of them have expired.
const SPENT_MAX: usize = 10_000;
/// Clocks of whoever made the code and of this machine may differ by this much.
const LEEWAY_S: u64 = 60;

/// Who may log in, and has.
#[derive(Debug)]
pub(crate) struct Logins {
    keys: Option<(Key, Keys)>,
    began: u64,
    /// Until when each spent code would have been valid.
    spent: Mutex<HashMap<String, u64>>,
}

/// Somebody cannot log in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    #[error("nobody can log in here: the router has no login key")]
    Off,
    #[error("the link was used before; ask for a new one")]
    Spent,
    #[error("the link has expired; ask for a new one")]
    Expired,
    #[error("the link is older than this run of the router; ask for a new one")]
    Stale,
    #[error("the link is for an app that is not here")]
    NoApp,
    #[error("the link is not believed: {0}")]
    Forged(TokenError),
    #[error("too many people log in just now; try again in a minute")]
    Busy,
}

// === impl Logins ===

impl Logins {
    pub(crate) fn new(key: Option<Key>) -> Self {
        let keys = key.map(|key| (key.clone(), Keys::new(vec![key])));
        Self { keys, began: now().as_secs(), spent: Mutex::default() }
    }

    /// Spends a code. Returns what goes into the cookie.
    pub(crate) async fn spend<B: Ingress>(
        &self,
        bus: &B,
        apps: &AppSet,
        code: &str,
    ) -> Result<Claims, LoginError> {
        let (_, _, told) = inspect(code).map_err(LoginError::Forged)?;
        let app = apps.get(&told.aud).ok_or(LoginError::NoApp)?;
        let believed = verify_for(code, &app.keys, app.id.as_str(), Some(Purpose::Login));
        let (claims, key) = believed.map_err(|error| match error {
            TokenError::Expired => LoginError::Expired,
            error => LoginError::Forged(error),
        })?;
        let (Some(id), Some(made)) = (claims.jti.clone(), claims.iat) else {
            return Err(LoginError::Forged(TokenError::Malformed));
        };
        if claims.role == Role::Visitor {
            return Err(LoginError::Forged(TokenError::Purpose));
        }
        if app.revoked.contains(&claims.sub) || app.revoked.contains(&id) {
            return Err(LoginError::Forged(TokenError::Revoked));
        }
        let now = now().as_secs();
        if !B::REMEMBERS && made.saturating_add(LEEWAY_S) < self.began {
            return Err(LoginError::Stale);
        }
        let name = Sha256::digest(format!("{}\0{id}", claims.aud));
        let name: String = name.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.remember(&name, claims.exp, now)?;
        match bus.claim(&name).await {
            Ok(true) => {}
            Ok(false) => return Err(LoginError::Spent),
            Err(_) => return Err(LoginError::Busy),
        }
        Ok(Claims {
            purpose: Some(Purpose::Cookie),
            exp: now.saturating_add(LIFE_MAX_S),
            iat: Some(now),
            by: Some(key),
            ..claims
        })
    }

    fn remember(&self, name: &str, until: u64, now: u64) -> Result<(), LoginError> {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, until| until.saturating_add(LEEWAY_S) >= now);
        if spent.len() >= SPENT_MAX {
            return Err(LoginError::Busy);
        }
        let before = spent.insert(name.to_owned(), until);
        if before.is_some() { Err(LoginError::Spent) } else { Ok(()) }
    }

    /// The cookie for these claims.
    pub(crate) fn cookie(
        &self,
        claims: &Claims,
        encrypted: bool,
    ) -> Result<HeaderValue, LoginError> {
        let (key, _) = self.keys.as_ref().ok_or(LoginError::Off)?;
        let token = mint(claims, key).map_err(LoginError::Forged)?;
        let secure = if encrypted { "; Secure" } else { "" };
        let cookie = format!(
            "{COOKIE}={token}; Path=/; Max-Age={LIFE_MAX_S}; HttpOnly; SameSite=Lax{secure}"
        );
        HeaderValue::try_from(cookie).map_err(|_| LoginError::Forged(TokenError::Malformed))
    }

    /// Makes a browser forget its cookie.
    pub(crate) const fn no_cookie() -> HeaderValue {
        HeaderValue::from_static("stentor_login=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax")
    }

    /// Who has logged in, by the cookie; nothing if it is not believed any more.
    pub(crate) fn claims(&self, cookie: &str) -> Option<Claims> {
        let (_, keys) = self.keys.as_ref()?;
        let (_, _, told) = inspect(cookie).ok()?;
        let (claims, _) = verify_for(cookie, keys, &told.aud, Some(Purpose::Cookie)).ok()?;
        Some(claims)
    }

    /// The same as somebody in an app.
    pub(crate) fn principal(&self, app: &App, cookie: &str) -> Option<Principal> {
        let claims = self.claims(cookie).filter(|claims| claims.aud == app.id.as_str())?;
        let by = claims.by.clone()?;
        let principal = Principal::of_claims(app, claims, by);
        principal.holds(app).then_some(principal)
    }
}

/// The login cookie of a request.
pub(crate) fn login_cookie(headers: &HeaderMap) -> Option<Box<str>> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(name, value)| (name == COOKIE).then(|| value.into()))
}
