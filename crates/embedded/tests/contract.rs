//! P10: the embedded log and store keep the contracts that their versions in memory keep.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Mutex;

use stentor_embedded::{Embedded, Options};
use tempfile::TempDir;

/// Opens a folder of its own, which lives as long as `kept`.
fn fresh(kept: &Mutex<Vec<TempDir>>) -> Embedded {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(folder.path(), Options::default()).unwrap();
    kept.lock().unwrap().push(folder);
    embedded
}

#[tokio::test]
async fn p10_the_embedded_log_keeps_the_contract() {
    let kept = Mutex::default();
    stentor_cluster::contract::all(async || fresh(&kept)).await;
}

#[tokio::test]
async fn p10_the_embedded_store_keeps_the_contract() {
    let kept = Mutex::default();
    stentor_store::contract::all(async || fresh(&kept)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn p10_the_contracts_hold_on_many_threads() {
    let kept = Mutex::default();
    stentor_cluster::contract::a_whole_trim_never_hides_an_append_beside_it(&fresh(&kept)).await;
    stentor_cluster::contract::of_many_rivals_one_wins(&fresh(&kept)).await;
    stentor_store::contract::writes_at_once_are_judged_like_writes_in_turn(&fresh(&kept)).await;
}
