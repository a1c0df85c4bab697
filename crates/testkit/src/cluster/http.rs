//! The least that is needed to ask an admin port something.

use std::time::Duration;

use anyhow::Context as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// A frozen process takes the connection and never answers.
const LIMIT: Duration = Duration::from_secs(2);

/// What a local port answers to a GET with 200.
///
/// # Errors
/// It does not answer, or with another status.
pub async fn get(port: u16, path: &str) -> anyhow::Result<String> {
    let asking = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("half an answer")?;
        anyhow::ensure!(head.split(' ').nth(1) == Some("200"), "{head}: {body}");
        Ok(body.to_owned())
    };
    tokio::time::timeout(LIMIT, asking).await.context("no answer")?
}
