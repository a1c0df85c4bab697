//! Rule 20 of the cluster: a session of many agents, and what may be written of it.

use std::sync::atomic::Ordering;

use stentor_cluster::{Log, memory::MemoryLog};
use stentor_postoffice::CROWD_MIN;
use stentor_types::{EventKind, Sequence, SessionId, Visitor};
use stentor_wire::{CROWDS, decode_commit, pb, session_to_bytes, user_to_bytes};

use crate::{
    epochs::entity,
    harness::Town,
    ownership::{Cluster, open},
    parts,
};

/// Agent `number` comes to listen, and speaks the second dialect.
async fn listen(town: &Town, visitor: Visitor, session: SessionId, number: u64) -> pb::SessionView {
    let claim =
        pb::ClientClaim { instance: u128::from(number).to_be_bytes().to_vec().into(), last: 0 };
    let attach = pb::AttachInput {
        session: Some(session_to_bytes(session)),
        client: Some(claim),
        ..Default::default()
    };
    let connection = pb::ConnectionRequest {
        connection: Some(pb::Connection { gateway: town.gateway.0, number: 1_000 + number }),
        user: user_to_bytes(Visitor::of(&town.app, &format!("agent {number}")).user),
        placement: visitor.placement.0,
        role: pb::Role::Agent.into(),
        inputs: vec![pb::ConnectionInput {
            received_at: 1_000_000,
            kind: Some(pb::connection_input::Kind::Attach(attach)),
        }],
    };
    let kind = pb::request::Kind::Connection(connection);
    let reply = town.ask(visitor.placement.partition(), kind).await;
    let Some(pb::reply::Kind::Connection(mut reply)) = reply.kind else { panic!("{reply:?}") };
    match reply.results.remove(0).kind {
        Some(pb::input_reply::Kind::Attached(attached)) => attached.view.expect("a view"),
        other => panic!("{other:?}"),
    }
}

/// How many are told of as one of many, and how many by themselves.
async fn joined(log: &MemoryLog, town: &Town, session: SessionId) -> (usize, usize) {
    let records = log.read(&entity(town, session), Sequence(0), usize::MAX).await.unwrap();
    let events = records.iter().flat_map(|it| decode_commit(&it.record).unwrap().commit.events);
    let counted: Vec<_> = events
        .filter_map(|event| match event.kind {
            EventKind::Joined { counted, .. } => Some(counted),
            _ => None,
        })
        .collect();
    let many = counted.iter().filter(|counted| **counted).count();
    (many, counted.len() - many)
}

async fn fill(cluster: &Cluster, from: u64, to: u64) -> (SessionId, pb::SessionView) {
    let mut socket = cluster.town.socket(1, "user-a");
    cluster.take(socket.visitor.placement.partition()).await;
    cluster.town.attach(&mut socket, Some("claimed")).await;
    let session = socket.session.unwrap();
    let mut view = pb::SessionView::default();
    for number in from..=to {
        view = listen(&cluster.town, socket.visitor, session, number).await;
    }
    (session, view)
}

#[tokio::test]
async fn cluster_20_a_count_waits_for_version_two() {
    let (log, store) = parts();
    let cluster = open(&log, &store);
    cluster.bus.finalized.store(CROWDS - 1, Ordering::SeqCst);
    let many = CROWD_MIN as u64 + 4;
    let (session, _) = fill(&cluster, 1, many).await;
    assert_eq!(joined(&log, &cluster.town, session).await, (0, CROWD_MIN + 5));
    cluster.bus.finalized.store(CROWDS, Ordering::SeqCst);
    fill(&cluster, many + 1, many + 2).await;
    assert_eq!(joined(&log, &cluster.town, session).await, (2, CROWD_MIN + 5));
}

#[tokio::test]
async fn cluster_20_a_view_names_those_who_speak_and_a_few_of_those_who_listen() {
    let (log, store) = parts();
    let cluster = open(&log, &store);
    let (_, view) = fill(&cluster, 1, CROWD_MIN as u64 + 3).await;
    assert_eq!((view.people.len(), view.more), (1 + CROWD_MIN, 3));
    assert_eq!(view.people[0].role(), pb::Role::Visitor);
}
