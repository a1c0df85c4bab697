//! S17: what each user of `deploy/nats/accounts.conf` may do on a real server, and that everything else is
//! refused.
#![cfg(feature = "real-servers")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_nats::{Client, Event, jetstream};
use stentor_testkit::{Nats, NatsOptions};

const ACCOUNTS: &str = include_str!("../../../deploy/nats/accounts.conf");
const USERS: [&str; 4] = ["gateway", "router", "connector", "operator"];

/// What is published, and who may. What nobody may is not forgotten, but forbidden.
const PUBLISH: &[(&str, &[&str])] = &[
    ("log.0.7.demo.s.0000000000000007-00000000000000000000000000000001", &["router"]),
    ("fx.0.bot.demo", &["router"]),
    ("in.g.7", &["gateway"]),
    ("in.c.7", &["connector"]),
    ("in.o.7", &["operator"]),
    ("in.g.7.more", &[]),
    ("gw.0000000000000001", &["router"]),
    ("hb.gateway.a.0000000000000001", &["gateway"]),
    ("hb.router.a.0000000000000001", &["router"]),
    ("hb.connector.a.0000000000000001", &["connector"]),
    ("own.ask.a", &["router"]),
    ("own.give.a", &["router"]),
    ("_INBOX_gateway.a.1", &["router"]),
    ("_INBOX_connector.a.1", &["router"]),
    ("_INBOX_router.a.1", &[]),
    ("_INBOX_operator.a.1", &["router"]),
    ("$KV.STENTOR_owner.7", &["router"]),
    ("$KV.STENTOR_owner.cluster", &["router", "operator"]),
    ("$KV.STENTOR_cursors.7", &["router"]),
    ("$KV.STENTOR_trying.7", &["router"]),
    ("dead.router", &["router"]),
    ("dead.gateway", &["gateway"]),
    ("dead.connector", &[]),
    ("$JS.API.STREAM.CREATE.STENTOR_dead", &["router"]),
    ("$JS.API.STREAM.PURGE.STENTOR_dead", &[]),
    ("$JS.API.STREAM.MSG.GET.STENTOR_dead", &["router", "operator"]),
    ("$JS.API.STREAM.MSG.DELETE.STENTOR_dead", &["router"]),
    ("$JS.API.STREAM.MSG.DELETE.KV_STENTOR_owner", &[]),
    ("$JS.API.DIRECT.GET.STENTOR_dead", &["operator"]),
    ("$JS.API.STREAM.MSG.GET.KV_STENTOR_trying", &["router", "operator"]),
    ("$JS.API.DIRECT.GET.KV_STENTOR_owner.$KV.STENTOR_owner.7", &["gateway", "router", "operator"]),
    ("$KV.OTHER.7", &[]),
    ("$JS.API.STREAM.CREATE.STENTOR_log_0", &["router"]),
    ("$JS.API.STREAM.CREATE.KV_STENTOR_owner", &["router"]),
    ("$JS.API.STREAM.CREATE.MINE", &[]),
    ("$JS.API.STREAM.UPDATE.STENTOR_log_0", &["router", "operator"]),
    ("$JS.API.STREAM.UPDATE.KV_STENTOR_owner", &[]),
    ("$JS.API.STREAM.DELETE.STENTOR_log_0", &[]),
    ("$JS.API.STREAM.DELETE.KV_STENTOR_owner", &[]),
    ("$JS.API.STREAM.DELETE.KV_STENTOR_cursors", &[]),
    ("$JS.API.STREAM.PURGE.STENTOR_log_0", &["router"]),
    ("$JS.API.STREAM.PURGE.KV_STENTOR_owner", &[]),
    ("$JS.API.STREAM.MSG.GET.STENTOR_log_0", &["router", "operator"]),
    ("$JS.API.STREAM.MSG.DELETE.STENTOR_log_0", &["router"]),
    ("$JS.API.DIRECT.GET.STENTOR_log_0", &["router", "operator"]),
    ("$JS.API.DIRECT.GET.STENTOR_log_0.log.0.7.demo.s.a", &["router", "operator"]),
    ("$JS.API.DIRECT.GET.KV_STENTOR_owner", &["router", "operator"]),
    (
        "$JS.API.DIRECT.GET.KV_STENTOR_owner.$KV.STENTOR_owner.cluster",
        &["gateway", "router", "connector", "operator"],
    ),
    ("$JS.API.STREAM.SNAPSHOT.STENTOR_log_0", &[]),
    ("$JS.API.STREAM.RESTORE.STENTOR_log_0", &[]),
    ("$JS.API.STREAM.LEADER.STEPDOWN.STENTOR_log_0", &[]),
    ("$JS.API.STREAM.PEER.REMOVE.STENTOR_log_0", &[]),
    ("$JS.API.META.LEADER.STEPDOWN", &[]),
    ("$JS.API.ACCOUNT.PURGE.STENTOR", &[]),
    ("$JS.API.INFO", &["router"]),
    ("$JS.API.STREAM.LIST", &["operator"]),
    ("$JS.API.CONSUMER.CREATE.STENTOR_log_0.mine", &["operator"]),
    ("$JS.API.CONSUMER.CREATE.STENTOR_log_0.mine.log.>", &["operator"]),
    ("$JS.API.CONSUMER.CREATE.STENTOR_log_0.mine.log.0.7.demo.>", &["router", "operator"]),
    ("$JS.API.CONSUMER.CREATE.STENTOR_log_0.mine.fx.0.>", &["connector", "operator"]),
    ("$JS.API.CONSUMER.DURABLE.CREATE.STENTOR_log_0.mine", &[]),
    ("$JS.API.CONSUMER.CREATE.KV_STENTOR_owner.mine", &[]),
    ("$JS.API.CONSUMER.DELETE.STENTOR_log_0.effects", &[]),
    ("$JS.API.CONSUMER.MSG.NEXT.STENTOR_log_0.effects", &["connector", "operator"]),
    ("$JS.ACK.STENTOR_log_0.effects.1.1.1.1.0", &["connector"]),
    ("$SYS.REQ.SERVER.PING", &[]),
    ("anything.else", &[]),
];

