//! The command line.

use std::{collections::BTreeMap, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use stentor_service::Sources;
use stentor_telemetry::VERSION;

/// Chat router for widgets, bots and people.
#[derive(Debug, Parser)]
#[command(name = "stentor", version = VERSION)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine, with a demo page and an echo bot.
    Dev(Dev),
    /// Run everything in one process, for a server.
    Standalone(Standalone),
    /// Look at configuration without starting anything.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Check a data folder that no process has open: checksums, chains, dense numbers.
    Verify {
        /// The data folder.
        #[arg(long)]
        data: PathBuf,
        /// A file with a session id and an event number per line: none of them may be missing.
        #[arg(long)]
        acks: Option<PathBuf>,
    },
}

/// What can be done about configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Name everything that is wrong with the settings and the apps.
    Check(Standalone),
}

/// Flags of `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Put this bot behind the app `demo` instead of the echo bot.
    #[arg(long, value_name = "URL", conflicts_with = "apps")]
    pub(crate) bot: Option<String>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of `standalone`.
#[derive(Debug, Args)]
pub(crate) struct Standalone {
    /// Settings as a TOML file.
    #[arg(long, value_name = "FILE", env = "STENTOR_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Flags of both.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Address and port for widgets [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Address and port for metrics and health [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Folder that keeps everything.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
    /// Folder of app files.
    #[arg(long, value_name = "DIR")]
    apps: Option<String>,
    /// Folder with the published widget.
    #[arg(long, value_name = "DIR")]
    widget_dir: Option<String>,
    /// Listen on other addresses than loopback although nothing in front encrypts.
    #[arg(long)]
    insecure: bool,
}

// === impl Common ===

impl Common {
    /// These flags together with the environment and a file.
    pub(crate) fn sources(&self, file: Option<PathBuf>) -> Sources {
        let flags = [
            ("listen", self.listen.clone()),
            ("admin_listen", self.admin_listen.clone()),
            ("data", self.data.clone()),
            ("apps", self.apps.clone()),
            ("widget_dir", self.widget_dir.clone()),
            ("insecure", self.insecure.then(|| "true".to_owned())),
        ];
        let flags: BTreeMap<_, _> =
            flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        Sources { file, environment: std::env::vars().collect(), flags }
    }
}
