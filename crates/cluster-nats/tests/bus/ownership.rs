//! Who owns what, and how that changes without anybody noticing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use stentor_cluster::{Ingress, Ownership};
use stentor_cluster_nats::{Timings, Trouble};
use stentor_testkit::Nats;
use stentor_types::Partition;

use crate::{
    harness::{
        PATIENCE, TestGateway, TestRouter, all, connect, count, hurried, owners, partition, soon,
        stays, until,
    },
    proxy::{Line, Proxy},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_first_router_owns_everything_at_once() {
    let nats = Nats::start().await.unwrap();
    let began = Instant::now();
    let router = TestRouter::start(&nats.url(), "a", Timings::default()).await;
    router.owns(64).await;
    let took = began.elapsed();
    assert!(took < Timings::default().gone_after, "{took:?}");
    until("it is ready", || router.state().is_ready()).await;
    assert!(Partition::all().all(|partition| router.bus.holds(partition)));
    until("all is taken up", || {
        let state = router.state();
        state.taking_up == 0 && state.owned == 64
    })
    .await;
    assert!(soon("an answer", router.bus.confirm(partition(3))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_routers_share_all_partitions_and_each_has_one_owner() {
    let nats = Nats::start().await.unwrap();
    let url = nats.url();
    let (a, b) = tokio::join!(
        TestRouter::start(&url, "router-a", hurried()),
        TestRouter::start(&url, "router-b", hurried()),
    );
    until("each has its share", || {
        let (a, b) = (a.owned(), b.owned());
        a.len() + b.len() == 64 && a.len() > 20 && b.len() > 20
    })
    .await;
    assert!(a.owned().is_disjoint(&b.owned()));
    let gateway = TestGateway::start(&url, 1, hurried()).await;
    for (partition, owner) in owners(&gateway).await {
        let expected = if a.owned().contains(&partition) { "router-a" } else { "router-b" };
        assert_eq!(owner, expected, "{partition}");
    }
    assert_eq!(a.told_count("lost") + b.told_count("lost"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_13_of_two_routers_that_take_the_same_partition_one_gets_it() {
    let nats = Nats::start().await.unwrap();
    let url = nats.url();
    // Neither looks again: for each, what the other has taken still seems to be nobody's. Nor do they hand over,
    // should one have been there first.
    let timings = Timings { records_every: PATIENCE, ask_after: 10 * PATIENCE, ..hurried() };
    let (a, b) = tokio::join!(
        TestRouter::start(&url, "router-a", timings),
        TestRouter::start(&url, "router-b", timings),
    );
    until("everything has an owner", || a.owned().len() + b.owned().len() >= 64).await;
    // By then each has tried to take what seemed to be left over.
    let race = timings.takeover_after * 2 + timings.first_claim_after;
    stays("each has one owner", race, || a.owned().is_disjoint(&b.owned())).await;
    assert_eq!(a.owned().len() + b.owned().len(), 64);
    assert_eq!(a.told_count("lost") + b.told_count("lost"), 0);
    let line = connect(&url, "reader").await;
    let bucket = line.jetstream().get_stream("KV_STENTOR_owner").await.unwrap();
    let written = bucket.cached_info().state.last_sequence;
    assert_eq!(written, 64, "each record was written once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_is_handed_its_share_and_nothing_is_ever_taken_from_the_living() {
    let nats = Nats::start().await.unwrap();
    let old = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    old.owns(64).await;
    let new = TestRouter::start(&nats.url(), "router-b", hurried()).await;
    let share = {
        until("it has its share", || {
            let (old, new) = (old.owned().len(), new.owned().len());
            new > 20 && old + new == 64
        })
        .await;
        new.owned()
    };
    // From then on nothing moves.
    stays("nobody moves", Duration::from_secs(2), || new.owned().len() >= share.len()).await;
    let share = new.owned();
    stays("nobody moves", Duration::from_secs(2), || new.owned() == share).await;
    assert_eq!(old.told_count("lost") + new.told_count("lost"), 0);
    assert_eq!(old.told_count("release"), share.len());
    assert_eq!(count(&new.registry, "partitions_taken_total", Some("dead")), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn f3_what_a_killed_router_owned_is_owned_again_within_five_seconds() {
    let nats = Nats::start().await.unwrap();
    let timings = Timings::default();
    let a = TestRouter::start(&nats.url(), "router-a", timings).await;
    a.owns(64).await;
    let b = TestRouter::start(&nats.url(), "router-b", timings).await;
    until("it is ready", || b.state().is_ready()).await;
    let gateway = TestGateway::start(&nats.url(), 1, timings).await;
    // It has been heard for long enough to be missed.
    tokio::time::sleep(timings.takeover_after).await;
    let began = Instant::now();
    a.kill();
    assert_eq!(gateway.ask(partition(7), "who").await, "router-b who");
    b.owns(64).await;
    let took = began.elapsed();
    println!("owned again after {took:?}; promised: 5 s");
    assert!(took < timings.gone_after, "{took:?}");
    assert!(took > timings.hold_for, "{took:?}");
    assert_eq!(count(&b.registry, "partitions_taken_total", Some("dead")), 64.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_router_waits_until_its_former_life_must_be_over() {
    let nats = Nats::start().await.unwrap();
    let former = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    former.owns(64).await;
    former.kill();
    let began = Instant::now();
    let next = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    next.owns(64).await;
    let took = began.elapsed();
    assert!(took >= hurried().takeover_after, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_left_in_order_is_followed_at_once() {
    let nats = Nats::start().await.unwrap();
    let mut former = TestRouter::start(&nats.url(), "router-a", Timings::default()).await;
    former.owns(64).await;
    former.drain().await;
    assert_eq!(former.told_count("release"), 64);
    let began = Instant::now();
    let next = TestRouter::start(&nats.url(), "router-a", Timings::default()).await;
    next.owns(64).await;
    let took = began.elapsed();
    assert!(took < Timings::default().takeover_after, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn p8_a_drain_hands_everything_over_and_no_request_waits_for_being_asked_again() {
    let nats = Nats::start().await.unwrap();
    let mut a = TestRouter::start(&nats.url(), "router-a", Timings::default()).await;
    a.owns(64).await;
    let b = TestRouter::start(&nats.url(), "router-b", Timings::default()).await;
    until("it is ready", || b.state().is_ready()).await;
    let gateway = TestGateway::start(&nats.url(), 1, Timings::default()).await;
    // One visitor of each partition, who speaks all the time.
    let stop = tokio_util::sync::CancellationToken::new();
    let mut visitors = tokio::task::JoinSet::new();
    for partition in Partition::all() {
        let (bus, stop) = (gateway.bus.clone(), stop.clone());
        visitors.spawn(async move {
            let (mut longest, mut last) = (Duration::ZERO, Bytes::new());
            while !stop.is_cancelled() {
                let began = Instant::now();
                last = bus.request(partition, Bytes::from_static(b"x")).await.unwrap();
                longest = longest.max(began.elapsed());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            (longest, last)
        });
    }
    a.drain().await;
    b.owns(64).await;
    // Everybody is answered by the new owner before it ends.
    owners(&gateway).await;
    stop.cancel();
    let visitors = soon("the visitors", visitors.join_all()).await;
    let longest = visitors.iter().map(|(longest, _)| *longest).max().unwrap();
    println!("the longest wait was {longest:?}; promised: 500 ms");
    assert!(longest < Timings::default().try_for, "{longest:?}: a request was lost on the way");
    assert_eq!(a.owned().len(), 0);
    assert_eq!(b.owned(), all());
    assert_eq!(count(&b.registry, "partitions_taken_total", Some("owner")), 64.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_14_whoever_handed_a_partition_over_sends_away_whoever_still_asks_it() {
    let nats = Nats::start().await.unwrap();
    let timings = Timings { linger_for: 2 * PATIENCE, ..hurried() };
    let a = TestRouter::start(&nats.url(), "router-a", timings).await;
    a.owns(64).await;
    let b = TestRouter::start(&nats.url(), "router-b", hurried()).await;
    until("it is ready", || b.state().is_ready()).await;
    let gateway = TestGateway::start(&nats.url(), 1, hurried()).await;
    a.begin_to_drain();
    b.owns(64).await;
    let sent_away = || count(&a.registry, "ingress_requests_total", Some("busy"));
    let before = sent_away();
    owners(&gateway).await;
    until("everybody was sent away by the old owner too", || sent_away() >= before + 64.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_14_a_leaving_router_hands_over_a_few_partitions_at_a_time() {
    let nats = Nats::start().await.unwrap();
    let line = Proxy::to(&nats.url()).await;
    let a = TestRouter::start(line.url(), "router-a", hurried()).await;
    a.owns(64).await;
    let b = TestRouter::start(&nats.url(), "router-b", hurried()).await;
    until("it is ready", || b.state().is_ready()).await;
    // What it writes down does not arrive: nothing gets further than that.
    line.set(Line::Frozen);
    a.begin_to_drain();
    until("it begins", || a.told_count("release") > 0).await;
    assert!(a.told_count("release") <= 4, "{:?}", a.told());
    // And it does not wait for ever for those that come first.
    until("all are released", || a.told_count("release") == 64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_whose_clock_is_off_takes_nothing_and_says_so() {
    let nats = Nats::start().await.unwrap();
    // No two clocks agree to the microsecond.
    let timings = Timings { clock_tolerance: Duration::ZERO, ..hurried() };
    let router = TestRouter::start(&nats.url(), "a", timings).await;
    let is_off = |trouble: &Trouble| matches!(trouble, Trouble::ClockOff(_));
    until("it says so", || router.state().troubles.iter().any(is_off)).await;
    assert_eq!(router.state().to_string(), "clock off by 0 s");
    stays("it takes nothing", Duration::from_secs(3), || router.owned().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_record_was_taken_away_loses_the_partition_when_it_looks() {
    let nats = Nats::start().await.unwrap();
    let timings = Timings { records_every: PATIENCE, ..hurried() };
    let router = TestRouter::start(&nats.url(), "a", timings).await;
    router.owns(64).await;
    let other = connect(&nats.url(), "other").await;
    let bucket = other.jetstream().get_key_value("STENTOR_owner").await.unwrap();
    let taken = "9999999999 router-x.0000000000000001";
    bucket.put("5", taken.into()).await.unwrap();
    // Until it looks it cannot know.
    assert!(router.bus.holds(partition(5)));
    assert!(!soon("an answer", router.bus.confirm(partition(5))).await);
    assert!(!router.bus.holds(partition(5)));
    until("the router is told", || router.told_count("lost") == 1).await;
    // Its new owner is nobody who is there: it may be taken again at once.
    assert!(router.told().contains(&("lost", partition(5))));
    assert!(soon("an answer", router.bus.confirm(partition(6))).await);
}

/// The terms that stand in the records; nothing until all partitions are `router-a`'s.
async fn terms(bucket: &async_nats::jetstream::kv::Store) -> Option<Vec<u64>> {
    let mut terms = Vec::new();
    for partition in Partition::all() {
        let entry = bucket.get(partition.to_string()).await.ok()??;
        let text = String::from_utf8(entry.to_vec()).unwrap();
        let (term, owner) = text.split_once(' ').unwrap();
        owner.starts_with("router-a.").then_some(())?;
        terms.push(term.parse().unwrap());
    }
    Some(terms)
}

/// The same, once all of them are above these.
async fn terms_above(bucket: &async_nats::jetstream::kv::Store, before: &[u64]) -> Vec<u64> {
    let waited = async {
        loop {
            let terms = terms(bucket).await;
            let are_above =
                |terms: &[u64]| terms.iter().zip(before).all(|(term, before)| term > before);
            if let Some(terms) = terms.filter(|terms| are_above(terms)) {
                return terms;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("higher terms", waited).await
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_13_records_that_are_deleted_by_hand_are_written_again_under_a_higher_term() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    router.owns(64).await;
    let other = connect(&nats.url(), "other").await;
    let bucket = other.jetstream().get_key_value("STENTOR_owner").await.unwrap();
    let before = terms(&bucket).await.unwrap();
    // One leaves a mark where it was, another nothing at all.
    bucket.delete("7").await.unwrap();
    let stream = other.jetstream().get_stream("KV_STENTOR_owner").await.unwrap();
    stream.purge().filter("$KV.STENTOR_owner.8").await.unwrap();
    let mut wanted = before.clone();
    wanted.iter_mut().for_each(|term| *term -= 1);
    wanted[7..=8].copy_from_slice(&before[7..=8]);
    let after = terms_above(&bucket, &wanted).await;
    router.owns(64).await;
    let told = router.told();
    let lost: Vec<_> = told.iter().filter(|(what, _)| *what == "lost").collect();
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert!(after[..7] == before[..7] && after[9..] == before[9..], "nothing else moves");
    until("it is ready", || router.state().is_ready()).await;
    assert!(soon("an answer", router.bus.confirm(partition(7))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_13_a_bucket_of_records_that_is_deleted_by_hand_is_made_anew_with_higher_terms() {
    let nats = Nats::start().await.unwrap();
    let router = TestRouter::start(&nats.url(), "router-a", hurried()).await;
    router.owns(64).await;
    let other = connect(&nats.url(), "other").await;
    let bucket = other.jetstream().get_key_value("STENTOR_owner").await.unwrap();
    let before = terms(&bucket).await.unwrap();
    other.jetstream().delete_stream("KV_STENTOR_owner").await.unwrap();
    terms_above(&bucket, &before).await;
    router.owns(64).await;
    until("it is ready", || router.state().is_ready()).await;
}