/// What is listened to, and who may.
const SUBSCRIBE: &[(&str, &[&str])] = &[
    // What is published could be read on its way.
    ("log.>", &[]),
    ("log.0.7.demo.>", &[]),
    ("fx.>", &[]),
    ("in.g.*", &["router"]),
    ("in.c.*", &["router"]),
    ("in.o.*", &["router"]),
    ("in.>", &[]),
    ("gw.0000000000000001", &["gateway"]),
    // Which the server counts to `gw.*`; there is nothing below that.
    ("gw.>", &["gateway"]),
    ("hb.>", &["router", "operator"]),
    ("hb.gateway.a.*", &["gateway", "router", "operator"]),
    ("own.*.a", &["router"]),
    ("_INBOX_gateway.>", &["gateway"]),
    ("_INBOX_router.>", &["router"]),
    ("_INBOX_connector.>", &["connector"]),
    ("_INBOX_operator.>", &["operator"]),
    ("_INBOX.>", &[]),
    ("$KV.>", &[]),
    ("$JS.API.>", &[]),
    ("$JS.ACK.>", &[]),
    ("$SYS.>", &[]),
    (">", &[]),
];

/// One user's line, and everything that the server refused on it.
struct Line {
    client: Client,
    refused: Arc<Mutex<Vec<String>>>,
}

