//! Everything is restarted, one process after the other, while people talk.

use std::time::{Duration, Instant};

use stentor_testkit::cluster::topology::Kind;

use crate::{
    load::{Load, within},
    setting::{Setting, is_long, times},
};

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_of_every_process_loses_and_doubles_nothing_not_even_of_widgets() {
    let mut setting = Setting::new(|options| options).await;
    let mut load = Load::begin(&setting.cluster).await;
    for _ in 0..times(3) {
        let begun = Instant::now();
        for name in setting.cluster.names(Kind::Nats) {
            setting.cluster.roll_nats(&name).await.unwrap();
            load.goes_on().await;
        }
        setting.cluster.kill("database").unwrap();
        load.goes_on().await;
        setting.cluster.start_again("database").await.unwrap();
        for kind in [Kind::Router, Kind::Connector, Kind::Gateway] {
            for name in setting.cluster.names(kind) {
                let status = setting.cluster.stop(&name).await.unwrap();
                assert!(status.success(), "{name}: {status}");
                // Without a connector nobody hears from the bot.
                if kind != Kind::Connector {
                    load.goes_on().await;
                }
                setting.cluster.start_again(&name).await.unwrap();
                if kind == Kind::Connector || is_long() {
                    load.goes_on().await;
                }
            }
        }
        println!("everything was restarted within {:?}", begun.elapsed());
    }
    let outcome = load.end(&setting.cluster).await;
    assert!(outcome.came_back() > 0, "nobody was cut off");
    assert!(outcome.lost().is_empty(), "P9: {:?}", outcome.lost());
    within(&outcome, Duration::from_secs(10));
    setting.end().await;
}
