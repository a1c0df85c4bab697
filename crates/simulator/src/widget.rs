//! What the published widget does with the frames that it gets, as far as it decides what people see.

use serde_json::Value;

/// A line or bubble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// What it is sorted by and known by.
    pub(crate) stamp: i64,
    pub(crate) what: What,
}

/// What a line shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The widget's own first line, which it hides.
    Hidden,
    /// The visitor's own message.
    Own(usize),
    /// Something in the bot's voice.
    Bot(String),
    /// Something that a person said.
    Person(String),
    /// Somebody came or went, or the bot failed.
    Other,
}

/// The transcript and the marks of one tab.
#[derive(Clone, Debug, Default)]
pub(crate) struct Widget {
    pub(crate) lines: Vec<Line>,
    pub(crate) typing: bool,
    pub(crate) confirmed: bool,
}

// === impl Widget ===

impl Widget {
    /// A freshly loaded widget: what was stored, or nothing but its own hidden line.
    pub(crate) fn load(stored: &[Line], now: i64) -> Self {
        let lines = if stored.is_empty() {
            vec![Line { stamp: now, what: What::Hidden }]
        } else {
            stored.to_vec()
        };
        Self { lines, typing: false, confirmed: false }
    }

    /// Takes a frame; returns the line that it made of it, new or not.
    pub(crate) fn take(&mut self, frame: &Value) -> Option<Line> {
        let stamp = frame.get("timeMs").and_then(Value::as_i64)?;
        let data = frame.get("data");
        let is_bot = frame.pointer("/sender/deviceId").and_then(Value::as_str) == Some("Bot");
        let what = match frame.get("event").and_then(Value::as_str)? {
            "connection update" => {
                self.confirmed |= data?.get("sessionCreated").and_then(Value::as_bool)?;
                return None;
            }
            "typing" => {
                self.typing = true;
                return None;
            }
            "stop typing" => {
                self.typing = false;
                return None;
            }
            "user joined" => {
                self.typing &= !is_bot;
                What::Other
            }
            "new message" if is_bot => {
                What::Bot(data?.pointer("/outputSpeech/displayText")?.as_str()?.to_owned())
            }
            "new message" => What::Person(
                data?.get("rawQuery").and_then(Value::as_str).unwrap_or_default().to_owned(),
            ),
            "user left" | "failure" => What::Other,
            _ => return None,
        };
        let line = Line { stamp, what };
        self.insert(line.clone());
        Some(line)
    }

    /// Adds a line. An item of equal stamp is dropped unless the list has exactly one line, which is not
    /// sorted either.
    pub(crate) fn insert(&mut self, line: Line) {
        if self.lines.len() != 1 {
            if self.lines.iter().any(|other| other.stamp == line.stamp) {
                return;
            }
            let place = self.lines.partition_point(|other| other.stamp <= line.stamp);
            let sorted = self.lines.is_sorted_by_key(|other| other.stamp);
            if sorted {
                self.lines.insert(place, line);
            } else {
                self.lines.push(line);
                self.lines.sort_by_key(|other| other.stamp);
            }
            return;
        }
        self.lines.push(line);
    }
}
