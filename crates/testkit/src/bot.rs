//! A bot that does what a test tells it to, over real HTTP.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// What the bot does with a Request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers 200 with this body as JSON.
    Json(String),
    /// Answers with this status, content type and body.
    Http(u16, &'static str, String),
    /// Answers with this body once it is told to.
    When(Arc<tokio::sync::Notify>, String),
    /// Never answers.
    Hang,
    /// Closes the connection.
    Close,
}

/// A bot that does what a test tells it to. It stops when it is dropped.
#[derive(Debug)]
pub struct BotStub {
    url: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    at_once: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

// === impl BotStub ===

impl BotStub {
    /// A bot that answers by this function of the Request.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(
        answer: impl Fn(&Value) -> Answer + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/bot", listener.local_addr()?);
        let seen: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let at_once: Arc<AtomicUsize> = Arc::default();
        let (answer, log, most) = (Arc::new(answer), Arc::clone(&seen), Arc::clone(&at_once));
        let open: Arc<AtomicUsize> = Arc::default();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                let (open, most) = (Arc::clone(&open), Arc::clone(&most));
                tokio::spawn(async move {
                    most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // A client that goes away is no failure of the bot.
                    let _ = serve(stream, &*answer, &log).await;
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Ok(Self { url, seen, at_once, task })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The idempotency key and body of every Request so far.
    #[must_use]
    pub fn seen(&self) -> Vec<(String, Value)> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The most calls that were open at the same time.
    #[must_use]
    pub fn most_at_once(&self) -> usize {
        self.at_once.load(Ordering::SeqCst)
    }
}

impl Drop for BotStub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: &(dyn Fn(&Value) -> Answer + Send + Sync),
    log: &Mutex<Vec<(String, Value)>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (head, body) = loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len()
                >= header(head, "content-length").and_then(|n| n.parse().ok()).unwrap_or(0)
        {
            break (head.to_owned(), body.to_owned());
        }
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    };
    let body: Value = serde_json::from_str(&body).unwrap_or_default();
    let key = header(&head, "idempotency-key").unwrap_or_default().to_owned();
    log.lock().unwrap_or_else(PoisonError::into_inner).push((key, body.clone()));
    let (status, kind, text) = match answer(&body) {
        Answer::Json(text) => (200, "application/json", text),
        Answer::Http(status, kind, text) => (status, kind, text),
        Answer::When(told, text) => {
            told.notified().await;
            (200, "application/json", text)
        }
        Answer::Close => return Ok(()),
        Answer::Hang => std::future::pending().await,
    };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}
