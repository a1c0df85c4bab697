//! Who comes: which app, which user, from which page and address.
//!
//! Nothing here is a grant: a user id of the widget's own making is as good as a password, an `Origin`
//! keeps other people's pages out, and everything else is a claim.

mod address;
mod claim;
mod login;
mod origin;
mod principal;

pub(crate) use self::{
    address::{is_encrypted, real_address},
    claim::{Claim, DeviceCookie, random},
    login::{LoginError, Logins, login_cookie},
    origin::Origin,
    principal::{Device, Principal},
};

use stentor_apps::AppSet;
use stentor_protocol::ConnectUrl;
use stentor_types::AppId;

use crate::{config::Config, metrics::Refusal};

/// Which app a handshake is for; `None` if only the first frame can tell.
///
/// # Errors
/// The handshake is refused, for this reason.
pub(crate) fn which_app(
    config: &Config,
    apps: &AppSet,
    url: &ConnectUrl,
    origin: &Origin,
) -> Result<Option<AppId>, Refusal> {
    let named = config.single_app.as_ref().map(AppId::as_str).or(url.app_id.as_deref());
    if let Some(name) = named {
        let app = apps.get(name).ok_or(Refusal::App)?;
        return if origin.fits(app, config.dev) {
            Ok(Some(app.id.clone()))
        } else {
            Err(Refusal::Origin)
        };
    }
    let mut fitting = apps.iter().filter(|app| origin.fits(app, config.dev));
    let Some(first) = fitting.next() else { return Err(Refusal::Origin) };
    Ok(fitting.next().is_none().then(|| first.id.clone()))
}

#[cfg(test)]
mod tests;
