//! Lists of sessions, for staff.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use stentor_cluster::Ingress;
use stentor_protocol::v2::{
    Code, Done, Filter, Item, ItemState, List, ListChanged, Listed, Person, RoleName, Speaker,
    Watch, encode,
};
use stentor_types::UserKey;
use stentor_wire::{pb, session_id, user_to_bytes};

use super::{Connection, seat::refusal};
use crate::{
    asking::{Answer, Asking},
    batch::Changes,
    engine::Frames,
    metrics::Refusal,
};

/// Lists that one socket may ask for at a time.
const LISTS_MAX: usize = 4;

/// A list that is asked for.
#[derive(Debug)]
pub(super) struct Listing<B> {
    reference: u64,
    asking: Asking<B>,
}

impl<B: Ingress> Connection<B> {
    pub(super) fn list(&mut self, list: &List, frames: &mut Frames) {
        let reference = list.reference;
        let Some(request) = self.list_request(list, frames) else { return };
        if self.listings.len() >= LISTS_MAX || !self.may_speak() {
            self.shared.metrics.refused(Refusal::TooFast);
            let code = Code::TooFast;
            return frames.push(refusal(Some(reference), None, code, code.advice()));
        }
        let Some(principal) = &self.principal else { return };
        let kind = Some(pb::request::Kind::List(request));
        let request = pb::Request { app: principal.app.as_str().to_owned(), kind, deaths: 0 };
        let partition = principal.visitor.placement.partition();
        let bus = Arc::clone(&self.shared.bus);
        let asking = Asking::new(bus, partition, &request, self.number);
        self.listings.push(Listing { reference, asking });
    }

    fn list_request(&self, list: &List, frames: &mut Frames) -> Option<pb::ListRequest> {
        let principal = self.principal.as_ref()?;
        let mut refuse = |code: Code, text: &str| {
            frames.push(refusal(Some(list.reference), None, code, text));
            None
        };
        if !principal.is_staff() {
            return refuse(Code::Forbidden, Code::Forbidden.advice());
        }
        match list_request(list, principal.visitor.user) {
            Ok(request) => Some(request),
            Err(text) => refuse(Code::Malformed, text),
        }
    }

    pub(super) fn watch(&mut self, watch: &Watch, frames: &mut Frames) {
        let Some(principal) = &self.principal else { return };
        if !principal.is_staff() {
            let code = Code::Forbidden;
            return frames.push(refusal(Some(watch.reference), None, code, code.advice()));
        }
        if watch.on {
            self.shared.watchers.add(&principal.app, self.number);
        } else {
            self.shared.watchers.remove(&principal.app, self.number);
        }
        self.watching = watch.on;
        frames.push(encode(&Done { reference: watch.reference, n: None }));
    }

    pub(super) fn poll_lists(&mut self, context: &mut Context<'_>, frames: &mut Frames) {
        let Some(user) = self.principal.as_ref().map(|who| user_to_bytes(who.visitor.user)) else {
            return;
        };
        self.listings.retain_mut(|listing| {
            let reference = Some(listing.reference);
            match listing.asking.poll(context, &self.shared.metrics) {
                Poll::Ready(Answer::List(reply)) => {
                    let items = reply.items.iter().filter_map(|listed| item(listed, &user));
                    let next = (!reply.next.is_empty()).then(|| to_hex(&reply.next));
                    let items = items.collect();
                    frames.push(encode(&Listed { reference: listing.reference, items, next }));
                    false
                }
                // A cursor of the right letters that leads nowhere.
                Poll::Ready(_) => {
                    let text = "after: not what `next` said";
                    frames.push(refusal(reference, None, Code::Malformed, text));
                    false
                }
                Poll::Pending if listing.asking.is_late() => {
                    frames.push(refusal(reference, None, Code::Busy, Code::Busy.advice()));
                    false
                }
                Poll::Pending => true,
            }
        });
    }

    /// Changes in the lists of the app.
    pub(super) fn show_changes(&self, changes: &Changes, frames: &mut Frames) {
        let Some(principal) = self.principal.as_ref().filter(|_| self.watching) else { return };
        let user = user_to_bytes(principal.visitor.user);
        let items = changes.listed.iter().filter_map(|listed| item(listed, &user)).collect();
        frames.push(encode(&ListChanged { items, missed: changes.missed }));
    }
}

/// A request for a list.
///
/// # Errors
/// Its cursor is none; the text says so.
pub(crate) fn list_request(list: &List, user: UserKey) -> Result<pb::ListRequest, &'static str> {
    let after = list.after.as_deref().map_or(Some(Bytes::new()), from_hex);
    let filter = match list.filter {
        Filter::All => pb::ListFilter::All,
        Filter::Waiting => pb::ListFilter::Waiting,
        Filter::Mine => pb::ListFilter::Mine,
        Filter::Open => pb::ListFilter::Open,
        Filter::Ended => pb::ListFilter::Ended,
    };
    Ok(pb::ListRequest {
        filter: filter.into(),
        user: user_to_bytes(user),
        search: list.search.clone(),
        after: after.ok_or("after: not what `next` said")?,
        limit: list.limit.unwrap_or(0),
    })
}

/// A session in a list, as one of the staff sees it.
pub(crate) fn item(listed: &pb::Listed, user: &Bytes) -> Option<Item> {
    let people = listed.people.iter().map(|person| Person {
        alias: person.alias.clone(),
        role: RoleName::Agent,
        name: person.display_name.clone(),
    });
    Some(Item {
        sid: session_id(&listed.session).ok()?.to_string(),
        visitor: listed.visitor.clone(),
        name: listed.display_name.clone(),
        state: match listed.state() {
            pb::ListedState::Bot => ItemState::Bot,
            pb::ListedState::Waiting => ItemState::Waiting,
            pb::ListedState::People => ItemState::People,
            pb::ListedState::Ended => ItemState::Ended,
        },
        since: (listed.waiting_since_ms > 0).then_some(listed.waiting_since_ms),
        at: listed.at,
        n: listed.n,
        last_from: match listed.last_role.map(|_| listed.last_role()) {
            None => Speaker::Bot,
            Some(pb::Role::Visitor) => Speaker::Visitor,
            Some(pb::Role::Agent) => Speaker::Agent,
        },
        text: listed.last_text.clone(),
        people: people.collect(),
        mine: listed.users.contains(user),
        present: listed.present,
    })
}

/// A cursor as text.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a cursor; nothing if it is none.
fn from_hex(text: &str) -> Option<Bytes> {
    let digits = text.as_bytes();
    // Two for each byte of a time and a session.
    if digits.len() != 64 {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    });
    pairs.collect::<Option<Vec<_>>>().map(Bytes::from)
}
