//! Settings of a gateway, as values that cannot be wrong.

use std::{path::PathBuf, time::Duration};

use ipnet::IpNet;
use stentor_tokens::Key;
use stentor_types::{AppId, GatewayId};

/// Settings of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// This life of this gateway: random. The fan-out receiver belongs to the same id, and tells if the
    /// gateway gets another one.
    pub gateway: GatewayId,
    /// The one app that every socket belongs to, whatever its URL says (`STUDIO_APP_ID`).
    pub single_app: Option<AppId>,
    /// Loopback peers may omit `Origin`, and any loopback origin is allowed.
    pub dev: bool,
    /// Folder with the published widget, served under `/widget/`.
    pub widget_dir: Option<PathBuf>,
    /// Public socket URL that is written into hosted widgets (`CONNECTION_SERVER_URL`); without it, it
    /// follows from the request's `Host`.
    pub public_url: Option<String>,
    /// Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// From the signal to the end; sockets are closed spread over half of it.
    pub drain: Duration,
    /// What is served besides sockets and the widget.
    pub site: Site,
    /// What one address may do, and all together.
    pub limits: GatewayLimits,
    /// Signs the cookies of people who have logged in; nobody can log in without it. Gateways of one
    /// cluster share it.
    pub login_key: Option<Key>,
}

/// Pages and files of our own, known when the program is built.
#[derive(Clone, Copy, Debug, Default)]
pub struct Site {
    /// What `/` shows when the published widget is there.
    pub widget_page: &'static str,
    /// What `/` shows when it is not: a page that can chat by itself.
    pub chat_page: &'static str,
    /// What `/agents/widget/` shows: the published widget for an agent.
    pub agents_widget_page: &'static str,
    /// What `/agents/` shows: the agents' page.
    pub agents_page: &'static str,
    /// Further files: path, content type, content.
    pub files: &'static [(&'static str, &'static str, &'static str)],
}

/// What one address may do, and all together. Loopback addresses are not limited: behind them is a
/// proxy that was not named, or a test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GatewayLimits {
    /// Connections of one address. Offices and mobile networks share one.
    pub connections_per_address: u32,
    /// Messages per second of one address in the long run.
    pub messages_per_second: f64,
    /// Messages of one address that may come at once.
    pub burst: u32,
    /// Bytes that may wait for all sockets together.
    pub outbox_bytes: usize,
    /// Connections in the middle of a handshake; more wait to be accepted.
    pub handshakes: usize,
}

// === impl GatewayLimits ===

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            connections_per_address: 1_000,
            messages_per_second: 200.0,
            burst: 1_000,
            outbox_bytes: 256 * 1024 * 1024,
            handshakes: 8_192,
        }
    }
}

// === impl Config ===

impl Config {
    /// Everything as it is without settings.
    #[must_use]
    pub fn new(gateway: GatewayId) -> Self {
        Self {
            gateway,
            single_app: None,
            dev: false,
            widget_dir: None,
            public_url: None,
            trusted_proxies: Vec::new(),
            drain: Duration::from_secs(20),
            site: Site::default(),
            limits: GatewayLimits::default(),
            login_key: None,
        }
    }
}
