//! The app of `stentor dev`.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write as _},
    path::Path,
};

use anyhow::Context as _;
use stentor_apps::{App, AppSet};

/// Its name.
pub(crate) const NAME: &str = "demo";

/// The file with the key by which agents of the app are vouched for.
pub(crate) const KEY_FILE: &str = "demo.key";
/// The name of that key.
pub(crate) const KEY_ID: &str = "demo";

/// Makes a secret in the folder unless there is one.
pub(crate) fn make_key(folder: &Path, name: &str) -> anyhow::Result<()> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the operating system has no random numbers")?;
    let secret: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(folder.join(name)) {
        Ok(mut file) => Ok(file.write_all(secret.as_bytes())?),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).context("data: a secret cannot be written"),
    }
}

/// The app, with a bot at this address and its key in this folder.
pub(crate) fn apps(bot_url: &str, folder: &Path) -> anyhow::Result<AppSet> {
    let spec = serde_json::json!({
        "apiVersion": "stentor.dev/v1alpha1",
        "kind": "ChatApp",
        "metadata": { "name": NAME },
        "spec": {
            "bot": { "url": bot_url, "name": "Echo" },
            "auth": {
                "keys": [{ "kid": KEY_ID, "algorithm": "HS256", "file": KEY_FILE }],
            },
            "widget": {
                "botName": "Echo",
                "header": { "actions": { "refresh": true, "minimize": true, "cancel": true } },
            },
        },
    });
    // JSON is YAML.
    let app: Result<App, _> = stentor_apps::parse(&spec.to_string(), folder);
    let app = app.map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(lines.join("; "))
    });
    Ok(AppSet::new([app.context("the bot's URL cannot be used")?]))
}
