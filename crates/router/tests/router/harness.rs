//! A router over a log in memory, spoken to the way a gateway and a connector do.
#![expect(unreachable_pub, reason = "a module of a test")]

use std::{sync::Arc, time::Duration};

use prost::Message;
use stentor_apps::AppSet;
use stentor_cluster::{
    EffectDelivery, Effects, Fanout, GatewayMessage, Ingress, Log, Ownership, PartitionLog,
    local::{LocalBus, LocalEnds},
};
use stentor_router::{Config, LogFailed, Router};
use stentor_store::Store;
use stentor_types::{AppId, Event, GatewayId, SessionId, Visitor};
use stentor_wire::{decode_event, pb, session_id, session_to_bytes, user_to_bytes};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; reached only when something never happens.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Town {
    pub bus: LocalBus,
    pub effects: mpsc::Receiver<EffectDelivery>,
    pub fanout: mpsc::Receiver<GatewayMessage>,
    pub gateway: GatewayId,
    pub app: AppId,
    /// What requests say of owners that were lost over them.
    pub deaths: u32,
    registry: prometheus::Registry,
    drain: CancellationToken,
    running: JoinHandle<Result<(), LogFailed>>,
    _apps: watch::Sender<Arc<AppSet>>,
}

/// What a gateway knows of one socket.
#[derive(Clone)]
pub struct Socket {
    pub number: u64,
    pub visitor: Visitor,
    pub session: Option<SessionId>,
    pub counter: u64,
}

/// One app with a bot.
pub fn apps() -> AppSet {
    apps_keeping("72h")
}

/// The same, whose log keeps what is as old as that.
pub fn apps_keeping(log: &str) -> AppSet {
    let text = format!(
        "{{apiVersion: stentor.dev/v1alpha1, kind: ChatApp, metadata: {{name: demo}}, \
         spec: {{bot: {{url: 'http://127.0.0.1:9/bot'}}, retention: {{log: {log}}}}}}}"
    );
    AppSet::new([stentor_apps::parse(&text, std::path::Path::new(".")).unwrap()])
}

impl Town {
    pub fn open<L: Log, S: Store>(
        log: &Arc<L>,
        store: &Arc<S>,
        apps: AppSet,
        gateway: u64,
        config: Config,
    ) -> Self {
        let (bus, ends) = LocalBus::new();
        Self::open_on(log, store, apps, gateway, config, Arc::new(bus.clone()), (bus, ends))
    }

    /// A router that speaks over `routers_bus`, which is `bus` with something about it.
    pub fn open_on<L: Log, S: Store, B: Fanout + Effects + Ownership>(
        log: &Arc<L>,
        store: &Arc<S>,
        apps: AppSet,
        gateway: u64,
        config: Config,
        routers_bus: Arc<B>,
        ends: (LocalBus, LocalEnds),
    ) -> Self {
        let (sender, apps) = watch::channel(Arc::new(apps));
        let registry = prometheus::Registry::new();
        let router =
            Router::new(config, Arc::clone(log), Arc::clone(store), routers_bus, apps, &registry)
                .unwrap();
        Self::run(router, sender, gateway, ends, registry)
    }

    /// A router over a log that it shares with others.
    pub fn open_shared<L: PartitionLog, S: Store>(
        log: &Arc<L>,
        store: &Arc<S>,
        gateway: u64,
        config: Config,
    ) -> Self {
        Self::open_shared_for(log, store, apps(), gateway, config)
    }

    /// The same, for these apps.
    pub fn open_shared_for<L: PartitionLog, S: Store>(
        log: &Arc<L>,
        store: &Arc<S>,
        apps: AppSet,
        gateway: u64,
        config: Config,
    ) -> Self {
        Self::open_shared_on(log, store, apps, gateway, config, LocalBus::new())
    }

    /// The same, over this bus.
    pub fn open_shared_on<L: PartitionLog, S: Store>(
        log: &Arc<L>,
        store: &Arc<S>,
        apps: AppSet,
        gateway: u64,
        config: Config,
        (bus, ends): (LocalBus, LocalEnds),
    ) -> Self {
        let (sender, apps) = watch::channel(Arc::new(apps));
        let registry = prometheus::Registry::new();
        let (log, store) = (Arc::clone(log), Arc::clone(store));
        let routers_bus = Arc::new(bus.clone());
        let router = Router::shared(config, log, store, routers_bus, apps, &registry).unwrap();
        Self::run(router, sender, gateway, (bus, ends), registry)
    }

