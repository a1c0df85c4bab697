//! One session in memory: takes what has arrived, lets the core decide, writes, settles.
//!
//! One commit is in flight; what arrives meanwhile forms the next one.

mod decide;
mod erase;
mod keep;
mod read;
mod write;

use std::{collections::BTreeSet, time::Duration};

use prost::Message;
use stentor_cluster::{Effects, Fanout, Log, Ownership};
use stentor_postoffice::{Effect, Session};
use stentor_store::Store;
use stentor_types::{
    BotResult, ConnectionId, EffectId, EventNumber, GatewayId, Input, InputKind, Sequence,
    Timestamp, UserKey,
};
use stentor_wire::pb;
use tokio::{sync::mpsc, sync::oneshot, time::timeout};
use tracing::{error, warn};

use crate::{
    actors::{Actors, Key, Place},
    history::Recent,
    listed::LastMessage,
    load::{self, Loaded, Origin},
    memory::{Room, weight},
    request::{self, Attaching},
    settle,
    startup::LISTED_WITHIN,
};

/// Inputs decided about at once.
const INPUTS_MAX: usize = 64;
/// Bytes decided about at once: with the Requests beside them they stay within a record.
const INPUT_BYTES_MAX: usize = 128 * 1024;
/// How long a session stays in memory without anything to do.
const IDLE: Duration = Duration::from_secs(60);
/// How often an attempt that found the connectors' queue full is offered again.
const OFFER_AGAIN: Duration = Duration::from_millis(250);
/// How often a session whose bot is being asked looks whether its log is still there: with it goes the question.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How long to wait before a log or store that did not answer is asked again.
const LOAD_AGAIN: Duration = Duration::from_millis(500);
/// How long a damaged session is left alone before it is looked at again.
const DAMAGE_AGAIN: Duration = Duration::from_secs(30);
/// Bytes of events in one answer, or one event. Half of what the bus of a cluster carries: what it does not carry
/// would be asked for again and again.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What a session is asked.
#[derive(Debug)]
pub(crate) enum Command {
    /// Inputs of one connection, in order.
    Inputs { inputs: Vec<Input>, answer: oneshot::Sender<Vec<pb::InputReply>> },
    /// How an attempt to ask the bot ended.
    Outcome { effect: EffectId, result: BotResult, answer: oneshot::Sender<pb::OutcomeReply> },
    /// Events again.
    Fetch { from: EventNumber, to: EventNumber, answer: oneshot::Sender<pb::FetchReply> },
    /// Somebody types, or no longer does: the others are told, and it may be lost.
    Signal { connection: ConnectionId, user: UserKey, typing: bool, answer: oneshot::Sender<()> },
    /// A deadline has come, or the session is to be taken up after a restart.
    Tick,
    /// The store wants the state of the session.
    Row,
    /// The session is at rest, and the log is to have its state at hand.
    Snapshot,
    /// A gateway is gone, and with it the connections that the session held there.
    GatewayGone { gateway: GatewayId },
    /// Whose session is it? Nobody's, if it is erased or nothing has happened in it.
    Whose { answer: oneshot::Sender<Option<UserKey>> },
    /// All that was said and done is to be erased.
    Erase { answer: oneshot::Sender<pb::EraseReply> },
}

/// Why a decision could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Its record is damaged: it can only be looked at.
    Damaged,
    /// Not now.
    TryAgain,
    /// Not here: somebody else serves the session, or may do so.
    Moved,
}

/// A session in memory.
pub(crate) struct Actor<'a, L, S, B> {
    pub(crate) actors: &'a Actors<L, S, B>,
    pub(crate) key: Key,
    pub(crate) session: Session,
    pub(crate) head: Option<Sequence>,
    pub(crate) recent: Recent,
    /// Its last commit.
    pub(crate) origin: Option<Origin>,
    /// Commits since the last snapshot.
    pub(crate) since_snapshot: u32,
    /// When that was, as far as is known here.
    pub(crate) snapshot_at: Timestamp,
    /// It is to have a snapshot even if nothing happens.
    pub(crate) rests: bool,
    /// An attempt that no connector has taken yet.
    pub(crate) unsent: Option<Effect>,
    /// The last message that everybody could see.
    pub(crate) last: Option<LastMessage>,
    /// What lists show.
    pub(crate) listed: Option<pb::Listed>,
    /// Gateways on which it holds connections.
    pub(crate) gateways: BTreeSet<GatewayId>,
    /// What it takes in memory.
    room: Room,
}

