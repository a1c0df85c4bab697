//! Who a visitor says they are, and how much of it counts.

use std::fmt;

use http::{HeaderMap, HeaderValue, header};
use stentor_types::{AppId, Visitor};

use crate::legacy::Identity;

/// Name of the device cookie.
const COOKIE: &str = "stentor_device";
/// 400 days: the longest that browsers keep a cookie.
const COOKIE_MAX_AGE_S: u32 = 400 * 86_400;
/// Prefix of the widget's own ids when nothing else was known about the visitor.
const WIDGET_PREFIX: &str = "stentor-widget-user-";
/// Different digits in an id that counts as random. Random ones have fewer once in 10^12.
const DIFFERENT_DIGITS_MIN: u32 = 6;

/// Who a visitor says they are. `Debug` shows nothing of it.
pub(crate) struct Claim {
    user_id: Option<Box<str>>,
    device: DeviceCookie,
}

/// A secret that the browser keeps for us: 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceCookie {
    secret: u128,
    is_new: bool,
}

// === impl Claim ===

impl Claim {
    pub(crate) fn new(user_id: Option<String>, device: DeviceCookie) -> Self {
        Self { user_id: user_id.map(Into::into), device }
    }

    /// Who they are within an app.
    ///
    /// An id of the widget's own making is as random as a password and counts as one. Any other (a
    /// customer number, say) could be anybody's: it counts only together with the device's cookie, so
    /// that whoever guesses it is somebody else. Without an id every connection is a new visitor.
    pub(crate) fn identity(&self, app: &AppId) -> Identity {
        match self.user_id.as_deref() {
            Some(user_id) if is_random(user_id) => {
                Identity::claimed(Visitor::of(app, user_id), user_id.into())
            }
            Some(user_id) => {
                anonymous(app, &format!("device\0{:032x}\0{user_id}", self.device.secret))
            }
            // Fresh in any case: the device may have several visitors without an id.
            None => anonymous(app, &format!("none\0{:032x}", random())),
        }
    }
}

/// The bot is given a name that tells nothing and stays the same.
fn anonymous(app: &AppId, user: &str) -> Identity {
    let visitor = Visitor::of(app, user);
    Identity::claimed(visitor, visitor.user.to_string().into())
}

impl fmt::Debug for Claim {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Claim").finish_non_exhaustive()
    }
}

// === impl DeviceCookie ===

impl DeviceCookie {
    /// The one that the browser sent, or a new one.
    pub(crate) fn read(headers: &HeaderMap) -> Self {
        let known = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, value)| *name == COOKIE && value.len() == 32)
            .find_map(|(_, value)| u128::from_str_radix(value, 16).ok());
        known.map_or_else(
            || Self { secret: random(), is_new: true },
            |secret| Self { secret, is_new: false },
        )
    }

    /// What the browser is told to keep; nothing if it has it already. A widget's page is on another site,
    /// so `SameSite=None`, which needs TLS.
    pub(crate) fn header(&self, encrypted: bool) -> Option<HeaderValue> {
        let same_site = if encrypted { "None; Secure" } else { "Lax" };
        let cookie = format!(
            "{COOKIE}={:032x}; Path=/; Max-Age={COOKIE_MAX_AGE_S}; HttpOnly; SameSite={same_site}",
            self.secret
        );
        if self.is_new { HeaderValue::try_from(cookie).ok() } else { None }
    }
}

/// 128 random bits from the operating system.
pub(crate) fn random() -> u128 {
    let mut bytes = [0; 16];
    // Does not fail on any system that we run on; if it did, a predictable secret would be worse than
    // ending up with one more visitor.
    while getrandom::fill(&mut bytes).is_err() {
        std::thread::yield_now();
    }
    u128::from_be_bytes(bytes)
}

/// Whether an id has the shape of the widget's own: `8-4-4-4-12` hex digits, which look random. (Not
/// a proper UUID: the widget's third group begins with `65`.) At least 122 of its bits are random then.
fn is_random(user_id: &str) -> bool {
    let id = user_id.strip_prefix(WIDGET_PREFIX).unwrap_or(user_id);
    let mut digits = 0_u16;
    for (place, byte) in id.bytes().enumerate() {
        let dash = matches!(place, 8 | 13 | 18 | 23);
        match char::from(byte).to_digit(16) {
            Some(digit) if !dash => digits |= 1 << digit,
            None if dash && byte == b'-' => {}
            _ => return false,
        }
    }
    id.len() == 36 && digits.count_ones() >= DIFFERENT_DIGITS_MIN
}
