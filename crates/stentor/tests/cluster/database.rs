//! The database is away, and a router dies meanwhile.

use std::time::Duration;

use stentor_testkit::{PATIENCE, cluster::topology::Kind};
use tokio::time::Instant;

use crate::{
    load::{Load, within},
    routers::owner,
    setting::{Setting, times},
};

/// How long the database is away: ten minutes in full.
const AWAY: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn f11_conversations_go_on_without_a_database_also_with_a_new_owner() {
    let mut setting = Setting::new(|options| options).await;
    let mut load = Load::begin(&setting.cluster).await;
    setting.cluster.kill("database").unwrap();
    load.goes_on().await;
    let owner = owner(&setting.cluster).await;
    setting.cluster.kill(&owner).unwrap();
    load.goes_on().await;
    setting.cluster.start_again(&owner).await.unwrap();
    // The length of the fault itself.
    tokio::time::sleep(AWAY * u32::try_from(times(60)).unwrap()).await;
    load.goes_on().await;
    setting.cluster.start_again("database").await.unwrap();
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    within(&outcome, Duration::from_secs(5));
    // What waited is written now.
    let until = Instant::now() + 2 * PATIENCE;
    for name in setting.cluster.names(Kind::Router) {
        loop {
            let behind = setting
                .cluster
                .metric(&name, "stentor_router_projector_partitions_behind")
                .await
                .unwrap();
            if behind < 1.0 {
                break;
            }
            assert!(Instant::now() < until, "{name} is behind with {behind} partitions");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    setting.end().await;
}
