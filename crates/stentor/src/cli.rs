//! The command line.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use stentor_service::Sources;
use stentor_telemetry::VERSION;

use crate::operate::flags;

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
    /// Run one gateway of a cluster: sockets, pages, the HTTP API.
    Gateway(GatewayMember),
    /// Run one router of a cluster: the rules of conversations.
    Router(Member),
    /// Run one connector of a cluster: calls to bots.
    Connector(Member),
    /// Look at configuration without starting anything.
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Make and look at tokens by which an app's operator vouches for somebody.
    Token {
        #[command(subcommand)]
        command: TokenCommand,
    },
    /// Run a bot that repeats what it hears, to try a cluster with.
    EchoBot {
        /// Address and port; Requests go to the path `/bot`.
        #[arg(long, default_value = "127.0.0.1:8090")]
        listen: SocketAddr,
    },
    /// Look after the log of a cluster.
    Log {
        #[command(subcommand)]
        command: flags::LogCommand,
    },
    /// See and end the time in which a cluster runs two versions.
    Upgrade {
        #[command(subcommand)]
        command: flags::UpgradeCommand,
    },
    /// List the sessions in the log of a cluster, the latest first.
    Sessions(flags::Sessions),
    /// Show what one session of a cluster is, and its last events.
    Show(flags::Show),
    /// Follow one message of a cluster on its way, with times.
    Explain(flags::Explain),
    /// Erase all that was said and done in one session, for good, and print the certificate.
    Erase(flags::Erase),
    /// List what a cluster has given up on: inputs that it was lost over, records that the history refuses.
    DeadLetters(flags::DeadLetters),
    /// Check what is kept: the data folder of a standalone, or log and database of a cluster.
    Verify(flags::Verify),
}

/// What can be done about tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Print a token.
    Mint(Mint),
    /// Say what a token says, and whether an app would believe it.
    Inspect(Inspect),
}

/// Flags of `token mint`.
#[derive(Debug, Args)]
pub(crate) struct Mint {
    /// The app that it is for.
    #[arg(long)]
    pub(crate) app: String,
    /// visitor, observer, agent or integration.
    #[arg(long, default_value = "visitor")]
    pub(crate) role: String,
    /// Who it is for: an id of your own.
    #[arg(long, value_name = "ID")]
    pub(crate) subject: String,
    /// The name that they are seen under.
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// How long it is valid, in minutes; at most 720 [default: 60; of a link 15]
    #[arg(long)]
    pub(crate) minutes: Option<u64>,
    /// Print a link by which one person logs in once, at the router with this address.
    #[arg(long, value_name = "URL")]
    pub(crate) link: Option<String>,
    #[command(flatten)]
    pub(crate) key: KeyFlags,
}

/// Flags of `token inspect`.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// The app that is to believe it.
    #[arg(long)]
    pub(crate) app: String,
    #[command(flatten)]
    pub(crate) key: KeyFlags,
}

/// Which key.
#[derive(Debug, Args)]
pub(crate) struct KeyFlags {
    /// The key's name in `auth.keys` of the app.
    #[arg(long)]
    pub(crate) kid: String,
    /// HS256, ES256 or EdDSA.
    #[arg(long, default_value = "HS256")]
    pub(crate) algorithm: String,
    /// File with the secret, or with the key as PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_file: PathBuf,
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

/// Flags of a gateway of a cluster.
#[derive(Debug, Args)]
pub(crate) struct GatewayMember {
    /// Settings as a TOML file.
    #[arg(long, value_name = "FILE", env = "STENTOR_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    sockets: Sockets,
    #[command(flatten)]
    process: Process,
}

/// Flags of a member of a cluster that has no sockets.
#[derive(Debug, Args)]
pub(crate) struct Member {
    /// Settings as a TOML file.
    #[arg(long, value_name = "FILE", env = "STENTOR_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    process: Process,
}

/// Flags of all that do everything in one process.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    sockets: Sockets,
    #[command(flatten)]
    process: Process,
    /// Folder that keeps everything.
    #[arg(long, value_name = "DIR")]
    data: Option<String>,
}

/// Flags of whoever has sockets.
#[derive(Debug, Args)]
struct Sockets {
    /// Address and port for widgets [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Folder with the published widget.
    #[arg(long, value_name = "DIR")]
    widget_dir: Option<String>,
    /// Listen on other addresses than loopback although nothing in front encrypts.
    #[arg(long)]
    insecure: bool,
}

/// Flags of all that run.
#[derive(Debug, Args)]
struct Process {
    /// Address and port for metrics and health [default: 127.0.0.1:9090]
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Folder of app files.
    #[arg(long, value_name = "DIR")]
    apps: Option<String>,
}

/// Settings that were given as flags.
type Given = BTreeMap<&'static str, String>;

// === impl GatewayMember ===

impl GatewayMember {
    /// These flags together with the environment and their file.
    pub(crate) fn sources(self) -> Sources {
        let mut flags = self.process.given();
        flags.extend(self.sockets.given());
        sources(self.config, flags)
    }
}

// === impl Member ===

impl Member {
    /// These flags together with the environment and their file.
    pub(crate) fn sources(self) -> Sources {
        sources(self.config, self.process.given())
    }
}

// === impl Common ===

impl Common {
    /// These flags together with the environment and a file.
    pub(crate) fn sources(&self, file: Option<PathBuf>) -> Sources {
        let mut flags = self.process.given();
        flags.extend(self.sockets.given());
        flags.extend(given([("data", self.data.clone())]));
        sources(file, flags)
    }
}

// === impl Sockets ===

impl Sockets {
    fn given(&self) -> Given {
        given([
            ("listen", self.listen.clone()),
            ("widget_dir", self.widget_dir.clone()),
            ("insecure", self.insecure.then(|| "true".to_owned())),
        ])
    }
}

// === impl Process ===

impl Process {
    fn given(&self) -> Given {
        given([("admin_listen", self.admin_listen.clone()), ("apps", self.apps.clone())])
    }
}

fn given<const COUNT: usize>(flags: [(&'static str, Option<String>); COUNT]) -> Given {
    flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
}

fn sources(file: Option<PathBuf>, flags: Given) -> Sources {
    Sources { file, environment: std::env::vars().collect(), flags }
}
