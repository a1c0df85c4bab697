//! The cluster of a test: one at a time, with a bot that repeats what it hears.

use std::path::Path;

use serde_json::Value;
use stentor_testkit::{
    Answer, BotStub,
    cluster::{Cluster, ClusterOptions},
};
use tokio::sync::{Mutex, MutexGuard};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");

/// Two clusters at once would only measure each other.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

/// A cluster and its bot.
pub(crate) struct Setting {
    pub(crate) cluster: Cluster,
    pub(crate) bot: BotStub,
    _turn: MutexGuard<'static, ()>,
}

// === impl Setting ===

impl Setting {
    /// The standard cluster, changed by `change`, with a bot that repeats what it hears.
    pub(crate) async fn new(change: impl FnOnce(ClusterOptions) -> ClusterOptions) -> Self {
        Self::with_bot(change, echo).await
    }

    pub(crate) async fn with_bot(
        change: impl FnOnce(ClusterOptions) -> ClusterOptions,
        answer: impl Fn(&Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let turn = ONE_AT_A_TIME.lock().await;
        let bot = BotStub::start(answer).await.unwrap();
        let options = ClusterOptions::new(Path::new(PROGRAM), bot.url());
        let options = change(ClusterOptions { keep: is_kept(), ..options });
        let cluster = Cluster::start(&options).await.unwrap_or_else(|error| panic!("{error:#}"));
        Self { cluster, bot, _turn: turn }
    }

    /// Stops it in order. Whoever ended before has failed.
    pub(crate) async fn end(mut self) {
        assert_eq!(self.cluster.fallen(), Vec::<String>::new());
        self.cluster.shut_down().await.unwrap_or_else(|error| panic!("{error:#}"));
    }
}

/// How often a fault happens: once in the short version.
pub(crate) fn times(full: usize) -> usize {
    if is_long() { full } else { 1 }
}

/// Whether faults are run at length.
pub(crate) fn is_long() -> bool {
    std::env::var_os("CHAOS_LONG").is_some()
}

/// A number that the test was told.
pub(crate) fn number_from(variable: &str) -> Option<u64> {
    let text = std::env::var_os(variable)?.into_string().unwrap();
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}: {text:?}: {error}")))
}

/// Whether the logs of clusters stay, to be read after a failure.
fn is_kept() -> bool {
    std::env::var_os("CHAOS_KEEP").is_some()
}

pub(crate) fn echo(request: &Value) -> Answer {
    let text = request["rawQuery"].as_str().unwrap_or("launch");
    let speech = serde_json::json!({ "outputSpeech": { "displayText": format!("echo {text}") } });
    Answer::Json(speech.to_string())
}
