//! What an app's configuration means for its sessions.

use std::time::Duration;

use stentor_apps::AppSet;
use stentor_postoffice::{BotRules, Rules};
use stentor_types::AppId;

/// The oldest that the newest snapshot of a session may be.
const SNAPSHOT_AGE: Duration = Duration::from_secs(24 * 3_600);

/// The rules of an app; of one that is no longer configured, those of an app without a bot.
pub(crate) fn of(apps: &AppSet, app: &AppId) -> Rules {
    let Some(app) = apps.get(app.as_str()) else { return Rules { bot: None, ..Rules::default() } };
    let bot = app.bot.as_ref();
    Rules {
        bot: bot.map(|bot| BotRules { timeout: bot.timeout, retry_delay_s: bot.retry_delay_s }),
        visitor_grace: app.visitor_grace,
        agent_grace: app.agent_grace,
        queue_full_text: app.texts.queue_full.clone(),
        nobody_free_text: app.texts.nobody_free.clone(),
    }
}

/// The oldest that the newest snapshot in a shared log may be: a day, and never so old that the log may
/// forget it before the next one.
pub(crate) fn snapshot_age(apps: &AppSet, app: &AppId) -> Duration {
    let retention = apps.get(app.as_str()).map_or(SNAPSHOT_AGE * 2, |app| app.log_retention);
    SNAPSHOT_AGE.min(retention / 2)
}
