//! The store on a real Cassandra.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod faults;
mod harness;
mod rules;
mod schema;

use stentor_store::contract;

use self::harness::Database;

#[tokio::test(flavor = "multi_thread")]
async fn p10_a_real_cassandra_keeps_the_contract() {
    let database = Database::shared().await;
    contract::all(async || database.store().await).await;
}
