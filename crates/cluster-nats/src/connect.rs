//! The connection to NATS that the log, the bus and the members of one process share.
//!
//! Knows how to get in and whether the line is up; what is sent over it is the affair of others.

use std::{fmt, path::PathBuf, time::Duration};

use async_nats::{Client, Event, jetstream};
use tokio::sync::watch;

/// How often the server is asked whether it is there: a dead line is noticed after about three of these.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Longest time for opening a socket and the greeting over it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest pause between two attempts to get the line back. Short: while it is down, nothing is committed.
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(1);
/// Messages that may wait between the parts of this process and the socket. Whoever sends more waits.
const SEND_QUEUE: usize = 4_096;
/// Messages that may wait in each subscription. What comes then is lost, and told by
/// [`ConnectionStatus::overflows`].
const SUBSCRIPTION_QUEUE: usize = 65_536;

/// Where NATS is, and how to get in.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// One or more URLs, `nats://host:port` or `tls://host:port`.
    pub urls: Vec<String>,
    /// The name shown in the server's list of connections.
    pub name: String,
    /// Who this process is for the server.
    pub login: Login,
    /// How the line is protected.
    pub tls: Tls,
    /// Where answers come to. Each NATS user has its own, and may subscribe to no other's: otherwise
    /// one role could read the answers to another.
    pub inbox_prefix: String,
    /// How long to wait for any answer.
    pub timeout: Duration,
}

/// Who this process is for the server.
#[derive(Clone, Default)]
pub enum Login {
    /// Nobody: the server asks for nothing.
    #[default]
    Nobody,
    /// A user with a password.
    User {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A file with a user's JWT and seed.
    Credentials(PathBuf),
    /// The seed of an NKey.
    NKey(String),
}

/// How the line is protected.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Whether a server without TLS is refused.
    pub required: bool,
    /// Whether TLS begins before the server's greeting (`handshake_first`).
    pub first: bool,
    /// Certificates that sign servers, besides those of the system.
    pub roots: Option<PathBuf>,
    /// Certificate and key by which this process is known.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// An open connection. A clone is a handle to the same one.
#[derive(Clone, Debug)]
pub struct Connection {
    client: Client,
    jetstream: jetstream::Context,
    status: watch::Receiver<ConnectionStatus>,
}

/// What has happened to a connection since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// Whether the line is up.
    pub up: bool,
    /// How often it was lost: what was sent to subscriptions meanwhile never came.
    pub losses: u64,
    /// How often a subscription was full, so that messages were dropped.
    pub overflows: u64,
    /// How often a server said that it is about to leave.
    pub lame_ducks: u64,
}

/// The connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A URL is none.
    #[error("{url:?} is not the URL of a NATS server")]
    Url {
        /// The URL.
        url: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file with credentials, or what is in it.
    #[error("failed to read the NATS credentials")]
    Credentials(#[source] std::io::Error),
    /// No server lets us in.
    #[error("failed to connect to NATS")]
    Refused(#[source] async_nats::ConnectError),
}

// === impl ConnectionSettings ===

impl ConnectionSettings {
    /// Ordinary settings for servers at `urls`, separated by commas; no login, no TLS.
    #[must_use]
    pub fn new(urls: &str, name: &str) -> Self {
        Self {
            urls: urls.split(',').map(|url| url.trim().to_owned()).collect(),
            name: name.to_owned(),
            login: Login::Nobody,
            tls: Tls::default(),
            inbox_prefix: "_INBOX".to_owned(),
            timeout: Duration::from_secs(5),
        }
    }
}

// === impl Login ===

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => formatter.write_str("Nobody"),
            Self::User { user, .. } => write!(formatter, "User({user:?})"),
            Self::Token(_) => formatter.write_str("Token"),
            Self::Credentials(path) => write!(formatter, "Credentials({})", path.display()),
            Self::NKey(_) => formatter.write_str("NKey"),
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Connects. From then on the line is brought back whenever it is lost, for ever.
    ///
    /// # Errors
    /// A setting is wrong, or no server lets us in.
    pub async fn open(settings: &ConnectionSettings) -> Result<Self, ConnectError> {
        let parse = |url: &String| {
            let parsed: Result<async_nats::ServerAddr, _> = url.parse();
            parsed.map_err(|source| ConnectError::Url { url: url.clone(), source })
        };
        let urls: Vec<_> = settings.urls.iter().map(parse).collect::<Result<_, _>>()?;
        let (changes, status) = watch::channel(ConnectionStatus::default());
        let options = options(settings).await?.event_callback(move |event| {
            changes.send_modify(|status| status.note(&event));
            std::future::ready(())
        });
        let client = options.connect(urls).await.map_err(ConnectError::Refused)?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(settings.timeout)
            .ack_timeout(settings.timeout)
            .build(client.clone());
        Ok(Self { client, jetstream, status })
    }

    /// Core NATS.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream, with the settings' timeout.
    #[must_use]
    pub const fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// What has happened to the line; changes can be waited for.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<ConnectionStatus> {
        self.status.clone()
    }

    /// Whether the line is up just now.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Returns when the line has been lost and is back again.
    pub(crate) fn renewed(&self) -> impl Future<Output = ()> + use<> {
        let mut status = self.status.clone();
        let losses = status.borrow().losses;
        async move {
            let is_back = |status: &ConnectionStatus| status.losses != losses && status.up;
            if status.wait_for(is_back).await.is_err() {
                // Closed for good: it never is.
                std::future::pending().await
            }
        }
    }

    /// Sends what still waits, then closes.
    pub async fn close(&self) {
        // Nothing more can be done for a line that is down.
        let _ = self.client.drain().await;
    }
}

