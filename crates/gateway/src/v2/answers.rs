//! What the owner of a session answers to a seat, and what follows from it.

use stentor_cluster::Ingress;
use stentor_protocol::v2::{
    Ack, Closed, Code, Done, FIRST_EVENTS, Nack, Opened, Person, Resync, RoleName, View, encode,
};
use stentor_types::{Epoch, EventNumber};
use stentor_wire::{pb, pb::input_reply::Kind};

use super::{
    jobs::{Job, Opening, Unfit},
    seat::{RETRY_AFTER_MS, Seat, Welcoming},
    shown::Shown,
};
use crate::{asking::Answer, engine::Frames};

/// Times that a session may forget a connection before the client has to open it anew.
const FUTILE_MAX: u8 = 3;
/// How long a client waits before it sends the same again to a session that an operator has to mend.
const DAMAGED_RETRY_AFTER_MS: u64 = 60_000;

impl<B: Ingress> Seat<B> {
    pub(super) fn answered(&mut self, answer: Answer, is_staff: bool, frames: &mut Frames) {
        let results = match answer {
            Answer::Inputs(results) => results,
            Answer::TooLarge => return self.too_large(frames),
            // Asking again would be answered the same.
            Answer::Malformed | Answer::Events(_) | Answer::List(_) | Answer::Erased(_) => {
                Vec::new()
            }
        };
        let says_something = self.says_something();
        let mut kinds = results.into_iter().filter_map(|result| result.kind);
        for _ in 0..std::mem::take(&mut self.flying) {
            let kind = kinds.next();
            // Not now; the same jobs again, from here on.
            if matches!(kind, Some(Kind::TryAgainMs(_))) {
                return;
            }
            if matches!(kind, Some(Kind::AttachFirst(_))) {
                self.futile = self.futile.saturating_add(1);
                if self.futile > FUTILE_MAX {
                    return self.drop_jobs(frames);
                }
                self.jobs.push_front(Job::Reopen);
                return;
            }
            let Some(job) = self.jobs.pop_front() else { return };
            match (job, kind) {
                (Job::Open(opening), Some(Kind::Attached(reply))) => {
                    self.opened(opening, reply, frames);
                }
                (Job::Reopen, Some(Kind::Attached(_))) => self.reopened(),
                (Job::Reopen, _) => return self.not_reopened(frames),
                (job @ Job::Open(_), kind) => {
                    let code = match kind {
                        Some(Kind::NoSession(_)) => Code::NoSession,
                        kind => match code(kind.as_ref()) {
                            // Nobody learns whether somebody else has a session.
                            Code::Forbidden if !is_staff => Code::NoSession,
                            code => code,
                        },
                    };
                    self.fail(&job, code, None, frames);
                    return self.drop_jobs(frames);
                }
                (Job::Leave { aloud }, _) => {
                    if aloud {
                        frames.push(encode(&Closed { sid: self.sid_text() }));
                    }
                    // A later `open` may wait behind it.
                    self.over = self.jobs.is_empty();
                    self.forget();
                }
                (Job::Say(say), Some(Kind::Committed(n))) => {
                    self.futile = 0;
                    frames.push(self.ack(say.mid, Some(n)));
                }
                (Job::Say(say), Some(Kind::Duplicate(n))) => {
                    frames.push(self.ack(say.mid, (n > 0).then_some(n)));
                }
                (Job::Refuse { mid, why }, Some(Kind::Rejected(_) | Kind::Duplicate(_))) => {
                    frames.push(self.nack(mid, why.code, None, &why.text));
                }
                (Job::Deed { reference, .. }, Some(Kind::Committed(n))) => {
                    frames.push(encode(&Done { reference, n: Some(n) }));
                }
                (Job::Deed { reference, .. }, Some(Kind::Nothing(_))) => {
                    frames.push(encode(&Done { reference, n: None }));
                }
                (job, kind) => {
                    let expected = match kind {
                        Some(Kind::Gap(expected)) => Some(expected),
                        _ => None,
                    };
                    self.fail(&job, code(kind.as_ref()), expected, frames);
                }
            }
        }
        self.in_doubt &= !says_something;
    }

    /// What is asked first does not fit into a request. A message uses up its number all the same.
    fn too_large(&mut self, frames: &mut Frames) {
        self.flying = 0;
        match self.jobs.pop_front() {
            Some(Job::Say(say)) => {
                let text = "text: too long for the router; send it in pieces".to_owned();
                let why = Unfit { code: Code::TooLong, text };
                self.jobs.push_front(Job::Refuse { mid: say.mid, why });
            }
            Some(job) => self.fail(&job, Code::TooLong, None, frames),
            None => {}
        }
    }

