//! Requests of the bus: read, sent to the actors they concern, answered.

mod erasing;
mod trying;

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use stentor_cluster::{Effects, Fanout, IngressRequest, Log, Ownership};
use stentor_store::Store;
use stentor_types::{
    AppId, EventNumber, Input, InputKind, PlacementKey, SessionId, Timestamp, Visitor,
};
use stentor_wire::{
    DecodeError, app_id, connection_from_pb, pb,
    pb::{connection_input::Kind as InputOf, input_reply, reply, request::Kind as RequestOf},
    role_from_pb, session_id, user_key,
};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, debug_span, warn};

use crate::{
    actor::{Command, Trouble},
    actors::{Actors, Key},
    directories::Directories,
    lists, request,
    trials::SUSPECTED_FROM,
};

/// Requests being worked on. Overflow: the next one stays in the bus's queue, which is bounded too.
const OPEN_MAX: usize = 16_384;

/// Sends requests to the actors they concern.
pub(crate) struct Dispatcher<L, S, B> {
    actors: Actors<L, S, B>,
    directories: Arc<Directories<L, S, B>>,
}

// === impl Dispatcher ===

impl<L: Log, S: Store, B: Fanout + Effects + Ownership> Dispatcher<L, S, B> {
    pub(crate) const fn new(
        actors: Actors<L, S, B>,
        directories: Arc<Directories<L, S, B>>,
    ) -> Self {
        Self { actors, directories }
    }

    /// Serves requests until `drain` or `failed`, then finishes those it has begun.
    ///
    /// Inputs of the loop:
    /// - requests: closed when nobody can ask any more, which ends the loop;
    /// - drain, failed: end the loop.
    pub(crate) async fn run(
        self,
        mut requests: mpsc::Receiver<IngressRequest>,
        drain: CancellationToken,
        failed: CancellationToken,
    ) {
        let this = Arc::new(self);
        let places = Arc::new(Semaphore::new(OPEN_MAX));
        let tasks = TaskTracker::new();
        loop {
            let next = tokio::select! {
                next = requests.recv() => next,
                () = drain.cancelled() => None,
                () = failed.cancelled() => None,
            };
            let Some(next) = next else { break };
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let this = Arc::clone(&this);
            let span = debug_span!("request", partition = %next.partition);
            let work = async move {
                if let Some(reply) = this.serve(next.request, next.operator).await {
                    // Whoever no longer waits asks again.
                    let _ = next.answer.send(reply.encode_to_vec().into());
                }
                drop(place);
            };
            tasks.spawn(work.instrument(span));
        }
        requests.close();
        tasks.close();
        tokio::select! {
            () = tasks.wait() => {}
            () = failed.cancelled() => {}
        }
    }

    async fn serve(&self, request: Bytes, operator: bool) -> Option<pb::Reply> {
        match self.try_serve(request, operator).await {
            Ok(kind) => kind.map(|kind| pb::Reply { kind: Some(kind) }),
            Err(cause) => {
                warn!(%cause, "a request could not be read");
                Some(pb::Reply { kind: Some(reply::Kind::Malformed(cause.to_string())) })
            }
        }
    }

    async fn try_serve(
        &self,
        request: Bytes,
        operator: bool,
    ) -> Result<Option<reply::Kind>, DecodeError> {
        let request = pb::Request::decode(request)?;
        let app = app_id(&request.app)?;
        let deaths = request.deaths;
        match request.kind.ok_or(DecodeError::Field("kind"))? {
            RequestOf::Connection(request) => {
                let results = self.connection(app, request, deaths).await?;
                Ok(Some(reply::Kind::Connection(pb::ConnectionReply { results })))
            }
            RequestOf::Outcome(request) => {
                let key = Key { app, session: session_id(&request.session)? };
                let (effect, result) = request::outcome(request)?;
                let (answer, answered) = oneshot::channel();
                let sent = self.actors.send(&key, Command::Outcome { effect, result, answer });
                let reply = match sent {
                    Ok(()) => answered.await.unwrap_or(request::outcome_again()),
                    Err(_) => request::outcome_again(),
                };
                Ok(Some(reply::Kind::Outcome(reply)))
            }
            RequestOf::Fetch(request) => {
                let key = Key { app, session: session_id(&request.session)? };
                let (answer, answered) = oneshot::channel();
                let (from, to) = (EventNumber(request.from), EventNumber(request.to));
                if self.actors.send(&key, Command::Fetch { from, to, answer }).is_err() {
                    return Ok(None);
                }
                Ok(answered.await.ok().map(reply::Kind::Fetch))
            }
            RequestOf::List(request) => {
                let reply = lists::list(self.actors.shared(), &app, &request).await?;
                Ok(Some(reply::Kind::List(reply)))
            }
            RequestOf::Signal(request) => {
                let key = Key { app, session: session_id(&request.session)? };
                let connection = connection_from_pb(request.connection)?;
                let user = user_key(&request.user)?;
                let typing = request.typing;
                // Lost if there is no room: the next one comes soon. Whoever leaves after the answer was still
                // in the session when the others were told.
                let (answer, answered) = oneshot::channel();
                let signal = Command::Signal { connection, user, typing, answer };
                let told = self.actors.send(&key, signal).is_ok() && answered.await.is_ok();
                Ok(Some(reply::Kind::Signalled(told)))
            }
            RequestOf::Explain(request) => {
                let (session, n) = (session_id(&request.session)?, EventNumber(request.n));
                let reply = self.actors.shared().hops.explain(session, n);
                Ok(Some(reply::Kind::Explain(reply)))
            }
            // Whoever has sockets or calls bots must not be able to by themselves.
            RequestOf::Erase(request) if !operator && request.token.is_empty() => {
                Err(DecodeError::Field("kind"))
            }
            RequestOf::Erase(request) => {
                let key = Key { app, session: session_id(&request.session)? };
                let may = operator || self.lets_erase(&key.app, &request.token);
                let reply = if may { self.erase(key).await } else { erasing::forbidden() };
                Ok(Some(reply::Kind::Erase(reply)))
            }
        }
    }