// === impl ConnectionStatus ===

impl ConnectionStatus {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Connected => {
                self.up = true;
                tracing::info!("connected to NATS");
            }
            Event::Disconnected => {
                self.up = false;
                self.losses += 1;
                tracing::warn!("the connection to NATS is lost");
            }
            Event::SlowConsumer(_) => self.overflows += 1,
            Event::LameDuckMode => {
                self.lame_ducks += 1;
                tracing::info!("the NATS server is about to leave");
            }
            Event::Draining | Event::Closed => self.up = false,
            Event::ServerError(error) => tracing::warn!(%error, "the NATS server complains"),
            Event::ClientError(error) => tracing::warn!(%error, "the NATS client complains"),
        }
    }
}

async fn options(
    settings: &ConnectionSettings,
) -> Result<async_nats::ConnectOptions, ConnectError> {
    let mut options = async_nats::ConnectOptions::new()
        .name(&settings.name)
        .custom_inbox_prefix(&settings.inbox_prefix)
        .request_timeout(Some(settings.timeout))
        .ping_interval(PING_INTERVAL)
        .connection_timeout(CONNECT_TIMEOUT)
        .client_capacity(SEND_QUEUE)
        .subscription_capacity(SUBSCRIPTION_QUEUE)
        .reconnect_delay_callback(reconnect_delay)
        .require_tls(settings.tls.required);
    if settings.tls.first {
        options = options.tls_first();
    }
    if let Some(roots) = &settings.tls.roots {
        options = options.add_root_certificates(roots.clone());
    }
    if let Some((certificate, key)) = &settings.tls.client {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(match &settings.login {
        Login::Nobody => options,
        Login::User { user, password } => options.user_and_password(user.clone(), password.clone()),
        Login::Token(token) => options.token(token.clone()),
        Login::NKey(seed) => options.nkey(seed.clone()),
        Login::Credentials(file) => {
            options.credentials_file(file).await.map_err(ConnectError::Credentials)?
        }
    })
}

/// 20, 40, 80 … ms up to a second, less up to half of it by chance, so that processes that lost a
/// server together do not come back together.
fn reconnect_delay(attempts: usize) -> Duration {
    let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).min(6);
    let longest = (Duration::from_millis(20) * (1 << doublings)).min(RECONNECT_DELAY_MAX);
    crate::chance::less_up_to_half(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_in_what_is_logged() {
        let user = Login::User { user: "router".to_owned(), password: "hush".to_owned() };
        for login in [user, Login::Token("hush".to_owned()), Login::NKey("hush".to_owned())] {
            assert!(!format!("{login:?}").contains("hush"), "{login:?}");
        }
    }

    #[test]
    fn pauses_between_attempts_are_short_and_grow() {
        for attempts in [0, 1, 5, 6, 100, usize::MAX] {
            let delay = reconnect_delay(attempts);
            assert!(
                delay >= Duration::from_millis(10) && delay <= RECONNECT_DELAY_MAX,
                "{delay:?}"
            );
        }
        assert!(reconnect_delay(9) >= RECONNECT_DELAY_MAX / 2);
    }
}
