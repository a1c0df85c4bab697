//! What an app's configuration means for its sessions.

use stentor_apps::AppSet;
use stentor_postoffice::Rules;
use stentor_types::AppId;

/// The rules of an app; of one that is no longer configured, those of an app without a bot.
pub(crate) fn of(apps: &AppSet, app: &AppId) -> Rules {
    match apps.get(app.as_str()) {
        Some(_) => Rules::default(),
        None => Rules { bot: None, ..Rules::default() },
    }
}
