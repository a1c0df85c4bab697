//! Listens to everything that goes over a node of NATS, by the plain protocol.
//!
//! Knows subjects and payloads, and nothing of what they mean. Server and tap are on one machine: what the
//! server was given before [`NatsTap::seen`] asks is there when it returns.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};

use crate::PATIENCE;

/// Messages that are kept; what comes after is an error, as a count would be wrong.
const SEEN_MAX: usize = 200_000;

/// One message on its way.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Where it was sent to.
    pub subject: String,
    /// Its payload without headers.
    pub payload: Vec<u8>,
}

/// An open ear. Dropping it closes it.
#[derive(Debug)]
pub struct NatsTap {
    write: OwnedWriteHalf,
    pongs: mpsc::Receiver<()>,
    seen: Arc<Mutex<Vec<Seen>>>,
    reading: JoinHandle<anyhow::Result<()>>,
}

// === impl NatsTap ===

impl NatsTap {
    /// Logs in and listens to all subjects that the user may see.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn open(url: &str, user: &str, password: &str) -> anyhow::Result<Self> {
        let address = url.strip_prefix("nats://").context("no address of NATS")?;
        let (read, mut write) = TcpStream::connect(address).await?.into_split();
        let login = serde_json::json!({
            "user": user, "pass": password, "verbose": false, "pedantic": false, "headers": true,
            "lang": "tap", "version": "0",
        });
        write.write_all(format!("CONNECT {login}\r\nSUB > 1\r\n").as_bytes()).await?;
        let (pong, pongs) = mpsc::channel(1);
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let reading = tokio::spawn(read_all(BufReader::new(read), Arc::clone(&seen), pong));
        let mut tap = Self { write, pongs, seen, reading };
        tap.catch_up().await.context("NATS does not let the tap in")?;
        Ok(tap)
    }

    /// Everything that has been sent since the last time.
    ///
    /// # Errors
    /// The line has ended, or there was too much.
    pub async fn seen(&mut self) -> anyhow::Result<Vec<Seen>> {
        self.catch_up().await?;
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        ensure!(seen.len() < SEEN_MAX, "more went over the line than is kept");
        Ok(seen)
    }

    /// Lines of the server come in order, its answer last.
    async fn catch_up(&mut self) -> anyhow::Result<()> {
        self.write.write_all(b"PING\r\n").await?;
        let pong = timeout(PATIENCE, self.pongs.recv()).await.context("no answer")?;
        pong.context("the server has hung up")
    }
}

impl Drop for NatsTap {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

async fn read_all(
    mut read: BufReader<OwnedReadHalf>,
    seen: Arc<Mutex<Vec<Seen>>>,
    pong: mpsc::Sender<()>,
) -> anyhow::Result<()> {
    let mut line = String::new();
    loop {
        line.clear();
        ensure!(read.read_line(&mut line).await? > 0, "the server has hung up");
        let mut words = line.split_whitespace();
        let verb = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let head = match (verb, words.as_slice()) {
            ("MSG", [.., _]) => 0,
            ("HMSG", [.., head, _]) => head.parse()?,
            ("PONG", _) => {
                // Who asked waits for one at a time.
                let _ = pong.try_send(());
                continue;
            }
            ("-ERR", _) => bail!("{line}"),
            // Nobody is asked within the minutes of a test whether they live.
            _ => continue,
        };
        let subject = words.first().copied().unwrap_or_default().to_owned();
        let length: usize = words.last().context("no length")?.parse()?;
        let mut payload = vec![0; length + 2];
        read.read_exact(&mut payload).await?;
        payload.truncate(length);
        payload.drain(..head);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SEEN_MAX {
            seen.push(Seen { subject, payload });
        }
    }
}
