//! Asks NATS servers over their monitoring port whether an acknowledgement means that the disk has it, and how
//! much of it there is.
//!
//! A client cannot see this: neither the server's greeting nor the JetStream API tells. `/varz` does.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Longest time for one server. A paused one takes the connection and never answers.
const PATIENCE: Duration = Duration::from_secs(3);
/// Largest answer read. That of a server with hundreds of routes is some 100 KiB.
const ANSWER_MAX: u64 = 4 << 20;

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) name: String,
    /// Whether it syncs before it acknowledges.
    pub(crate) sync_always: bool,
    /// What JetStream may store on its disk, in bytes.
    pub(crate) store: Option<u64>,
}

/// Why a server could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// The URL is not of the form `http://host:port`.
    #[error("{0:?} is not the URL of a monitoring port")]
    Url(String),
    /// It cannot be reached.
    #[error("failed to ask a server about itself")]
    Io(#[from] std::io::Error),
    /// It does not answer.
    #[error("a server did not tell about itself in time")]
    Late(#[from] tokio::time::error::Elapsed),
    /// What it answered makes no sense.
    #[error("what a server tells about itself is not understood")]
    Answer,
}

/// Asks the server whose monitoring port is at `url`.
pub(crate) async fn ask(url: &str) -> Result<Server, MonitorError> {
    let bad = || MonitorError::Url(url.to_owned());
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if address.is_empty() || url.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(bad());
    }
    let path = match path.trim_end_matches('/') {
        "" => "/varz".to_owned(),
        prefix => format!("/{prefix}/varz"),
    };
    let answer = tokio::time::timeout(PATIENCE, get(address, &path)).await??;
    parse(&answer).ok_or(MonitorError::Answer)
}

async fn get(address: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn parse(answer: &[u8]) -> Option<Server> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at_checked(end + 4)?;
    if head.get(8..13)? != b" 200 " {
        return None;
    }
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let name = body.get("server_name")?.as_str()?.to_owned();
    // Left out when false. Without JetStream there is no log either.
    let config = body.get("jetstream")?.get("config")?;
    let sync_always = config.get("sync_always").and_then(serde_json::Value::as_bool);
    let store = config.get("max_storage").and_then(serde_json::Value::as_u64);
    Some(Server { name, sync_always: sync_always.unwrap_or(false), store })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_says_so_syncs() {
        let with = |config: &str| {
            let body = format!(r#"{{"server_name":"n1","jetstream":{{"config":{config}}}}}"#);
            parse(format!("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{body}").as_bytes())
        };
        let server = |sync_always| Some(Server { name: "n1".to_owned(), sync_always, store: None });
        assert_eq!(with(r#"{"sync_always":true,"sync_interval":120}"#), server(true));
        assert_eq!(with(r#"{"sync_always":false}"#), server(false));
        assert_eq!(with(r#"{"sync_interval":120}"#), server(false));
        assert_eq!(with(r#"{"max_storage":4096}"#).unwrap().store, Some(4096));
        assert_eq!(parse(b"HTTP/1.0 404 Not Found\r\n\r\n{}"), None);
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n\r\n{\"server_name\":\"n1\"}"), None);
        assert_eq!(parse(b""), None);
    }

    #[tokio::test]
    async fn a_url_that_is_none_is_refused() {
        for url in ["https://nats:8222", "nats:8222", "http://", "http://a b:1", "http://a\r\n:1"] {
            assert!(matches!(ask(url).await, Err(MonitorError::Url(_))), "{url}");
        }
    }
}
