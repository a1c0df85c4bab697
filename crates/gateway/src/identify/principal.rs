//! Who somebody has proved to be, and what they may do.

use std::{fmt, pin::Pin, time::Duration};

use stentor_apps::{App, Limits};
use stentor_protocol::{
    sanitise_display_name,
    v2::{RoleName, Viewer},
};
use stentor_tokens::{Claims, Role, TokenError};
use stentor_types::{AppId, Visitor};
use stentor_wire::pb;
use tokio::time::Sleep;

use crate::shared::now;

/// Prefix of the secrets that anonymous visitors of the second dialect keep.
const DEVICE_PREFIX: &str = "sd_";

/// Staff, and programs above all, deal with many sessions at once.
const STAFF_FACTOR: u32 = 10;

/// Who somebody has proved to be within an app. `Debug` shows no secrets.
#[derive(Clone)]
pub(crate) struct Principal {
    pub(crate) app: AppId,
    pub(crate) visitor: Visitor,
    pub(crate) role: RoleName,
    pub(crate) display_name: Option<String>,
    /// The id under which the bot knows them. A secret.
    pub(crate) bot_user: Box<str>,
    /// Unix seconds.
    pub(crate) expires: Option<u64>,
    /// The key by which the operator has vouched for them.
    pub(crate) key: Option<Box<str>>,
    /// The id of the token itself, if it has one.
    pub(crate) token: Option<Box<str>>,
}

/// The secret of an anonymous visitor: 128 random bits, so knowing it is proof enough.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Device(u128);

// === impl Principal ===

impl Principal {
    /// The visitor that a device stands for.
    pub(crate) fn device(app: AppId, device: Device) -> Self {
        let visitor = Visitor::of(&app, &format!("v2 device\0{:032x}", device.0));
        Self {
            app,
            visitor,
            role: RoleName::Visitor,
            display_name: None,
            bot_user: visitor.user.to_string().into(),
            expires: None,
            key: None,
            token: None,
        }
    }

    /// Whoever the operator vouches for.
    ///
    /// # Errors
    /// The token is not believed.
    pub(crate) fn vouched(app: &App, token: &str) -> Result<Self, TokenError> {
        let (claims, key) = app.vouched(token)?;
        Ok(Self::of_claims(app, claims, key))
    }

    /// Whoever these believed claims are about.
    pub(super) fn of_claims(app: &App, claims: Claims, key: String) -> Self {
        let Claims { sub, role, exp, name, jti, .. } = claims;
        let staff = || Visitor::of(&app.id, &format!("staff\0{sub}"));
        let (role, visitor) = match role {
            Role::Visitor => (RoleName::Visitor, Visitor::vouched(&app.id, &sub)),
            Role::Observer => (RoleName::Observer, staff()),
            Role::Agent => (RoleName::Agent, staff()),
            Role::Integration => (RoleName::Integration, staff()),
        };
        Self {
            app: app.id.clone(),
            visitor,
            role,
            display_name: name.as_deref().and_then(sanitise_display_name),
            bot_user: sub.into(),
            expires: Some(exp),
            key: Some(key.into()),
            token: jti.map(Into::into),
        }
    }

    /// Whether the operator still vouches for them.
    pub(crate) fn holds(&self, app: &App) -> bool {
        let Some(key) = &self.key else { return true };
        app.keys.get(key).is_some() && !app.has_revoked(&self.bot_user, self.token.as_deref())
    }

    /// Waits until the token expires, if it does.
    pub(crate) fn expiry(&self) -> Option<Pin<Box<Sleep>>> {
        let now = now().as_secs();
        let after = |at: u64| Duration::from_secs(at.saturating_sub(now));
        self.expires.map(|at| Box::pin(tokio::time::sleep(after(at))))
    }

    /// How much they may say: an app's limits are meant for visitors.
    pub(crate) fn limits(&self, app: &App) -> Limits {
        let mut limits = app.limits;
        if self.is_staff() {
            limits.messages_per_second *= f64::from(STAFF_FACTOR);
            limits.burst = limits.burst.saturating_mul(STAFF_FACTOR);
            let factor = usize::try_from(STAFF_FACTOR).unwrap_or(1);
            limits.connections_per_user = limits.connections_per_user.saturating_mul(factor);
        }
        limits
    }

    pub(crate) const fn is_staff(&self) -> bool {
        !matches!(self.role, RoleName::Visitor)
    }

    /// Whether they may do more than listen.
    pub(crate) const fn may_work(&self) -> bool {
        !matches!(self.role, RoleName::Observer)
    }

    pub(crate) const fn viewer(&self) -> Viewer {
        if self.is_staff() { Viewer::Staff } else { Viewer::Visitor }
    }

    /// What they are in a session.
    pub(crate) const fn session_role(&self) -> pb::Role {
        if self.is_staff() { pb::Role::Agent } else { pb::Role::Visitor }
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Principal")
            .field("app", &self.app)
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

// === impl Device ===

impl Device {
    pub(crate) fn new(random: u128) -> Self {
        Self(random)
    }

    /// The device of a token, if it is one of a device.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let digits = token.strip_prefix(DEVICE_PREFIX)?;
        let fits = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u128::from_str_radix(digits, 16).ok().filter(|_| fits).map(Self)
    }

    /// What the client keeps.
    pub(crate) fn token(self) -> String {
        format!("{DEVICE_PREFIX}{:032x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_token_is_read_as_it_was_written_and_nothing_else_is() {
        let device = Device::new(7);
        assert_eq!(Device::parse(&device.token()).map(|known| known.0), Some(7));
        for other in ["", "sd_", "sd_7", "sd_+0000000000000000000000000000007", "eyJ.a.b"] {
            assert!(Device::parse(other).is_none(), "{other}");
        }
    }
}
