//! P10: the log on JetStream keeps the contract that the one in memory keeps.

use stentor_testkit::NatsOptions;

use crate::harness::Server;

#[tokio::test]
async fn p10_the_log_on_one_server_keeps_the_contract() {
    let server = Server::start().await;
    stentor_cluster::contract::all(async || server.log().await).await;
}

#[tokio::test]
async fn p10_the_log_on_three_servers_keeps_the_contract() {
    let server = Server::with(NatsOptions { nodes: 3, ..NatsOptions::default() }).await;
    stentor_cluster::contract::all(async || server.log().await).await;
}
