//! Everything a bot may answer, over real HTTP, and what the session is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test"
)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use prost::Message;
use stentor_apps::AppSet;
use stentor_cluster::{BusError, EffectDelivery, Ingress};
use stentor_connector::{AddressPolicy, Config, Connector, echo_bot::EchoBot};
use stentor_types::{Partition, PlacementKey, SessionId};
use stentor_wire::{pb, session_to_bytes};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the bus of a cluster carries.
const REQUEST_MAX: usize = 256 * 1024;

/// Takes outcomes, after having failed to take as many as it is told.
#[derive(Debug)]
struct Owner {
    outcomes: mpsc::Sender<pb::OutcomeRequest>,
    deaf: AtomicUsize,
    /// The longest request that it can be sent.
    request_max: AtomicUsize,
}

impl Ingress for Owner {
    async fn request(&self, _: Partition, request: Bytes) -> Result<Bytes, BusError> {
        if request.len() > REQUEST_MAX {
            return Err(BusError::Unavailable);
        }
        if self
            .deaf
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_ok()
        {
            return Err(BusError::NoAnswer);
        }
        let (bytes, max) = (request.len(), self.request_max.load(Ordering::SeqCst));
        if bytes > max {
            return Err(BusError::TooLarge { bytes, max });
        }
        let request = pb::Request::decode(request).unwrap();
        let Some(pb::request::Kind::Outcome(outcome)) = request.kind else { panic!("{request:?}") };
        self.outcomes.send(outcome).await.unwrap();
        let settled = pb::OutcomeReply { kind: Some(pb::outcome_reply::Kind::Settled(true)) };
        Ok(pb::Reply { kind: Some(pb::reply::Kind::Outcome(settled)) }.encode_to_vec().into())
    }
}

/// A bot that answers every request with the same bytes, or never.
async fn bot(answer: Option<Vec<u8>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/bot", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (answer, log) = (answer.clone(), Arc::clone(&log));
            tokio::spawn(async move {
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut part = [0; 4096];
                    let read = stream.read(&mut part).await.unwrap_or(0);
                    if read == 0 {
                        return;
                    }
                    request.extend_from_slice(&part[..read]);
                }
                log.lock().unwrap().push(String::from_utf8_lossy(&request).into_owned());
                match answer {
                    Some(answer) => drop(stream.write_all(&answer).await),
                    None => std::future::pending().await,
                }
            });
        }
    });
    (url, seen)
}

struct Bench {
    effects: mpsc::Sender<EffectDelivery>,
    outcomes: mpsc::Receiver<pb::OutcomeRequest>,
    owner: Arc<Owner>,
    _apps: watch::Sender<Arc<AppSet>>,
}

fn delivery(effect: &pb::Effect) -> EffectDelivery {
    EffectDelivery { effect: effect.encode_to_vec().into(), done: oneshot::channel().0 }
}

fn bench(url: &str, extra: &str, private: &str) -> Bench {
    let spec =
        if url.is_empty() { "{}".into() } else { format!("{{bot: {{url: '{url}'{extra}}}}}") };
    let text = format!(
        "{{apiVersion: stentor.dev/v1alpha1, kind: ChatApp, metadata: {{name: demo}}, spec: {spec}}}"
    );
    let app = stentor_apps::parse(&text, std::path::Path::new(".")).unwrap();
    let (sender, apps) = watch::channel(Arc::new(AppSet::new([app])));
    let (outcomes, taken) = mpsc::channel(100);
    let owner = Arc::new(Owner {
        outcomes,
        deaf: AtomicUsize::new(0),
        request_max: AtomicUsize::new(usize::MAX),
    });
    let (effects, waiting) = mpsc::channel(100);
    let ranges = if private.is_empty() { Vec::new() } else { vec![private.parse().unwrap()] };
    let config = Config {
        addresses: AddressPolicy::new(ranges),
        slots: 64,
        version: "test".into(),
        drain: Duration::from_secs(1),
    };
    let registry = prometheus::Registry::new();
    let connector = Connector::new(config, Arc::clone(&owner), waiting, apps, &registry).unwrap();
    tokio::spawn(connector.run(CancellationToken::new()));
    Bench { effects, outcomes: taken, owner, _apps: sender }
}

