//! What a gateway does for clients of the second dialect: it opens sessions from where they stopped, answers
//! every message by its number, and says so when something is missing. It keeps nothing for them.

use stentor_types::{Epoch, RejectCode};

use super::{asking::Plan, *};
use crate::frames::{Down, Opened, Refusal, Target, Up};

/// Events shown to a client that does not say where it stopped.
const FRESH_EVENTS: u64 = 100;
/// Frames of a connection that may wait behind its open request. Overflow: "busy".
const SECOND_WANTS_MAX: usize = 64;
/// How often a request is made before the client is told to send again.
const SECOND_TRIES_MAX: u32 = 4;

/// What there is to know of a connection of the second dialect.
#[derive(Debug)]
pub(super) struct Second {
    listens: bool,
    /// Who numbers its messages, and the highest number that it named; nothing before the first session.
    pub(super) claim: Option<ClientClaim>,
    resume: Option<(Epoch, EventNumber)>,
    /// It was too slow: nothing is sent until it opens the session again.
    pub(super) behind: bool,
}

// === impl Connection ===

impl Connection {
    /// Whether a request has been made often enough: whoever keeps what they send is told to send it again.
    pub(super) fn gives_up(&self, tries: u32) -> bool {
        let leaves = matches!(self.wants.front(), Some(Want::End));
        self.second.is_some() && !leaves && tries > SECOND_TRIES_MAX
    }

    fn is_opening(&self) -> Option<u64> {
        match self.wants.front() {
            Some(Want::Open(open)) => Some(open.reference),
            _ => None,
        }
    }
}

// === impl World ===

impl World {
    /// A client of the second dialect dials.
    pub(crate) fn accept_second(
        &mut self,
        end: End,
        user_id: &str,
        role: Role,
        listens: bool,
    ) -> Option<u64> {
        let second = Second { listens, claim: None, resume: None, behind: false };
        let (socket, number) = self.connect(end, user_id, role, Some(second))?;
        self.note(|| format!("{end:?} opens socket {socket}, connection {number}"));
        Some(socket)
    }

    /// A frame of the second dialect reaches the gateway.
    pub(super) fn up_second(&mut self, number: u64, up: Up) {
        let now = self.now;
        let Some(connection) = self.connection(number) else { return };
        let full = connection.wants.len() >= SECOND_WANTS_MAX;
        let opening = connection.wants.iter().any(|want| matches!(want, Want::Open(_)));
        match up {
            Up::Open(open) if full => self.refuse(number, open.reference, Refusal::Busy),
            Up::Act { reference, .. } if full => self.refuse(number, reference, Refusal::Busy),
            Up::Send(send) if full || (connection.session.is_none() && !opening) => {
                self.nack(number, send.counter, Refusal::Busy);
            }
            Up::Open(open) => connection.wants.push_back(Want::Open(open)),
            Up::Act { reference, act } => {
                connection.wants.push_back(Want::Act { reference, act });
            }
            Up::Send(send) => connection.wants.push_back(Want::Say(Saying {
                at: now,
                counter: send.counter,
                claimed: None,
                time: None,
                data: send.data,
                note: send.note,
                message: send.message,
            })),
        }
        self.pump(number);
    }

    /// The next request of a connection of the second dialect.
    pub(super) fn plan_second(&mut self, number: u64, front: Want) -> Option<Plan> {
        let connection = self.connection(number)?;
        let attached = connection.session;
        match (front, attached) {
            (Want::Open(open), _) => {
                let second = connection.second.as_mut()?;
                second.claim = Some(ClientClaim { instance: open.client, last: open.last });
                second.resume = open.resume;
                let (session, claimed) = match open.target {
                    Target::Name(name) => (None, Some(name)),
                    Target::Session(session) => (Some(session), None),
                };
                let items = vec![self.joining(number, claimed)?];
                Some(Plan { session, items, covered: 1 })
            }
            (Want::Act { act, .. }, Some(session)) => {
                let items = vec![Item::Act { at: self.now, act }];
                Some(Plan { session: Some(session), items, covered: 1 })
            }
            (Want::Say(_), Some(session)) => {
                let says = connection.wants.iter().map_while(|want| match want {
                    Want::Say(say) => Some(say.clone()),
                    _ => None,
                });
                let says: Vec<_> = says.take(SAYS_MAX).collect();
                let highest = says.iter().map(|say| say.counter).max().unwrap_or(0);
                let again = connection.must_attach;
                let claim = connection.second.as_mut()?.claim.as_mut()?;
                claim.last = claim.last.max(highest);
                let again = if again { Some(self.joining(number, None)?) } else { None };
                self.plan_says(number, session, again, says)
            }
            // It could not be opened: nothing of what was sent meanwhile is taken.
            (Want::Say(say), None) => self.skip(number, |world| {
                world.nack(number, say.counter, Refusal::Busy);
            }),
            (Want::Act { reference, .. }, None) => self.skip(number, |world| {
                world.refuse(number, reference, Refusal::Busy);
            }),
            (Want::Bare | Want::Join { .. } | Want::Leave { .. } | Want::End, _) => None,
        }
    }

