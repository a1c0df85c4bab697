//! Many sockets at once: somebody speaks, all of them listen and count.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Duration, Instant, sleep_until, timeout},
};

use crate::{
    dialect::{Member, Stamp},
    link::PATIENCE,
    system::System,
};

/// Sockets that dial at the same time.
const DIAL_TOGETHER: usize = 64;
/// Rooms that fill at the same time.
const ROOMS_TOGETHER: usize = 16;

/// A room or several, full of people.
#[derive(Debug)]
pub(crate) struct Crowd {
    tally: Arc<Tally>,
    speakers: Vec<mpsc::Sender<Talk>>,
    listeners: JoinSet<anyhow::Result<()>>,
}

/// What was heard.
#[derive(Debug)]
pub(crate) struct Tally {
    began: Instant,
    heard: AtomicU64,
    wanted: AtomicU64,
    reached: Notify,
    latencies: [Mutex<Histogram<u64>>; 16],
}

/// An order to speak.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) messages: u64,
    /// Time to the first.
    pub(crate) after: Duration,
    /// Time from one to the next.
    pub(crate) every: Duration,
    pub(crate) bytes: usize,
}

// === impl Crowd ===

impl Crowd {
    /// `rooms` rooms with `each` people, one of whom speaks.
    pub(crate) async fn gather(system: &System, rooms: usize, each: usize) -> anyhow::Result<Self> {
        let tally = Arc::new(Tally::new()?);
        let mut crowd =
            Self { tally, speakers: Vec::with_capacity(rooms), listeners: JoinSet::new() };
        let gathering = (0..rooms).map(|room| Self::fill(system, format!("room-{room}"), each));
        let mut gathering = stream::iter(gathering).buffer_unordered(ROOMS_TOGETHER);
        while let Some(room) = gathering.next().await {
            let (members, speaker) = room?;
            for member in members {
                crowd.listeners.spawn(listen(member, Arc::clone(&crowd.tally), None));
            }
            let (orders, talks) = mpsc::channel(1);
            crowd.speakers.push(orders);
            let tally = Arc::clone(&crowd.tally);
            crowd.listeners.spawn(listen(speaker, tally, Some(talks)));
        }
        Ok(crowd)
    }

    /// The members of one room, and who speaks in it.
    async fn fill(
        system: &System,
        room: String,
        each: usize,
    ) -> anyhow::Result<(Vec<Member>, Member)> {
        let mut members = Vec::with_capacity(each);
        while members.len() + 1 < each {
            let together = DIAL_TOGETHER.min(each - 1 - members.len());
            let joining: Vec<_> = (0..together).map(|_| Member::join(system, &room)).collect();
            for member in futures_util::future::join_all(joining).await {
                members.push(member?);
            }
        }
        let speaker = Member::speaker(system, &room).await?;
        Ok((members, speaker))
    }

    /// Lets one speak in every room, each at a time of its own, and waits until all have heard all of it.
    pub(crate) async fn talk(&mut self, talk: Talk) -> anyhow::Result<()> {
        let listeners = u64::try_from(self.listeners.len())?;
        let wanted = self.tally.heard() + talk.messages * listeners;
        self.tally.wanted.store(wanted, Ordering::SeqCst);
        let rooms = u32::try_from(self.speakers.len())?;
        for (room, speaker) in (0_u32..).zip(&self.speakers) {
            let talk = Talk { after: talk.every * room / rooms, ..talk };
            speaker.try_send(talk).context("a speaker has gone, or has not spoken yet")?;
        }
        let patience = PATIENCE + talk.every * u32::try_from(talk.messages)?;
        let mut ended = std::pin::pin!(self.listeners.join_next());
        let heard = timeout(patience, async {
            while self.tally.heard() < wanted {
                tokio::select! {
                    () = self.tally.reached.notified() => {}
                    one = &mut ended => one.context("nobody listens")???,
                }
            }
            anyhow::Ok(())
        });
        let missing = || format!("{} of {wanted} were heard", self.tally.heard());
        heard.await.with_context(missing)?.with_context(missing)?;
        anyhow::ensure!(self.tally.heard() == wanted, "something was heard twice");
        Ok(())
    }

    /// One message after the other, each when all have heard the one before.
    pub(crate) async fn one_at_a_time(&mut self, messages: u64) -> anyhow::Result<()> {
        let one = Talk { messages: 1, after: Duration::ZERO, every: Duration::ZERO, bytes: 128 };
        for _ in 0..messages {
            self.talk(one).await?;
        }
        Ok(())
    }

    /// Latencies since the last time, in microseconds from the intended time of sending.
    pub(crate) fn latencies(&self) -> anyhow::Result<Histogram<u64>> {
        let mut all = Histogram::new(3)?;
        for part in &self.tally.latencies {
            let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
            all.add(&*part)?;
            part.reset();
        }
        Ok(all)
    }
}

async fn listen(
    mut member: Member,
    tally: Arc<Tally>,
    mut talks: Option<mpsc::Receiver<Talk>>,
) -> anyhow::Result<()> {
    let mut plan: Option<Plan> = None;
    let mut number = 0;
    loop {
        let due = plan.map(|plan| plan.due);
        tokio::select! {
            text = member.hear() => tally.count(&text?),
            Some(talk) = next(&mut talks), if plan.is_none() => {
                plan = Some(Plan { talk, left: talk.messages, due: Instant::now() + talk.after });
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
        }
        while let Some(Plan { left, due, talk }) = plan.filter(|plan| plan.due <= Instant::now()) {
            number += 1;
            member.say(Stamp { number, at: tally.micros(due) }, talk.bytes).await?;
            let next = Plan { talk, left: left - 1, due: due + talk.every };
            plan = (next.left > 0).then_some(next);
        }
    }
}

/// What is still to be said, and when the next of it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    talk: Talk,
    left: u64,
    due: Instant,
}

async fn next(talks: &mut Option<mpsc::Receiver<Talk>>) -> Option<Talk> {
    match talks {
        Some(talks) => talks.recv().await,
        None => std::future::pending().await,
    }
}

// === impl Tally ===

impl Tally {
    fn new() -> anyhow::Result<Self> {
        let histogram = Histogram::<u64>::new(3)?;
        Ok(Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            reached: Notify::new(),
            latencies: std::array::from_fn(|_| Mutex::new(histogram.clone())),
        })
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::SeqCst)
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX)
    }

    fn count(&self, text: &[u8]) {
        let now = self.micros(Instant::now());
        let mut heard = 0;
        for stamp in Stamp::all(text) {
            heard += 1;
            let place = usize::try_from(now).unwrap_or(0) % self.latencies.len();
            if let Some(part) = self.latencies.get(place) {
                let mut part = part.lock().unwrap_or_else(PoisonError::into_inner);
                // It grows as it needs.
                let _ = part.record(now.saturating_sub(stamp.at));
            }
        }
        let before = self.heard.fetch_add(heard, Ordering::SeqCst);
        if heard > 0 && before + heard >= self.wanted.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}