fn effect(session: u128, attempt: u32) -> pb::Effect {
    let deadline = SystemTime::now() + Duration::from_secs(15);
    pb::Effect {
        app: "demo".into(),
        session: session_to_bytes(SessionId::new(PlacementKey(1), session)),
        epoch: 5,
        turn: 7,
        attempt,
        deadline: u64::try_from(deadline.duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap(),
        request: Bytes::from_static(br#"{"type":"INTENT_REQUEST","rawQuery":"hi"}"#),
    }
}

impl Bench {
    async fn ask(&mut self, effect: pb::Effect) -> pb::outcome_request::Result {
        self.effects.send(delivery(&effect)).await.unwrap();
        self.outcome().await
    }

    async fn outcome(&mut self) -> pb::outcome_request::Result {
        let outcome = tokio::time::timeout(PATIENCE, self.outcomes.recv()).await.unwrap().unwrap();
        assert_eq!((outcome.epoch, outcome.turn), (5, 7));
        outcome.result.unwrap()
    }
}

fn http(status: &str, kind: &str, body: &str) -> Option<Vec<u8>> {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    Some(answer.into_bytes())
}

fn short(result: &pb::outcome_request::Result) -> String {
    match result {
        pb::outcome_request::Result::Answer(answer) => {
            String::from_utf8_lossy(&answer.body).into_owned()
        }
        pb::outcome_request::Result::Empty(_) => "empty".into(),
        pb::outcome_request::Result::Failed(reason) => pb::FailureReason::try_from(*reason)
            .unwrap()
            .as_str_name()
            .replace("FAILURE_REASON_", ""),
    }
}

#[tokio::test]
async fn f6_every_odd_answer_is_understood_by_its_content() {
    let json = "application/json";
    let speech = r#"{"outputSpeech":{"displayText":"hi"}}"#;
    let cases = [
        (http("200 OK", json, speech), speech),
        (http("200 OK", "text/plain", speech), speech),
        (http("200 OK", json, ""), "empty"),
        (http("200 OK", json, "{}"), "empty"),
        (http("200 OK", json, r#"{"status":"complete"}"#), "empty"),
        (http("200 OK", "text/html", "Error: Unable to select channel."), "BAD_ANSWER"),
        (http("200 OK", json, "[1]"), "BAD_ANSWER"),
        (http("200 OK", json, "{\"outputSpeech\":"), "BAD_ANSWER"),
        (http("200 OK", json, &format!(r#"{{"name":"{}"}}"#, "x".repeat(2 << 20))), "BAD_ANSWER"),
        (http("500 Internal Server Error", json, speech), "STATUS"),
        (http("404 Not Found", "text/html", "<p>"), "STATUS"),
        (http("301 Moved\r\nLocation: http://127.0.0.1:1/", json, speech), "STATUS"),
        (Some(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"outp".to_vec()), "BAD_ANSWER"),
        (Some(b"nonsense".to_vec()), "UNREACHABLE"),
    ];
    for (answer, expected) in cases {
        let (url, _) = bot(answer).await;
        let mut bench = bench(&url, "", "127.0.0.0/8");
        let result = bench.ask(effect(1, 1)).await;
        assert_eq!(short(&result), expected);
    }
}

#[tokio::test]
async fn f6_a_bot_that_hangs_times_out_and_others_are_answered_meanwhile() {
    let (url, _) = bot(None).await;
    let mut bench = bench(&url, ", timeoutMs: 1000", "127.0.0.0/8");
    assert_eq!(short(&bench.ask(effect(1, 1)).await), "TIMED_OUT");
}

#[tokio::test]
async fn p6_all_attempts_at_one_message_carry_one_key() {
    let (url, seen) = bot(http("500 No", "text/plain", "")).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    for attempt in 1..=3 {
        bench.ask(effect(9, attempt)).await;
    }
    let seen = seen.lock().unwrap().clone();
    let keys: Vec<_> = seen
        .iter()
        .filter_map(|request| request.lines().find(|line| line.starts_with("idempotency-key")))
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert!(keys[0].ends_with("-5-7"));
    assert!(!seen[0].to_lowercase().contains("authorization"), "no key, no header");
}

#[tokio::test]
async fn f6_a_bot_that_always_fails_is_left_alone() {
    let (url, seen) = bot(http("500 No", "text/plain", "")).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    let mut ends = Vec::new();
    for session in 0..7 {
        ends.push(short(&bench.ask(effect(session, 1)).await));
    }
    assert_eq!(ends[4..], ["STATUS", "BREAKER_OPEN", "BREAKER_OPEN"]);
    assert_eq!(seen.lock().unwrap().len(), 5);
}

#[tokio::test]
async fn s13_an_address_that_is_not_allowed_is_not_called() {
    let (url, seen) = bot(http("200 OK", "application/json", "{}")).await;
    let by_name = url.replace("127.0.0.1", "localhost");
    for url in [url, by_name] {
        let mut bench = bench(&url, "", "");
        assert_eq!(short(&bench.ask(effect(1, 1)).await), "NOT_ALLOWED");
    }
    assert!(seen.lock().unwrap().is_empty());
    let mut bench = bench("", "", "");
    assert_eq!(short(&bench.ask(effect(1, 1)).await), "NOT_ALLOWED", "an app without a bot");
}

#[tokio::test]
async fn p6_an_outcome_is_told_until_somebody_has_taken_note() {
    let (url, _) = bot(http("200 OK", "application/json", "{}")).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    bench.owner.deaf.store(3, Ordering::SeqCst);
    assert_eq!(short(&bench.ask(effect(1, 1)).await), "empty");
}

#[tokio::test]
async fn an_answer_that_is_longer_than_the_bus_carries_is_told_as_a_bad_one_and_not_tried_again() {
    let long = format!(r#"{{"outputSpeech":{{"displayText":"{}"}}}}"#, "x".repeat(10_000));
    let (url, seen) = bot(http("200 OK", "application/json", &long)).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    bench.owner.request_max.store(5_000, Ordering::SeqCst);
    assert_eq!(short(&bench.ask(effect(1, 1)).await), "BAD_ANSWER");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn i13_the_same_attempt_handed_over_twice_is_made_once() {
    let (url, seen) = bot(None).await;
    let mut bench = bench(&url, ", timeoutMs: 1000", "127.0.0.0/8");
    for _ in 0..3 {
        bench.effects.send(delivery(&effect(1, 1))).await.unwrap();
    }
    assert_eq!(short(&bench.outcome().await), "TIMED_OUT");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn cluster_24_an_attempt_handed_over_twice_is_done_with_only_once_its_outcome_is_taken() {
    let (url, seen) = bot(http("200 OK", "application/json", "{}")).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    bench.owner.deaf.store(usize::MAX, Ordering::SeqCst);
    let mut copies = Vec::new();
    for _ in 0..2 {
        let (done, told) = oneshot::channel();
        let effect = effect(1, 1).encode_to_vec().into();
        bench.effects.send(EffectDelivery { effect, done }).await.unwrap();
        copies.push(told);
    }
    // The broker would hand out neither again, and the outcome is nowhere but here.
    let [one, two] = &mut copies[..] else { panic!("two") };
    let told = async {
        tokio::select! { told = one => told, told = two => told }
    };
    assert!(tokio::time::timeout(Duration::from_millis(500), told).await.is_err());
    bench.owner.deaf.store(0, Ordering::SeqCst);
    assert_eq!(short(&bench.outcome().await), "empty");
    for told in copies {
        tokio::time::timeout(PATIENCE, told).await.unwrap().unwrap();
    }
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn f6_attempts_that_came_too_late_are_no_fault_of_the_bot() {
    let (url, seen) = bot(http("200 OK", "application/json", r#"{"outputSpeech":"hello"}"#)).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    for session in 1..=10 {
        let late = pb::Effect { deadline: 1, ..effect(session, 1) };
        assert_eq!(short(&bench.ask(late).await), "TIMED_OUT");
    }
    assert!(short(&bench.ask(effect(11, 1)).await).contains("hello"));
    assert_eq!(seen.lock().unwrap().len(), 1, "nobody waits for the others");
}

#[tokio::test]
async fn the_longest_answer_that_is_passed_on_fits_into_a_request() {
    let around = r#"{"outputSpeech":""}"#.len();
    let speech = "x".repeat(stentor_protocol::response::RESPONSE_BYTES_MAX - around);
    let body = format!(r#"{{"outputSpeech":"{speech}"}}"#);
    let (url, _) = bot(http("200 OK", "application/json", &body)).await;
    let mut bench = bench(&url, "", "127.0.0.0/8");
    assert_eq!(short(&bench.ask(effect(1, 1)).await).len(), body.len());
}

#[tokio::test]
async fn the_echo_bot_greets_and_echoes() {
    let echo = EchoBot::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
    let url = echo.url().unwrap();
    tokio::spawn(echo.run(CancellationToken::new()));
    let mut bench = bench(&url, "", "127.0.0.0/8");
    assert!(short(&bench.ask(effect(1, 1)).await).contains("You said: hi"));
    let mut launch = effect(2, 1);
    launch.request = Bytes::from_static(br#"{"type":"LAUNCH_REQUEST"}"#);
    assert!(short(&bench.ask(launch).await).contains("suggestions"));
}
