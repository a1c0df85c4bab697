//! What a token says, and whether it may be believed.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use serde::{Deserialize, Serialize};

use crate::key::{Key, Keys};

/// Longest life of a token, in seconds.
pub const LIFE_MAX_S: u64 = 12 * 3_600;
/// Clocks may differ by this much, in seconds.
const LEEWAY_S: u64 = 60;
/// Longest token, in bytes. One with a dozen claims is about 1 KiB.
const TOKEN_BYTES_MAX: usize = 4_096;
/// Longest subject, in characters.
const SUBJECT_CHARS_MAX: usize = 200;

/// What somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Talks to the app from outside.
    #[default]
    Visitor,
    /// Works for the app, and only listens.
    Observer,
    /// Works for the app.
    Agent,
    /// A program that works for the app.
    Integration,
}

/// What a token is for, if not for being shown as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To be spent once, for a cookie.
    Login,
    /// The cookie that it was spent for.
    Cookie,
}

/// What a token says.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who: an id of the operator's. A secret for visitors.
    pub sub: String,
    /// For which app.
    pub aud: String,
    /// What they are.
    #[serde(default)]
    pub role: Role,
    /// When it ends, in Unix seconds.
    pub exp: u64,
    /// The name they are seen under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is for, if not for being shown as it is.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Purpose>,
    /// A name of its own, so that it can be spent or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// When it was made, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
    /// Of a cookie: the operator's key that the login was signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// A token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT, or a claim is missing or of the wrong kind.
    #[error(
        "the token is no JWT as it must be: signed in one of the ways HS256, ES256 and EdDSA, with the claims `sub` (1 to \
         200 characters), `aud` (one app) and `exp` (Unix seconds); `role`, if given, is one of visitor, observer, agent \
         and integration"
    )]
    Malformed,
    /// No `kid`, or none of the app's.
    #[error("the token's `kid` names none of the app's keys (`auth.keys`)")]
    UnknownKey,
    /// Signed in another way than its key does.
    #[error("the token's `alg` is not the one of its key")]
    Algorithm,
    /// Signed by somebody else, or changed.
    #[error("the token's signature is wrong")]
    Forged,
    /// Its time is over.
    #[error("the token has expired; get a fresh one")]
    Expired,
    /// Its time has not come.
    #[error("the token is not valid yet (`nbf`)")]
    Early,
    /// For another app.
    #[error("the token's `aud` is not this app: get one for it")]
    Audience,
    /// Valid for longer than any token may be.
    #[error("the token's `exp` is more than 12 hours ahead")]
    LongLived,
    /// A login code or a cookie where a token is wanted, or the other way round.
    #[error("the token is not for this: a login code is spent by opening its link")]
    Purpose,
    /// The operator has taken it back.
    #[error("the token was revoked (`auth.revoked`)")]
    Revoked,
    /// The key cannot do what is asked.
    #[error(
        "the key cannot be used for this: sign with the private key, verify with the public one"
    )]
    Key,
}

/// What a token says, if it may be believed.
///
/// # Errors
/// It may not.
pub fn verify(token: &str, keys: &Keys, app: &str) -> Result<(Claims, String), TokenError> {
    verify_for(token, keys, app, None)
}

/// The same for a token that is for something else than being shown as it is.
///
/// # Errors
/// It may not be believed, or is not for this.
pub fn verify_for(
    token: &str,
    keys: &Keys,
    app: &str,
    purpose: Option<Purpose>,
) -> Result<(Claims, String), TokenError> {
    let (claims, key) = believe(token, keys, app)?;
    if claims.purpose == purpose { Ok((claims, key)) } else { Err(TokenError::Purpose) }
}