    fn run<L: Log, S: Store, B: Fanout + Effects + Ownership>(
        router: Router<L, S, B>,
        apps: watch::Sender<Arc<AppSet>>,
        gateway: u64,
        (bus, ends): (LocalBus, LocalEnds),
        registry: prometheus::Registry,
    ) -> Self {
        let gateway = GatewayId(gateway);
        let fanout = bus.join(gateway);
        let drain = CancellationToken::new();
        let running = tokio::spawn(router.run(ends.requests, ends.changes, drain.clone()));
        let app = AppId::try_new("demo").unwrap();
        let effects = ends.effects;
        Self {
            bus,
            effects,
            fanout,
            gateway,
            app,
            deaths: 0,
            registry,
            drain,
            running,
            _apps: apps,
        }
    }

    /// What a gauge or a counter says, over all its labels.
    pub fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let Some(family) = families.iter().find(|family| family.name() == name) else { return 0.0 };
        let is_counter = family.get_field_type() == prometheus::proto::MetricType::COUNTER;
        let value = |metric: &prometheus::proto::Metric| {
            if is_counter {
                metric.get_counter().get_value()
            } else {
                metric.get_gauge().get_value()
            }
        };
        family.get_metric().iter().map(value).sum()
    }

    pub fn socket(&self, number: u64, user: &str) -> Socket {
        Socket { number, visitor: Visitor::of(&self.app, user), session: None, counter: 0 }
    }

    /// Drains the router.
    pub async fn close(self) {
        self.drain.cancel();
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap().unwrap();
    }

    /// How the router ends by itself.
    pub async fn ended(self) -> Result<(), LogFailed> {
        tokio::time::timeout(PATIENCE, self.running).await.unwrap().unwrap()
    }

    /// Ends the router without any notice.
    pub async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
    }

    pub async fn send(
        &self,
        socket: &Socket,
        kind: pb::connection_input::Kind,
    ) -> pb::input_reply::Kind {
        let connection = pb::ConnectionRequest {
            connection: Some(pb::Connection { gateway: self.gateway.0, number: socket.number }),
            user: user_to_bytes(socket.visitor.user),
            placement: socket.visitor.placement.0,
            role: pb::Role::Visitor.into(),
            inputs: vec![pb::ConnectionInput { received_at: 1_000_000, kind: Some(kind) }],
        };
        let kind = pb::request::Kind::Connection(connection);
        let reply = self.ask(socket.visitor.placement.partition(), kind).await;
        let Some(pb::reply::Kind::Connection(mut reply)) = reply.kind else { panic!("{reply:?}") };
        reply.results.remove(0).kind.unwrap()
    }

    pub async fn ask(
        &self,
        partition: stentor_types::Partition,
        kind: pb::request::Kind,
    ) -> pb::Reply {
        let request = pb::Request { app: "demo".into(), kind: Some(kind), deaths: self.deaths };
        let answer = self.bus.request(partition, request.encode_to_vec().into());
        let bytes = tokio::time::timeout(PATIENCE, answer).await.unwrap().unwrap();
        pb::Reply::decode(bytes).unwrap()
    }

    pub async fn attach(&self, socket: &mut Socket, claimed: Option<&str>) -> pb::AttachedReply {
        let attach = pb::AttachInput {
            claimed: claimed.map(str::to_owned),
            display_name: Some("Visitor".into()),
            client_time: None,
            counter: socket.counter,
            ..Default::default()
        };
        match self.send(socket, pb::connection_input::Kind::Attach(attach)).await {
            pb::input_reply::Kind::Attached(attached) => {
                socket.session = Some(session_id(&attached.session).unwrap());
                attached
            }
            other => panic!("{other:?}"),
        }
    }

    pub async fn say(&self, socket: &mut Socket, text: &str) -> pb::input_reply::Kind {
        socket.counter += 1;
        self.say_again(socket, text).await
    }

    pub async fn say_again(&self, socket: &Socket, text: &str) -> pb::input_reply::Kind {
        let say = pb::SayInput {
            session: session_to_bytes(socket.session.unwrap()),
            counter: socket.counter,
            client_time: None,
            text: Some(text.to_owned()),
            greeting: false,
            body: format!(r#"{{"rawQuery":"{text}"}}"#).into(),
            request: format!(r#"{{"rawQuery":"{text}","accessToken":"secret"}}"#).into(),
            ..Default::default()
        };
        self.send(socket, pb::connection_input::Kind::Say(say)).await
    }

    /// Says several things with one request.
    pub async fn say_together(
        &self,
        socket: &mut Socket,
        texts: &[String],
    ) -> Vec<pb::input_reply::Kind> {
        let inputs = texts.iter().map(|text| {
            socket.counter += 1;
            let say = pb::SayInput {
                session: session_to_bytes(socket.session.unwrap()),
                counter: socket.counter,
                text: Some(text.clone()),
                body: format!(r#"{{"rawQuery":"{text}"}}"#).into(),
                request: format!(r#"{{"rawQuery":"{text}"}}"#).into(),
                ..Default::default()
            };
            let kind = Some(pb::connection_input::Kind::Say(say));
            pb::ConnectionInput { received_at: 1_000_000, kind }
        });
        let inputs = inputs.collect();
        let connection = pb::ConnectionRequest {
            connection: Some(pb::Connection { gateway: self.gateway.0, number: socket.number }),
            user: user_to_bytes(socket.visitor.user),
            placement: socket.visitor.placement.0,
            role: pb::Role::Visitor.into(),
            inputs,
        };
        let kind = pb::request::Kind::Connection(connection);
        let reply = self.ask(socket.visitor.placement.partition(), kind).await;
        let Some(pb::reply::Kind::Connection(reply)) = reply.kind else { panic!("{reply:?}") };
        reply.results.into_iter().map(|result| result.kind.unwrap()).collect()
    }

    pub async fn effect(&mut self) -> pb::Effect {
        let next = tokio::time::timeout(PATIENCE, self.effects.recv()).await.unwrap().unwrap();
        pb::Effect::decode(next.effect).unwrap()
    }

    pub async fn answer(&self, effect: &pb::Effect, body: &str) {
        let answer = pb::OutcomeAnswer { body: body.to_owned().into(), handoff: false };
        let outcome = pb::OutcomeRequest {
            session: effect.session.clone(),
            epoch: effect.epoch,
            turn: effect.turn,
            attempt: effect.attempt,
            result: Some(pb::outcome_request::Result::Answer(answer)),
        };
        let partition = session_id(&effect.session).unwrap().partition();
        let reply = self.ask(partition, pb::request::Kind::Outcome(outcome)).await;
        assert!(matches!(
            reply.kind,
            Some(pb::reply::Kind::Outcome(pb::OutcomeReply {
                kind: Some(pb::outcome_reply::Kind::Settled(true))
            }))
        ));
    }

    /// All events of a session, asked for again.
    pub async fn events(&self, session: SessionId) -> Vec<Event> {
        let fetch = pb::FetchRequest { session: session_to_bytes(session), from: 1, to: u64::MAX };
        let reply = self.ask(session.partition(), pb::request::Kind::Fetch(fetch)).await;
        let Some(pb::reply::Kind::Fetch(reply)) = reply.kind else { panic!("{reply:?}") };
        reply.events.iter().map(|event| decode_event(event).unwrap()).collect()
    }

    /// Fan-out messages from now on, to be read by the caller.
    pub fn take_fan_out(&mut self) -> mpsc::Receiver<GatewayMessage> {
        std::mem::replace(&mut self.fanout, mpsc::channel(1).1)
    }

    /// The next fan-out message.
    pub async fn fan_out(&mut self) -> pb::Fanout {
        let message = tokio::time::timeout(PATIENCE, self.fanout.recv()).await.unwrap().unwrap();
        fan_out(message)
    }
}

/// What a gateway is told.
pub fn fan_out(message: GatewayMessage) -> pb::Fanout {
    let GatewayMessage::Fanout(bytes) = message else { panic!("{message:?}") };
    pb::Fanout::decode(bytes).unwrap()
}
