//! The floor: what remains of a room when everything is left out but the upgrade and the writes.
//!
//! No queue, no limit, no ping: a socket that is full loses what is said. Good for comparing only.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::{Ready, poll_fn, ready},
    sync::{Arc, PoisonError, RwLock},
};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Belongs to the one key that the load sends.
const ACCEPT: &str = "ailjHp0GWTpCsL59kvLgjqoV+U8=";

type Room = Arc<RwLock<Vec<Arc<TcpStream>>>>;
type Rooms = Arc<RwLock<HashMap<String, Room>>>;

/// Serves for ever.
pub(crate) async fn serve(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let rooms = Rooms::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let rooms = Arc::clone(&rooms);
        tokio::spawn(async move {
            let _ = attend(stream, rooms).await;
        });
    }
}

async fn attend(stream: TcpStream, rooms: Rooms) -> anyhow::Result<()> {
    let name = Arc::new(RwLock::new(String::new()));
    let seen = Arc::clone(&name);
    let service = service_fn(move |request: Request<Incoming>| {
        let path = request.uri().to_string();
        path.clone_into(&mut seen.write().unwrap_or_else(PoisonError::into_inner));
        upgrade()
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    poll_fn(|context| connection.poll_without_shutdown(context)).await?;
    let stream = Arc::new(connection.into_parts().io.into_inner());
    let name = std::mem::take(&mut *name.write().unwrap_or_else(PoisonError::into_inner));
    let room = {
        let mut rooms = rooms.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(name).or_default())
    };
    room.write().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&stream));
    let ended = listen(&stream, &room).await;
    let mut members = room.write().unwrap_or_else(PoisonError::into_inner);
    members.retain(|member| !Arc::ptr_eq(member, &stream));
    ended
}

/// Passes on what is said. The load masks with zeros and sends nothing else.
async fn listen(stream: &TcpStream, room: &Room) -> anyhow::Result<()> {
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        stream.readable().await?;
        match stream.try_read_buf(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        while let Some((frame, used)) = answer(&buffer)? {
            for member in &*room.read().unwrap_or_else(PoisonError::into_inner) {
                let _ = member.try_write(&frame);
            }
            buffer.drain(..used);
        }
    }
}

/// The frame for the others, and how much of the buffer it stands for.
fn answer(buffer: &[u8]) -> anyhow::Result<Option<(Vec<u8>, usize)>> {
    let [_, second, rest @ ..] = buffer else { return Ok(None) };
    let (head, length) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (4, usize::from(u16::from_be_bytes([*a, *b]))),
        (126, _) => return Ok(None),
        (length, _) => (2, usize::from(length)),
    };
    let Some(payload) = buffer.get(head + 4..head + 4 + length) else { return Ok(None) };
    let length = u16::try_from(length).context("too long for a benchmark")?;
    let mut frame = vec![0x81];
    match u8::try_from(length).ok().filter(|length| *length < 126) {
        Some(short) => frame.push(short),
        None => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    Ok(Some((frame, head + 4 + payload.len())))
}

fn upgrade() -> Ready<Result<Response<Full<Bytes>>, Infallible>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = answer.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(ACCEPT));
    ready(Ok(answer))
}