    fn opened(&mut self, opening: Opening, reply: pb::AttachedReply, frames: &mut Frames) {
        let Ok(session) = stentor_wire::session_id(&reply.session) else {
            self.fail(&Job::Open(opening), Code::Busy, None, frames);
            return self.drop_jobs(frames);
        };
        let view = reply.view.unwrap_or_default();
        let (epoch, head) = (Epoch(reply.epoch), EventNumber(reply.n));
        let holds = opening.resume.filter(|resume| resume.epoch == epoch.0 && resume.n <= head.0);
        let last = match holds {
            Some(resume) => EventNumber(resume.n),
            None => EventNumber(head.0.saturating_sub(FIRST_EVENTS)),
        };
        self.forget();
        self.sid = Some(session);
        self.open = true;
        let mut shown = Shown::new(epoch, last, head);
        // What happened between the attachment and this answer was fanned out before anybody here knew what to
        // do with it: the first fetch tells the head.
        shown.unsure();
        self.shown = Some(shown);
        self.welcome = Some(Box::new(Welcoming {
            opening,
            head,
            recovered: holds.is_some(),
            you: view.you.clone(),
            mid: view.counter,
            view: view_of(view),
        }));
    }

    fn reopened(&mut self) {
        let Some(shown) = &mut self.shown else { return };
        // Events of the meantime were fanned out to nobody.
        shown.doubt();
    }

    /// The session does not take the connection back. The client may not be waiting for anything: it is told.
    fn not_reopened(&mut self, frames: &mut Frames) {
        if let Some(shown) = &self.shown {
            let (sid, epoch, n) = (self.sid_text(), shown.epoch.0, shown.last.0);
            frames.push(encode(&Resync { sid, epoch, n }));
        }
        self.drop_jobs(frames);
    }

    /// Tells the client that the session is open, now that it is known what can be shown of it.
    pub(super) fn say_welcome(&mut self, frames: &mut Frames) {
        let (Some(welcome), Some(shown)) = (self.welcome.take(), &self.shown) else { return };
        let Welcoming { opening, head, recovered, you, mid, view } = *welcome;
        frames.push(encode(&Opened {
            reference: opening.reference,
            sid: self.sid_text(),
            epoch: shown.epoch.0,
            head: head.0,
            recovered,
            from: shown.last.next().0,
            you,
            mid,
            view: (!recovered).then_some(view),
        }));
    }

    fn ack(&self, mid: u64, n: Option<u64>) -> bytes::Bytes {
        let epoch = self.shown.as_ref().map_or(0, |shown| shown.epoch.0);
        encode(&Ack { sid: self.sid_text(), mid, epoch, n })
    }

    pub(super) fn nack(
        &self,
        mid: u64,
        code: Code,
        expected: Option<u64>,
        text: &str,
    ) -> bytes::Bytes {
        let (is_final, retry_after_ms) = match code {
            // The session may have taken it before: nobody can read that now.
            Code::Damaged => (false, DAMAGED_RETRY_AFTER_MS),
            code => (code.is_final(), RETRY_AFTER_MS),
        };
        encode(&Nack {
            sid: self.sid_text(),
            mid,
            code,
            is_final,
            retry_after_ms: (!is_final).then_some(retry_after_ms),
            expected,
            text: text.to_owned(),
        })
    }
}

fn code(kind: Option<&Kind>) -> Code {
    use pb::RejectCode as Reject;
    match kind {
        Some(Kind::Rejected(code)) => match Reject::try_from(*code) {
            Ok(Reject::Poison) => Code::Poison,
            Ok(Reject::TooManyConnections) => Code::TooMany,
            Ok(Reject::NotInControl) => Code::NotInControl,
            Ok(Reject::Expired) => Code::Expired,
            Ok(Reject::NoSession) => Code::NoSession,
            Ok(Reject::Erased) => Code::Erased,
            Ok(Reject::Malformed) => Code::Malformed,
            Ok(Reject::NotPermitted) | Err(_) => Code::Forbidden,
        },
        Some(Kind::Gap(_)) => Code::Gap,
        Some(Kind::Damaged(_)) => Code::Damaged,
        Some(Kind::AttachFirst(_)) => Code::NotOpen,
        _ => Code::Busy,
    }
}

fn view_of(view: pb::SessionView) -> View {
    let people = view.people.into_iter().map(|person| Person {
        role: match person.role() {
            pb::Role::Visitor => RoleName::Visitor,
            pb::Role::Agent => RoleName::Agent,
        },
        alias: person.alias,
        name: person.display_name,
    });
    View {
        people: people.collect(),
        more: std::num::NonZeroU32::new(view.more),
        control: view.control,
        waiting: view.waiting_since > 0,
        ended: view.ended,
        drafts: view.drafts,
    }
}
