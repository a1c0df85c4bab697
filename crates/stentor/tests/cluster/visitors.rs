//! Visitors who talk while the cluster suffers: they say one thing after the other, come back by another
//! gateway when they are cut off, and remember how long they had to wait.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use stentor_testkit::{LegacyClient, PATIENCE, SecondClient};
use tokio::time::Instant;

/// Longest pause before somebody who was cut off comes back.
const COME_BACK: Duration = Duration::from_millis(400);

/// What all visitors of a run share.
#[derive(Clone, Debug)]
pub(crate) struct Town {
    /// Gateways, in the order in which somebody who is cut off tries them.
    pub(crate) ports: Vec<u16>,
    pub(crate) stop: Arc<AtomicBool>,
    /// Between two things said. Load, not synchronisation: nobody types faster.
    pub(crate) pace: Duration,
    /// How long acknowledgements took.
    pub(crate) waits: Arc<Mutex<Vec<Duration>>>,
}

/// A visitor of the second dialect, after the conversation.
#[derive(Debug)]
pub(crate) struct Second {
    pub(crate) number: u64,
    pub(crate) client: SecondClient,
    pub(crate) said: u64,
    /// Longest time from a text to its acknowledgement, over all attempts.
    pub(crate) longest_wait: Duration,
    /// The same to the bot's reply.
    pub(crate) longest_turn: Duration,
    pub(crate) came_back: u64,
}

/// A widget, after the conversation.
#[derive(Debug)]
pub(crate) struct Legacy {
    pub(crate) client: LegacyClient,
    pub(crate) said: u64,
    pub(crate) came_back: u64,
    /// Texts that were sent, and that no reply came to before their socket ended, and none after it.
    pub(crate) lost: Vec<String>,
}

// === impl Town ===

impl Town {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    fn port(&self, place: u64) -> u16 {
        self.ports[usize::try_from(place).unwrap() % self.ports.len()]
    }
}

/// What a visitor of the second dialect says to the bot as number `said`.
pub(crate) fn text(number: u64, said: u64) -> String {
    format!("visitor {number} says {said}")
}

/// Talks until told to stop.
pub(crate) async fn second(
    town: Town,
    number: u64,
    progress: Arc<AtomicU64>,
) -> anyhow::Result<Second> {
    let client = SecondClient::visitor(&format!("chat-{number}"), number).at_page();
    let mut visitor = Second {
        number,
        client,
        said: 0,
        longest_wait: Duration::ZERO,
        longest_turn: Duration::ZERO,
        came_back: number,
    };
    come(&mut visitor, &town).await?;
    visitor.came_back = 0;
    while town.goes_on() {
        visitor.said += 1;
        let begun = Instant::now();
        let text = text(number, visitor.said);
        // What fails to go out stays in the outbox.
        let mut heard = visitor.client.say(&text).await.map(drop);
        let (mid, reply) = (visitor.said, format!("echo {text}"));
        let mut acked = None;
        loop {
            if heard.is_ok() && acked.is_none() {
                heard = answered(&mut visitor.client, mid).await;
                acked = heard.is_ok().then(|| begun.elapsed());
            }
            if heard.is_ok() {
                // Whoever talks on without listening fills the bot's queue, which is no fault.
                heard = replied(&mut visitor.client, &reply).await;
            }
            if heard.is_ok() {
                break;
            }
            honest(&visitor.client)?;
            visitor.came_back += 1;
            come(&mut visitor, &town).await?;
            heard = Ok(());
        }
        let acked = acked.unwrap_or_default();
        town.waits.lock().unwrap().push(acked);
        visitor.longest_wait = visitor.longest_wait.max(acked);
        visitor.longest_turn = visitor.longest_turn.max(begun.elapsed());
        progress.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(town.pace).await;
    }
    Ok(visitor)
}

/// Reads until a message is dealt with.
async fn answered(client: &mut SecondClient, mid: u64) -> anyhow::Result<()> {
    while !client.acked.contains_key(&mid) {
        if let Some(code) = client.refused.get(&mid) {
            client.broken.get_or_insert(format!("message {mid} was refused: {code}"));
            bail!("refused");
        }
        let frame = client.next().await?;
        ensure!(frame["t"] != "resync", "there is a hole: open again");
    }
    Ok(())
}

