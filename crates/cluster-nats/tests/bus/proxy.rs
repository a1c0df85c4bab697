//! A line that can be frozen or cut, between a member and its server.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// How the line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It carries.
    Open,
    /// It carries nothing, and loses nothing: as seen by others, a process that is paused.
    Frozen,
    /// It is broken, and cannot be opened again.
    Cut,
}

/// A line to one server.
pub(crate) struct Proxy {
    line: Arc<watch::Sender<Line>>,
    url: String,
    _task: AbortOnDropHandle<()>,
}

// === impl Proxy ===

impl Proxy {
    pub(crate) async fn to(server: &str) -> Self {
        let server = server.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let line = Arc::new(watch::Sender::new(Line::Open));
        let task = tokio::spawn(accept(listener, server, Arc::clone(&line)));
        Self { line, url, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn accept(listener: TcpListener, server: String, line: Arc<watch::Sender<Line>>) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if *line.borrow() == Line::Cut {
            continue;
        }
        let (server, line) = (server.clone(), line.subscribe());
        connections.spawn(async move {
            let server = TcpStream::connect(server).await?;
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            let mut cut = line.clone();
            tokio::select! {
                there = carry(from_client, to_server, line.clone()) => there,
                back = carry(from_server, to_client, line) => back,
                _ = cut.wait_for(|line| *line == Line::Cut) => Ok(()),
            }
        });
    }
}

async fn carry(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut line: watch::Receiver<Line>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let _ = line.wait_for(|line| *line != Line::Frozen).await;
        to.write_all(&buffer[..read]).await?;
    }
}
