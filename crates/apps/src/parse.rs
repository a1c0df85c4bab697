//! From text to an app: every problem at once, each naming the field and what to do.

use std::{fs, path::Path, time::Duration};

use stentor_tokens::{Algorithm, Key, KeyError, Keys};
use stentor_types::AppId;
use url::Url;

use crate::{
    app::{App, Bot, Limits, Texts},
    raw::{RawApp, RawBot, RawKey, RawSpec},
    secret::Secret,
};

/// The one version of the schema.
const API_VERSION: &str = "stentor.dev/v1alpha1";
/// The largest key file: a bearer token is far below that.
const KEY_BYTES_MAX: u64 = 16 * 1024;

/// One thing that is wrong with an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: a path such as `spec.bot.url`, or a line of the file.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.field, self.message)
    }
}

/// Reads one app. `folder` is what relative secret files are relative to.
///
/// # Errors
/// All problems at once; never an empty list.
pub fn parse(text: &str, folder: &Path) -> Result<App, Vec<Problem>> {
    let raw: RawApp = serde_saphyr::from_str(text).map_err(|error| {
        vec![Problem {
            field: "file".into(),
            message: one_line(&error.without_snippet().to_string()),
        }]
    })?;
    let mut problems = Problems::default();
    if raw.api_version != API_VERSION {
        problems.add("apiVersion", format!("is {:?}; write {API_VERSION}", raw.api_version));
    }
    if raw.kind != "ChatApp" {
        problems.add("kind", format!("is {:?}; write ChatApp", raw.kind));
    }
    let id = AppId::try_new(&raw.metadata.name).map_err(|error| {
        problems.add("metadata.name", format!("{error}, but is {:?}", raw.metadata.name));
    });
    // Without a name the rest is looked at all the same: all problems are to be named.
    let app = check(id.ok(), raw.spec, folder, &mut problems);
    match app {
        Some(app) if problems.0.is_empty() => Ok(app),
        _ => Err(problems.0),
    }
}

#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, field: &str, message: String) {
        self.0.push(Problem { field: field.into(), message });
    }

    /// `value`, or `default`; a problem if it is out of range.
    fn range<T: PartialOrd + std::fmt::Display + Copy>(
        &mut self,
        field: &str,
        value: Option<T>,
        default: T,
        (least, most): (T, T),
    ) -> T {
        let value = value.unwrap_or(default);
        if value < least || value > most {
            self.add(field, format!("is {value}; it must be from {least} to {most}"));
        }
        value
    }

    fn duration(&mut self, field: &str, value: Option<&str>, default: Duration) -> Duration {
        let Some(text) = value else { return default };
        parse_duration(text).unwrap_or_else(|| {
            self.add(
                field,
                format!("is {text:?}; write a whole number and a unit, such as 30m, 72h or 90d"),
            );
            default
        })
    }
}

fn check(id: Option<AppId>, spec: RawSpec, folder: &Path, problems: &mut Problems) -> Option<App> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let origins = spec
        .origins
        .iter()
        .enumerate()
        .filter_map(|(place, origin)| {
            check_origin(origin, &format!("spec.origins[{place}]"), problems)
        })
        .collect();
    let texts = Texts::default();
    let text = |given: Option<String>, default: String| given.unwrap_or(default);
    let texts = Texts {
        too_long: text(spec.texts.too_long, texts.too_long),
        too_fast: text(spec.texts.too_fast, texts.too_fast),
        refused: text(spec.texts.refused, texts.refused),
        queue_full: text(spec.texts.queue_full, texts.queue_full),
        nobody_free: text(spec.texts.nobody_free, texts.nobody_free),
    };
    let limits = Limits::default();
    let raw = spec.limits;
    let limits = Limits {
        // 128 KiB plus the Request for the bot fits into one record of the log.
        message_bytes: problems.range(
            "spec.limits.messageBytes",
            raw.message_bytes,
            limits.message_bytes,
            (256, 131_072),
        ),
        messages_per_second: problems.range(
            "spec.limits.messagesPerSecond",
            raw.messages_per_second,
            limits.messages_per_second,
            (0.1, 1_000.0),
        ),
        burst: problems.range("spec.limits.burst", raw.burst, limits.burst, (1, 10_000)),
        connections_per_user: problems.range(
            "spec.limits.connectionsPerUser",
            raw.connections_per_user,
            limits.connections_per_user,
            (1, 16_384),
        ),
    };
    let log_retention =
        problems.duration("spec.retention.log", spec.retention.log.as_deref(), 72 * HOUR);
    let history_retention = problems.duration(
        "spec.retention.history",
        spec.retention.history.as_deref(),
        90 * 24 * HOUR,
    );
    if log_retention < HOUR {
        problems.add(
            "spec.retention.log",
            "must be at least 1h: a session must outlive a night's sleep of a tab".into(),
        );
    }
    if history_retention < log_retention {
        problems
            .add("spec.retention.history", "must not be shorter than spec.retention.log".into());
    }
    let visitor_grace =
        problems.range("spec.grace.visitorSeconds", spec.grace.visitor_seconds, 600, (10, 86_400));
    let agent_grace =
        problems.range("spec.grace.agentSeconds", spec.grace.agent_seconds, 120, (10, 86_400));
    for (field, grace) in
        [("spec.grace.visitorSeconds", visitor_grace), ("spec.grace.agentSeconds", agent_grace)]
    {
        // A deadline has to lie in the log until it is there. Those of a bot are at most some minutes.
        let most = (log_retention / 2).as_secs();
        if grace > most {
            problems.add(
                field,
                format!("is {grace}; it must be at most {most}, half of spec.retention.log"),
            );
        }
    }
    let bot = spec.bot.and_then(|bot| check_bot(bot, folder, problems));
    let keys = check_keys(spec.auth.keys, folder, problems);
    let revoked = spec.auth.revoked.into_iter().collect();
    let widget = spec.widget;
    let id = id?;
    Some(App {
        id,
        bot,
        origins,
        texts,
        limits,
        log_retention,
        history_retention,
        visitor_grace: Duration::from_secs(visitor_grace),
        agent_grace: Duration::from_secs(agent_grace),
        keys,
        revoked,
        widget,
    })
}

