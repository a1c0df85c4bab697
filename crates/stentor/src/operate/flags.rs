//! Flags of the sub-commands for operators.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stentor_types::{AppId, SessionId};

/// Which cluster, and how to print.
#[derive(Clone, Debug, Args)]
pub(crate) struct Cluster {
    /// Settings of a router, or of an operator: `nats` and `store` are used.
    #[arg(long, value_name = "FILE", env = "STENTOR_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What can be done about the log.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// After the stream was restored from a backup: let every session begin a new numbering.
    Fence(Fence),
}

/// What can be done about versions.
#[derive(Debug, Subcommand)]
pub(crate) enum UpgradeCommand {
    /// Which version has the cluster, which has each member, and what is to be done next?
    Status(Upgrade),
    /// Once every member has the new version: let it write what the version before does not know. There is
    /// no way back.
    Finalize(Upgrade),
}

/// Flags of `upgrade`.
#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
}

/// Flags of `log fence`.
#[derive(Debug, Args)]
pub(crate) struct Fence {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Do it; without this, only what would happen is said.
    #[arg(long)]
    pub(crate) yes: bool,
}

/// Flags of `sessions`.
#[derive(Debug, Args)]
pub(crate) struct Sessions {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Only those of this app.
    #[arg(long, value_parser = app)]
    pub(crate) app: Option<AppId>,
    /// How many.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
}

/// Flags of `show`.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The session.
    #[arg(value_parser = session)]
    pub(crate) session: SessionId,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Its app; needed only when the log has forgotten it.
    #[arg(long, value_parser = app)]
    pub(crate) app: Option<AppId>,
    /// How many of its last events.
    #[arg(long, default_value_t = 20)]
    pub(crate) events: usize,
}

/// Flags of `explain`.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The session.
    #[arg(value_parser = session)]
    pub(crate) session: SessionId,
    /// The number of the event [default: the last message]
    pub(crate) n: Option<u64>,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Its app; needed only when the log has forgotten it.
    #[arg(long, value_parser = app)]
    pub(crate) app: Option<AppId>,
}

/// Flags of `erase`.
#[derive(Debug, Args)]
pub(crate) struct Erase {
    /// The session.
    #[arg(value_parser = session)]
    pub(crate) session: SessionId,
    /// The data folder of a standalone that is not running; without it, the cluster of --config is asked.
    #[arg(long, value_name = "DIR", requires = "app")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// Its app; needed for a data folder, and when the log has forgotten it.
    #[arg(long, value_parser = app)]
    pub(crate) app: Option<AppId>,
}

/// Flags of `dead-letters`.
#[derive(Debug, Args)]
pub(crate) struct DeadLetters {
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// How many, the latest first.
    #[arg(long, default_value_t = 50)]
    pub(crate) limit: usize,
    /// Print what was said in them, too.
    #[arg(long)]
    pub(crate) texts: bool,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The data folder of a standalone that is not running; without it, the cluster of --config is checked.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cluster: Cluster,
    /// A file with a session id and an event number per line: none of them may be missing.
    #[arg(long, value_name = "FILE")]
    pub(crate) acks: Option<PathBuf>,
    /// An app whose sessions are in that file and perhaps no longer in the log.
    #[arg(long, value_parser = app)]
    pub(crate) app: Option<AppId>,
}

fn app(text: &str) -> Result<AppId, String> {
    AppId::try_new(text).map_err(|error| error.to_string())
}

fn session(text: &str) -> Result<SessionId, String> {
    text.parse().map_err(|_| {
        "this is no session id: it has 16 and 32 lower-case hex digits with a hyphen between, as \
         `stentor sessions` prints it"
            .to_owned()
    })
}