    /// The inputs of one connection, in order. Neighbours for the same session go together. What comes after one that
    /// has to be sent again has to be sent again, too.
    async fn connection(
        &self,
        app: AppId,
        request: pb::ConnectionRequest,
        deaths: u32,
    ) -> Result<Vec<pb::InputReply>, DecodeError> {
        let partition = trying::partition(&request)?;
        let shared = self.actors.shared();
        let me = (shared.writer, shared.clock.now());
        if deaths >= SUSPECTED_FROM || !shared.trials.is_clear(&*shared.bus, me, partition).await {
            return self.carefully(app, request, partition, deaths).await;
        }
        self.inputs(&app, request).await
    }

    async fn inputs(
        &self,
        app: &AppId,
        request: pb::ConnectionRequest,
    ) -> Result<Vec<pb::InputReply>, DecodeError> {
        let connection = connection_from_pb(request.connection)?;
        let user = user_key(&request.user)?;
        let visitor = Visitor { user, placement: PlacementKey(request.placement) };
        let role = role_from_pb(request.role)?;
        let count = request.inputs.len();
        let mut results = Vec::with_capacity(count);
        let mut waiting: Option<(SessionId, Vec<Input>)> = None;
        // Which results are of attachments that the directory led to a session.
        let mut led = Vec::new();
        for input in request.inputs {
            let at = Timestamp(input.received_at);
            let (session, input) = match input.kind.ok_or(DecodeError::Field("inputs.kind"))? {
                InputOf::Attach(attach) => {
                    let claimed = attach.claimed.as_deref();
                    let known = attach.session.as_deref().map(session_id).transpose()?;
                    let resolved = match known {
                        Some(session) => Ok(Some(session)),
                        None => self.directories.resolve(app, visitor, claimed).await,
                    };
                    match resolved {
                        Ok(Some(session)) => {
                            if known.is_none() {
                                led.push((results.len() + waiting_count(&waiting), session));
                            }
                            (session, request::attach_input(attach, at, connection, user, role)?)
                        }
                        other => {
                            self.flush(app, waiting.take(), &mut results).await;
                            if !trying::comes_again(&results) {
                                results.push(match other {
                                    Err(trouble) => request::trouble_reply(trouble),
                                    Ok(_) => no_session(),
                                });
                            }
                            if trying::comes_again(&results) {
                                break;
                            }
                            continue;
                        }
                    }
                }
                InputOf::Say(say) => {
                    (session_id(&say.session)?, request::say_input(say, at, connection)?)
                }
                InputOf::Control(control) => {
                    (session_id(&control.session)?, request::control_input(control, at, user))
                }
                InputOf::Draft(draft) => {
                    (session_id(&draft.session)?, request::draft_input(&draft, at, user)?)
                }
                InputOf::Refuse(refuse) => {
                    (session_id(&refuse.session)?, request::refuse_input(&refuse, at, connection)?)
                }
                InputOf::End(end) => {
                    (session_id(&end.session)?, Input { at, kind: InputKind::End { user } })
                }
                InputOf::Detach(detach) => {
                    let delivered = detach.delivered.map(EventNumber);
                    let kind = InputKind::Detach { connection, delivered };
                    (session_id(&detach.session)?, Input { at, kind })
                }
            };
            match &mut waiting {
                Some((same, inputs)) if *same == session => inputs.push(input),
                _ => {
                    self.flush(app, waiting.take(), &mut results).await;
                    if trying::comes_again(&results) {
                        break;
                    }
                    waiting = Some((session, vec![input]));
                }
            }
        }
        self.flush(app, waiting, &mut results).await;
        results.resize_with(count, || request::trouble_reply(Trouble::TryAgain));
        self.mislead_nobody(app, visitor, &led, &mut results).await;
        Ok(results)
    }

    async fn flush(
        &self,
        app: &AppId,
        waiting: Option<(SessionId, Vec<Input>)>,
        results: &mut Vec<pb::InputReply>,
    ) {
        let Some((session, inputs)) = waiting else { return };
        let count = inputs.len();
        let key = Key { app: app.clone(), session };
        let (answer, answered) = oneshot::channel();
        let sent = self.actors.send(&key, Command::Inputs { inputs, answer });
        let answers = if sent.is_ok() { answered.await.ok() } else { None };
        match answers {
            Some(answers) => results.extend(answers),
            None => results.extend((0..count).map(|_| request::trouble_reply(Trouble::TryAgain))),
        }
    }
}

const fn no_session() -> pb::InputReply {
    pb::InputReply { kind: Some(input_reply::Kind::NoSession(true)) }
}

fn waiting_count(waiting: &Option<(SessionId, Vec<Input>)>) -> usize {
    waiting.as_ref().map_or(0, |(_, inputs)| inputs.len())
}
