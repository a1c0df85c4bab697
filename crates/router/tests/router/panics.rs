//! A log over which parts of the router panic, and what goes on all the same.

use std::time::Duration;

use stentor_router::Config;
use stentor_wire::pb;

use crate::{
    harness::{self, Town},
    moody_log::MoodyLog,
    parts,
};

#[tokio::test(start_paused = true)]
async fn cluster_19_a_record_that_panics_when_it_is_folded_closes_its_session_and_no_other() {
    let (log, store) = parts();
    let trapped = MoodyLog::over(&log);
    let town = Town::open(&trapped, &store, harness::apps(), 1, Config::default());
    let mut socket = town.socket(1, "user-a");
    town.attach(&mut socket, Some("claimed")).await;
    town.say(&mut socket, "one").await;
    town.kill().await;
    trapped.trap(socket.session);
    let town = Town::open(&trapped, &store, harness::apps(), 1, Config::default());
    let said = town.say_again(&socket, "two").await;
    assert!(matches!(said, pb::input_reply::Kind::Damaged(_)), "{said:?}");
    let mut other = town.socket(2, "user-b");
    town.attach(&mut other, Some("claimed")).await;
    // It is looked at again.
    trapped.trap(None);
    tokio::time::sleep(Duration::from_secs(31)).await;
    town.attach(&mut socket, Some("claimed")).await;
    let said = town.say(&mut socket, "two").await;
    assert!(matches!(said, pb::input_reply::Kind::Committed(_)), "{said:?}");
    town.close().await;
}

#[tokio::test(start_paused = true)]
async fn a_router_that_has_lost_a_part_of_itself_ends() {
    let (log, store) = parts();
    let trapped = MoodyLog::over(&log);
    let town = Town::open(&trapped, &store, harness::apps(), 1, Config::default());
    trapped.panic_at_writes();
    let socket = town.socket(1, "user-a");
    let attach = pb::AttachInput { claimed: Some("claimed".into()), ..Default::default() };
    let answer = town.send(&socket, pb::connection_input::Kind::Attach(attach)).await;
    assert!(matches!(answer, pb::input_reply::Kind::TryAgainMs(_)), "{answer:?}");
    assert!(town.ended().await.is_err());
}