impl Line {
    async fn open(nats: &Nats, user: &str) -> Self {
        let refused: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&refused);
        let client =
            async_nats::ConnectOptions::with_user_and_password(user.into(), password(user))
                .custom_inbox_prefix(format!("_INBOX_{user}"))
                .event_callback(move |event| {
                    if let Event::ServerError(error) = event {
                        seen.lock().unwrap().push(error.to_string().to_lowercase());
                    }
                    std::future::ready(())
                })
                .connect(nats.url())
                .await
                .unwrap();
        Self { client, refused }
    }

    fn was_refused(&self, verb: &str, subject: &str) -> bool {
        let (verb, subject) = (verb.to_lowercase(), format!("{:?}", subject.to_lowercase()));
        let refused = self.refused.lock().unwrap();
        refused.iter().any(|error| error.contains(&verb) && error.contains(&subject))
    }

    /// Waits until the server has judged all that was sent: it does so in order, and the last is refused.
    async fn judged(&self, number: usize) {
        let fence = format!("nobody.may.{number}");
        self.client.publish(fence.clone(), "".into()).await.unwrap();
        let waiting = async {
            while !self.was_refused("publish", &fence) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(stentor_testkit::PATIENCE, waiting).await.unwrap();
    }
}

fn password(user: &str) -> String {
    format!("secret-of-{user}")
}

async fn nats() -> Nats {
    let mut extra = String::new();
    for user in USERS.into_iter().chain(["system"]) {
        let (name, password) = (user.to_uppercase(), password(user));
        writeln!(extra, "STENTOR_NATS_{name}_PASSWORD: {password}").unwrap();
    }
    extra.push_str(ACCOUNTS);
    Nats::with(NatsOptions { extra, ..NatsOptions::default() }).await.unwrap()
}

#[tokio::test]
async fn s17_each_user_may_do_its_own_work_and_no_other() {
    let nats = nats().await;
    let mut wrong = Vec::new();
    for user in USERS {
        let line = Line::open(&nats, user).await;
        for (number, (subject, may)) in PUBLISH.iter().enumerate() {
            line.client.publish(*subject, "".into()).await.unwrap();
            line.judged(number).await;
            let refused = line.was_refused("publish", subject);
            if refused == may.contains(&user) {
                wrong.push(format!("{user} publishes {subject}: refused = {refused}"));
            }
        }
        for (number, (subject, may)) in SUBSCRIBE.iter().enumerate() {
            let _subscriber = line.client.subscribe(*subject).await.unwrap();
            line.judged(PUBLISH.len() + number).await;
            let refused = line.was_refused("subscription", subject);
            if refused == may.contains(&user) {
                wrong.push(format!("{user} subscribes {subject}: refused = {refused}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn s17_a_connector_cannot_read_the_log_by_a_consumer_that_lies_about_its_filter() {
    let nats = nats().await;
    let router = Line::open(&nats, "router").await;
    let config = jetstream::stream::Config {
        name: "STENTOR_log_0".into(),
        subjects: vec!["log.0.>".into(), "fx.0.>".into()],
        ..jetstream::stream::Config::default()
    };
    jetstream::new(router.client.clone()).create_stream(config).await.unwrap();
    let connector = Line::open(&nats, "connector").await;
    let request = |filter: &str| {
        serde_json::json!({ "stream_name": "STENTOR_log_0", "action": "create",
            "config": { "name": "mine", "filter_subject": filter, "ack_policy": "explicit" } })
        .to_string()
    };
    let subject = "$JS.API.CONSUMER.CREATE.STENTOR_log_0.mine.fx.0.>";
    for lie in ["log.0.>", ">", ""] {
        let answer = connector.client.request(subject, request(lie).into()).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
        assert!(answer["error"].is_object(), "{lie:?}: {answer}");
    }
    let answer = connector.client.request(subject, request("fx.0.>").into()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer.payload).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
}

#[tokio::test]
async fn s17_nobody_comes_in_without_the_right_password() {
    let nats = nats().await;
    assert!(async_nats::connect(nats.url()).await.is_err());
    for user in USERS.into_iter().chain(["route", "admin"]) {
        let options =
            async_nats::ConnectOptions::with_user_and_password(user.into(), "wrong".into());
        assert!(options.connect(nats.url()).await.is_err(), "{user}");
    }
}
