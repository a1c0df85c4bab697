//! The admin port of a cluster: ready once it answers, and the metrics of all members as one page.

use std::collections::BTreeMap;

use stentor_testkit::cluster::http;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Answers until it is dropped.
pub(crate) async fn run(listener: TcpListener, members: Vec<u16>) {
    while let Ok((stream, _)) = listener.accept().await {
        let members = members.clone();
        tokio::spawn(async move {
            // Who asks and goes away does not want to know.
            let _ = serve(stream, &members).await;
        });
    }
}

async fn serve(mut stream: TcpStream, members: &[u16]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = if request.starts_with(b"GET /readyz ") {
        ("200 OK", "ready\n".to_owned())
    } else if request.starts_with(b"GET /metrics ") {
        ("200 OK", metrics(members).await)
    } else {
        ("404 Not Found", String::new())
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

/// Every sample of any member, summed over those that have it.
async fn metrics(members: &[u16]) -> String {
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    for member in members {
        let page = http::get(*member, "/metrics").await.unwrap_or_default();
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        for (name, value) in samples.filter_map(|line| line.rsplit_once(' ')) {
            if let Ok(value) = value.parse::<f64>() {
                *sums.entry(name.to_owned()).or_default() += value;
            }
        }
    }
    sums.iter().map(|(name, sum)| format!("{name} {sum}\n")).collect()
}
