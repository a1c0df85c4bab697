//! Whoever is slow, silent, stalled or floods the router leaves all others alone.
//!
//! Nothing here compares times: who goes on does so while the other is still stalled. How much slower the others
//! become is measured by `cargo xtask bench stalled`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test"
)]

use std::{
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stentor_testkit::{Answer, BotStub, PATIENCE, Process, SecondClient};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stentor");

/// Echoes what is short, but says nothing at all to who says `wait`.
fn echo_or_hang(request: &Value) -> Answer {
    match request["rawQuery"].as_str().unwrap_or("launch") {
        "wait" => Answer::Hang,
        text if text.len() > 1_000 => {
            Answer::Json(json!({ "outputSpeech": { "displayText": "I see" } }).to_string())
        }
        text => Answer::Json(
            json!({ "outputSpeech": { "displayText": format!("echo {text}") } }).to_string(),
        ),
    }
}

/// A process with these apps: name and spec.
async fn start(apps: &[(&str, String)]) -> (Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, spec) in apps {
        let app = format!(
            "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: {{ name: {name} }}\nspec: {{ {spec} }}\n"
        );
        std::fs::write(folder.path().join(format!("{name}.yaml")), app).unwrap();
    }
    let flag = folder.path().display().to_string();
    (Process::start(Path::new(PROGRAM), &["--apps", &flag]).await.unwrap(), folder)
}

fn echoes(text: &str) -> impl Fn(&Value) -> bool {
    let echo = format!("echo {text}");
    move |event| event["response"]["outputSpeech"]["displayText"] == echo.as_str()
}

/// A conversation goes on to its end: everything is acknowledged, in order, and answered.
async fn converse(client: &mut SecondClient, turns: std::ops::Range<u64>) {
    for turn in turns {
        let text = format!("turn {turn}");
        let mid = client.say(&text).await.unwrap();
        client.settled(mid).await.unwrap();
        client.event("the echo", echoes(&text)).await.unwrap();
    }
    assert!(client.refused.is_empty(), "{:?}", client.refused);
    client.check().unwrap();
}

