//! An app's file as it was written: nothing is checked here but its shape.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

/// A `ChatApp` as written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawApp {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) metadata: RawMetadata,
    #[serde(default)]
    pub(crate) spec: RawSpec,
}

#[derive(Debug, Deserialize)]
pub(crate) struct RawMetadata {
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawSpec {
    pub(crate) bot: Option<RawBot>,
    #[serde(default)]
    pub(crate) origins: Vec<String>,
    #[serde(default)]
    pub(crate) texts: RawTexts,
    #[serde(default)]
    pub(crate) limits: RawLimits,
    #[serde(default)]
    pub(crate) retention: RawRetention,
    #[serde(default)]
    pub(crate) grace: RawGrace,
    #[serde(default)]
    pub(crate) auth: RawAuth,
    #[serde(default)]
    pub(crate) widget: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawBot {
    pub(crate) url: String,
    pub(crate) key: Option<RawSecret>,
    pub(crate) name: Option<String>,
    pub(crate) avatar: Option<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) retry_delay_seconds: Option<u32>,
    pub(crate) max_concurrent_calls: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawSecret {
    pub(crate) file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawAuth {
    #[serde(default)]
    pub(crate) keys: Vec<RawKey>,
    #[serde(default)]
    pub(crate) revoked: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawKey {
    pub(crate) kid: String,
    pub(crate) algorithm: String,
    pub(crate) file: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawTexts {
    pub(crate) too_long: Option<String>,
    pub(crate) too_fast: Option<String>,
    pub(crate) refused: Option<String>,
    pub(crate) queue_full: Option<String>,
    pub(crate) nobody_free: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawLimits {
    pub(crate) message_bytes: Option<usize>,
    pub(crate) messages_per_second: Option<f64>,
    pub(crate) burst: Option<u32>,
    pub(crate) connections_per_user: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawRetention {
    pub(crate) log: Option<String>,
    pub(crate) history: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RawGrace {
    pub(crate) visitor_seconds: Option<u64>,
    pub(crate) agent_seconds: Option<u64>,
}
