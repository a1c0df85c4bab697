//! What follows when fan-out was lost, or may have been: events are fetched, the connection is attached again.
//!
//! A message is taken at most once. Its id is made of the connection's, and the gateway's name is a part of that:
//! as long as the answer to a message is outstanding, the connection goes by the name under which it was
//! asked, even if the session has to be attached to again under it.

use std::task::{Context, Poll};

use stentor_cluster::Ingress;
use stentor_types::{Epoch, EventNumber};
use stentor_wire::{pb, session_to_bytes};

use super::{
    inbound::Inbound,
    member::{ERASED, FUTILE_MAX, Member, STALE},
    shown::Missing,
};
use crate::{
    asking::Answer,
    batch::Batch,
    engine::{Closing, Turn},
};

/// Events asked for at a time by whoever does not know whether there are any.
const LOOK_EVENTS: u64 = 64;

impl<B: Ingress> Member<B> {
    /// Fan-out may have been missed, or the gateway has another name.
    pub(super) fn catch_up(&mut self, turn: Turn) {
        if self.leaving {
            return;
        }
        self.unsure = true;
        self.turn = Some(turn);
        if let Some((asking, _)) = self.asking.as_deref_mut() {
            asking.hurry();
        }
        if let Some(fetching) = &mut self.fetching {
            fetching.hurry();
        }
    }

    /// The turn ends when everything has been fetched under the present name.
    pub(super) fn end_turn(&mut self) {
        if self.turn.is_none() {
            return;
        }
        let attached = self.shown.is_some() || self.is_attaching();
        let named = !attached || self.is_named();
        let backlog = self.shown.as_ref().is_some_and(super::shown::Shown::has_backlog);
        if named && !self.unsure && self.fetching.is_none() && !backlog {
            self.turn = None;
        }
    }

    /// Goes by the gateway's name from now on, if nothing speaks against it and there is a reason.
    pub(super) fn take_name(&mut self) {
        let name = self.shared.gateway();
        let waits = self.queue.is_empty() && self.turn.is_none();
        // Whoever leaves is known under the old name.
        let leaves = matches!(self.queue.first(), Some(Inbound::Leave { .. }));
        if self.name == name || self.in_doubt > 0 || waits || leaves {
            return;
        }
        self.name = name;
        self.renamed = self.shown.is_some();
    }

    /// The session knows the connection under another name than it goes by now.
    pub(super) fn is_renamed(&self) -> bool {
        self.renamed && self.shown.is_some()
    }

    /// The session fans out to this connection, if it is attached at all.
    fn is_named(&self) -> bool {
        self.name == self.shared.gateway() && !self.is_renamed()
    }

    /// Looks for what may have been missed, once the session is sure to fan out to this connection.
    fn look(&mut self) {
        if self.leaving || !self.unsure || self.fetching.is_some() || self.is_attaching() {
            return;
        }
        let named = self.is_named();
        let Some(shown) = &self.shown else {
            self.unsure = false;
            return;
        };
        if named {
            let from = shown.last.next();
            let to = EventNumber(from.0.saturating_add(LOOK_EVENTS - 1));
            self.unsure = false;
            self.looking = true;
            self.fetch_events(from, to);
        }
    }

    /// Asks for events that were missed.
    pub(super) fn fetch(&mut self, missing: Missing) -> Result<(), Closing> {
        match missing {
            Missing::Nothing => Ok(()),
            Missing::Everything => Err(STALE),
            Missing::Erased => Err(ERASED),
            Missing::Events(from, to) => {
                self.fetch_events(from, to);
                Ok(())
            }
        }
    }

    fn fetch_events(&mut self, from: EventNumber, to: EventNumber) {
        let Some(shown) = &self.shown else { return };
        let fetch =
            pb::FetchRequest { session: session_to_bytes(shown.session), from: from.0, to: to.0 };
        let kind = Some(pb::request::Kind::Fetch(fetch));
        let request = pb::Request { app: self.app.as_str().to_owned(), kind, deaths: 0 };
        self.shared.metrics.fetched();
        self.fetching = Some(Box::new(self.asking(&request)));
    }

    pub(super) fn poll_fetch(&mut self, context: &mut Context<'_>) -> Result<(), Closing> {
        self.look();
        let Some(fetching) = &mut self.fetching else { return Ok(()) };
        let Poll::Ready(answer) = fetching.poll(context, &self.shared.metrics) else {
            return Ok(());
        };
        self.fetching = None;
        let looked = std::mem::take(&mut self.looking);
        let (Some(shown), Answer::Events(reply)) = (&mut self.shown, answer) else {
            return Ok(());
        };
        // Whoever knew what to ask for has the rest waiting already.
        let head = if looked { EventNumber(reply.head) } else { EventNumber::NONE };
        let Ok(batch) = Batch::new(shown.session, Epoch(reply.epoch), head, &reply.events) else {
            return Err(STALE);
        };
        let helps = batch.events.first().is_some_and(|first| first.n <= shown.last.next())
            && batch.events.last().is_some_and(|last| last.n > shown.last);
        let needed = !looked || head > shown.last;
        self.futile = if helps || !needed { 0 } else { self.futile.saturating_add(1) };
        if self.futile >= FUTILE_MAX {
            return Err(STALE);
        }
        shown.put_first(batch);
        if self.unsure {
            // What was asked before the latest loss says nothing about it.
            context.waker().wake_by_ref();
        }
        Ok(())
    }
}
