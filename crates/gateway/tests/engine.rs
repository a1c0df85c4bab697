//! The socket engine with handlers of its own, without a network.

#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use stentor_gateway::{
    engine::{Closing, Frames, Handler, Registry, Socket},
    metrics::{CloseReason, Metrics},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::oneshot,
    time::timeout,
};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Writes nothing by itself; what it has waited for is there when the engine asks for more.
#[derive(Debug, Default)]
struct Late {
    /// Ends what it waits for.
    awaited: Option<oneshot::Receiver<Bytes>>,
    held: Option<Bytes>,
}

impl Handler for Late {
    /// What to wait for.
    type Delivery = oneshot::Receiver<Bytes>;

    fn text(&mut self, _: Utf8Bytes, _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn binary(&mut self, _: Bytes, _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn takes_messages(&self) -> bool {
        true
    }

    fn poll_work(&mut self, context: &mut Context<'_>, _: &mut Frames) -> Poll<Closing> {
        if let Some(awaited) = &mut self.awaited
            && let Poll::Ready(bytes) = Pin::new(awaited).poll(context)
        {
            self.awaited = None;
            self.held = bytes.ok();
        }
        Poll::Pending
    }

    fn takes_deliveries(&self) -> bool {
        true
    }

    fn deliver(
        &mut self,
        awaited: oneshot::Receiver<Bytes>,
        _: &mut Frames,
    ) -> Result<(), Closing> {
        self.awaited = Some(awaited);
        Ok(())
    }

    fn refill(&mut self, _: &mut Context<'_>, frames: &mut Frames) -> Result<(), Closing> {
        self.held.take().into_iter().for_each(|frame| frames.push(frame));
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn ended(&mut self, _: CloseReason) {}
}

/// Answers whatever comes, at once.
#[derive(Debug)]
struct Echo {
    answered: Arc<AtomicUsize>,
}

/// Far more than a socket's part of memory, all together.
const FLOOD: usize = 20_000;
/// What each message is answered with.
const ANSWER: [u8; 200] = [b'a'; 200];

impl Handler for Echo {
    type Delivery = ();

    fn text(&mut self, _: Utf8Bytes, frames: &mut Frames) -> Result<(), Closing> {
        self.answered.fetch_add(1, Ordering::SeqCst);
        frames.push(Bytes::from_static(&ANSWER));
        Ok(())
    }

    fn binary(&mut self, _: Bytes, _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn takes_messages(&self) -> bool {
        true
    }

    fn poll_work(&mut self, _: &mut Context<'_>, _: &mut Frames) -> Poll<Closing> {
        Poll::Pending
    }

    fn takes_deliveries(&self) -> bool {
        true
    }

    fn deliver(&mut self, (): (), _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn refill(&mut self, _: &mut Context<'_>, _: &mut Frames) -> Result<(), Closing> {
        Ok(())
    }

    fn poll_finish(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn ended(&mut self, _: CloseReason) {}
}

#[tokio::test]
async fn i15_a_peer_that_sends_and_does_not_read_is_not_listened_to_until_it_reads() {
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let slot = Registry::<()>::new(usize::MAX).open();
    let (stream, peer) = duplex(4 * 1024);
    let answered = Arc::new(AtomicUsize::new(0));
    let echo = Echo { answered: Arc::clone(&answered) };
    let socket = tokio::spawn(Socket::new(stream, &[], echo, slot, metrics).await);
    let (mut incoming, mut outgoing) = tokio::io::split(peer);
    let flood = tokio::spawn(async move {
        for _ in 0..FLOOD {
            // A text of one letter, masked with nothing.
            outgoing.write_all(b"\x81\x81\0\0\0\0x").await.unwrap();
        }
        outgoing
    });
    let mut before = 0;
    // Until nothing more is taken.
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = answered.load(Ordering::SeqCst);
        if now == std::mem::replace(&mut before, now) {
            break;
        }
    }
    assert!(before * ANSWER.len() < 256 * 1024, "{before} answers wait");
    // Now it reads, and everything is taken and answered.
    let mut frame = [0; 4 + ANSWER.len()];
    for _ in 0..FLOOD {
        timeout(Duration::from_secs(10), incoming.read_exact(&mut frame)).await.unwrap().unwrap();
        assert!(frame.ends_with(&ANSWER));
    }
    flood.await.unwrap();
    socket.abort();
}

/// Reads one short frame of the server.
async fn heard(peer: &mut DuplexStream) -> Vec<u8> {
    let mut frame = [0; 6];
    timeout(Duration::from_secs(10), peer.read_exact(&mut frame)).await.unwrap().unwrap();
    frame.to_vec()
}

/// Nothing pings this socket: what is not written when it can be is never written.
#[tokio::test(start_paused = true)]
async fn what_a_handler_has_waited_for_is_written_at_once() {
    let metrics = Arc::new(Metrics::new(&prometheus::Registry::new()).unwrap());
    let sockets = Registry::<oneshot::Receiver<Bytes>>::new(usize::MAX);
    let slot = sockets.open();
    let (stream, mut peer) = duplex(1024);
    let socket = Socket::new(stream, &[], Late::default(), Arc::clone(&slot), metrics).await;
    let socket = tokio::spawn(socket);

    // Ready before the delivery is looked at: nothing but the delivery wakes the socket.
    let (early, awaited) = oneshot::channel();
    early.send(Bytes::from_static(b"abcd")).unwrap();
    slot.push(1, awaited);
    assert_eq!(heard(&mut peer).await, b"\x81\x04abcd");

    // Ready only later.
    let (late, awaited) = oneshot::channel();
    slot.push(1, awaited);
    tokio::task::yield_now().await;
    late.send(Bytes::from_static(b"efgh")).unwrap();
    assert_eq!(heard(&mut peer).await, b"\x81\x04efgh");
    socket.abort();
}
