//! A line to servers that can be held, slowed down, made narrow and made to forget: a TCP proxy.
//!
//! What is held is not lost: it arrives when the line is let go, as after a partition of a network that TCP
//! outlives. Knows bytes; of what they mean only what [`publishes`] tells of NATS.

mod publishes;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};

use self::publishes::Publishes;

/// Read at once.
const CHUNK: usize = 4 * 1024;
/// Chunks under way in one direction of one connection; then the sender has to wait.
const UNDER_WAY_MAX: usize = 1_024;
/// What the system keeps for a narrow line, so that a slow reader is felt.
const NARROW_BUFFER: u32 = 8 * 1024;

/// Pieces per second over a narrow line, and what lies between two of them.
const TICKS: u32 = 10;
const TICK: Duration = Duration::from_millis(100);

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// What a line does in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Manner {
    held: bool,
    delay: Duration,
}

#[derive(Clone, Debug, Default)]
struct Manners {
    up: Manner,
    down: Manner,
    /// Publishes to subjects that begin so vanish.
    swallowed: Vec<String>,
    /// Bytes per second from the server, of a narrow line.
    width: Option<u32>,
}

/// A proxy in front of one or several servers. Dropping it ends all connections through it.
#[derive(Debug)]
pub struct Line {
    addresses: Vec<String>,
    manners: watch::Sender<Manners>,
    vanished: Arc<AtomicU64>,
    _listening: JoinSet<()>,
}

/// What all connections through a line share.
#[derive(Clone, Debug)]
struct Shared {
    manners: watch::Receiver<Manners>,
    vanished: Arc<AtomicU64>,
    kind: Of,
}

/// What kind of line it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// For any bytes.
    Bytes,
    /// For the protocol of NATS.
    Nats,
    /// For few bytes at a time.
    Narrow,
}

// === impl Line ===

impl Line {
    /// A line to a server, `host:port`.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to(target: &str) -> anyhow::Result<Self> {
        Self::with(&[target.to_owned()], Of::Bytes).await
    }

    /// A line to each of these nodes of NATS, which can forget messages as well.
    ///
    /// # Errors
    /// No port is free.
    pub async fn to_nats(targets: &[String]) -> anyhow::Result<Self> {
        Self::with(targets, Of::Nats).await
    }

    /// A line over which no more than so many bytes come per second.
    ///
    /// # Errors
    /// No port is free.
    pub async fn narrow(target: &str, bytes_per_second: u32) -> anyhow::Result<Self> {
        let line = Self::with(&[target.to_owned()], Of::Narrow).await?;
        line.manners.send_modify(|manners| manners.width = Some(bytes_per_second));
        Ok(line)
    }

    async fn with(targets: &[String], kind: Of) -> anyhow::Result<Self> {
        let (manners, seen) = watch::channel(Manners::default());
        let vanished: Arc<AtomicU64> = Arc::default();
        let shared = Shared { manners: seen, vanished: Arc::clone(&vanished), kind };
        let (mut listening, mut addresses) = (JoinSet::new(), Vec::new());
        for target in targets {
            let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
            addresses.push(listener.local_addr()?.to_string());
            listening.spawn(accept(listener, target.clone(), shared.clone()));
        }
        Ok(Self { addresses, manners, vanished, _listening: listening })
    }

    /// Where to connect to, in the order of the targets: `host:port`.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Lets nothing through in this direction, also of connections that are yet to be made.
    pub fn hold(&self, way: Way) {
        self.change(way, |manner| manner.held = true);
    }

    /// Makes everything in this direction late.
    pub fn delay(&self, way: Way, by: Duration) {
        self.change(way, |manner| manner.delay = by);
    }

    /// Makes publishes to subjects that begin with one of these vanish, on a line to NATS.
    pub fn swallow(&self, beginnings: &[&str]) {
        let beginnings = beginnings.iter().map(|text| (*text).to_owned()).collect();
        self.manners.send_modify(|manners| manners.swallowed = beginnings);
    }

    /// Publishes that have vanished.
    #[must_use]
    pub fn vanished(&self) -> u64 {
        self.vanished.load(Ordering::Relaxed)
    }

    /// Is an ordinary line again; what was held arrives.
    pub fn let_go(&self) {
        self.manners.send_modify(|manners| *manners = Manners::default());
    }

    fn change(&self, way: Way, change: impl FnOnce(&mut Manner)) {
        self.manners.send_modify(|manners| match way {
            Way::Up => change(&mut manners.up),
            Way::Down => change(&mut manners.down),
        });
    }
}

