//! Requests to the owners of partitions, and their answers.
//!
//! An owner listens on `in.g.<partition>` (from gateways), `in.c.<partition>` (from connectors) and
//! `in.o.<partition>` (from operators, who are told what it remembers, may have a session erased, and can do nothing else) with plain subscriptions: in a queue group a frozen member would go on getting its share. Whoever asks
//! asks again until somebody answers; every request may therefore arrive more than once.
//!
//! Overflow: a request that finds the router's queue full is answered as busy; one that is larger than
//! [`REQUEST_MAX`] is not sent; an answer larger than [`ANSWER_MAX`] is not sent either.

mod ask;
mod pages;
mod serve;

use async_nats::HeaderMap;
use stentor_types::Partition;

pub(crate) use self::{
    ask::Asker,
    serve::{Desk, Serving},
};

/// The largest request. The broker takes messages up to 1 MiB; a quarter of that leaves room for
/// the record that a request becomes (at most 512 KiB), and is four times the longest frame of a client.
pub const REQUEST_MAX: usize = 256 * 1024;
/// The largest part of an answer: longer ones come in several, so that none holds up others on the
/// same line for long.
pub(crate) const PAGE_MAX: usize = 256 * 1024;
/// The largest answer in all.
pub const ANSWER_MAX: usize = 32 * PAGE_MAX;

/// Under which term the answer was given.
const TERM: &str = "Stentor-Term";
/// What kind of answer it is, if it is not a whole one.
const SAYS: &str = "Stentor-Says";
/// Nothing was done, try again.
const BUSY: &str = "busy";
/// Nobody knows whether anything was done, try again.
const UNKNOWN: &str = "unknown";
/// The answer is too large. Asking again gives the same.
const REFUSED: &str = "refused";
/// One part of an answer, and how many there are: `page <number> <count>`.
const PAGE: &str = "page";

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Gateways,
    Connectors,
    /// The command line: asks what an owner remembers, or has a session erased.
    Operators,
}

// === impl Caller ===

impl Caller {
    pub(crate) fn subject(self, partition: Partition) -> String {
        match self {
            Self::Gateways => format!("in.g.{partition}"),
            Self::Connectors => format!("in.c.{partition}"),
            Self::Operators => format!("in.o.{partition}"),
        }
    }
}

fn header<'message>(headers: Option<&'message HeaderMap>, name: &str) -> Option<&'message str> {
    headers?.get(name).map(async_nats::HeaderValue::as_str)
}
