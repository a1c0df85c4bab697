//! The rules of a conversation between visitors, bots and people, as pure state machines.
//!
//! A [`Session`] *decides* what inputs mean and returns a [`Commit`]: events, and attempts to ask the
//! bot. Once the commit is safe in a log it is *applied*, which is the only way a session changes.
//! Nothing here reads a clock, draws a random number or does input or output: time and ids come in
//! with the input, what is to be done comes out as data. So a run can be repeated, and a session is
//! always the fold of its log.
//!
//! [`PostOffice`] puts many sessions over a log in memory, for those who want a chat router inside
//! their own program.

mod commit;
mod decide;
mod directory;
mod fold;

mod rules;
mod session;
mod state;

pub use self::{
    commit::{BotRequest, Commit, Effect},
    directory::{DIRECTORY_ENTRIES_MAX, Directory, DirectoryEntry, Resolved},
    rules::{
        ATTEMPT_SLACK, ATTEMPTS, BotRules, CLOCK_DELAY_MS, CLOCK_TOLERANCE_MS, DEPARTED_MAX,
        QUEUE_BYTES_MAX, QUEUE_MAX, Rules,
    },
    session::{Context, Session},
    state::{Endpoint, Participant, Request, State, Turn, TurnPhase},
};
