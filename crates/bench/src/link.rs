//! One WebSocket as a load generator needs it: no copy, no allocation per message.
//!
//! Written for the servers that are measured here: it trusts them.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// Nothing takes that long unless it never comes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const READ_BYTES: usize = 4 * 1024;
/// The least that Linux allows.
const LAZY_BYTES: u32 = 2_304;
/// As over Ethernet.
const LAZY_SEGMENT_BYTES: u32 = 1_460;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A connected WebSocket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: TcpStream,
    buffer: BytesMut,
}

impl Link {
    /// Dials and upgrades. `lazy`: the kernel takes next to nothing as long as it does not read.
    pub(crate) async fn dial(
        port: u16,
        path: &str,
        protocol: Option<&str>,
        lazy: bool,
    ) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if lazy {
            socket.set_recv_buffer_size(LAZY_BYTES)?;
            // Over segments of 64 KiB, as on loopback, the server's kernel takes megabytes in its place.
            SockRef::from(&socket).set_tcp_mss(LAZY_SEGMENT_BYTES)?;
        }
        let mut stream = socket.connect(([127, 0, 0, 1], port).into()).await?;
        stream.set_nodelay(true)?;
        let protocol =
            protocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3RlbnRvcidzIGJlbmNoIQ==\r\n{protocol}\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut link = Self { stream, buffer: BytesMut::new() };
        let end = loop {
            link.fill().await?;
            if let Some(end) = memchr::memmem::find(&link.buffer, b"\r\n\r\n") {
                break end;
            }
        };
        ensure!(link.buffer.starts_with(b"HTTP/1.1 101"), "refused: {:?}", link.buffer);
        link.buffer.advance(end + 4);
        Ok(link)
    }

    /// The next text; pings are answered meanwhile.
    pub(crate) async fn next(&mut self) -> anyhow::Result<BytesMut> {
        loop {
            let Some((opcode, payload)) = self.frame()? else {
                self.fill().await?;
                continue;
            };
            match opcode {
                TEXT => return Ok(payload),
                PING => self.send(PONG, &payload).await?,
                CLOSE => bail!(
                    "closed: {:?}",
                    String::from_utf8_lossy(payload.get(2..).unwrap_or_default())
                ),
                _ => {}
            }
        }
    }

    /// The first text that fits.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        fits: impl Fn(&[u8]) -> bool,
    ) -> anyhow::Result<BytesMut> {
        let found = async {
            loop {
                let text = self.next().await?;
                if fits(&text) {
                    return anyhow::Ok(text);
                }
            }
        };
        timeout(PATIENCE, found)
            .await
            .with_context(|| format!("never came: {what}"))?
            .context(what.to_owned())
    }

    /// Says a text.
    pub(crate) async fn say(&mut self, text: &str) -> anyhow::Result<()> {
        self.send(TEXT, text.as_bytes()).await
    }

    /// A frame that is wholly here.
    fn frame(&mut self) -> anyhow::Result<Option<(u8, BytesMut)>> {
        let [first, second, rest @ ..] = &self.buffer[..] else { return Ok(None) };
        ensure!(first & 0x80 != 0 && second & 0x80 == 0, "a piece of a message, or a masked one");
        let (head, length) = match (second & 0x7f, rest) {
            (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
            (127, [0, 0, 0, 0, a, b, c, d, ..]) => {
                (10, usize::try_from(u32::from_be_bytes([*a, *b, *c, *d]))?)
            }
            (126 | 127, _) => return Ok(None),
            (length, _) => (2, usize::from(length)),
        };
        let opcode = first & 0x0f;
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        self.buffer.advance(head);
        Ok(Some((opcode, self.buffer.split_to(length))))
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut frame = Vec::with_capacity(payload.len() + 14);
        frame.push(0x80 | opcode);
        // Masked with zeros, which leaves it as it is.
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | u8::try_from(length)?),
            length => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&u16::try_from(length)?.to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload);
        Ok(self.stream.write_all(&frame).await?)
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.buffer.reserve(READ_BYTES);
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the server has hung up");
        Ok(())
    }
}
