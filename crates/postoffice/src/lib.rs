//! The rules of a conversation between visitors, bots and people, as pure state machines.
//!
//! A [`Session`] *decides* what inputs mean and returns a [`Commit`]: events, and attempts to ask the
//! bot. Once the commit is safe in a log it is *applied*, which is the only way a session changes.
//! Nothing here reads a clock, draws a random number or does input or output: time and ids come in
//! with the input, what is to be done comes out as data. So a run can be repeated, and a session is
//! always the fold of its log.
//!
//! [`PostOffice`] puts many sessions over a log in memory, for those who want a chat router inside
//! their own program:
//!
//! ```
//! use stentor_postoffice::{Options, Outgoing, PostOffice, Socket};
//! use stentor_types::{AppId, Timestamp};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Ids are made of the seed: take it from the operating system's random numbers.
//! let mut office = PostOffice::new(Options::new(AppId::try_new("demo")?, 0x5eed));
//! let (socket, now) = (Socket(1), Timestamp::from_millis(1_800_000_000_000));
//!
//! // A widget has dialled: it is told at once that it may talk.
//! let out = office.connect(socket, "/?appId=demo&userId=U-1&createWsReason=emitNoWs", now)?;
//! assert!(matches!(&out[..], [Outgoing::Frame { text, .. }] if text.starts_with(br#"{"event":"connection update""#)));
//!
//! // It says something: a session is made, the bot is typing, and is to be asked.
//! let frame = r#"{"event":"new message","sessionId":"S-1","timeMs":1800000000000,
//!     "data":{"type":"INTENT_REQUEST","intentId":"NLU_RESULT_PLACEHOLDER","rawQuery":"hello"}}"#;
//! let out = office.message(socket, frame, now)?;
//! let Some(Outgoing::AskBot(ask)) = out.last() else { panic!("nobody is asked") };
//!
//! // Post `ask.request` to the bot, and hand in what it answered.
//! let answer = br#"{"outputSpeech":{"displayText":"Hello yourself."}}"#;
//! let out = office.answer_with_body(ask, Some("application/json"), answer, now);
//! let Some(Outgoing::Frame { text, .. }) = out.last() else { panic!("nothing is shown") };
//! assert!(text.starts_with(br#"{"event":"new message""#));
//!
//! // The socket is closed; the visitor leaves when the grace is over.
//! office.disconnect(socket, now);
//! let due = office.next_deadline().ok_or("a grace is running")?;
//! office.tick(due);
//! assert_eq!(office.next_deadline(), None);
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod commit;
mod decide;
mod directory;
mod fold;
mod post_office;
mod rules;
mod session;
mod state;

pub use self::{
    commit::{BotRequest, Commit, Effect},
    directory::{DIRECTORY_ENTRIES_MAX, Directory, DirectoryEntry, Resolved},
    post_office::{Agent, AskBot, BotProfile, Options, Outgoing, PostOffice, Refusal, Socket},
    rules::{
        ATTEMPT_SLACK, ATTEMPTS, BotRules, CLAIM_WAIT, CLIENTS_MAX, CLOCK_DELAY_MS,
        CLOCK_TOLERANCE_MS, COVERED_LINE_BYTES_MAX, COVERED_LINES_MAX, CROWD_EVERY, CROWD_MIN,
        DEPARTED_MAX, DRAFT_BYTES_MAX, DRAFTS_MAX, QUEUE_BYTES_MAX, QUEUE_MAX, Rules,
    },
    session::{Context, Session},
    state::{
        Client, Covered, Crowd, Endpoint, Line, Participant, Request, State, Taken, Turn,
        TurnPhase, Waiting,
    },
};