    fn skip(&mut self, number: u64, answer: impl FnOnce(&mut Self)) -> Option<Plan> {
        answer(self);
        self.connection(number)?.wants.pop_front();
        self.pump(number);
        None
    }

    fn joining(&mut self, number: u64, claimed: Option<String>) -> Option<Item> {
        let at = self.now;
        let second = self.connection(number)?.second.as_ref()?;
        let (client, listens) = (second.claim, second.listens);
        let joining = Joining { at, claimed, client_time: None, counter: 0, client, listens };
        Some(Item::Attach(joining))
    }

    /// Nobody answers: the client is told to send again. What was asked may yet happen.
    pub(super) fn give_up_request(&mut self, number: u64) {
        let Some(connection) = self.connection(number) else { return };
        let Some(open) = connection.open.take() else { return };
        let answers = vec![ItemAnswer::TryAgain; open.request.items.len()];
        self.strays = true;
        self.answered_second(number, &open, &answers);
    }

    /// An owner has answered a request of a connection of the second dialect.
    pub(super) fn answered_second(&mut self, number: u64, open: &Open, results: &[ItemAnswer]) {
        let Some(connection) = self.connection(number) else { return };
        let opening = connection.is_opening();
        let act = match connection.wants.front() {
            Some(Want::Act { reference, .. }) => *reference,
            _ => 0,
        };
        let mut done = open.wants;
        for (item, result) in open.request.items.iter().zip(results) {
            match (item, result, opening) {
                (Item::Attach(_), ItemAnswer::Attached(attached), Some(reference)) => {
                    self.check_join(open, attached);
                    self.opened(number, reference, attached);
                }
                (Item::Attach(_), ItemAnswer::Attached(attached), None) => {
                    self.check_join(open, attached);
                    if let Some(connection) = self.connection(number) {
                        connection.must_attach = false;
                    }
                }
                (Item::Attach(_), result, Some(reference)) => {
                    self.check_expired(number, open, result);
                    self.refuse(number, reference, refusal(result));
                }
                (Item::Attach(_), result, None) => {
                    // The messages behind it fare as it does.
                    self.check_expired(number, open, result);
                    self.nack_all(number, open, refusal(result));
                    break;
                }
                (Item::Say { say: Say { mid, .. }, .. }, ItemAnswer::Committed(n), _) => {
                    self.ack(number, open, *mid, Some(*n));
                }
                (
                    Item::Say { say: Say { mid, .. }, .. } | Item::Refuse { mid, .. },
                    ItemAnswer::Duplicate(n),
                    _,
                ) => {
                    self.saw("duplicates");
                    self.ack(number, open, *mid, *n);
                }
                (Item::Say { .. } | Item::Refuse { .. }, ItemAnswer::AttachFirst, _) => {
                    if let Some(connection) = self.connection(number) {
                        connection.must_attach = true;
                    }
                    done = 0;
                    break;
                }
                (Item::Say { say: Say { mid, .. }, .. } | Item::Refuse { mid, .. }, result, _) => {
                    self.check_expired(number, open, result);
                    if let ItemAnswer::Rejected(code) = result
                        && *code != RejectCode::Expired
                    {
                        self.acked(open.request.session, *mid, None);
                    }
                    self.nack(number, mid.counter, refusal(result));
                }
                (Item::Act { .. }, ItemAnswer::Committed(n), _) => {
                    self.check_done(number, *n);
                    self.answer_second(number, Down::Done);
                }
                (Item::Act { .. }, ItemAnswer::Nothing, _) => {
                    self.answer_second(number, Down::Done)
                }
                (Item::Act { .. }, result, _) => self.refuse(number, act, refusal(result)),
                (Item::Detach { .. }, ItemAnswer::TryAgain, _) => {
                    self.again(number, open, 0);
                    return;
                }
                (Item::Detach { .. }, _, _) => {
                    self.hang_up(number);
                    return;
                }
            }
        }
        let Some(connection) = self.connection(number) else { return };
        connection.wants.drain(..done.min(connection.wants.len()));
        self.pump(number);
    }

