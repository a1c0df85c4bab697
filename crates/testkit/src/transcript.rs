//! Everything that went over a client's sockets, and what must be true of it.

#![expect(clippy::indexing_slicing, reason = "an absent field of a JSON value reads as null")]

use std::collections::BTreeMap;

use anyhow::ensure;
use serde_json::Value;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Sent,
    /// To the client.
    Received,
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Which socket of the client, counted from 1.
    pub socket: usize,
    /// Which way.
    pub direction: Direction,
    /// The frame.
    pub frame: Value,
}

/// All frames of one client, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    /// The frames.
    pub entries: Vec<Entry>,
}

// === impl Transcript ===

impl Transcript {
    /// What the widget would show of the other side: one row per stamp, sorted by stamp, as it drops what
    /// carries the stamp of something that it has.
    #[must_use]
    pub fn rows(&self) -> Vec<String> {
        let mut rows = BTreeMap::new();
        for frame in self.received("new message") {
            let stamp = frame["timeMs"].as_i64().unwrap_or(0);
            rows.entry(stamp).or_insert_with(|| text(frame));
        }
        rows.into_values().collect()
    }

    /// Received frames of this event, in the order of arrival.
    pub fn received<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> + 'a {
        let received = self.entries.iter().filter(|entry| entry.direction == Direction::Received);
        received.map(|entry| &entry.frame).filter(move |frame| frame["event"] == event)
    }

    /// Checks what must hold for every legacy client.
    ///
    /// # Errors
    /// Names the invariant and the frame.
    pub fn check(&self, secrets: &[&str]) -> anyhow::Result<()> {
        self.one_stamp_is_one_frame()?;
        self.own_messages_stay_away()?;
        self.typing_has_ended()?;
        for entry in self.entries.iter().filter(|entry| entry.direction == Direction::Received) {
            let text = entry.frame.to_string();
            for secret in secrets {
                ensure!(
                    !text.contains(secret),
                    "I23: a secret of somebody reached a client: {text}"
                );
            }
            ensure!(entry.frame["timeMs"].is_i64(), "trap 4: timeMs is no integer: {text}");
        }
        Ok(())
    }

    /// A stamp names the same message for ever, also in replays.
    fn one_stamp_is_one_frame(&self) -> anyhow::Result<()> {
        let mut known: BTreeMap<i64, &Value> = BTreeMap::new();
        for frame in self.received("new message") {
            let stamp = frame["timeMs"].as_i64().unwrap_or(0);
            let before = known.insert(stamp, frame);
            ensure!(
                before.is_none_or(|before| before == frame),
                "I3: two messages share a stamp: {frame}"
            );
        }
        Ok(())
    }

    fn own_messages_stay_away(&self) -> anyhow::Result<()> {
        let others =
            self.received("new message").filter(|frame| frame["sender"]["deviceId"] == "Widget");
        for frame in others {
            let own = self.entries.iter().any(|entry| {
                entry.direction == Direction::Sent
                    && entry.frame["data"]["rawQuery"].is_string()
                    && entry.frame["data"]["rawQuery"] == frame["data"]["rawQuery"]
            });
            ensure!(!own, "trap 8: a client was shown its own message: {frame}");
        }
        Ok(())
    }

    fn typing_has_ended(&self) -> anyhow::Result<()> {
        let marks = self.entries.iter().filter(|entry| entry.direction == Direction::Received);
        let last = marks.rev().find_map(|entry| match entry.frame["event"].as_str() {
            Some("typing") => Some(true),
            Some("stop typing" | "failure" | "user joined" | "user left") => Some(false),
            _ => None,
        });
        ensure!(last != Some(true), "trap 14: somebody types for ever");
        Ok(())
    }
}

/// What a message says.
pub(crate) fn text(frame: &Value) -> String {
    let data = &frame["data"];
    let speech = &data["outputSpeech"];
    let said =
        [&speech["displayText"], speech, &data["rawQuery"]].into_iter().find_map(Value::as_str);
    said.unwrap_or_default().to_owned()
}