fn check_bot(bot: RawBot, folder: &Path, problems: &mut Problems) -> Option<Bot> {
    let timeout_ms = problems.range("spec.bot.timeoutMs", bot.timeout_ms, 15_000, (1_000, 60_000));
    let retry_delay_s =
        problems.range("spec.bot.retryDelaySeconds", bot.retry_delay_seconds, 5, (1, 300));
    let concurrent_calls =
        problems.range("spec.bot.maxConcurrentCalls", bot.max_concurrent_calls, 64, (1, 4_096));
    let key = bot.key.and_then(|key| match read_key(&folder.join(&key.file)) {
        Ok(key) => Some(Secret::new(key)),
        Err(message) => {
            problems.add("spec.bot.key.file", message);
            None
        }
    });
    let url = match Url::parse(&bot.url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        Ok(_) => {
            problems
                .add("spec.bot.url", "must begin with http:// or https:// and name a host".into());
            return None;
        }
        Err(error) => {
            problems
                .add("spec.bot.url", format!("is no URL ({error}); write http://host:port/path"));
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        problems.add("spec.bot.url", "must not hold a user or password; use spec.bot.key".into());
    }
    Some(Bot {
        url,
        key,
        name: bot.name.unwrap_or_else(|| "Bot".into()),
        avatar: bot.avatar,
        timeout: Duration::from_millis(timeout_ms),
        retry_delay_s,
        concurrent_calls,
    })
}

/// The keys of an app; every one that cannot be used is named.
fn check_keys(keys: Vec<RawKey>, folder: &Path, problems: &mut Problems) -> Keys {
    let mut good: Vec<Key> = Vec::new();
    for (place, raw) in keys.into_iter().enumerate() {
        let field = |name| format!("spec.auth.keys[{place}].{name}");
        let algorithm = match raw.algorithm.parse::<Algorithm>() {
            Ok(algorithm) => algorithm,
            Err(message) => {
                problems.add(&field("algorithm"), message.into());
                continue;
            }
        };
        let text = match read_text(&folder.join(&raw.file)) {
            Ok(text) => text,
            Err(message) => {
                problems.add(&field("file"), message);
                continue;
            }
        };
        match Key::try_new(&raw.kid, algorithm, text.as_bytes()) {
            Ok(key) if good.iter().any(|known| known.id() == key.id()) => {
                problems.add(&field("kid"), "is the name of another key already".into());
            }
            Ok(key) if !key.verifies() => {
                problems
                    .add(&field("file"), "must hold the public key; keep the private one".into());
            }
            Ok(key) => good.push(key),
            Err(error @ KeyError::Id) => problems.add(&field("kid"), error.to_string()),
            Err(error) => problems.add(&field("file"), error.to_string()),
        }
    }
    Keys::new(good)
}

fn read_key(path: &Path) -> Result<String, String> {
    let key = read_text(path)?;
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(format!("{} must hold a key of printable ASCII characters", path.display()));
    }
    Ok(key)
}

fn read_text(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    if fs::metadata(path).map_err(failed)?.len() > KEY_BYTES_MAX {
        return Err(format!(
            "{} is larger than {KEY_BYTES_MAX} bytes; it must hold the key alone",
            path.display()
        ));
    }
    Ok(fs::read_to_string(path).map_err(failed)?.trim().to_owned())
}

fn check_origin(origin: &str, field: &str, problems: &mut Problems) -> Option<String> {
    let parsed = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let canonical = parsed.map(|url| url.origin().ascii_serialization());
    match canonical {
        Some(canonical) if canonical.eq_ignore_ascii_case(origin) => Some(canonical),
        Some(canonical) => {
            problems.add(
                field,
                format!("is {origin:?}; write {canonical}: scheme, host and port, nothing else"),
            );
            None
        }
        None => {
            problems.add(
                field,
                format!("is {origin:?}; write an origin such as https://www.example.com"),
            );
            None
        }
    }
}

/// `30s`, `15m`, `72h`, `90d`.
fn parse_duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
