//! What a client of the second dialect makes of the frames that it gets, and what it may rely on.

use bytes::Bytes;
use stentor_types::{EventKind, RejectCode};
use stentor_wire::decode_event;

use super::*;
use crate::frames::{Down, Opened, Refusal};

impl World {
    /// A frame reaches a client.
    pub(crate) fn down_second(&mut self, id: u64, frame: Down) {
        let Some(socket) = self.sockets.get(&id).filter(|socket| !socket.cut && !socket.left)
        else {
            return;
        };
        let End::Client(seat) = socket.end else { return };
        let Some(tab) = self.seat(seat).filter(|tab| tab.socket == Some(id)) else { return };
        let (current, opened) = (tab.reference, tab.opened);
        match frame {
            Down::Opened(opened) if opened.reference == current => {
                self.client_opened(seat, &opened);
            }
            Down::Refused { reference, why } if reference == current => {
                self.client_refused(seat, why);
            }
            // From the moment it asks for a session until that is open, all else is of the time before.
            _ if !opened => {}
            Down::Event { session, n, shown } => {
                self.client_event(seat, session, n, shown.as_ref());
            }
            Down::Ack { counter } => self.client_acked(seat, counter),
            Down::Nack { counter, why } => self.client_nacked(seat, counter, why),
            Down::Resync => self.client_opens(seat),
            Down::Opened(_) | Down::Refused { .. } | Down::Done => {}
        }
    }

    /// The session is open, from the cursor on, and the client learns which messages were taken.
    fn client_opened(&mut self, seat: Seat, opened: &Opened) {
        let Some(thread) = self.thread_mut(seat) else { return };
        let moved =
            thread.session.replace(opened.session).filter(|before| *before != opened.session);
        let (client, last, guesses) = (thread.instance, thread.last, thread.guesses);
        thread.known = true;
        let Some(tab) = thread.tabs.get_mut(seat.tab) else { return };
        let settled = tab.settled;
        let before = tab.cursor.filter(|_| moved.is_none());
        tab.opened = true;
        tab.cursor = Some((opened.epoch, EventNumber(opened.from.0.saturating_sub(1))));
        if guesses {
            self.violate("S3", format!("{seat:?} guessed {}, and is let in", opened.session));
            return;
        }
        if let Some((epoch, n)) = before {
            let follows = opened.recovered && epoch == opened.epoch && opened.from == n.next();
            if !follows {
                self.violate("P5", format!("{seat:?} had {n} and is given {opened:?}"));
                return;
            }
            self.saw("resumed");
        }
        if !(settled..=last).contains(&opened.counter) {
            let message = format!("{seat:?}: {settled} of {last} are dealt with, not {opened:?}");
            self.violate("I4", message);
            return;
        }
        while let Some(kept) = self.client_takes_out(seat, |kept| kept.counter <= opened.counter) {
            self.acked(Some(opened.session), Mid { client, counter: kept.counter }, None);
        }
        if let Some(thread) = self.thread_mut(seat) {
            thread.settled = thread.settled.max(opened.counter);
        }
        self.client_numbers(seat);
        self.client_sends_again(seat);
    }

    fn client_takes_out(&mut self, seat: Seat, which: impl Fn(&Kept) -> bool) -> Option<Kept> {
        let outbox = &mut self.thread_mut(seat)?.outbox;
        let place = outbox.iter().position(which)?;
        outbox.remove(place)
    }

    fn client_refused(&mut self, seat: Seat, why: Refusal) {
        // An act that was refused is left alone; the session is asked for again.
        if self.seat(seat).is_none_or(|tab| tab.opened) {
            return;
        }
        match why {
            Refusal::Final(RejectCode::Expired) => self.client_begins_anew(seat),
            Refusal::Final(code) => {
                if !self.thread(seat).is_some_and(|thread| thread.guesses) {
                    self.violate("P1", format!("{seat:?} is not let in: {code:?}"));
                }
                self.client_leaves(seat);
            }
            Refusal::Busy | Refusal::Gap(_) => {
                let delay = self.rng.between(SECOND_US / 2, 2 * SECOND_US);
                self.client_remembers(seat, delay, Remember::Open);
            }
        }
    }

    /// Every number comes, in order, once.
    fn client_event(
        &mut self,
        seat: Seat,
        session: SessionId,
        n: EventNumber,
        shown: Option<&Bytes>,
    ) {
        let Some(role) = self.clients.get(seat.client).map(|client| client.role) else { return };
        let Some(tab) = self.seat_mut(seat) else { return };
        let Some((_, cursor)) = &mut tab.cursor else {
            self.violate("I8", format!("{seat:?} has not opened {session} and is shown {n}"));
            return;
        };
        let before = std::mem::replace(cursor, n);
        if n != before.next() {
            self.violate("I8", format!("{seat:?} is shown event {n} of {session} after {before}"));
            return;
        }
        if let Err(message) = self.ledger.delivered(session, n, role, shown) {
            self.violate("I8", format!("{seat:?}: {message}"));
            return;
        }
        let event = shown.filter(|_| role == Role::Agent).map(decode_event);
        let Some(tab) = self.seat_mut(seat) else { return };
        match event {
            Some(Ok(event)) => match event.kind {
                EventKind::Draft { turn, .. } => {
                    tab.drafts.insert(turn);
                }
                EventKind::DraftSent { turn, .. } | EventKind::DraftDone { turn, .. } => {
                    tab.drafts.remove(&turn);
                }
                _ => {}
            },
            Some(Err(error)) => self.violate("I3", format!("event {n} cannot be read: {error}")),
            None => {}
        }
    }

    /// A message is in the log. Now and then that is forgotten before it is stored.
    fn client_acked(&mut self, seat: Seat, counter: u64) {
        let forgets = self.rng.percent(10);
        let Some(thread) = self.thread_mut(seat) else { return };
        thread.settled = thread.settled.max(counter);
        if !forgets {
            self.client_takes_out(seat, |kept| kept.counter == counter);
        }
    }

    fn client_nacked(&mut self, seat: Seat, counter: u64, why: Refusal) {
        match why {
            Refusal::Final(RejectCode::Expired) => self.client_begins_anew(seat),
            Refusal::Final(_) => {
                self.client_takes_out(seat, |kept| kept.counter == counter);
            }
            // What is missing may be on its way, or may have been taken by now, over another connection.
            Refusal::Gap(_) | Refusal::Busy => {
                let Some(tab) = self.seat_mut(seat) else { return };
                if !std::mem::replace(&mut tab.sends_soon, true) {
                    self.saw("sent again");
                    let delay = self.rng.between(SECOND_US / 2, SECOND_US);
                    self.client_remembers(seat, delay, Remember::Send);
                }
            }
        }
    }
}
