//! Requests find their session: by its id, or by a visitor's claim and their directory.

use std::rc::Rc;

use bytes::Bytes;
use stentor_postoffice::{Directory, Resolved};
use stentor_types::{
    Attach, CommitId, ControlChange, Incarnation, Input, InputKind, Permissions, RejectCode,
    SessionId, Timestamp, UserKey,
};
use stentor_wire::{DirectoryRecord, LOGIC, decode_directory, encode_directory};

use crate::{
    frames::Act,
    log::{Append, Appended, Entity},
    owner::{Command, Known, Resolving},
    traffic::{Item, ItemAnswer, Request},
    world::World,
};

// === impl World ===

impl World {
    /// A request reaches an owner.
    pub(crate) fn serve(&mut self, life: u64, request: &Rc<Request>) {
        if !self.owners.contains_key(&life) {
            return;
        }
        match request.session {
            Some(session) => self.forward(life, session, request),
            None => {
                let Some(owner) = self.owners.get_mut(&life) else { return };
                let user = request.visitor.user;
                owner.directories.entry(user).or_default().waiting.push_back(Rc::clone(request));
                self.resolve_next(life, user);
            }
        }
    }

    fn resolve_next(&mut self, life: u64, user: UserKey) {
        loop {
            let fresh = self.rng.next_128();
            let id = CommitId(self.rng.next_128());
            let Some(owner) = self.owners.get_mut(&life) else { return };
            let now = owner.clock(self.now);
            let Some(slot) = owner.directories.get_mut(&user) else { return };
            if slot.pending.is_some() {
                return;
            }
            let Some(request) = slot.waiting.pop_front() else { return };
            let known = match slot.known.take() {
                Some(known) => known,
                None => {
                    let Some(known) = self.read_directory(user) else { return };
                    known
                }
            };
            let claimed = request.items.iter().find_map(|item| match item {
                Item::Attach(joining) => Some(joining.claimed.as_deref()),
                _ => None,
            });
            let fresh = SessionId::new(request.visitor.placement, fresh);
            let now = now.max(Timestamp(known.at.0 + 1));
            let resolved = known.directory.resolve(claimed.flatten(), fresh, now);
            let Some(owner) = self.owners.get_mut(&life) else { return };
            let Some(slot) = owner.directories.get_mut(&user) else { return };
            match resolved {
                Resolved::Known(session) => {
                    slot.known = Some(known);
                    self.forward(life, session, &request);
                }
                Resolved::Nowhere => {
                    slot.known = Some(known);
                    self.answer(life, &request, vec![ItemAnswer::NoSession]);
                }
                Resolved::Changed(session, directory) => {
                    let record = DirectoryRecord {
                        app: self.app.clone(),
                        user,
                        previous: known.head,
                        id,
                        at: now,
                        log_incarnation: Incarnation(1),
                        min_logic: LOGIC,
                        directory: directory.clone(),
                    };
                    let append = Append {
                        entity: Entity::Directory(user),
                        expected: known.head,
                        record: encode_directory(&record),
                        snapshot: true,
                        attached: false,
                        next_deadline: None,
                    };
                    let changed = Known { directory, head: known.head, at: now };
                    slot.pending = Some(Resolving { request, session, changed });
                    owner.write(append);
                    self.gather(life);
                    return;
                }
            }
        }
    }

    /// A directory as the log has it.
    fn read_directory(&mut self, user: UserKey) -> Option<Known> {
        let Some(head) = self.log.head(Entity::Directory(user)) else {
            return Some(Known { directory: Directory::default(), head: None, at: Timestamp(0) });
        };
        match decode_directory(&head.record) {
            Ok(record) => Some(Known {
                directory: record.directory,
                head: Some(head.sequence),
                at: record.at,
            }),
            Err(error) => {
                self.violate("I10", format!("a directory cannot be read: {error}"));
                None
            }
        }
    }

    /// The log has judged a directory.
    pub(crate) fn directory_judged(&mut self, life: u64, user: UserKey, appended: Appended) {
        let Some(owner) = self.owners.get_mut(&life) else { return };
        let Some(slot) = owner.directories.get_mut(&user) else { return };
        let Some(resolving) = slot.pending.take() else { return };
        match appended {
            Appended::Stored(sequence) => {
                slot.known = Some(Known { head: Some(sequence), ..resolving.changed });
                self.forward(life, resolving.session, &resolving.request);
            }
            // Read anew and resolved again: somebody else may have named the session.
            Appended::Conflict => slot.waiting.push_front(resolving.request),
        }
        self.resolve_next(life, user);
    }

    /// Hands a request to its session.
    fn forward(&mut self, life: u64, session: SessionId, request: &Rc<Request>) {
        let inputs = request.items.iter().map(|item| input(request, item)).collect();
        let command = Command::Inputs { request: Rc::clone(request), inputs };
        if !self.command(life, session, command) {
            let results = request.items.iter().map(|_| ItemAnswer::TryAgain).collect();
            self.answer(life, request, results);
        }
    }

    /// An agent's wish reaches the owner.
    pub(crate) fn control(&mut self, session: SessionId, change: ControlChange) {
        let Some(life) = self.route() else { return };
        let now = self.now;
        self.command(life, session, Command::Control(change, now));
    }
}

/// An input in the words of a session.
fn input(request: &Request, item: &Item) -> Input {
    let user = request.visitor.user;
    match item {
        Item::Attach(joining) => {
            let attach = Attach {
                connection: request.connection,
                user,
                role: request.role,
                display_name: None,
                claimed: joining.claimed.clone(),
                client_time: joining.client_time,
                counter: joining.counter,
                permissions: if joining.listens { Permissions::LISTEN } else { Permissions::ALL },
                client: joining.client,
                existing: request.session.is_some(),
            };
            Input { at: joining.at, kind: InputKind::Attach(attach) }
        }
        Item::Say { at, say } => Input { at: *at, kind: InputKind::Say(say.clone()) },
        Item::Refuse { at, mid } => {
            let (connection, code) = (request.connection, RejectCode::Poison);
            let kind = InputKind::Refuse { connection, mid: *mid, code, body: Bytes::new() };
            Input { at: *at, kind }
        }
        Item::Act { at, act } => {
            let kind = match act {
                Act::Take { display_name } => {
                    let display_name = display_name.clone();
                    InputKind::Control(ControlChange::Take { user, display_name })
                }
                Act::Release => InputKind::Control(ControlChange::Release { user }),
                Act::Draft { turn, action } => {
                    InputKind::Draft { user, turn: *turn, action: *action }
                }
                Act::End => InputKind::End { user },
            };
            Input { at: *at, kind }
        }
        Item::Detach { at, delivered } => {
            let kind = InputKind::Detach { connection: request.connection, delivered: *delivered };
            Input { at: *at, kind }
        }
    }
}
