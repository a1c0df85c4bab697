//! The app of `stentor dev`.

use std::path::Path;

use anyhow::Context as _;
use stentor_apps::{App, AppSet};

/// Its name.
pub(crate) const NAME: &str = "demo";

/// The app, with a bot at this address.
pub(crate) fn apps(bot_url: &str) -> anyhow::Result<AppSet> {
    let spec = serde_json::json!({
        "apiVersion": "stentor.dev/v1alpha1",
        "kind": "ChatApp",
        "metadata": { "name": NAME },
        "spec": {
            "bot": { "url": bot_url, "name": "Echo" },
            "widget": {
                "botName": "Echo",
                "header": { "actions": { "refresh": true, "minimize": true, "cancel": true } },
            },
        },
    });
    // JSON is YAML.
    let app: Result<App, _> = stentor_apps::parse(&spec.to_string(), Path::new("."));
    let app = app.map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("; "))
    });
    Ok(AppSet::new([app.context("the bot's URL cannot be used")?]))
}
