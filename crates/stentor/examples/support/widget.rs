//! Just enough of a widget and of a process to measure with.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// `stentor dev` of the same build, on free ports.
pub(crate) struct Server {
    child: Child,
    port: u16,
    admin: u16,
}

/// A widget on a socket.
pub(crate) struct Widget {
    socket: WebSocketStream<TcpStream>,
    user: String,
}

impl Server {
    pub(crate) fn start(flags: &[&str]) -> anyhow::Result<Self> {
        let (port, admin) = (free_port()?, free_port()?);
        let child = Command::new(binary()?)
            .arg("dev")
            .args([
                "--listen",
                &format!("127.0.0.1:{port}"),
                "--admin-listen",
                &format!("127.0.0.1:{admin}"),
            ])
            .args(flags)
            .env("STENTOR_LOG__LEVEL", "warn")
            .stdout(Stdio::null())
            .spawn()
            .context("stentor cannot be started; build it with the same profile first")?;
        Ok(Self { child, port, admin })
    }

    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        for _ in 0..2_000 {
            if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.admin)).await {
                stream
                    .write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    .await?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await?;
                if answer.starts_with("HTTP/1.1 200") {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("stentor did not become ready")
    }

    pub(crate) async fn connect(&self, user: &str) -> anyhow::Result<Widget> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let url = format!(
            "ws://127.0.0.1:{}/dev?appId=demo&userId={user}&isAdmin=false&createWsReason=emitNoWs",
            self.port
        );
        let (socket, _) = client_async(url, stream).await?;
        Ok(Widget { socket, user: user.to_owned() })
    }

    /// Resident memory in KiB.
    pub(crate) fn resident(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        Ok(line.split_whitespace().nth(1).context("no number")?.parse()?)
    }

    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Widget {
    pub(crate) async fn join(&mut self, claimed: &str) -> anyhow::Result<()> {
        let frame = self.frame("user joined", claimed, None);
        self.send(frame).await?;
        self.wait_for("user joined").await
    }

    pub(crate) async fn launch(&mut self, claimed: &str) -> anyhow::Result<()> {
        let data = r#"{"type":"LAUNCH_REQUEST","isNewSession":true,"intentId":"LaunchRequest","attributes":{"isGreeting":true}}"#;
        let frame = self.frame("new message", claimed, Some(data));
        self.send(frame).await
    }

    pub(crate) async fn say(&mut self, claimed: &str, text: &str) -> anyhow::Result<()> {
        let data = format!(
            r#"{{"type":"INTENT_REQUEST","rawQuery":"{text}","isNewSession":false,"intentId":"NLU_RESULT_PLACEHOLDER"}}"#
        );
        let frame = self.frame("new message", claimed, Some(&data));
        self.send(frame).await
    }

    /// Reads until a frame contains `part`.
    pub(crate) async fn wait_for(&mut self, part: &str) -> anyhow::Result<()> {
        let reading = async {
            while let Some(message) = self.socket.next().await {
                if message?.to_text().is_ok_and(|text| text.contains(part)) {
                    return Ok(());
                }
            }
            anyhow::bail!("the socket was closed before {part:?} came")
        };
        tokio::time::timeout(Duration::from_secs(30), reading).await.context("nothing came")?
    }

    async fn send(&mut self, frame: String) -> anyhow::Result<()> {
        Ok(self.socket.send(Message::text(frame)).await?)
    }

    fn frame(&self, event: &str, claimed: &str, data: Option<&str>) -> String {
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let data = data.map(|data| format!(r#""data":{data},"#)).unwrap_or_default();
        format!(
            r#"{{"event":"{event}",{data}"sender":{{"deviceId":"Widget","userId":"{}","displayName":"Visitor","isAdmin":false}},"sessionId":"{claimed}","timeMs":{}}}"#,
            self.user,
            now.as_millis()
        )
    }
}

fn binary() -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder =
        here.parent().and_then(|examples| examples.parent()).context("no target folder")?;
    Ok(folder.join("stentor"))
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
