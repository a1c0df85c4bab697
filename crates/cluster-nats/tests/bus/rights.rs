//! Every role can do its work with the rights that it has on NATS.

use std::fmt::Write as _;

use stentor_cluster::{Fanout, GatewayMessage, Ingress, Ownership, PublishOutcome};
use stentor_testkit::{Nats, NatsOptions};
use stentor_types::GatewayId;
use stentor_wire::LOGIC;

use crate::{
    effects::{TestConnector, make_stream, offer},
    harness::{TestGateway, TestRouter, hurried, partition, soon, until},
};

const ACCOUNTS: &str = include_str!("../../../../deploy/nats/accounts.conf");

#[tokio::test(flavor = "multi_thread")]
async fn s17_the_rights_of_each_role_are_enough_for_the_bus() {
    let mut extra = String::new();
    for user in ["gateway", "router", "connector", "operator", "system"] {
        let name = user.to_uppercase();
        writeln!(extra, "STENTOR_NATS_{name}_PASSWORD: {user}-hush").unwrap();
    }
    extra.push_str(ACCOUNTS);
    let nats = Nats::with(NatsOptions { extra, ..NatsOptions::default() }).await.unwrap();
    let url = |user: &str| format!("{user} at {}", nats.url());
    make_stream(&url("router")).await;

    // Partitions are taken, asked for, and handed over.
    let mut a = TestRouter::start(&url("router"), "router-a", hurried()).await;
    a.owns(64).await;
    assert_eq!(a.bus.finalized(), LOGIC, "a new cluster begins at the newest version");
    let b = TestRouter::start(&url("router"), "router-b", hurried()).await;
    until("it is given something", || !b.owned().is_empty()).await;
    a.drain().await;
    b.owns(64).await;

    // Requests, fan-out and effects arrive.
    let mut gateway = TestGateway::start(&url("gateway"), 7, hurried()).await;
    assert_eq!(gateway.ask(partition(0), "x").await, "router-b x");
    until("it is known", || b.bus.gateways() == [GatewayId(7)]).await;
    assert_eq!(b.bus.publish(GatewayId(7), "y".into()), PublishOutcome::Sent);
    let message = soon("a message", gateway.ends.messages.recv()).await;
    assert_eq!(message, Some(GatewayMessage::Fanout("y".into())));
    let mut connector = TestConnector::start(&url("connector"), hurried(), 8).await;
    offer(&b, "z");
    let delivery = connector.next().await;
    assert_eq!(delivery.effect, "z");
    let answer = connector.bus.request(partition(0), "outcome".into());
    assert_eq!(soon("an answer", answer).await.unwrap(), "router-b outcome");
    delivery.done.send(()).unwrap();
    until("the server has confirmed", || connector.done() == 1.0).await;
}