    /// A session is open: first the way in, then what the client has not got.
    fn opened(&mut self, number: u64, reference: u64, attached: &Attached) {
        if let Err(message) = self.ledger.durable(attached.session, attached.n, None) {
            self.violate("I7", message);
        }
        let Some(connection) = self.connection(number) else { return };
        let Some(second) = &mut connection.second else { return };
        second.behind = false;
        let resume =
            second.resume.filter(|(epoch, n)| *epoch == attached.epoch && *n <= attached.n);
        let from = match resume {
            Some((_, n)) => n.next(),
            None => EventNumber(attached.n.0.saturating_sub(FRESH_EVENTS - 1).max(1)),
        };
        // What it has heard of since, and written before, is to be written again.
        if connection.session.replace(attached.session) != Some(attached.session) {
            connection.head = EventNumber::NONE;
        }
        connection.must_attach = false;
        connection.written = EventNumber(from.0 - 1);
        connection.fetching = None;
        let opened = Opened {
            reference,
            session: attached.session,
            epoch: attached.epoch,
            recovered: resume.is_some(),
            from,
            counter: attached.taken,
        };
        self.answer_second(number, Down::Opened(opened));
        self.catch_up(number, attached.n);
    }

    /// Shows one event, or that there is one.
    pub(super) fn show_second(&mut self, number: u64, event: &Event, bytes: &Bytes) {
        let late = self.rng.below(10_000) < self.weather.slow;
        let Some(connection) = self.connection(number) else { return };
        let Some(session) = connection.session else { return };
        let may_see = event.audience == Audience::All || connection.role == Role::Agent;
        let Some(second) = &mut connection.second else { return };
        second.behind = late;
        if late {
            connection.held.clear();
            self.saw("resyncs");
            self.answer_second(number, Down::Resync);
            return;
        }
        let shown = may_see.then(|| bytes.clone());
        self.answer_second(number, Down::Event { session, n: event.n, shown });
    }

    fn answer_second(&mut self, number: u64, frame: Down) {
        let Some(socket) = self.connection(number).map(|connection| connection.socket) else {
            return;
        };
        self.socket_down_second(socket, frame);
    }

    /// It is in the log, and the client may forget it.
    fn ack(&mut self, number: u64, open: &Open, mid: Mid, n: Option<EventNumber>) {
        self.acked(open.request.session, mid, n);
        self.answer_second(number, Down::Ack { counter: mid.counter });
    }

    fn nack(&mut self, number: u64, counter: u64, why: Refusal) {
        self.answer_second(number, Down::Nack { counter, why });
    }

    fn nack_all(&mut self, number: u64, open: &Open, why: Refusal) {
        for item in &open.request.items {
            if let Item::Say { say: Say { mid, .. }, .. } | Item::Refuse { mid, .. } = item {
                self.nack(number, mid.counter, why);
            }
        }
    }

    fn refuse(&mut self, number: u64, reference: u64, why: Refusal) {
        self.answer_second(number, Down::Refused { reference, why });
    }

    /// Nobody is told that they were forgotten who was not.
    fn check_expired(&mut self, number: u64, open: &Open, result: &ItemAnswer) {
        if !matches!(result, ItemAnswer::Rejected(RejectCode::Expired)) {
            return;
        }
        self.saw("expired");
        let Some(connection) = self.connection(number) else { return };
        let claim = connection.second.as_ref().and_then(|second| second.claim);
        let (Some(claim), Some(session)) = (claim, open.request.session) else { return };
        let story = self.ledger.stories.get(&session);
        if story.is_some_and(|story| !story.clients.is_unknown(claim.instance)) {
            self.violate("P2", format!("{claim:?} is told that it was forgotten, and was not"));
        }
    }

    fn check_done(&mut self, number: u64, n: EventNumber) {
        let Some(session) = self.connection(number).and_then(|connection| connection.session)
        else {
            return;
        };
        if let Err(message) = self.ledger.durable(session, n, None) {
            self.violate("I7", message);
        }
    }
}

const fn refusal(result: &ItemAnswer) -> Refusal {
    match result {
        ItemAnswer::Rejected(code) => Refusal::Final(*code),
        ItemAnswer::NoSession => Refusal::Final(RejectCode::NoSession),
        ItemAnswer::Gap(expected) => Refusal::Gap(*expected),
        _ => Refusal::Busy,
    }
}