/// What a session does next.
enum Next {
    /// What it is told.
    Take(Command),
    /// Nothing comes any more.
    End,
    /// It offers its attempt again.
    Offer,
    /// It looks whether the log that its attempt lies in is still there.
    Look,
    /// Nothing has happened for long, or others need the room.
    Leave,
}

/// Runs a session until it has been idle for long enough.
pub(crate) async fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    key: Key,
    mut commands: mpsc::Receiver<Command>,
    place: &mut Place<L, S, B>,
) {
    // One that is loaded only now could win the compare-and-set, whoever serves the session.
    if actors.shared().fenced(key.session.partition()).await.is_err() {
        return;
    }
    let room = actors.shared().memory.room().await;
    let loaded = load_until_it_works(actors, &key, &mut commands).await;
    place.loaded();
    let Some(loaded) = loaded else { return };
    let is_to_be_erased = loaded.is_to_be_erased;
    let mut actor = Actor::new(actors, key, loaded, room);
    if is_to_be_erased && let Err(trouble) = actor.erase().await {
        // Until then nobody is shown anything of it.
        refuse_rest(&mut commands, trouble);
        return;
    }
    actor.take_up().await;
    // Inputs of the loop:
    // - commands: closed when the router stops; what is in it is still done;
    // - the time-out: an attempt has to be offered again, or nothing happened for long enough;
    // - the room: others need it. Not while an attempt has to be offered.
    loop {
        actor.room.resize(weight(actor.session.state(), actor.recent.size()));
        match actor.next(&mut commands).await {
            Next::Take(first) => {
                let mut bytes = first.bytes();
                let mut batch = vec![first];
                while batch.len() < INPUTS_MAX && bytes < INPUT_BYTES_MAX {
                    let Ok(next) = commands.try_recv() else { break };
                    bytes += next.bytes();
                    batch.push(next);
                }
                if let Err(trouble) = actor.take(batch).await {
                    if trouble == Trouble::Damaged {
                        refuse_all(&actor.key, &mut commands).await;
                    }
                    return;
                }
            }
            Next::End => return,
            Next::Offer => settle::offer(&mut actor),
            Next::Look => {
                if actor.revive().await.is_err() {
                    return;
                }
            }
            // A command that slips in between is left for the next actor: closing comes first.
            Next::Leave => {
                commands.close();
                let mut rest = Vec::new();
                while let Ok(command) = commands.try_recv() {
                    rest.push(command);
                }
                if !rest.is_empty() {
                    // Trouble has been answered; there is nobody else to tell.
                    let _ = actor.take(rest).await;
                }
                return;
            }
        }
    }
}

async fn load_until_it_works<L: Log, S: Store, B: Fanout + Effects + Ownership>(
    actors: &Actors<L, S, B>,
    key: &Key,
    commands: &mut mpsc::Receiver<Command>,
) -> Option<Loaded> {
    let shared = actors.shared();
    loop {
        match load::load(shared, key, None).await {
            Ok(loaded) => return Some(loaded),
            Err(cause) if cause.is_damage() => {
                let partition = key.session.partition();
                let needed = cause.needs_logic();
                if let Some(moved) = needed.and_then(|needed| shared.give_up(partition, needed)) {
                    refuse_rest(commands, moved);
                    return None;
                }
                let chain = crate::metrics::chain(&cause);
                error!(app = %key.app, session = %key.session, cause = chain, "session is damaged and stays closed");
                shared.metrics.session_damaged();
                refuse_all(key, commands).await;
                return None;
            }
            Err(_) if !shared.served.has(key.session.partition()) => return None,
            Err(cause) => {
                let chain = crate::metrics::chain(&cause);
                warn!(app = %key.app, session = %key.session, cause = chain, "session could not be loaded yet");
                if cause.is_unreadable() && !refuse_waiting(commands) {
                    return None;
                }
                tokio::select! {
                    () = tokio::time::sleep(LOAD_AGAIN) => {}
                    () = shared.failed.cancelled() => return None,
                }
            }
        }
    }
}

/// Answers everything that waits with "try again". False if nobody needs the session but those.
fn refuse_waiting(commands: &mut mpsc::Receiver<Command>) -> bool {
    let mut needed = false;
    while let Ok(command) = commands.try_recv() {
        // It has a deadline or connections, and is to be taken up whoever asks for it.
        needed |= matches!(command, Command::Tick | Command::GatewayGone { .. });
        request::answer_trouble(command, Trouble::TryAgain);
    }
    needed
}

