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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use stentor_postoffice::{ATTEMPT_SLACK, CLAIM_WAIT};

    use super::*;

    #[test]
    fn cluster_11_no_deadline_lies_further_ahead_than_half_of_what_the_log_keeps() {
        // As long as an app may make them, with a log that keeps as little as it may.
        let text =
            "{apiVersion: stentor.dev/v1alpha1, kind: ChatApp, metadata: {name: demo}, spec: {
            retention: {log: 1h}, grace: {visitorSeconds: 1800, agentSeconds: 1800},
            bot: {url: 'http://127.0.0.1:9/', timeoutMs: 60000, retryDelaySeconds: 300}}}";
        let app = stentor_apps::parse(text, Path::new(".")).unwrap();
        let (id, half) = (app.id.clone(), app.log_retention / 2);
        let rules = of(&AppSet::new([app]), &id);
        let bot = rules.bot.unwrap();
        let retry = Duration::from_secs(u64::from(bot.retry_delay_s));
        let deadlines = [
            rules.visitor_grace,
            rules.agent_grace,
            bot.timeout + ATTEMPT_SLACK,
            retry,
            CLAIM_WAIT,
        ];
        assert!(deadlines.iter().all(|deadline| *deadline <= half), "{deadlines:?}");
    }
}