fn metric(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn i14_a_bot_that_never_answers_holds_up_its_own_session_only() {
    /// More than an app may have calls at the same time.
    const STALLED: u64 = 70;
    let (stuck, well) =
        (BotStub::start(echo_or_hang).await.unwrap(), BotStub::start(echo_or_hang).await.unwrap());
    // Nothing of it may be over before the others are done.
    let spec = |bot: &BotStub| {
        format!(
            "bot: {{ url: '{}', timeoutMs: 60000, maxConcurrentCalls: 512 }}, limits: {{ burst: 200 }}",
            bot.url()
        )
    };
    let (server, _apps) = start(&[("demo", spec(&stuck)), ("other", spec(&well))]).await;
    let port = server.port();

    // One session of an app: the others of the same app go on.
    let mut silent = SecondClient::visitor("stalled", 1);
    silent.connect(port).await.unwrap();
    silent.say("wait").await.unwrap();
    // One is asked, sixteen wait, and for each of the other three the oldest is given up, visibly.
    for number in 1..=19 {
        silent.say(&format!("behind it {number}")).await.unwrap();
    }
    silent.settled(20).await.unwrap();
    let given_up = |client: &SecondClient| {
        client.events.values().filter(|event| event["reason"] == "queueFull").count()
    };
    while given_up(&silent) < 3 {
        silent.next().await.unwrap();
    }
    let mut beside = SecondClient::visitor("beside it", 2);
    beside.connect(port).await.unwrap();
    converse(&mut beside, 1..21).await;
    assert_eq!(stuck.seen().iter().filter(|(_, asked)| asked["rawQuery"] == "wait").count(), 1);

    // All that the app may have: other apps go on.
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let mut client = SecondClient::visitor(&format!("stalled {number}"), 100 + number);
        client.connect(port).await.unwrap();
        let mid = client.say("wait").await.unwrap();
        client.settled(mid).await.unwrap();
        stalled.push(client);
    }
    let waits = || stuck.seen().iter().filter(|(_, asked)| asked["rawQuery"] == "wait").count();
    while waits() < 64 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let mut other = SecondClient::visitor("of another app", 3).of("other");
    other.connect(port).await.unwrap();
    converse(&mut other, 1..41).await;
    // And all the time the stalled ones were stalled, and nothing of theirs was lost or more than is allowed.
    assert_eq!(waits(), 64, "calls at the same time");
    assert_eq!(given_up(&silent), 3);
    silent.check().unwrap();
    let answered = silent.events.values().filter(|event| event["kind"] == "reply").count();
    assert_eq!(answered, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn i14_a_client_that_never_reads_holds_up_nobody_else() {
    let bot = BotStub::start(echo_or_hang).await.unwrap();
    let limits = "limits: { messagesPerSecond: 1000, burst: 10000 }";
    let (server, _apps) =
        start(&[("demo", format!("bot: {{ url: '{}' }}, {limits}", bot.url()))]).await;
    let port = server.port();
    // It opens its session, and its screen freezes.
    let mut frozen = SecondClient::visitor("frozen", 1);
    frozen.connect(port).await.unwrap();
    let mut talker = frozen.other_tab(2);
    talker.connect(port).await.unwrap();
    let mut beside = SecondClient::visitor("beside it", 3);
    beside.connect(port).await.unwrap();
    let long = "x".repeat(20_000);
    let mut turns = 0;
    let mut said = 0;
    // Until more waits for it than may, and on from there.
    let mut overflows = 0;
    while overflows < 10 {
        let mut last = 0;
        for _ in 0..10 {
            said += 1;
            last = talker.say(&format!("{said} {long}")).await.unwrap();
        }
        talker.settled(last).await.unwrap();
        turns += 1;
        converse(&mut beside, turns..turns + 1).await;
        let page = server.admin("/metrics").await.unwrap();
        let waiting = metric(&page, "stentor_gateway_outbox_bytes");
        assert!(waiting <= 2.0 * 256.0 * 1024.0, "{waiting} bytes wait for two sockets at most");
        let dropped = metric(&page, "stentor_gateway_outbox_drops_total");
        overflows += u32::from(dropped > 0.0);
        assert!(turns < 2_000, "nothing was ever too much for who reads nothing");
    }
    assert_eq!(beside.texts().len() as u64, 2 * turns, "what was said, and the echo");
    // An acknowledgement may come before what it acknowledges.
    let last = format!("{said} {long}");
    talker.event("its last", |event| event["text"] == last).await.unwrap();
    talker.check().unwrap();
    // Nothing is lost for it either.
    frozen.cut();
    frozen.connect(port).await.unwrap();
    frozen.event("the last", |event| event["text"] == last).await.unwrap();
}

/// So many open files are needed in each of the two processes; raises what this one may have. Says why not.
fn may_open(files: u64) -> Result<(), String> {
    let limits = std::fs::read_to_string("/proc/self/limits").map_err(|error| error.to_string())?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let numbers: Vec<u64> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| if word == "unlimited" { Some(u64::MAX) } else { word.parse().ok() })
        .collect();
    let &[soft, hard] = &numbers[..] else { return Err("the limit is not known".into()) };
    if hard < files {
        return Err(format!("{files} files are needed, {hard} may be open; raise `ulimit -Hn`"));
    }
    if soft < files {
        let (id, limit) = (std::process::id().to_string(), format!("--nofile={files}:{hard}"));
        let raised = Command::new("prlimit").args(["--pid", &id, &limit]).status();
        let raised = raised.map_err(|error| format!("prlimit: {error}"))?;
        return if raised.success() { Ok(()) } else { Err("prlimit failed".into()) };
    }
    Ok(())
}

/// What became of the slow handshakes.
#[derive(Debug, Default)]
struct Slow {
    open: AtomicUsize,
    closed: AtomicUsize,
    enough: AtomicBool,
}

/// Begins a request and never gets to its end, a byte at a time; and again, when it is closed.
async fn dribble(port: u16, slow: Arc<Slow>) {
    while !slow.enough.load(Ordering::SeqCst) {
        let began = Instant::now();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(b"GET /v2?appId=demo HTTP/1.1\r\nHost: slow\r\nX-Slow: ").await.unwrap();
        slow.open.fetch_add(1, Ordering::SeqCst);
        let mut heard = [0; 64];
        let closed = async {
            loop {
                match tokio::time::timeout(Duration::from_millis(900), stream.read(&mut heard))
                    .await
                {
                    // One more byte; it may be too late for it.
                    Err(_) => drop(stream.write_all(b"x").await),
                    Ok(Ok(0) | Err(_)) => return,
                    Ok(Ok(bytes)) => {
                        let heard = String::from_utf8_lossy(&heard[..bytes]).into_owned();
                        assert!(heard.starts_with("HTTP/1.1 408"), "{heard}");
                    }
                }
            }
        };
        tokio::time::timeout(PATIENCE, closed).await.expect("a slow handshake is kept for ever");
        slow.open.fetch_sub(1, Ordering::SeqCst);
        slow.closed.fetch_add(1, Ordering::SeqCst);
        assert!(began.elapsed() >= Duration::from_millis(4_990), "closed before its time");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s11_five_thousand_slow_handshakes_keep_nobody_out_and_all_of_them_are_closed() {
    const SLOW: usize = 5_000;
    const NEWCOMERS: u64 = 20;
    if let Err(why) = may_open(SLOW as u64 + 1_000) {
        println!("skipped: {why}");
        return;
    }
    let (server, _apps) = start(&[("demo", "limits: { burst: 20 }".into())]).await;
    let port = server.port();
    let slow = Arc::new(Slow::default());
    let dribbling: Vec<_> =
        (0..SLOW).map(|_| tokio::spawn(dribble(port, Arc::clone(&slow)))).collect();
    let many = || slow.open.load(Ordering::SeqCst) >= SLOW * 9 / 10;
    // Newcomers come one after the other; those count that came while nearly all of the others were there.
    let newcomers = async {
        let (mut served, mut number) = (0, 0);
        while served < NEWCOMERS {
            while !many() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            number += 1;
            let mut client = SecondClient::visitor("a newcomer", number);
            client.connect(port).await.unwrap();
            let mid = client.say("hello").await.unwrap();
            client.settled(mid).await.unwrap();
            served += u64::from(many());
        }
    };
    tokio::time::timeout(4 * PATIENCE, newcomers).await.expect("newcomers are kept out");
    // Nobody dials again; each of those that are open is closed, too.
    slow.enough.store(true, Ordering::SeqCst);
    for dribbling in dribbling {
        dribbling.await.unwrap();
    }
    let closed = slow.closed.load(Ordering::SeqCst);
    assert!(closed >= SLOW && slow.open.load(Ordering::SeqCst) == 0, "{slow:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn s12_a_flood_is_let_through_at_the_rate_that_is_allowed_within_a_tenth() {
    const RATE: f64 = 50.0;
    const BURST: u16 = 100;
    let spec = format!("limits: {{ messagesPerSecond: {RATE}, burst: {BURST} }}");
    let (server, _apps) = start(&[("demo", spec)]).await;
    let mut client = SecondClient::visitor("flood", 1);
    client.connect(server.port()).await.unwrap();
    let (sid, began) = (client.sid.clone(), Instant::now());
    let (mut mid, mut refused, mut last) = (0_u32, 0_u32, Duration::ZERO);
    // Whatever the machine does meanwhile, as many are sent at a time as may be let through at once.
    while began.elapsed() < Duration::from_secs(6) {
        last = began.elapsed();
        for _ in 0..BURST {
            mid += 1;
            let send = json!({ "t": "send", "sid": sid, "mid": mid, "text": "flood" });
            client.send(&send).await.unwrap();
        }
        let mut answers = 0;
        while answers < BURST {
            let frame = client.next_unchecked().await.unwrap();
            answers += u16::from(frame["t"] == "ack" || frame["t"] == "nack");
            if frame["code"] == "tooFast" {
                assert!(frame["retryAfterMs"].as_u64() > Some(0), "{frame}");
                refused += 1;
            }
        }
    }
    let through = f64::from(mid - refused);
    let allowed = |time: Duration| RATE.mul_add(time.as_secs_f64(), f64::from(BURST));
    let most = allowed(began.elapsed());
    assert!(f64::from(mid) > 4.0 * most, "{mid} messages are no flood");
    assert!(
        through >= 0.9 * allowed(last) && through <= 1.1 * most,
        "{through} of {mid} were let through, {} to {most} are allowed",
        allowed(last)
    );
}
