//! What gateways are told in the end, of lists and of sessions, over a bus that has no room or loses it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use bytes::Bytes;
use prost::Message as _;
use stentor_cluster::{Effects, Fanout, Ownership, PublishOutcome, local::LocalBus};
use stentor_router::Config;
use stentor_store::Store as _;
use stentor_types::{AppId, GatewayId, Partition};
use stentor_wire::pb;

use crate::{
    epochs::{clock, until},
    harness::{self, Socket, Town},
    parts,
};

/// A bus that takes nothing for gateways while it is told to: says so, or, if it is lossy, does not.
#[derive(Debug)]
struct MoodyBus<const LOSSY: bool> {
    inner: LocalBus,
    takes: AtomicBool,
    /// Messages with changes in lists that were not taken.
    untold: AtomicUsize,
}

impl<const LOSSY: bool> Fanout for MoodyBus<LOSSY> {
    const LOSSY: bool = LOSSY;

    fn publish(&self, gateway: GatewayId, message: Bytes) -> PublishOutcome {
        if self.takes.load(Ordering::SeqCst) {
            return Fanout::publish(&self.inner, gateway, message);
        }
        let told = !pb::Fanout::decode(message).unwrap().listed.is_empty();
        self.untold.fetch_add(usize::from(told), Ordering::SeqCst);
        if LOSSY { PublishOutcome::Sent } else { PublishOutcome::Full }
    }

    fn gateways(&self) -> Vec<GatewayId> {
        self.inner.gateways()
    }

    fn is_gone(&self, _: GatewayId) -> bool {
        false
    }
}

impl<const LOSSY: bool> Effects for MoodyBus<LOSSY> {
    fn publish(&self, app: &AppId, effect: Bytes) -> PublishOutcome {
        Effects::publish(&self.inner, app, effect)
    }
}

impl<const LOSSY: bool> Ownership for MoodyBus<LOSSY> {
    fn holds(&self, _: Partition) -> bool {
        true
    }

    async fn confirm(&self, _: Partition) -> bool {
        true
    }
}

fn open<const LOSSY: bool>(
    (log, store): &(
        Arc<stentor_cluster::memory::MemoryLog>,
        Arc<stentor_store::memory::MemoryStore>,
    ),
    config: Config,
) -> (Town, Arc<MoodyBus<LOSSY>>) {
    let (inner, ends) = LocalBus::new();
    let bus = Arc::new(MoodyBus {
        inner: inner.clone(),
        takes: AtomicBool::new(true),
        untold: AtomicUsize::new(0),
    });
    let (apps, routers_bus) = (harness::apps(), Arc::clone(&bus));
    (Town::open_on(log, store, apps, 1, config, routers_bus, (inner, ends)), bus)
}

/// Somebody says something, and no gateway is told what lists show now.
async fn say_unheard<const LOSSY: bool>(town: &mut Town, bus: &MoodyBus<LOSSY>) -> Socket {
    let mut socket = town.socket(1, "user-a");
    bus.takes.store(false, Ordering::SeqCst);
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "hello").await;
    until(async || bus.untold.load(Ordering::SeqCst) > 0).await;
    while town.fanout.try_recv().is_ok() {}
    bus.takes.store(true, Ordering::SeqCst);
    socket
}

/// What the gateway is told of lists next.
async fn told(town: &mut Town) -> pb::Fanout {
    loop {
        let fanout = town.fan_out().await;
        if fanout.listed_number > 0 {
            return fanout;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cluster_16_a_gateway_that_had_no_room_for_a_change_in_lists_learns_of_it_if_nothing_more_happens()
 {
    let (mut town, bus) = open::<false>(&parts(), Config::default());
    say_unheard(&mut town, &bus).await;
    let told = told(&mut town).await;
    assert!(told.listed.is_empty() && told.listed_by != 0, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn cluster_16_a_change_in_lists_that_the_bus_lost_leaves_a_number_that_is_missing() {
    let (mut town, bus) = open::<true>(&parts(), Config::default());
    say_unheard(&mut town, &bus).await;
    let repeated = told(&mut town).await;
    assert!(repeated.listed.is_empty() && repeated.listed_by != 0, "{repeated:?}");
    // Of whatever app the next change is: it does not hide that one is missing.
    let mut other = town.socket(2, "user-b");
    town.attach(&mut other, Some("claimed")).await;
    town.say(&mut other, "hello").await;
    let next = loop {
        let next = told(&mut town).await;
        if !next.listed.is_empty() {
            break next;
        }
    };
    assert_eq!(next.listed_by, repeated.listed_by);
    assert_eq!(next.listed_number, repeated.listed_number + 1);
}

#[tokio::test(start_paused = true)]
async fn cluster_16_what_an_owner_wrote_to_lists_and_told_nobody_is_told_by_the_next() {
    let (parts, (_, config)) = (parts(), clock());
    let (mut old, bus) = open::<true>(&parts, config.clone());
    let socket = say_unheard(&mut old, &bus).await;
    let (app, session) = (old.app.clone(), socket.session.unwrap());
    old.kill().await;
    let there = parts.1.listing(&app, session).await.unwrap();
    assert!(there.is_some(), "it had been written before it was told");
    let (mut new, _bus) = open::<true>(&parts, config);
    let told = loop {
        let told = told(&mut new).await;
        if !told.listed.is_empty() {
            break told;
        }
    };
    assert_eq!(told.listed[0].session, stentor_wire::session_to_bytes(session));
}

#[tokio::test(start_paused = true)]
async fn i15_a_gateway_that_had_no_room_for_events_learns_how_far_the_session_is() {
    let (mut town, bus) = open::<false>(&parts(), Config::default());
    let socket = say_unheard(&mut town, &bus).await;
    let session = socket.session.unwrap();
    let heads = loop {
        let told = town.fan_out().await;
        if !told.heads.is_empty() {
            break told.heads;
        }
    };
    let last = town.events(session).await.last().unwrap().n;
    assert_eq!(heads.len(), 1);
    assert_eq!((&heads[0].session, heads[0].n), (&stentor_wire::session_to_bytes(session), last.0));
    assert_eq!(heads[0].connections, [socket.number]);
}
