//! One session on one socket: what is asked of its owner, one request at a time, and what the client has.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll},
};

use stentor_cluster::Ingress;
use stentor_protocol::v2::{Code, Refused, Resync, View, encode};
use stentor_types::{ClientInstance, ConnectionId, EventNumber, GatewayId, Partition, SessionId};
use stentor_wire::{
    client_to_bytes, connection_to_pb, pb, pb::connection_input, session_to_bytes, user_to_bytes,
};
use tokio::time::Instant;

use super::{
    jobs::{Job, Opening},
    shown::{Next, Shown},
};
use crate::{
    asking::{Answer, Asking, INPUTS_BYTES_MAX, input_bytes},
    batch::Batch,
    engine::Frames,
    identify::Principal,
    shared::{self, Shared},
};

/// Messages in one request.
const TOGETHER_MAX: usize = 32;

/// What all seats of a socket share.
pub(super) struct Place<'a, B> {
    pub(super) shared: &'a Arc<Shared<B>>,
    pub(super) number: u64,
    pub(super) principal: &'a Principal,
}

/// One session on one socket.
#[derive(Debug)]
pub(super) struct Seat<B> {
    pub(super) sid: Option<SessionId>,
    /// What the client calls it.
    pub(super) name: Option<String>,
    pub(super) client: ClientInstance,
    pub(super) last_mid: u64,
    pub(super) display_name: Option<String>,
    pub(super) jobs: VecDeque<Job>,
    /// How many of them are being asked for.
    pub(super) flying: usize,
    pub(super) asking: Option<Box<Asking<B>>>,
    pub(super) fetching: Option<Box<Asking<B>>>,
    pub(super) shown: Option<Shown>,
    /// Attached, but the client has not been told yet: what is fetched first tells whether its cursor holds.
    pub(super) welcome: Option<Box<Welcoming>>,
    /// The client holds this session open.
    pub(super) open: bool,
    pub(super) typed_at: Option<Instant>,
    /// Places in a row that the session had forgotten.
    pub(super) futile: u8,
    pub(super) over: bool,
    /// What is asked next that says something was asked before, and may have been done.
    pub(super) in_doubt: bool,
    /// The outcome of something is unknown and will stay so: nothing more may be done for this connection.
    pub(super) is_lost: bool,
    /// The gateway's name under which everything is asked.
    pub(super) name_of_gateway: GatewayId,
    /// Fan-out may have been missed, and nobody has looked yet.
    pub(super) is_behind: bool,
    /// It is looking.
    pub(super) looks: bool,
}

/// What the client is told once its cursor has proved good or bad.
#[derive(Debug)]
pub(super) struct Welcoming {
    pub(super) opening: Opening,
    pub(super) head: EventNumber,
    pub(super) recovered: bool,
    pub(super) you: String,
    pub(super) mid: u64,
    pub(super) view: View,
}

// === impl Seat ===

impl<B: Ingress> Seat<B> {
    pub(super) fn new(
        sid: Option<SessionId>,
        name: Option<String>,
        client: ClientInstance,
        name_of_gateway: GatewayId,
    ) -> Self {
        Self {
            sid,
            name,
            client,
            last_mid: 0,
            display_name: None,
            jobs: VecDeque::new(),
            flying: 0,
            asking: None,
            fetching: None,
            shown: None,
            welcome: None,
            open: false,
            typed_at: None,
            futile: 0,
            over: false,
            in_doubt: false,
            is_lost: false,
            name_of_gateway,
            is_behind: false,
            looks: false,
        }
    }

    pub(super) fn sid_text(&self) -> String {
        self.sid.map(|sid| sid.to_string()).unwrap_or_default()
    }

    /// What the client has is forgotten, and what was being fetched for it.
    pub(super) fn forget(&mut self) {
        self.open = false;
        self.shown = None;
        self.welcome = None;
        self.fetching = None;
    }