fn believe(token: &str, keys: &Keys, app: &str) -> Result<(Claims, String), TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::Malformed);
    }
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    let id = header.kid.ok_or(TokenError::UnknownKey)?;
    let key = keys.get(&id).ok_or(TokenError::UnknownKey)?;
    if header.alg != key.algorithm().jwt() {
        return Err(TokenError::Algorithm);
    }
    let mut validation = Validation::new(key.algorithm().jwt());
    validation.leeway = LEEWAY_S;
    validation.validate_nbf = true;
    validation.set_audience(&[app]);
    validation.set_required_spec_claims(&["exp", "aud", "sub"]);
    let decoding = key.decoding().ok_or(TokenError::Key)?;
    let claims =
        decode::<Claims>(token, &decoding, &validation).map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => TokenError::Expired,
            ErrorKind::ImmatureSignature => TokenError::Early,
            ErrorKind::InvalidAudience => TokenError::Audience,
            ErrorKind::InvalidSignature => TokenError::Forged,
            _ => TokenError::Malformed,
        })?;
    let claims = claims.claims;
    if claims.exp > now().saturating_add(LIFE_MAX_S + LEEWAY_S) {
        return Err(TokenError::LongLived);
    }
    if !(1..=SUBJECT_CHARS_MAX).contains(&claims.sub.chars().count()) {
        return Err(TokenError::Malformed);
    }
    Ok((claims, id))
}

/// A token.
///
/// # Errors
/// It would live too long, or the key cannot sign.
pub fn mint(claims: &Claims, key: &Key) -> Result<String, TokenError> {
    if claims.exp > now().saturating_add(LIFE_MAX_S) {
        return Err(TokenError::LongLived);
    }
    let header = Header { kid: Some(key.id().to_owned()), ..Header::new(key.algorithm().jwt()) };
    let encoding = key.encoding().ok_or(TokenError::Key)?;
    encode(&header, claims, &encoding).map_err(|_| TokenError::Key)
}

