//! Gateways die and are sent away.

use std::time::Duration;

use stentor_testkit::cluster::{ClusterOptions, topology::Kind};

use crate::{
    load::{Load, within},
    setting::{Setting, times},
};

#[tokio::test(flavor = "multi_thread")]
async fn f1_a_killed_gateway_loses_and_doubles_nothing_of_the_second_dialect() {
    let three = |options: ClusterOptions| options.without_database().gateways(3);
    let mut setting = Setting::new(three).await;
    let mut load = Load::begin(&setting.cluster).await;
    let names = setting.cluster.names(Kind::Gateway);
    for name in names.iter().cycle().take(times(10)) {
        setting.cluster.kill(name).unwrap();
        load.goes_on().await;
        setting.cluster.start_again(name).await.unwrap();
        load.goes_on().await;
    }
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.came_back() > 0, "nobody was cut off");
    within(&outcome, Duration::from_secs(10));
    setting.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f2_gateways_that_are_asked_to_stop_lose_nothing_not_even_of_widgets() {
    let mut setting = Setting::new(ClusterOptions::without_database).await;
    let mut load = Load::begin(&setting.cluster).await;
    for _ in 0..times(3) {
        for name in setting.cluster.names(Kind::Gateway) {
            let status = setting.cluster.stop(&name).await.unwrap();
            assert!(status.success(), "{name}: {status}");
            load.goes_on().await;
            setting.cluster.start_again(&name).await.unwrap();
            load.goes_on().await;
        }
    }
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.came_back() > 0, "nobody was cut off");
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    within(&outcome, Duration::from_secs(10));
    setting.end().await;
}