    /// Nothing is asked for and nothing is to be asked.
    pub(super) fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.asking.is_none()
    }

    /// What has been asked for so long that nobody need wait for it is given up.
    pub(super) fn is_hopeless(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.is_hopeless())
    }

    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        place: &Place<'_, B>,
        frames: &mut Frames,
    ) {
        loop {
            if self.asking.is_none() {
                self.ask(place, frames);
            }
            let Some(asking) = &mut self.asking else { break };
            match asking.poll(context, &place.shared.metrics) {
                Poll::Ready(answer) => {
                    self.in_doubt |= asking.was_in_doubt() && self.says_something();
                    self.asking = None;
                    self.answered(answer, place.principal.is_staff(), frames);
                }
                Poll::Pending if asking.is_late() && self.gives_up(frames) => {}
                Poll::Pending => break,
            }
        }
        self.poll_fetch(context, place, frames);
        if self.asking.is_none() && self.welcome.is_none() && !self.jobs.is_empty() {
            // What had to wait for the welcome, or came of a resync, is asked for with the next turn.
            context.waker().wake_by_ref();
        }
    }

    /// Nobody answers: the client is told to send the same again, and what comes behind it, too: nothing may
    /// overtake it. If it may have been done, nothing more is asked for this connection. False if there is nothing
    /// to give up.
    fn gives_up(&mut self, frames: &mut Frames) -> bool {
        match self.jobs.front() {
            Some(Job::Leave { .. }) | None => return false,
            Some(Job::Reopen) => {
                self.fail_behind(frames);
                return false;
            }
            Some(_) => {}
        }
        self.doubt_what_is_asked();
        self.fail_all(frames);
        // Nothing was opened here. If it is after all, that is a place that nobody here knows of, and given up.
        self.over = self.jobs.is_empty() && self.shown.is_none();
        true
    }

    /// What is being asked is not waited for any more.
    pub(super) fn doubt_what_is_asked(&mut self) {
        let says_something = self.says_something();
        let asking = self.asking.take();
        self.in_doubt |= says_something && asking.is_some_and(|asking| asking.is_in_doubt());
        self.flying = 0;
    }

    /// Whether what is asked first makes a difference to what comes behind it.
    pub(super) fn says_something(&self) -> bool {
        self.jobs.front().is_some_and(Job::says_something)
    }

    /// All that is to be asked is to be sent again, but for leaving. Should it have been asked before, nobody knows
    /// what became of it.
    pub(super) fn fail_all(&mut self, frames: &mut Frames) {
        for job in std::mem::take(&mut self.jobs) {
            match job {
                Job::Leave { .. } | Job::Reopen => self.jobs.push_back(job),
                job => self.fail(&job, Code::Busy, None, frames),
            }
        }
        self.is_lost |= std::mem::take(&mut self.in_doubt);
    }

    fn ask(&mut self, place: &Place<'_, B>, frames: &mut Frames) {
        self.take_name(place.shared.gateway());
        let Some(first) = self.jobs.front() else { return };
        // There is no place that could be given up.
        if matches!(first, Job::Leave { .. }) && self.sid.is_none() {
            return self.drop_jobs(frames);
        }
        // Every `open` is answered before the next look at the session begins.
        if first.stands_alone() && self.welcome.is_some() {
            return;
        }
        let mut inputs = Vec::new();
        if first.stands_alone() {
            inputs.extend(self.lone_input(first, place));
            self.flying = 1;
        } else {
            let Some(session) = self.sid else { return self.drop_jobs(frames) };
            inputs = self.inputs_together(session);
            self.flying = inputs.len();
        }
        let Visitorship { partition, request } = self.request(place, inputs);
        let bus = Arc::clone(&place.shared.bus);
        self.asking = Some(Box::new(Asking::new(bus, partition, &request, place.number)));
    }

    /// The first jobs, as many as fit into one request. One that is too long for any was refused before.
    fn inputs_together(&self, session: SessionId) -> Vec<pb::ConnectionInput> {
        let mut bytes = 0_usize;
        let jobs = self.jobs.iter().take(TOGETHER_MAX).take_while(|job| !job.stands_alone());
        let inputs = jobs.filter_map(|job| job.input(session, self.client).map(input));
        let fits = inputs.enumerate().take_while(|(place, input)| {
            bytes = bytes.saturating_add(input_bytes(input));
            *place == 0 || bytes <= INPUTS_BYTES_MAX
        });
        fits.map(|(_, input)| input).collect()
    }

    fn lone_input(&self, job: &Job, place: &Place<'_, B>) -> Option<pb::ConnectionInput> {
        if let (Job::Leave { .. }, Some(session)) = (job, self.sid) {
            return job.input(session, self.client).map(input);
        }
        let by_name = matches!(job, Job::Open(opening) if opening.by_name);
        let claim = pb::ClientClaim { instance: client_to_bytes(self.client), last: self.last_mid };
        let attach = pb::AttachInput {
            claimed: self.name.as_ref().map(|name| format!("v2:{name}")),
            display_name: place.principal.display_name.clone().or(self.display_name.clone()),
            session: self.sid.filter(|_| !by_name).map(session_to_bytes),
            client: Some(claim),
            listens: !place.principal.may_work(),
            ..Default::default()
        };
        Some(input(connection_input::Kind::Attach(attach)))
    }

    fn request(&self, place: &Place<'_, B>, inputs: Vec<pb::ConnectionInput>) -> Visitorship {
        let visitor = place.principal.visitor;
        let partition = self.sid.map_or(visitor.placement.partition(), |sid| sid.partition());
        let gateway = self.name_of_gateway;
        let request = pb::ConnectionRequest {
            connection: Some(connection_to_pb(ConnectionId { gateway, number: place.number })),
            user: user_to_bytes(visitor.user),
            placement: visitor.placement.0,
            role: place.principal.session_role().into(),
            inputs,
        };
        let kind = Some(pb::request::Kind::Connection(request));
        let app = place.principal.app.as_str().to_owned();
        Visitorship { partition, request: pb::Request { app, kind, deaths: 0 } }
    }

    /// The session could not be opened: what was to be said in it cannot be said.
    pub(super) fn drop_jobs(&mut self, frames: &mut Frames) {
        for job in std::mem::take(&mut self.jobs) {
            self.fail(&job, Code::NotOpen, None, frames);
        }
        self.flying = 0;
        self.over = true;
        self.is_lost |= std::mem::take(&mut self.in_doubt);
    }

    /// Takes what was fanned out.
    pub(super) fn take(&mut self, batch: Arc<Batch>, frames: &mut Frames) {
        let Some(shown) = &mut self.shown else { return };
        if shown.take(batch) == Next::Resync {
            self.resync(frames);
        }
    }

    /// Tells the client to begin anew, and leaves.
    fn resync(&mut self, frames: &mut Frames) {
        let Some(shown) = self.shown.take() else { return };
        let (sid, epoch, n) = (self.sid_text(), shown.epoch.0, shown.last.0);
        frames.push(encode(&Resync { sid, epoch, n }));
        self.forget();
        self.jobs.push_back(Job::Leave { aloud: false });
    }

    /// Writes what is next, and asks for what is missing.
    pub(super) fn write(&mut self, place: &Place<'_, B>, frames: &mut Frames) {
        let Some(shown) = &mut self.shown else { return };
        if self.welcome.is_none() {
            shown.write(place.principal.viewer(), frames);
        }
        self.fetch(place);
    }

    fn fetch(&mut self, place: &Place<'_, B>) {
        let (Some(shown), Some(session), None) = (&mut self.shown, self.sid, &self.fetching) else {
            return;
        };
        let Some((from, to)) = shown.missing() else { return };
        shown.fetches();
        let fetch = pb::FetchRequest { session: session_to_bytes(session), from: from.0, to: to.0 };
        let kind = Some(pb::request::Kind::Fetch(fetch));
        let request = pb::Request { app: place.principal.app.as_str().to_owned(), kind, deaths: 0 };
        place.shared.metrics.fetched();
        let bus = Arc::clone(&place.shared.bus);
        let asking = Asking::new(bus, session.partition(), &request, place.number);
        self.fetching = Some(Box::new(asking));
    }

    fn poll_fetch(&mut self, context: &mut Context<'_>, place: &Place<'_, B>, frames: &mut Frames) {
        self.fetch(place);
        if let Some(fetching) = &mut self.fetching {
            let Poll::Ready(answer) = fetching.poll(context, &place.shared.metrics) else {
                if fetching.is_late() {
                    self.refuse_welcome(frames);
                }
                return;
            };
            self.fetching = None;
            if let Answer::Events(reply) = answer {
                self.fetched(&reply, frames);
            }
        }
        if self.welcome.is_some() && self.fetching.is_none() {
            self.say_welcome(frames);
        }
    }

    /// What can be shown cannot be found out: whoever wants to begin is told to try again.
    fn refuse_welcome(&mut self, frames: &mut Frames) {
        let Some(welcome) = self.welcome.take() else { return };
        self.fail(&Job::Open(welcome.opening), Code::Busy, None, frames);
        self.forget();
        self.jobs.push_back(Job::Leave { aloud: false });
    }

    /// Takes what was fetched. The rest is fetched when this has been written.
    fn fetched(&mut self, reply: &pb::FetchReply, frames: &mut Frames) {
        let (Some(shown), Some(session)) = (&mut self.shown, self.sid) else { return };
        let head = EventNumber(reply.head);
        let batch = Batch::new(session, shown.epoch, head, &reply.events);
        let Some(batch) = batch.ok().filter(|_| reply.epoch == shown.epoch.0) else {
            return self.resync(frames);
        };
        shown.settle_head(head);
        let first = batch.events.first().map_or(head.next(), |event| event.n);
        if let Some(welcome) = self.welcome.as_mut().filter(|_| first > shown.last.next()) {
            // Older than what is kept: the cursor does not hold.
            welcome.recovered = false;
            shown.skip_to(first);
        }
        if shown.take_fetched(batch) == Next::Resync {
            self.resync(frames);
        }
    }

    /// The answer to a job that is not possible.
    pub(super) fn fail(&self, job: &Job, code: Code, expected: Option<u64>, frames: &mut Frames) {
        match job {
            Job::Say(say) => frames.push(self.nack(say.mid, code, expected, code.advice())),
            Job::Refuse { mid, why } => {
                let (code, text) = match code {
                    Code::Malformed => (why.code, why.text.as_str()),
                    other => (other, other.advice()),
                };
                frames.push(self.nack(*mid, code, expected, text));
            }
            Job::Open(Opening { reference, .. }) | Job::Deed { reference, .. } => {
                let sid = self.sid.map(|sid| sid.to_string());
                frames.push(refusal(Some(*reference), sid, code, code.advice()));
            }
            Job::Reopen | Job::Leave { .. } => {}
        }
    }
}

/// A request, and where it goes.
struct Visitorship {
    partition: Partition,
    request: pb::Request,
}

fn input(kind: connection_input::Kind) -> pb::ConnectionInput {
    pb::ConnectionInput { received_at: shared::now().0, kind: Some(kind) }
}

/// How long a client waits before it sends the same again.
pub(super) const RETRY_AFTER_MS: u64 = 1_000;

/// Something is not possible.
pub(super) fn refusal(
    reference: Option<u64>,
    sid: Option<String>,
    code: Code,
    text: &str,
) -> bytes::Bytes {
    encode(&Refused {
        reference,
        sid,
        code,
        is_final: code.is_final(),
        retry_after_ms: (!code.is_final()).then_some(RETRY_AFTER_MS),
        text: text.to_owned(),
    })
}
