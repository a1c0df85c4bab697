//! The flags of `stentor dev` that tests use.

use std::{net::SocketAddr, path::PathBuf};

use clap::Parser;

/// A cluster in the place of `stentor dev`.
#[derive(Debug, Parser)]
pub(crate) struct Dev {
    /// Address and port for widgets.
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,
    /// Address and port for health, and metrics summed over all members.
    #[arg(long, default_value = "127.0.0.1:9090")]
    pub(crate) admin_listen: SocketAddr,
    /// Folder that keeps everything.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Folder of app files.
    #[arg(long)]
    pub(crate) apps: Option<PathBuf>,
    /// The bot behind the app `demo`.
    #[arg(long)]
    pub(crate) bot: Option<String>,
    /// Folder with the published widget.
    #[arg(long)]
    pub(crate) widget_dir: Option<PathBuf>,
}

// === impl Dev ===

impl Dev {
    /// What all members are told beyond the ordinary, as TOML.
    pub(crate) fn settings(&self) -> String {
        let widget = self.widget_dir.as_ref();
        widget.map(|folder| format!("widget_dir = {folder:?}\n")).unwrap_or_default()
    }
}
