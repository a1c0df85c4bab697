//! Writes the files that the members of a local cluster read: settings of the roles, the demo app, secrets.

use std::{
    collections::hash_map::RandomState,
    fmt::Write as _,
    hash::{BuildHasher as _, Hasher as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{GivenDatabase, topology::Kind};

/// Users and rights of NATS, as deployments have them.
const ACCOUNTS: &str = include_str!("../../../../deploy/nats/accounts.conf");

/// Largest log of a local cluster.
const LOG_BYTES_MAX: u64 = 1 << 30;

/// Who logs in to NATS. Roles go by their own name.
const NATS_USERS: [&str; 5] = ["gateway", "router", "connector", "operator", "system"];

/// One more than deployments have: whoever counts what goes over the bus. It hears all and says nothing.
pub(super) const TAP: &str = "tap";
/// And another one: whoever may delete what must not be deleted. The password is the name.
const VANDAL: &str = "vandal";
/// Where the users of our account begin, in [`ACCOUNTS`].
const FIRST_USER: &str = "jetstream: enabled\n    users: [\n";

/// Where everything is that a role needs to know.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) folder: PathBuf,
    pub(super) apps: PathBuf,
    pub(super) nats_urls: Vec<String>,
    pub(super) monitor_urls: Vec<String>,
    pub(super) replicas: usize,
    pub(super) database: Option<GivenDatabase>,
    pub(super) drain_seconds: u64,
    pub(super) extra: String,
}

// === impl Places ===

impl Places {
    pub(super) fn login_key(&self) -> PathBuf {
        self.folder.join("login.key")
    }

    pub(super) fn password_file(&self, user: &str) -> PathBuf {
        self.folder.join(format!("{user}.password"))
    }

    /// The settings of a role, as TOML.
    pub(super) fn settings(&self, kind: Kind, listen: Option<u16>, admin: u16) -> String {
        let mut text = String::new();
        let role = kind.as_str();
        // Writing to a text cannot fail.
        let mut line = |key: &str, value: String| {
            let _ = writeln!(text, "{key} = {value}");
        };
        if let Some(port) = listen {
            line("listen", quoted(&format!("127.0.0.1:{port}")));
            line("login_key_file", quoted_path(&self.login_key()));
        }
        line("admin_listen", quoted(&format!("127.0.0.1:{admin}")));
        line("apps", quoted_path(&self.apps));
        line("drain_seconds", self.drain_seconds.to_string());
        line("nats.urls", list(&self.nats_urls));
        line("nats.user", quoted(role));
        line("nats.password_file", quoted_path(&self.password_file(role)));
        line("nats.inbox_prefix", quoted(&format!("_INBOX_{role}")));
        if kind == Kind::Router {
            line("nats.monitor_urls", list(&self.monitor_urls));
            line("nats.replicas", self.replicas.to_string());
            line("nats.max_bytes", LOG_BYTES_MAX.to_string());
        }
        if let (Kind::Router, Some(database)) = (kind, &self.database) {
            line("store.nodes", list(std::slice::from_ref(&database.address)));
            line("store.keyspace", quoted(&database.keyspace));
            line("store.replication", "1".to_owned());
        }
        if kind == Kind::Connector {
            line("connector.allow_cidrs", list(&["127.0.0.0/8".to_owned()]));
        }
        text.push_str(&self.extra);
        text
    }

    /// The settings of an operator, as TOML: their own user of NATS, who may only look.
    pub(super) fn operator(&self) -> String {
        let mut text = format!(
            "nats.urls = {}\nnats.user = \"operator\"\nnats.password_file = {}\nnats.inbox_prefix = \"_INBOX_operator\"\n",
            list(&self.nats_urls),
            quoted_path(&self.password_file("operator")),
        );
        if let Some(database) = &self.database {
            let (nodes, keyspace) =
                (list(std::slice::from_ref(&database.address)), quoted(&database.keyspace));
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "store.nodes = {nodes}\nstore.keyspace = {keyspace}\nstore.replication = 1"
            );
        }
        text
    }

    /// Writes passwords and the key of logins, unless there are some.
    pub(super) fn write_secrets(&self) -> anyhow::Result<()> {
        for user in NATS_USERS {
            write_once(&self.password_file(user), &secret())?;
        }
        write_once(&self.login_key(), &format!("{}{}", secret(), secret()))
    }

    /// Writes the app `demo`.
    pub(super) fn write_demo(&self, bot: &str, origins: &[String]) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.apps)?;
        write_once(&self.apps.join("demo.key"), &format!("{}{}", secret(), secret()))?;
        write(&self.apps.join("demo.yaml"), &demo_app(bot, origins))
    }

    /// Writes another app `demo` in place of the usual one.
    pub(super) fn write_app(&self, app: &str, key: &str) -> anyhow::Result<()> {
        write(&self.apps.join("demo.key"), key)?;
        write(&self.apps.join("demo.yaml"), app)
    }

    /// Lines for the configuration of NATS: the deployment's accounts, with the passwords of this cluster.
    pub(super) fn nats_accounts(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        for user in NATS_USERS {
            let file = self.password_file(user);
            let password = std::fs::read_to_string(&file)
                .with_context(|| format!("failed to read {}", file.display()))?;
            writeln!(text, "STENTOR_NATS_{}_PASSWORD: {password}", user.to_uppercase())?;
        }
        anyhow::ensure!(ACCOUNTS.contains(FIRST_USER), "the accounts of NATS begin otherwise");
        let tap = format!(
            "{FIRST_USER}      {{ user: {TAP}, password: {TAP}, permissions {{ publish {{ deny: [\">\"] }}, \
             subscribe {{ allow: [\">\"] }} }} }}\n      \
             {{ user: {VANDAL}, password: {VANDAL}, permissions {{ \
             publish {{ allow: [\"$JS.API.STREAM.DELETE.*\"] }}, subscribe {{ allow: [\"_INBOX.>\"] }} }} }}\n"
        );
        text.push_str(&ACCOUNTS.replacen(FIRST_USER, &tap, 1));
        Ok(text)
    }
}

fn demo_app(bot: &str, origins: &[String]) -> String {
    // JSON is YAML. Limits are no subject of a load that comes from one address.
    serde_json::json!({
        "apiVersion": "stentor.dev/v1alpha1",
        "kind": "ChatApp",
        "metadata": { "name": "demo" },
        "spec": {
            "bot": { "url": bot, "name": "Echo", "retryDelaySeconds": 1 },
            "origins": origins,
            "limits": { "messagesPerSecond": 1000, "burst": 10_000 },
            "auth": { "keys": [{ "kid": "demo", "algorithm": "HS256", "file": "demo.key" }] },
            "widget": { "botName": "Echo" },
        },
    })
    .to_string()
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}

fn write_once(file: &Path, text: &str) -> anyhow::Result<()> {
    if file.exists() { Ok(()) } else { write(file, text) }
}

/// Random enough for a cluster that listens on loopback. It begins with a letter: NATS takes what looks like
/// a number for one.
fn secret() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("s{:016x}{:016x}", random(), random())
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn quoted_path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}
