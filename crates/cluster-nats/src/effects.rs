//! Attempts at something outside, from routers to connectors, through the stream of the log.
//!
//! Effects come into the stream with the record that they belong to, or are offered again by the owner
//! of their session. All connectors share one consumer. An effect is done with when the server has
//! confirmed that; until then it is handed out again and again.
//!
//! Overflow: a connector takes no more than it was told at the same time; an offer that finds the
//! router's queue full is not taken, and is made again later.

mod offer;
mod take;

pub(crate) use self::{
    offer::{OfferQueue, Offers},
    take::Taking,
};
