//! What runs: the accept loop, the fan-out loop, the ping wheel, and the end of them all.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use stentor_apps::AppSet;
use stentor_cluster::{GatewayMessage, Ingress};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    catch_up::{self, CatchUp},
    config::Config,
    cut_off,
    engine::{Closing, Registry},
    fanout, http,
    identify::Logins,
    limits::Limiter,
    metrics::Metrics,
    parts::Parts,
    shared::Shared,
    spread,
    watchers::Watchers,
};

/// Before accepting again when the system cannot give us another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks at how many sockets there are.
const COUNT_EVERY: Duration = Duration::from_secs(5);

/// A gateway that is ready to run.
#[derive(Debug)]
pub struct Gateway<B> {
    acceptor: Acceptor<B>,
    fanout: mpsc::Receiver<GatewayMessage>,
    cut_off: Option<watch::Receiver<bool>>,
    drain: CancellationToken,
}

/// The gateway cannot go on: something without which it would only look well has panicked.
#[derive(Debug, thiserror::Error)]
#[error("a part of the gateway has failed; start it again")]
pub struct GatewayFailed;

/// Takes connections that were accepted elsewhere, encrypted ones for example. They are served while
/// the gateway runs. A clone is a handle to the same gateway.
#[derive(Debug)]
pub struct Acceptor<B> {
    shared: Arc<Shared<B>>,
    tasks: TaskTracker,
    drain: CancellationToken,
}

// === impl Gateway ===

impl<B: Ingress> Gateway<B> {
    /// `fanout` belongs to `config.gateway`.
    ///
    /// # Errors
    /// The metrics are registered already.
    pub fn new(
        config: Config,
        bus: Arc<B>,
        fanout: mpsc::Receiver<GatewayMessage>,
        apps: watch::Receiver<Arc<AppSet>>,
        registry: &prometheus::Registry,
    ) -> Result<Self, prometheus::Error> {
        let metrics = Arc::new(Metrics::new(registry)?);
        let limiter = Arc::new(Limiter::new(config.limits));
        let sockets = Registry::new(config.limits.outbox_bytes);
        let watchers = Watchers::default();
        let logins = Logins::new(config.login_key.clone());
        let name = AtomicU64::new(config.gateway.0);
        let catch_up = CatchUp::default();
        let shared = Arc::new(Shared {
            config,
            name,
            cut_off: AtomicBool::new(false),
            bus,
            apps,
            sockets,
            catch_up,
            watchers,
            logins,
            limiter,
            metrics,
        });
        let drain = CancellationToken::new();
        let acceptor = Acceptor { shared, tasks: TaskTracker::new(), drain: drain.clone() };
        Ok(Self { acceptor, fanout, cut_off: None, drain })
    }

    /// Who says whether this gateway has been cut off from the owners of sessions for long. While it is,
    /// sockets are sent to other gateways, and new ones are refused. Without it there is no line to be lost.
    #[must_use]
    pub fn told_of_its_line_by(self, cut_off: watch::Receiver<bool>) -> Self {
        Self { cut_off: Some(cut_off), ..self }
    }

    /// A handle for connections that are accepted elsewhere.
    #[must_use]
    pub fn acceptor(&self) -> Acceptor<B> {
        self.acceptor.clone()
    }

    /// Serves until `drain`, or until a part of it is lost; then closes all sockets in good order and returns.
    ///
    /// Inputs of the accept loop:
    /// - listener: endless; errors are waited out;
    /// - drain, a lost part: end the loop.
    ///
    /// # Errors
    /// A part of the gateway has panicked: the process must end and be started anew.
    pub async fn run(
        self,
        listener: TcpListener,
        drain: CancellationToken,
    ) -> Result<(), GatewayFailed> {
        let shared = &self.acceptor.shared;
        let mut parts = Parts::default();
        parts.begin("fan-out", fanout::run(Arc::clone(shared), self.fanout));
        parts.begin("catching up", catch_up::run(Arc::clone(shared)));
        parts.begin("upkeep", upkeep(Arc::clone(shared)));
        let mut sending_away = Parts::default();
        if let Some(line) = self.cut_off {
            sending_away.begin("sending away", cut_off::run(Arc::clone(shared), line));
        }
        let mut ended = Ok(());
        let handshakes = Arc::new(Semaphore::new(shared.config.limits.handshakes));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &handshakes) => accepted,
                () = drain.cancelled() => break,
                part = parts.lost() => {
                    ended = lost(part);
                    break;
                }
                part = sending_away.lost() => {
                    ended = lost(part);
                    break;
                }
            };
            match accepted {
                Ok((stream, peer, place)) => {
                    let acceptor = self.acceptor.clone();
                    self.acceptor.tasks.spawn(async move {
                        acceptor.serve(stream, peer.ip()).await;
                        drop(place);
                    });
                }
                Err(cause) => {
                    warn!(%cause, "no connection can be accepted now");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.drain.cancel();
        drop(sending_away);
        close_all(shared).await;
        let tasks = &self.acceptor.tasks;
        tasks.close();
        if tokio::time::timeout(shared.config.drain / 2, tasks.wait()).await.is_err() {
            warn!(sockets = shared.sockets.len(), "not all sockets could be closed in good order");
        }
        ended
    }
}

// === impl Acceptor ===

impl<B: Ingress> Acceptor<B> {
    /// Serves one connection until it ends or has become a socket, which then lives by itself.
    pub async fn serve<S>(&self, stream: S, peer: IpAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { shared, tasks, drain } = self.clone();
        http::serve(shared, stream, peer, tasks, drain).await;
    }
}

impl<B> Clone for Acceptor<B> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            tasks: self.tasks.clone(),
            drain: self.drain.clone(),
        }
    }
}

fn lost(part: &'static str) -> Result<(), GatewayFailed> {
    error!(part, "a part of the gateway has panicked; the gateway ends");
    Err(GatewayFailed)
}

/// The next connection, and its place among those in the middle of a handshake.
async fn accept(
    listener: &TcpListener,
    handshakes: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(handshakes).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Frames are small and must not wait for each other.
    stream.set_nodelay(true)?;
    Ok((stream, peer, place))
}

/// Closes all sockets, spread over half of the drain: whoever comes back does not come at once.
async fn close_all<B>(shared: &Shared<B>) {
    info!(sockets = shared.sockets.len(), "closing sockets");
    spread::close(shared, Closing::DRAIN).await;
    // Those that were in the middle of their handshake.
    for socket in shared.sockets.all() {
        socket.close(Closing::DRAIN);
    }
}

/// Pings, counts and forgets, for ever.
async fn upkeep<B>(shared: Arc<Shared<B>>) {
    let count = async {
        let mut turns = tokio::time::interval(COUNT_EVERY);
        for turn in 0_u32.. {
            turns.tick().await;
            shared.metrics.open_now(shared.sockets.len(), shared.sockets.waiting_bytes());
            if turn % 12 == 0 {
                shared.limiter.forget();
            }
        }
    };
    tokio::join!(count, shared.sockets.tend());
}
