//! Counts what comes in over a socket: that something came at all, and in how many pieces.
//!
//! The WebSocket library joins the pieces of a message without counting them, so their headers are read
//! along here. Whether they are right is the library's business.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::FRAGMENTS_MAX;

/// A stream whose incoming WebSocket frames are counted.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    stream: S,
    pieces: Pieces,
    heard: bool,
    moved: bool,
}

/// Where in a frame we are, and how many pieces the message has had.
#[derive(Debug, Default)]
struct Pieces {
    /// Bytes of payload still to come.
    payload: u64,
    /// Bytes of the header so far, and how many they are.
    header: [u8; 10],
    have: u8,
    /// Bytes of the header (mask excluded) plus mask still to come.
    mask: u8,
    pieces: u32,
}

// === impl Metered ===

impl<S> Metered<S> {
    /// `early` are bytes that were read before.
    pub(crate) fn new(stream: S, early: &[u8]) -> Self {
        let mut pieces = Pieces::default();
        pieces.see(early);
        Self { stream, pieces, heard: true, moved: false }
    }

    /// Whether anything came since the last time this was asked.
    pub(crate) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Whether the peer took anything since the last time this was asked.
    pub(crate) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Whether what came so far ends with the end of a message.
    pub(crate) fn is_between_messages(&self) -> bool {
        let Pieces { payload, have, mask, pieces, .. } = self.pieces;
        payload == 0 && have == 0 && mask == 0 && pieces == 0
    }

    /// Whether a message has come in more pieces than it may.
    pub(crate) fn is_storm(&self) -> bool {
        self.pieces.pieces > FRAGMENTS_MAX
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(new) = buffer.filled().get(before..).filter(|new| !new.is_empty()) {
            self.heard = true;
            self.pieces.see(new);
            if self.is_storm() {
                return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.moved |= written > 0;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

// === impl Pieces ===

impl Pieces {
    fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let skipped = left.min(self.payload);
            self.payload -= skipped;
            bytes = bytes.get(usize::try_from(skipped).unwrap_or(usize::MAX)..).unwrap_or_default();
            let Some((first, rest)) = bytes.split_first() else { return };
            bytes = rest;
            if self.mask > 0 {
                self.mask -= 1;
                if self.mask == 0 {
                    self.payload = self.length();
                    self.have = 0;
                }
                continue;
            }
            if let Some(place) = self.header.get_mut(usize::from(self.have)) {
                *place = *first;
            }
            self.have += 1;
            if self.have == self.header_bytes() {
                self.frame();
            }
        }
    }

    /// A header is complete but for its mask.
    fn frame(&mut self) {
        let [first, second, ..] = self.header;
        let (is_final, opcode) = (first & 0x80 != 0, first & 0x0f);
        // Control frames come between the pieces and are none.
        if opcode < 8 {
            self.pieces = if is_final { 0 } else { self.pieces.saturating_add(1) };
        }
        if second & 0x80 != 0 {
            self.mask = 4;
        } else {
            self.payload = self.length();
            self.have = 0;
        }
    }

    fn header_bytes(&self) -> u8 {
        match (self.have, self.header[1] & 0x7f) {
            (0 | 1, _) => 2,
            (_, 126) => 4,
            (_, 127) => 10,
            _ => 2,
        }
    }

    fn length(&self) -> u64 {
        let long = |from: usize, to: usize| {
            let bytes = self.header.get(from..to).unwrap_or_default();
            bytes.iter().fold(0_u64, |length, byte| length << 8 | u64::from(*byte))
        };
        match self.header[1] & 0x7f {
            126 => long(2, 4),
            127 => long(2, 10),
            short => u64::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            0..=125 => bytes.push(0x80 | u8::try_from(payload).unwrap()),
            126..=65_535 => {
                bytes.push(0x80 | 126);
                bytes.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend(u64::try_from(payload).unwrap().to_be_bytes());
            }
        }
        bytes.extend([1, 2, 3, 4]);
        bytes.resize(bytes.len() + payload, 0x80);
        bytes
    }

    #[test]
    fn s8_pieces_are_counted_however_the_bytes_arrive() {
        let mut bytes = frame(0x81, 300);
        bytes.extend(frame(0x01, 0));
        for size in [5, 125, 126, 70_000] {
            bytes.extend(frame(0x00, size));
            bytes.extend(frame(0x89, 7));
        }
        for step in [1, 2, 3, 7, 1000] {
            let mut pieces = Pieces::default();
            bytes.chunks(step).for_each(|chunk| pieces.see(chunk));
            assert_eq!(pieces.pieces, 5, "in steps of {step}");
            pieces.see(&frame(0x80, 1));
            assert_eq!(pieces.pieces, 0);
        }
    }
}
