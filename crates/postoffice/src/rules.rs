//! What an app lays down for its sessions, and the limits that hold for all of them.

use std::time::Duration;

/// Attempts to get an answer to one message. The published widget knows texts for exactly three.
pub const ATTEMPTS: u8 = 3;
/// Messages that may wait for the bot behind the one it is working on.
pub const QUEUE_MAX: usize = 16;
/// Bytes of Requests that may wait; with the one being worked on this keeps a snapshot well below
/// the 512 KiB that a record may have.
pub const QUEUE_BYTES_MAX: usize = 192 * 1024;
/// Connections of one session.
pub(crate) const ENDPOINTS_MAX: usize = 16_384;
/// Client instances that are remembered. Beyond it the one that was used least lately is forgotten, and is
/// told so when it comes again: what it had not been answered is refused, never taken as new.
pub const CLIENTS_MAX: usize = 256;
/// Late answers of the bot that are kept for agents. Beyond it the oldest is forgotten.
pub const DRAFTS_MAX: usize = 8;
/// Their bytes.
pub const DRAFT_BYTES_MAX: usize = 96 * 1024;
/// Lines of what was said while people answered that the bot is told. Beyond it the oldest are left out.
pub const COVERED_LINES_MAX: usize = 40;
/// Bytes of one of them.
pub const COVERED_LINE_BYTES_MAX: usize = 500;
/// Participants beyond which the coming and going of agents is counted, not told of each: everybody would be sent
/// everybody's.
pub const CROWD_MIN: usize = 50;
/// How often the count is told at most.
pub const CROWD_EVERY: Duration = Duration::from_secs(1);
/// Agents remembered who lost control because their connections were gone.
pub(crate) const LAPSED_MAX: usize = 64;
/// How long a visitor waits for a person before they are told that nobody has come.
pub const CLAIM_WAIT: Duration = Duration::from_secs(120);
/// Longest name that is kept, in bytes.
pub(crate) const NAME_BYTES_MAX: usize = 200;
/// Latest messages of a connection whose event numbers are remembered for duplicates.
pub(crate) const RECENT_MAX: usize = 16;
/// Clock segments kept per device; older events are translated by the oldest of them.
pub(crate) const SEGMENTS_MAX: usize = 16;
/// Beyond this an offset is measured anew: below it, order on the screen is not disturbed.
pub const CLOCK_TOLERANCE_MS: i64 = 2_000;
/// A widget sends what it queued at most 10 s late, polling each second: a stamp that is older than
/// the clock says by no more than this may just be late, and does not move the clock.
pub const CLOCK_DELAY_MS: i64 = 12_000;
/// Connections that are gone whose counters are remembered, so that a message sent again over one of
/// them is not taken twice. Beyond it the one that went first is forgotten: its gateway has given up by then.
pub const DEPARTED_MAX: usize = 256;
/// Devices whose clocks are remembered in one session.
pub(crate) const DEVICES_MAX: usize = 256;
/// How much later than the connector the session itself gives an attempt up, so that the reason
/// that the connector found is the one that counts.
pub const ATTEMPT_SLACK: Duration = Duration::from_secs(1);

/// What an app lays down for its sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How the bot is asked; an app may have none.
    pub bot: Option<BotRules>,
    /// How long a visitor without a connection stays.
    pub visitor_grace: Duration,
    /// How long an agent without a connection stays.
    pub agent_grace: Duration,
    /// What a visitor is told whose oldest waiting message was given up.
    pub queue_full_text: String,
    /// What a visitor is told who has waited for a person in vain.
    pub nobody_free_text: String,
}

/// How the bot is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BotRules {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Whole seconds between a failed attempt and the next; at least 1.
    pub retry_delay_s: u32,
}

// === impl Rules ===

impl Default for Rules {
    fn default() -> Self {
        Self {
            bot: Some(BotRules::default()),
            visitor_grace: Duration::from_secs(600),
            agent_grace: Duration::from_secs(120),
            queue_full_text: "Please give me a moment: I could not read all of your messages."
                .into(),
            nobody_free_text:
                "Nobody is free just now. I have told my colleagues that you are waiting.".into(),
        }
    }
}

// === impl BotRules ===

impl Default for BotRules {
    /// What the published widget does when it asks a bot directly.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(15), retry_delay_s: 5 }
    }
}