/// What a token says, believed or not: its `alg`, its `kid` and its claims.
///
/// # Errors
/// It is no JWT.
pub fn inspect(token: &str) -> Result<(String, Option<String>, Claims), TokenError> {
    let header = decode_header(token).map_err(|_| TokenError::Malformed)?;
    let data = jsonwebtoken::dangerous::insecure_decode::<Claims>(token)
        .map_err(|_| TokenError::Malformed)?;
    Ok((format!("{:?}", header.alg), header.kid, data.claims))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl std::fmt::Debug for Claims {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Claims").field("role", &self.role).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::{Algorithm, KeyError};

    const ED_PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----\n\
        MC4CAQAwBQYDK2VwBCIEIBJaPZ4vMBk2EBJBw6j6MlEsr2VTMGVV2wGmPJXJCHtK\n\
        -----END PRIVATE KEY-----";

    fn hs(id: &str, byte: u8) -> Key {
        Key::try_new(id, Algorithm::Hs256, &[byte; 40]).unwrap()
    }

    fn claims(app: &str, lives_s: i64) -> Claims {
        let exp = now().saturating_add_signed(lives_s);
        Claims { sub: "u-1".into(), aud: app.into(), role: Role::Agent, exp, ..Claims::default() }
    }

    #[test]
    fn s4_only_an_unchanged_token_of_a_known_key_for_this_app_in_time_is_believed() {
        let keys = Keys::new(vec![hs("old", b'o'), hs("new", b'n')]);
        for key in ["old", "new"].map(|id| keys.get(id).unwrap()) {
            let token = mint(&claims("demo", 60), key).unwrap();
            let (told, by) = verify(&token, &keys, "demo").unwrap();
            assert_eq!((told.sub.as_str(), told.role, by.as_str()), ("u-1", Role::Agent, key.id()));
            assert_eq!(verify(&token, &keys, "other"), Err(TokenError::Audience));
            let mut changed = token.clone();
            changed.replace_range(token.len() - 8.., "AAAAAAAA");
            assert_eq!(verify(&changed, &keys, "demo"), Err(TokenError::Forged));
        }
        let token = mint(&claims("demo", 60), &hs("old", b'x')).unwrap();
        assert_eq!(verify(&token, &keys, "demo"), Err(TokenError::Forged), "another secret");
        let token = mint(&claims("demo", 60), &hs("gone", b'g')).unwrap();
        assert_eq!(verify(&token, &keys, "demo"), Err(TokenError::UnknownKey));
        let token = mint(&claims("demo", -3_600), &hs("old", b'o')).unwrap();
        assert_eq!(verify(&token, &keys, "demo"), Err(TokenError::Expired));
        for rubbish in ["", "a.b.c", &"x".repeat(9_000)] {
            assert_eq!(verify(rubbish, &keys, "demo"), Err(TokenError::Malformed), "{rubbish}");
        }
    }

    #[test]
    fn s4_a_token_is_not_believed_before_its_time() {
        let keys = Keys::new(vec![hs("old", b'o')]);
        let key = keys.get("old").unwrap();
        let header = Header { kid: Some("old".into()), ..Header::new(key.algorithm().jwt()) };
        #[derive(Serialize)]
        struct Later {
            #[serde(flatten)]
            claims: Claims,
            nbf: u64,
        }
        let token = |nbf: u64| {
            let later = Later { claims: claims("demo", 600), nbf };
            encode(&header, &later, &key.encoding().unwrap()).unwrap()
        };
        assert_eq!(verify(&token(now() + 300), &keys, "demo"), Err(TokenError::Early));
        // Clocks differ a little.
        assert!(verify(&token(now() + 30), &keys, "demo").is_ok());
    }

    #[test]
    fn s4_the_algorithm_belongs_to_the_key() {
        let keys = Keys::new(vec![hs("k", b'k')]);
        // `alg: none`, no signature.
        let none = "eyJhbGciOiJub25lIiwia2lkIjoiayJ9.eyJzdWIiOiJ1IiwiYXVkIjoiZGVtbyIsImV4cCI6OTk5OTk5OTk5OX0.";
        assert_eq!(verify(none, &keys, "demo"), Err(TokenError::Malformed));
        let header =
            Header { kid: Some("k".into()), ..Header::new(jsonwebtoken::Algorithm::HS512) };
        let secret = jsonwebtoken::EncodingKey::from_secret(&[b'k'; 40]);
        let token = encode(&header, &claims("demo", 60), &secret).unwrap();
        assert_eq!(verify(&token, &keys, "demo"), Err(TokenError::Algorithm));
    }

    #[test]
    fn s4_nothing_is_valid_for_longer_than_half_a_day() {
        let key = hs("k", b'k');
        assert_eq!(mint(&claims("demo", 50_000), &key), Err(TokenError::LongLived));
        let header = Header { kid: Some("k".into()), ..Header::default() };
        let secret = jsonwebtoken::EncodingKey::from_secret(&[b'k'; 40]);
        let token = encode(&header, &claims("demo", 50_000), &secret).unwrap();
        let keys = Keys::new(vec![key]);
        assert_eq!(verify(&token, &keys, "demo"), Err(TokenError::LongLived));
    }

    #[test]
    fn s4_a_login_code_is_no_token_and_a_token_is_no_login_code() {
        let key = hs("k", b'k');
        let keys = Keys::new(vec![key.clone()]);
        let all = [None, Some(Purpose::Login), Some(Purpose::Cookie)];
        for made in all {
            let token = mint(&Claims { purpose: made, ..claims("demo", 60) }, &key).unwrap();
            for wanted in all {
                let believed = verify_for(&token, &keys, "demo", wanted).is_ok();
                assert_eq!(believed, made == wanted, "{made:?} as {wanted:?}");
            }
        }
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let key = |algorithm, bytes: &[u8]| Key::try_new("k", algorithm, bytes).map(drop);
        assert_eq!(key(Algorithm::Hs256, b"short"), Err(KeyError::Short));
        let unusable = Err(KeyError::Unusable(Algorithm::EdDsa));
        assert_eq!(key(Algorithm::EdDsa, b"no PEM"), unusable);
        assert_eq!(key(Algorithm::EdDsa, ED_PRIVATE), Ok(()));
        assert_eq!(Key::try_new("", Algorithm::Hs256, &[0; 40]), Err(KeyError::Id));
        assert!(!format!("{:?}", hs("k", b'c')).contains('c'));
    }

    #[test]
    fn s18_inspecting_shows_what_is_not_believed() {
        let token = mint(&claims("demo", -9_999), &hs("k", b'k')).unwrap();
        let (algorithm, kid, claims) = inspect(&token).unwrap();
        assert_eq!((algorithm.as_str(), kid.as_deref()), ("HS256", Some("k")));
        assert_eq!(claims.aud, "demo");
        assert!(!format!("{claims:?}").contains("u-1"));
    }
}