// === impl Manners ===

impl Manners {
    const fn of(&self, way: Way) -> Manner {
        match way {
            Way::Up => self.up,
            Way::Down => self.down,
        }
    }
}

async fn accept(listener: TcpListener, target: String, shared: Shared) {
    // Ends with the line, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            near = listener.accept() => {
                let Ok((near, _)) = near else { return };
                let (target, shared) = (target.clone(), shared.clone());
                // When either side breaks, both are dropped; whose fault it was is for them to say.
                connections.spawn(async move { pass(near, &target, shared).await.is_ok() });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn pass(near: TcpStream, target: &str, shared: Shared) -> anyhow::Result<()> {
    let socket = TcpSocket::new_v4()?;
    if shared.kind == Of::Narrow {
        socket.set_recv_buffer_size(NARROW_BUFFER)?;
    }
    let far = socket.connect(target.parse()?).await?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let up = direct(near_read, far_write, Way::Up, shared.clone());
    if shared.kind == Of::Narrow {
        tokio::try_join!(up, trickle(far_read, near_write, shared.manners))?;
    } else {
        tokio::try_join!(up, direct(far_read, near_write, Way::Down, shared))?;
    }
    Ok(())
}

async fn direct(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    way: Way,
    shared: Shared,
) -> anyhow::Result<()> {
    let (under_way, arriving) = mpsc::channel(UNDER_WAY_MAX);
    let manners = shared.manners.clone();
    tokio::try_join!(take(from, under_way, way, shared), bring(arriving, to, way, manners))?;
    Ok(())
}

/// Reads until the end, and notes when what was read came.
async fn take(
    mut from: OwnedReadHalf,
    under_way: mpsc::Sender<(Instant, Vec<u8>)>,
    way: Way,
    shared: Shared,
) -> anyhow::Result<()> {
    let mut publishes = Publishes::default();
    let mut buffer = [0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        let mut bytes = buffer.get(..length).unwrap_or_default().to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        if way == Way::Up && shared.kind == Of::Nats {
            let swallowed = shared.manners.borrow().swallowed.clone();
            let (left, vanished) = publishes.without(bytes, &swallowed);
            shared.vanished.fetch_add(vanished, Ordering::Relaxed);
            bytes = left;
        }
        under_way.send((Instant::now(), bytes)).await?;
    }
}

/// Writes what has come when the line lets it.
async fn bring(
    mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: OwnedWriteHalf,
    way: Way,
    mut manners: watch::Receiver<Manners>,
) -> anyhow::Result<()> {
    while let Some((came, bytes)) = arriving.recv().await {
        loop {
            let manner = manners.wait_for(|manners| !manners.of(way).held).await?.of(way);
            let due = came + manner.delay;
            tokio::select! {
                () = tokio::time::sleep_until(due) => break,
                changed = manners.changed() => changed?,
            }
        }
        to.write_all(&bytes).await?;
    }
    Ok(to.shutdown().await?)
}

/// Ten small pieces a second, until the line is let go.
async fn trickle(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    manners: watch::Receiver<Manners>,
) -> anyhow::Result<()> {
    let mut ticks = tokio::time::interval(TICK);
    let mut buffer = [0; CHUNK];
    loop {
        let width = manners.borrow().width;
        let mut most = CHUNK;
        if let Some(width) = width {
            ticks.tick().await;
            most = usize::try_from(width / TICKS)?.clamp(1, CHUNK);
        }
        let length = from.read(buffer.get_mut(..most).unwrap_or_default()).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            return Ok(to.shutdown().await?);
        }
        to.write_all(bytes).await?;
    }
}
