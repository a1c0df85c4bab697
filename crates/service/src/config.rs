//! Settings of a process: text as it was given, and values that cannot be wrong.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use stentor_types::AppId;

use crate::{
    cidr,
    fields::{FIELDS, Field},
};

/// Where settings come from. Later ones win: file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The environment.
    pub environment: BTreeMap<String, String>,
    /// Flags, by setting (`listen`, not `--listen`).
    pub flags: BTreeMap<&'static str, String>,
}

/// Settings of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described where it is declared, in the list of fields")]
pub struct Config {
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub data: Option<PathBuf>,
    pub apps: Option<PathBuf>,
    pub widget_dir: Option<PathBuf>,
    pub public_url: Option<String>,
    pub single_app: Option<AppId>,
    pub insecure: bool,
    pub trusted_proxies: Vec<IpNet>,
    pub drain: Duration,
    pub allow_cidrs: Vec<IpNet>,
    pub max_commits: usize,
    pub memory_max_bytes: u64,
    pub name: Option<String>,
    pub nats: Option<Nats>,
    pub store: Option<Database>,
    pub login_key_file: Option<PathBuf>,
    pub log_format: LogFormat,
    pub log_level: String,
}

/// Where NATS is, and how its log is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described where it is declared, in the list of fields")]
pub struct Nats {
    pub urls: Vec<String>,
    pub login: Option<Login>,
    pub credentials_file: Option<PathBuf>,
    pub roots_file: Option<PathBuf>,
    pub monitor_urls: Vec<String>,
    pub allow_lazy_fsync: bool,
    pub allow_large_log: bool,
    pub replicas: usize,
    pub max_bytes: i64,
    pub inbox_prefix: String,
}

/// Where the history is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is described where it is declared, in the list of fields")]
pub struct Database {
    pub nodes: Vec<String>,
    pub keyspace: String,
    pub datacenter: Option<String>,
    pub replication: u8,
    pub login: Option<Login>,
}

/// A user, and the file with their password: it is read when it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The file.
    pub password_file: PathBuf,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// One line each: which setting, what is wrong, what to do.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the configuration cannot be used")?;
        self.problems.iter().try_for_each(|problem| write!(formatter, "\n  {problem}"))
    }
}

/// A value and where it came from.
struct Given {
    text: String,
    source: String,
}

struct Reader {
    given: BTreeMap<&'static str, Given>,
    problems: Vec<String>,
}

// === impl Config ===

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut reader = Reader::collect(sources);
        let config = Self {
            listen: reader.parsed("listen", "an address and port such as 127.0.0.1:8080"),
            admin_listen: reader
                .parsed("admin_listen", "an address and port such as 127.0.0.1:9090"),
            data: reader.path("data"),
            apps: reader.path("apps"),
            widget_dir: reader.path("widget_dir"),
            public_url: reader.text("public_url"),
            single_app: reader.app("single_app"),
            insecure: reader.parsed("insecure", "true or false"),
            trusted_proxies: reader.ranges("trusted_proxies"),
            drain: Duration::from_secs(reader.number("drain_seconds", 1, 600)),
            allow_cidrs: reader.ranges("connector.allow_cidrs"),
            max_commits: usize::try_from(reader.number("commit.max_commits", 1, 400)).unwrap_or(1),
            memory_max_bytes: reader.number("router.memory_max_bytes", 64 << 20, 1 << 44),
            name: reader.text("name"),
            nats: reader.nats(),
            store: reader.database(),
            login_key_file: reader.path("login_key_file"),
            log_format: reader.parsed("log.format", "text or json"),
            log_level: reader.text("log.level").unwrap_or_default(),
        };
        config.check(&mut reader);
        if reader.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems: reader.problems })
        }
    }

    fn check(&self, reader: &mut Reader) {
        let protected = self.insecure || !self.trusted_proxies.is_empty();
        if !self.listen.ip().is_loopback() && !protected {
            reader.complain(
                "listen",
                "is not a loopback address: put a proxy that encrypts in front and name it in \
                 trusted_proxies, or say --insecure",
            );
        }
        if let Some(url) = &self.public_url
            && !url.starts_with("ws://")
            && !url.starts_with("wss://")
        {
            reader.complain("public_url", "must begin with ws:// or wss://");
        }
        for (key, folder) in [("apps", &self.apps), ("widget_dir", &self.widget_dir)] {
            if let Some(folder) = folder
                && !folder.is_dir()
            {
                reader.complain(key, &format!("{} is no folder", folder.display()));
            }
        }
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            reader.complain("admin_listen", "must differ from listen");
        }
    }
}