/// Answers everything with "damaged" for a while.
async fn refuse_all(key: &Key, commands: &mut mpsc::Receiver<Command>) {
    let until = tokio::time::Instant::now() + DAMAGE_AGAIN;
    while let Ok(Some(command)) = tokio::time::timeout_at(until, commands.recv()).await {
        request::answer_trouble(command, Trouble::Damaged);
    }
    refuse_rest(commands, Trouble::Damaged);
    tracing::debug!(app = %key.app, session = %key.session, "damaged session is looked at again when asked for");
}

/// Answers what waits, and takes no more.
fn refuse_rest(commands: &mut mpsc::Receiver<Command>, trouble: Trouble) {
    commands.close();
    while let Ok(command) = commands.try_recv() {
        request::answer_trouble(command, trouble);
    }
}

// === impl Command ===

impl Command {
    /// About how much of it will be written.
    fn bytes(&self) -> usize {
        let said = |input: &Input| match &input.kind {
            InputKind::Say(say) => say.body.len() + say.request.len(),
            _ => 0,
        };
        match self {
            Self::Inputs { inputs, .. } => inputs.iter().map(said).sum(),
            Self::Outcome { result: BotResult::Reply { body, .. }, .. } => body.len(),
            Self::Outcome { .. }
            | Self::Fetch { .. }
            | Self::Signal { .. }
            | Self::Tick
            | Self::Row
            | Self::Snapshot
            | Self::Whose { .. }
            | Self::Erase { .. }
            | Self::GatewayGone { .. } => 0,
        }
    }
}

// === impl Actor ===

impl<'a, L: Log, S: Store, B: Fanout + Effects + Ownership> Actor<'a, L, S, B> {
    fn new(actors: &'a Actors<L, S, B>, key: Key, loaded: Loaded, room: Room) -> Self {
        Self {
            actors,
            key,
            session: loaded.session,
            head: loaded.head,
            recent: loaded.recent,
            // The first commit after a load carries a snapshot, so that the next load is short.
            since_snapshot: if loaded.origin.is_some() { u32::MAX } else { 0 },
            snapshot_at: Timestamp(0),
            rests: false,
            origin: loaded.origin,
            unsent: None,
            last: None,
            listed: None,
            gateways: BTreeSet::new(),
            room,
        }
    }

    /// Waits for what is to be done next.
    async fn next(&self, commands: &mut mpsc::Receiver<Command>) -> Next {
        let offers = self.unsent.is_some();
        tokio::select! {
            biased;
            next = timeout(self.patience(), commands.recv()) => match next {
                Ok(Some(command)) => Next::Take(command),
                Ok(None) => Next::End,
                Err(_) if offers => Next::Offer,
                Err(_) if self.waits_for_the_bot() => Next::Look,
                Err(_) => Next::Leave,
            },
            () = self.room.wanted(), if !offers => Next::Leave,
        }
    }

    /// How long to wait for the next command.
    fn patience(&self) -> Duration {
        if self.unsent.is_some() {
            OFFER_AGAIN
        } else if self.waits_for_the_bot() {
            LOOK_AGAIN
        } else {
            IDLE
        }
    }

    /// Whether an attempt is open that lies in the log.
    fn waits_for_the_bot(&self) -> bool {
        L::CARRIES_EFFECTS && self.session.open_effect().is_some()
    }

    /// Goes on in another log, if the one that an attempt was written to is lost, and has it made again.
    async fn revive(&mut self) -> Result<(), Trouble> {
        let log = self.actors.shared().log.incarnation();
        if self.origin.is_some_and(|origin| origin.log != log) {
            self.rests = true;
            self.write(Vec::new()).await?;
        }
        Ok(())
    }

    /// After a load: connections of gateways that are gone are gone; an attempt that was out when the
    /// last owner went is made again, under the same id.
    async fn take_up(&mut self) {
        self.recall().await;
        let mut lost: Vec<_> = self
            .session
            .state()
            .endpoints
            .keys()
            .map(|connection| connection.gateway)
            .filter(|gateway| self.actors.shared().bus.is_gone(*gateway))
            .collect();
        lost.dedup();
        let at = self.actors.shared().clock.now();
        let inputs: Vec<_> = lost
            .into_iter()
            .map(|gateway| Input { at, kind: InputKind::GatewayLost { gateway } })
            .collect();
        if !inputs.is_empty() && self.write(inputs).await.is_err() {
            warn!(app = %self.key.app, session = %self.key.session, "lost connections could not be noted yet");
        }
        settle::note_receivers(self);
        self.unsent = self.session.open_effect();
        settle::offer(self);
        let deadline = self.session.next_deadline();
        self.actors.shared().timers.set(self.key.clone(), deadline).await;
    }

