//! What an app's configuration means for its sessions.

use stentor_apps::AppSet;
use stentor_postoffice::{BotRules, Rules};
use stentor_types::AppId;

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