impl FromStr for LogFormat {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

// === impl Reader ===

impl Reader {
    fn collect(sources: &Sources) -> Self {
        let mut reader = Self { given: BTreeMap::new(), problems: Vec::new() };
        if let Some(file) = &sources.file {
            reader.file(file);
        }
        reader.environment(&sources.environment);
        for (key, text) in &sources.flags {
            let flag = FIELDS.iter().find(|field| field.key == *key).and_then(|field| field.flag);
            reader.give(key, text.clone(), format!("flag {}", flag.unwrap_or(key)));
        }
        reader
    }

    fn file(&mut self, file: &Path) {
        let table = std::fs::read_to_string(file)
            .map_err(|error| format!("{}: cannot be read: {error}", file.display()))
            .and_then(|text| {
                text.parse::<toml::Table>()
                    .map_err(|error| format!("{}: {}", file.display(), error.to_string().trim()))
            });
        match table {
            Ok(table) => self.table(&table, "", &file.display().to_string()),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn table(&mut self, table: &toml::Table, prefix: &str, file: &str) {
        for (name, value) in table {
            let key = format!("{prefix}{name}");
            match value {
                toml::Value::Table(inner) => self.table(inner, &format!("{key}."), file),
                toml::Value::Array(parts) => {
                    let parts: Vec<_> = parts.iter().map(plain).collect();
                    self.unchecked(&key, parts.join(","), file);
                }
                other => self.unchecked(&key, plain(other), file),
            }
        }
    }

    fn unchecked(&mut self, key: &str, text: String, file: &str) {
        match FIELDS.iter().find(|field| field.key == key) {
            Some(field) => self.give(field.key, text, file.to_owned()),
            None => {
                let hint = nearest(key, FIELDS.iter().map(|field| field.key.to_owned()));
                self.problems.push(format!("{file}: there is no setting {key}{hint}"));
            }
        }
    }

    fn environment(&mut self, environment: &BTreeMap<String, String>) {
        for field in FIELDS {
            let variable = field.variable();
            let names = field.alias.into_iter().chain(std::iter::once(variable.as_str()));
            for name in names {
                if let Some(text) = environment.get(name) {
                    self.give(field.key, text.clone(), format!("variable {name}"));
                }
            }
        }
        for name in environment.keys().filter(|name| name.starts_with("STENTOR_")) {
            let known =
                name == "STENTOR_CONFIG" || FIELDS.iter().any(|field| field.variable() == *name);
            if !known {
                let hint = nearest(name, FIELDS.iter().map(Field::variable));
                self.problems.push(format!("variable {name}: there is no such setting{hint}"));
            }
        }
    }

    fn give(&mut self, key: &'static str, text: String, source: String) {
        self.given.insert(key, Given { text, source });
    }

    fn text(&self, key: &str) -> Option<String> {
        let default =
            || FIELDS.iter().find(|field| field.key == key).map_or("", |field| field.default);
        let text = self.given.get(key).map_or_else(default, |given| &given.text);
        (!text.is_empty()).then(|| text.to_owned())
    }

    fn complain(&mut self, key: &str, message: &str) {
        let source = self.given.get(key).map_or("default", |given| &given.source);
        self.problems.push(format!("{key} ({source}): {message}"));
    }

    /// A value that has a default; the default stands in for one that is wrong, to go on looking.
    fn parsed<T: FromStr>(&mut self, key: &str, wanted: &str) -> T {
        let text = self.text(key).unwrap_or_default();
        if let Ok(value) = text.parse() {
            return value;
        }
        self.complain(key, &format!("{text:?} is not {wanted}"));
        let default =
            FIELDS.iter().find(|field| field.key == key).map_or("", |field| field.default);
        match default.parse() {
            Ok(value) => value,
            Err(_) => unreachable!("the defaults of the list are valid"),
        }
    }

    fn number(&mut self, key: &str, least: u64, most: u64) -> u64 {
        let wanted = format!("a whole number from {least} to {most}");
        let number: u64 = self.parsed(key, &wanted);
        if (least..=most).contains(&number) {
            return number;
        }
        self.complain(key, &format!("{number} is not {wanted}"));
        least
    }

    fn list(&self, key: &str) -> Vec<String> {
        let text = self.text(key).unwrap_or_default();
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    fn login(&mut self, user: &str, password_file: &str) -> Option<Login> {
        match (self.text(user), self.path(password_file)) {
            (Some(user), Some(password_file)) => Some(Login { user, password_file }),
            (None, None) => None,
            (Some(_), None) => {
                self.complain(user, &format!("needs its password: say {password_file} too"));
                None
            }
            (None, Some(_)) => {
                self.complain(password_file, &format!("is the password of nobody: say {user} too"));
                None
            }
        }
    }

    /// Where NATS is, if that is said.
    fn nats(&mut self) -> Option<Nats> {
        let urls = self.list("nats.urls");
        for url in &urls {
            if !url.starts_with("nats://") && !url.starts_with("tls://") {
                self.complain("nats.urls", &format!("{url:?} must begin with nats:// or tls://"));
            }
        }
        let monitor_urls = self.list("nats.monitor_urls");
        for url in &monitor_urls {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                self.complain("nats.monitor_urls", &format!("{url:?} must begin with http://"));
            }
        }
        let replicas = self.number("nats.replicas", 1, 5);
        if replicas.is_multiple_of(2) {
            self.complain("nats.replicas", "must be 1, 3 or 5: an even number survives no more");
        }
        let inbox_prefix = self.text("nats.inbox_prefix").unwrap_or_default();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if inbox_prefix.is_empty() || !inbox_prefix.bytes().all(plain) {
            self.complain("nats.inbox_prefix", "must be one word of A-Z a-z 0-9 _ -");
        }
        let nats = Nats {
            login: self.login("nats.user", "nats.password_file"),
            credentials_file: self.path("nats.credentials_file"),
            roots_file: self.path("nats.roots_file"),
            allow_lazy_fsync: self.parsed("nats.allow_lazy_fsync", "true or false"),
            allow_large_log: self.parsed("nats.allow_large_log", "true or false"),
            replicas: usize::try_from(replicas).unwrap_or(1),
            // At least room for some snapshots, at most what the server can count.
            max_bytes: i64::try_from(self.number("nats.max_bytes", 1 << 20, 1 << 50))
                .unwrap_or(i64::MAX),
            monitor_urls,
            inbox_prefix,
            urls,
        };
        (!nats.urls.is_empty()).then_some(nats)
    }

    /// Where the history is, if that is said.
    fn database(&mut self) -> Option<Database> {
        let nodes = self.list("store.nodes");
        for node in &nodes {
            if node.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                self.complain("store.nodes", &format!("{node:?} is not host:port"));
            }
        }
        let keyspace = self.text("store.keyspace").unwrap_or_default();
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let begins = keyspace.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
        if !begins || keyspace.len() > 48 || !keyspace.bytes().all(word) {
            self.complain(
                "store.keyspace",
                "must be 1 to 48 of a-z 0-9 _, beginning with a letter",
            );
        }
        let database = Database {
            datacenter: self.text("store.datacenter"),
            replication: u8::try_from(self.number("store.replication", 1, 9)).unwrap_or(1),
            login: self.login("store.user", "store.password_file"),
            keyspace,
            nodes,
        };
        (!database.nodes.is_empty()).then_some(database)
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn app(&mut self, key: &str) -> Option<AppId> {
        let name = self.text(key)?;
        AppId::try_new(&name).map_err(|error| self.complain(key, &error.to_string())).ok()
    }

    fn ranges(&mut self, key: &str) -> Vec<IpNet> {
        let text = self.text(key).unwrap_or_default();
        cidr::parse_list(&text).unwrap_or_else(|problem| {
            self.complain(key, &problem);
            Vec::new()
        })
    }
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A hint at the most similar name, if one is similar at all.
fn nearest(name: &str, known: impl Iterator<Item = String>) -> String {
    let similar = known.map(|known| (distance(name, &known), known)).min();
    similar
        .filter(|(distance, _)| *distance <= 3)
        .map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"))
}

/// Levenshtein's distance.
fn distance(one: &str, two: &str) -> usize {
    let mut row: Vec<usize> = (0..=two.chars().count()).collect();
    for (place, left) in one.chars().enumerate() {
        let mut diagonal = place;
        let mut before = place + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (cell, right) in row.iter_mut().skip(1).zip(two.chars()) {
            let substituted = diagonal + usize::from(left != right);
            diagonal = *cell;
            *cell = substituted.min(diagonal + 1).min(before + 1);
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
