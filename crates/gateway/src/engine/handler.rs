//! Who decides what messages mean and what is written.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio_tungstenite::tungstenite::{
    Utf8Bytes,
    protocol::frame::coding::{CloseCode, Data},
};

use super::{FRAMES_BYTES_MAX, turn::Turn};
use crate::metrics::CloseReason;

/// Frames that are ready to be written.
///
/// Bounded by the loop: a handler is asked for more only when these are gone, and a peer that does not take them is
/// not listened to while they are more than [`FRAMES_BYTES_MAX`].
#[derive(Debug, Default)]
pub struct Frames {
    /// Mostly there is only one, and nothing is allocated for it. Older than the rest.
    first: Option<(Data, Bytes)>,
    rest: VecDeque<(Data, Bytes)>,
    bytes: usize,
}

/// Counted for a frame beside its bytes.
const FRAME_OVERHEAD_BYTES: usize = 64;

/// How a socket is to be closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// What the peer is told.
    pub code: CloseCode,
    /// In words, for the peer; at most 123 bytes.
    pub text: &'static str,
    /// What it counts as.
    pub reason: CloseReason,
}

/// What stands behind one socket. Polled by the socket's task alone.
pub trait Handler: Send + Unpin + 'static {
    /// What others leave for it.
    type Delivery: Send + 'static;

    /// A text message came.
    fn text(&mut self, message: Utf8Bytes, frames: &mut Frames) -> Result<(), Closing>;

    /// A binary message came.
    fn binary(&mut self, message: Bytes, frames: &mut Frames) -> Result<(), Closing>;

    /// Whether it can take another message now. If not, the socket is not read, and the peer waits.
    fn takes_messages(&self) -> bool;

    /// Goes on with what it waits for (answers, timers). Ready only to close the socket.
    fn poll_work(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Poll<Closing>;

    /// Whether it wants what was left for it. If not, it stays where its budget counts.
    fn takes_deliveries(&self) -> bool;

    /// Something was left for it. Called when nothing is waiting to be written.
    fn deliver(&mut self, delivery: Self::Delivery, frames: &mut Frames) -> Result<(), Closing>;

    /// Frames that it has kept back until there is room. Called when nothing is waiting to be written;
    /// leaves `frames` empty if there are none. If it begins to wait for something, it wakes the context.
    fn refill(&mut self, context: &mut Context<'_>, frames: &mut Frames) -> Result<(), Closing>;

    /// Deliveries had to be dropped: too many were waiting. Whoever can find out by itself what it missed
    /// goes on; all others are closed, and come back.
    fn lost_deliveries(&mut self) -> Result<(), Closing> {
        Err(Closing::OVERFLOW)
    }

    /// Something may have been missed: it may look now, and keeps the turn until it has caught up.
    fn catch_up(&mut self, turn: Turn) {
        drop(turn);
    }

    /// A ping is sent now.
    fn pinged(&mut self, frames: &mut Frames) {
        let _ = frames;
    }

    /// The socket is about to be closed by us; what is pushed still leaves.
    fn farewell(&mut self, closing: &Closing, frames: &mut Frames) {
        let _ = (closing, frames);
    }

    /// The socket is gone: finishes what has to be finished. Called until it is ready.
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()>;

    /// Everything is finished.
    fn ended(&mut self, reason: CloseReason);
}

// === impl Frames ===

impl Frames {
    /// Adds a text frame; valid UTF-8.
    pub fn push(&mut self, frame: Bytes) {
        self.add((Data::Text, frame));
    }

    /// Adds a binary frame.
    pub fn push_binary(&mut self, frame: Bytes) {
        self.add((Data::Binary, frame));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()).saturating_add(self.rest.len())
    }

    /// The oldest one. Gives its memory back with the last one.
    pub(crate) fn pop(&mut self) -> Option<(Data, Bytes)> {
        let frame = self.first.take().or_else(|| self.rest.pop_front());
        self.bytes = self.bytes.saturating_sub(frame.as_ref().map_or(0, cost));
        if self.rest.is_empty() {
            self.rest = VecDeque::new();
        }
        frame
    }

    /// Whether so much waits that a peer is not listened to, who would only add to it.
    pub(crate) const fn are_too_many(&self) -> bool {
        self.bytes >= FRAMES_BYTES_MAX
    }

    fn add(&mut self, frame: (Data, Bytes)) {
        self.bytes = self.bytes.saturating_add(cost(&frame));
        if self.is_empty() {
            self.first = Some(frame);
        } else {
            self.rest.push_back(frame);
        }
    }
}

fn cost((_, frame): &(Data, Bytes)) -> usize {
    frame.len().saturating_add(FRAME_OVERHEAD_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let mut frames = Frames::default();
        let mut left = Vec::new();
        for round in 0..4_u8 {
            for number in 0..3 {
                frames.push(Bytes::from(vec![round, number]));
            }
            // One stays behind in each round.
            let leaving = frames.len() - 1;
            left.extend((0..leaving).filter_map(|_| frames.pop()));
        }
        left.extend(std::iter::from_fn(|| frames.pop()));
        let expected: Vec<_> =
            (0..4).flat_map(|round| (0..3).map(move |n| vec![round, n])).collect();
        assert_eq!(left.into_iter().map(|(_, frame)| frame.to_vec()).collect::<Vec<_>>(), expected);
    }
}
