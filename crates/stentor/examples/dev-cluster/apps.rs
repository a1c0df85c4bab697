//! The app files that a cluster reads: those of `stentor dev`, with the origins that `dev` allows unasked.

use std::{
    fs,
    io::ErrorKind,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::flags::Dev;

/// How often given files are looked at; members look once a second.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Writes them into a folder, and keeps up with those that were given.
pub(crate) fn prepare(
    flags: &Dev,
    data: &Path,
    folder: &Path,
    bot: &str,
) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let listen = flags.listen;
    match flags.apps.clone() {
        Some(given) => {
            copy(&given, folder, listen)?;
            let to = folder.to_owned();
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LOOK_EVERY).await;
                    // Half a file is looked at again.
                    let _ = copy(&given, &to, listen);
                }
            });
        }
        None => {
            let key = data.join("demo.key");
            if !key.exists() {
                fs::write(&key, secret()?)?;
            }
            fs::write(folder.join("demo.yaml"), with_origins(demo(bot, &key), listen).to_string())?;
        }
    }
    Ok(folder.to_owned())
}

/// The app of `stentor dev`.
fn demo(bot: &str, key: &Path) -> Value {
    json!({
        "apiVersion": "stentor.dev/v1alpha1",
        "kind": "ChatApp",
        "metadata": { "name": "demo" },
        "spec": {
            "bot": { "url": bot, "name": "Echo" },
            "auth": { "keys": [{ "kid": "demo", "algorithm": "HS256", "file": key }] },
            "widget": {
                "botName": "Echo",
                "header": { "actions": { "refresh": true, "minimize": true, "cancel": true } },
            },
        },
    })
}

fn copy(from: &Path, to: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).context("apps: the folder cannot be read")? {
        let file = entry?.path();
        let target = to.join(file.file_name().context("a file without a name")?);
        let mut text = fs::read(&file)?;
        if file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            let app = serde_saphyr::from_str::<Value>(std::str::from_utf8(&text)?)?;
            // JSON is YAML.
            text = with_origins(app, listen).to_string().into_bytes();
        }
        if !is_already(&target, &text)? {
            // Members see the old file or the new one.
            let fresh = to.join(".fresh");
            fs::write(&fresh, &text)?;
            fs::rename(&fresh, &target)?;
        }
    }
    Ok(())
}

fn is_already(file: &Path, text: &[u8]) -> anyhow::Result<bool> {
    match fs::read(file) {
        Ok(there) => Ok(there == text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// `dev` takes pages from anywhere on this machine. Here they are named, our own and one of somebody else,
/// unless the app names some itself.
fn with_origins(mut app: Value, listen: SocketAddr) -> Value {
    if let Some(spec) = app.get_mut("spec").and_then(Value::as_object_mut) {
        let port = listen.port();
        let (address, name) =
            (format!("http://127.0.0.1:{port}"), format!("http://localhost:{port}"));
        spec.entry("origins").or_insert(json!([address, name, "http://localhost:1"]));
    }
    app
}

fn secret() -> anyhow::Result<String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the operating system has no random numbers")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
