//! What tests and benchmarks of the whole program need: the program as a process that can be killed, and
//! widgets that write down everything they see.
//!
//! Nothing here sleeps to let something happen: everything is waited for, with a patience that is only
//! used up when it never happens.

mod bot;
mod cassandra;
mod client;
pub mod cluster;
mod line;
mod nats;
mod nats_tap;
mod process;
mod second_client;
mod transcript;
mod web;

pub use self::{
    bot::{Answer, BotStub},
    cassandra::{Cassandra, cassandra_lib},
    client::LegacyClient,
    line::{Line, Way},
    nats::{Nats, NatsOptions, nats_server},
    nats_tap::{NatsTap, Seen},
    process::{Process, program_beside_example},
    second_client::{SecondClient, closed_after, same_event},
    transcript::{Direction, Entry, Transcript},
    web::{Streamed, Web},
};

use std::time::Duration;

/// Longer than anything takes; reached only when something never happens.
pub const PATIENCE: Duration = Duration::from_secs(45);