/// Reads until the bot has replied; what came before the acknowledgement counts.
async fn replied(client: &mut SecondClient, reply: &str) -> anyhow::Result<()> {
    // A turn makes three events; the bot's reply is among the last.
    let is_there = |client: &SecondClient| {
        client.events.values().rev().take(64).any(|event| {
            event["kind"] == "reply"
                && event["response"]["outputSpeech"]["displayText"].as_str() == Some(reply)
        })
    };
    while !is_there(client) {
        let frame = client.next().await?;
        ensure!(frame["t"] != "resync", "there is a hole: open again");
    }
    Ok(())
}

/// Connects by one gateway after the other until one takes it.
async fn come(visitor: &mut Second, town: &Town) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(20);
    for attempt in visitor.came_back.. {
        visitor.client.cut();
        let Err(error) = visitor.client.connect(town.port(attempt)).await else { return Ok(()) };
        honest(&visitor.client)?;
        ensure!(Instant::now() < until, "cannot come back: {error:#}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(COME_BACK);
    }
    bail!("unreachable: attempts do not end")
}

fn honest(client: &SecondClient) -> anyhow::Result<()> {
    client.broken.clone().map_or(Ok(()), |broken| bail!("a promise was broken: {broken}"))
}

/// A widget that talks until told to stop. Only once the bot has repeated a text does it say the next.
pub(crate) async fn legacy(
    town: Town,
    number: u64,
    progress: Arc<AtomicU64>,
) -> anyhow::Result<Legacy> {
    let user = LegacyClient::user_id(number);
    let client = LegacyClient::new(&user, &format!("widget-{number}"), 0);
    let mut visitor = Legacy { client, said: 0, came_back: number, lost: Vec::new() };
    arrive(&mut visitor, &town).await?;
    visitor.came_back = 0;
    while town.goes_on() {
        visitor.said += 1;
        let text = text(number, visitor.said);
        let wanted = format!("echo {text}");
        // What cannot be sent any more stays with the widget until it is back.
        while visitor.client.say(&text).await.is_err() {
            visitor.came_back += 1;
            arrive(&mut visitor, &town).await?;
        }
        if visitor.client.wait_for_text(&wanted).await.is_err() {
            visitor.came_back += 1;
            arrive(&mut visitor, &town).await?;
            // It may have been taken all the same; then its answer comes again, or is still to come, and
            // is there before that to anything said later.
            sync(&mut visitor, &town, number).await?;
            if !visitor.client.transcript().rows().contains(&wanted) {
                visitor.lost.push(text);
            }
        }
        progress.fetch_add(1, Ordering::Relaxed);
        // A browser answers a Close at once, also while nobody types.
        if visitor.client.listen(town.pace).await.is_err() {
            visitor.came_back += 1;
            arrive(&mut visitor, &town).await?;
        }
    }
    Ok(visitor)
}

/// Says something until it is answered.
async fn sync(visitor: &mut Legacy, town: &Town, number: u64) -> anyhow::Result<()> {
    for attempt in 0.. {
        let text = format!("sync {attempt} of {number} after {}", visitor.said);
        let answered = visitor.client.say(&text).await.is_ok()
            && visitor.client.wait_for_text(&format!("echo {text}")).await.is_ok();
        if answered {
            return Ok(());
        }
        ensure!(attempt < 20, "nothing is answered");
        visitor.came_back += 1;
        arrive(visitor, town).await?;
    }
    bail!("unreachable: attempts do not end")
}

async fn arrive(visitor: &mut Legacy, town: &Town) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    for attempt in visitor.came_back.. {
        visitor.client.cut();
        let port = town.port(attempt);
        let origin = format!("http://127.0.0.1:{port}");
        let connected = visitor
            .client
            .connect_from(port, "/dev?appId=demo", "emitNoWs", Some(&origin))
            .await
            .context("no connection");
        let joined = match connected {
            Ok(()) => visitor.client.join().await,
            Err(error) => Err(error),
        };
        let Err(error) = joined else { return Ok(()) };
        ensure!(Instant::now() < until, "cannot come back: {error:#}");
        tokio::time::sleep(COME_BACK / 4).await;
    }
    bail!("unreachable: attempts do not end")
}