    /// What lists show of it, from its latest events and what the store has. What was not written before the
    /// last owner went is written now; and what it may have written without telling anybody is told.
    async fn recall(&mut self) {
        if self.session.state().erased {
            return;
        }
        let shared = self.actors.shared();
        let kept = shared.store.listing(&self.key.app, self.key.session);
        let kept = match shared.briefly(kept).await {
            Ok(kept) => kept,
            Err(cause) => {
                let chain = crate::metrics::chain(&cause);
                warn!(app = %self.key.app, session = %self.key.session, cause = chain, "its place in lists could not be read");
                None
            }
        };
        let known = kept.as_ref().and_then(|kept| LastMessage::of_listing(&kept.listing));
        let last = self.recent.latest(LastMessage::of_event);
        self.last = Some(known.unwrap_or_default().later(last));
        let told_by = self.session.state().last_at.after(LISTED_WITHIN);
        let kept = kept.filter(|_| told_by < shared.clock.now());
        self.listed = kept.and_then(|kept| pb::Listed::decode(kept.listing).ok());
        settle::list(self);
    }

    /// Decides about a batch of commands, writes, and answers.
    async fn take(&mut self, batch: Vec<Command>) -> Result<(), Trouble> {
        let is_erasing = |command: &Command| matches!(command, Command::Erase { .. });
        let (erasing, batch): (Vec<_>, Vec<_>) = batch.into_iter().partition(is_erasing);
        if !batch.is_empty()
            && let Err(trouble) = self.take_others(batch).await
        {
            erasing.into_iter().for_each(|command| request::answer_trouble(command, trouble));
            return Err(trouble);
        }
        for command in erasing {
            self.take_erase(command).await?;
        }
        Ok(())
    }

    async fn take_others(&mut self, batch: Vec<Command>) -> Result<(), Trouble> {
        let mut inputs = Vec::new();
        let mut spans = Vec::new();
        let at = self.actors.shared().clock.now();
        for command in &batch {
            let from = inputs.len();
            match command {
                Command::Inputs { inputs: more, .. } => inputs.extend(more.iter().cloned()),
                Command::Outcome { effect, result, .. } => {
                    let result = result.clone();
                    inputs.push(Input { at, kind: InputKind::Outcome { effect: *effect, result } });
                }
                Command::Tick => inputs.push(Input { at, kind: InputKind::Tick }),
                Command::GatewayGone { gateway } => {
                    inputs.push(Input { at, kind: InputKind::GatewayLost { gateway: *gateway } });
                }
                Command::Snapshot => self.rests = self.snapshot_is_old(),
                Command::Fetch { .. }
                | Command::Signal { .. }
                | Command::Row
                | Command::Whose { .. }
                | Command::Erase { .. } => {}
            }
            spans.push(from..inputs.len());
        }
        let attaching = Attaching::gather(&self.session, &inputs);
        let replies = match self.write(inputs).await {
            Ok(replies) => replies,
            Err(trouble) => {
                for command in batch {
                    request::answer_trouble(command, trouble);
                }
                return Err(trouble);
            }
        };
        for (command, span) in batch.into_iter().zip(spans) {
            match command {
                Command::Inputs { answer, .. } => {
                    let mut results = Vec::with_capacity(span.len());
                    for (place, reply) in
                        replies.iter().enumerate().skip(span.start).take(span.len())
                    {
                        results.push(self.input_reply(*reply, attaching.at(place)).await);
                    }
                    // Whoever no longer waits asks again.
                    let _ = answer.send(results);
                }
                Command::Outcome { answer, .. } => {
                    let _ = answer.send(request::settled());
                }
                Command::Fetch { from, to, answer } => {
                    let _ = answer.send(self.fetch(from, to).await);
                }
                Command::Signal { connection, user, typing, answer } => {
                    settle::signal(self, connection, user, typing);
                    let _ = answer.send(());
                }
                Command::Row => self.hand_row(),
                Command::GatewayGone { gateway } => settle::note_gone(self, gateway),
                Command::Whose { answer } => {
                    let _ = answer.send(self.session.state().visitor);
                }
                Command::Tick | Command::Snapshot | Command::Erase { .. } => {}
            }
        }
        Ok(())
    }
}
