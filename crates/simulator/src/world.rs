//! Everything that there is in one schedule, and the heap of what is to happen.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    fmt,
    rc::Rc,
};

use bytes::Bytes;
use stentor_postoffice::{Effect, Rules};
use stentor_types::{AppId, BotResult, ControlChange, EffectId, EventNumber, SessionId, Timestamp};

use crate::{
    agents::Agent,
    browser::{Browser, Message},
    client::{Client, Remember, Seat},
    frames::Down,
    gateway::Gateway,
    ledger::Ledger,
    log::Log,
    owner::Owner,
    rng::Rng,
    socket::{Frame, Socket},
    traffic::{Answer, Fanout, FetchAnswer, Outcome, Request},
};

/// Steps shown with a violation.
const TRACE_MAX: usize = 30;
/// As [`stentor_postoffice::CROWD_MIN`], for the few that take part here.
pub(crate) const CROWD: usize = 2;
/// When every schedule begins: an arbitrary afternoon.
const BEGIN: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// A promise or invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its number.
    pub invariant: &'static str,
    /// What was seen.
    pub message: String,
}

/// What happens at some time.
#[derive(Clone, Debug)]
pub(crate) enum Job {
    /// A frame of a client reaches the gateway.
    Up { socket: u64, frame: Frame },
    /// The gateway learns that a socket is gone.
    UpClosed { socket: u64 },
    /// A frame reaches a client.
    Down { socket: u64, text: Bytes },
    /// A frame of the second dialect reaches a client.
    DownSecond { socket: u64, frame: Down },
    /// A client of the second dialect remembers to do something.
    Remember { seat: Seat, life: u64, what: Remember },
    /// The client learns that its socket is gone.
    DownClosed { socket: u64 },
    /// A tab dials again.
    Dial { browser: usize, tab: usize, life: u64 },
    /// A tab looks whether it can send what waits.
    Flush { browser: usize, tab: usize, life: u64 },
    /// A connection has said nothing: it is attached to its visitor's latest session.
    Bare { gateway: u64, connection: u64 },
    /// A request that may have to be made again.
    RequestAgain { gateway: u64, connection: u64, request: u64 },
    /// A fetch that may have to be made again.
    FetchAgain { gateway: u64, connection: u64, from: EventNumber },
    /// A request reaches an owner.
    Request { owner: u64, request: Rc<Request> },
    /// Its answer reaches the gateway.
    Answer { gateway: u64, answer: Answer },
    /// A fetch reaches an owner.
    Fetch {
        owner: u64,
        gateway: u64,
        connection: u64,
        session: SessionId,
        from: EventNumber,
        to: EventNumber,
    },
    /// Its answer reaches the gateway.
    FetchAnswer { gateway: u64, answer: FetchAnswer },
    /// Events reach a gateway.
    Fanout { gateway: u64, fanout: Rc<Fanout> },
    /// A batch is durable, unless its owner is gone by now.
    Durable { owner: u64, batch: u64, told: bool },
    /// Nobody knows what became of a batch.
    Unknown { owner: u64, batch: u64 },
    /// A session may have something due.
    Timer { owner: u64, session: SessionId, deadline: Timestamp },
    /// An attempt reaches the connector.
    Effect { connector: u64, session: SessionId, effect: Effect },
    /// Its outcome is on its way to an owner.
    Outcome { connector: u64, outcome: Rc<Outcome> },
    /// The bot's part of an attempt is over.
    Answered { connector: u64, session: SessionId, id: EffectId, result: BotResult },
    /// Somebody takes or gives back control.
    Control { session: SessionId, change: ControlChange },
    /// What was killed is started again.
    Start { gateway: bool, owner: bool },
    /// Owners hear that a gateway is gone.
    GatewayLost { gateway: u64 },
}

/// How bad the world is just now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weather {
    /// Percent of messages inside the installation that are lost.
    pub(crate) lost: u64,
    /// Percent of them that come twice.
    pub(crate) twice: u64,
    /// The longest delay of one, in microseconds.
    pub(crate) delay: u64,
    /// Percent of attempts at the bot that go wrong.
    pub(crate) bot: u64,
    /// Of ten thousand events so many find their client too slow to take them.
    pub(crate) slow: u64,
}

/// One schedule.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) now: Timestamp,
    pub(crate) weather: Weather,
    pub(crate) app: AppId,
    pub(crate) rules: Rules,
    pub(crate) log: Log,
    /// Owners that are alive. The last one is the owner; any other is one that has been replaced
    /// and does not know it.
    pub(crate) owners: BTreeMap<u64, Owner>,
    /// Gone, if there is none.
    pub(crate) gateway: Option<Gateway>,
    pub(crate) sockets: BTreeMap<u64, Socket>,
    pub(crate) browsers: Vec<Browser>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) clients: Vec<Client>,
    pub(crate) messages: Vec<Message>,
    /// What the bot did for each attempt: results that may become an outcome.
    pub(crate) results: BTreeMap<(SessionId, EffectId), Vec<BotResult>>,
    /// This life of the connector: what an earlier one had in hand is gone.
    pub(crate) connector: u64,
    /// Counts what the bot says, so that no two answers are equal.
    pub(crate) replies: u64,
    pub(crate) ledger: Ledger,
    pub(crate) lives: u64,
    /// Connections may be attached that are gone: messages came twice, or there were two owners.
    pub(crate) strays: bool,
    pub(crate) crashes: u64,
    /// How often something has happened that is worth knowing about.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    heap: BinaryHeap<Reverse<Entry>>,
    queued: u64,
    pub(crate) steps: u64,
    /// Where notes go; nowhere while it is not known that anybody will read them.
    trace: Option<VecDeque<String>>,
    verbose: bool,
    pub(crate) violation: Option<Violation>,
}

struct Entry {
    at: Timestamp,
    order: u64,
    job: Job,
}

// === impl World ===

impl World {
    pub(crate) fn new(app: AppId, seed: u64, told: bool, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut rules = Rules::default();
        rules.visitor_grace = std::time::Duration::from_secs(rng.between(30, 600));
        rules.agent_grace = std::time::Duration::from_secs(rng.between(10, 120));
        // The longer grace of the two is the one for a gateway that is lost.
        rules.agent_grace = rules.agent_grace.min(rules.visitor_grace);
        if rng.percent(2) {
            rules.bot = None;
        }
        let calm = rng.percent(25);
        let weather = Weather {
            lost: if calm { 0 } else { rng.below(6) },
            twice: if calm { 0 } else { rng.below(10) },
            delay: 1_000 << rng.below(9),
            bot: 10 + rng.below(50),
            slow: if calm { 0 } else { rng.below(100) },
        };
        Self {
            rng,
            now: BEGIN,
            weather,
            app,
            rules,
            log: Log::default(),
            owners: BTreeMap::new(),
            gateway: None,
            sockets: BTreeMap::new(),
            browsers: Vec::new(),
            agents: Vec::new(),
            clients: Vec::new(),
            messages: Vec::new(),
            results: BTreeMap::new(),
            connector: 0,
            replies: 0,
            ledger: Ledger::default(),
            lives: 0,
            strays: !calm,
            crashes: 0,
            seen: BTreeMap::new(),
            heap: BinaryHeap::new(),
            queued: 0,
            steps: 0,
            trace: told.then(VecDeque::new),
            verbose,
            violation: None,
        }
    }

    /// Something is to happen after `delay` microseconds.
    pub(crate) fn after(&mut self, delay: u64, job: Job) {
        self.at(Timestamp(self.now.0.saturating_add(delay)), job);
    }

    pub(crate) fn at(&mut self, at: Timestamp, job: Job) {
        self.queued += 1;
        self.heap.push(Reverse(Entry { at, order: self.queued, job }));
    }

    /// A message inside the installation: late, twice or never.
    pub(crate) fn send(&mut self, job: Job) {
        if self.rng.percent(self.weather.lost) {
            self.note(|| format!("lost: {job}"));
            return;
        }
        if self.rng.percent(self.weather.twice) {
            let delay = self.rng.below(self.weather.delay.saturating_mul(4)).saturating_add(50);
            self.after(delay, job.clone());
        }
        let delay = self.rng.below(self.weather.delay).saturating_add(50);
        self.after(delay, job);
    }

    /// The next thing to happen until then.
    pub(crate) fn pop(&mut self, until: Timestamp) -> Option<Job> {
        let Reverse(next) = self.heap.peek()?;
        if next.at > until {
            return None;
        }
        let Reverse(entry) = self.heap.pop()?;
        self.now = self.now.max(entry.at);
        Some(entry.job)
    }

    /// Remembers what happens, for whoever has to understand a violation.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let Some(trace) = &mut self.trace else { return };
        let seconds = self.now.since(BEGIN);
        let line = format!("{:>5} {:>10.3} s  {}", self.steps, seconds.as_secs_f64(), line());
        if self.verbose {
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes());
        }
        if trace.len() >= TRACE_MAX {
            trace.pop_front();
        }
        trace.push_back(line);
    }

    /// The first violation is the one that counts.
    pub(crate) fn violate(&mut self, invariant: &'static str, message: String) {
        if self.violation.is_none() {
            self.note(|| format!("{invariant}: {message}"));
            self.violation = Some(Violation { invariant, message });
        }
    }

    /// Something has happened that is worth knowing about.
    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
    }

    /// The owner that requests go to.
    pub(crate) fn current_owner(&self) -> Option<u64> {
        self.owners.keys().next_back().copied()
    }

    pub(crate) const fn new_life(&mut self) -> u64 {
        self.lives += 1;
        self.lives
    }

    pub(crate) fn summary(&self) -> crate::Summary {
        let events = self.ledger.stories.values().map(|story| story.events.len() as u64).sum();
        let messages = self.messages.len() as u64;
        let mut seen = self.seen.clone();
        for (what, times) in self.ledger.stories.values().flat_map(|story| &story.seen) {
            *seen.entry(what).or_default() += times;
        }
        crate::Summary { steps: self.steps, events, messages, crashes: self.crashes, seen }
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.iter().flatten().cloned().collect()
    }
}

// === impl Entry ===

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

// === impl Violation ===

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} is violated: {}", self.invariant, self.message)
    }
}

// === impl Job ===

impl fmt::Display for Job {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { socket, frame } => write!(formatter, "socket {socket} → gateway: {frame:?}"),
            Self::Down { socket, text } => {
                write!(formatter, "gateway → socket {socket}: {}", String::from_utf8_lossy(text))
            }
            Self::DownSecond { socket, frame } => {
                write!(formatter, "gateway → socket {socket}: {frame:?}")
            }
            Self::Request { owner, request } => {
                write!(formatter, "gateway → owner {owner}: {request:?}")
            }
            Self::Answer { answer, .. } => write!(formatter, "owner → gateway: {answer:?}"),
            Self::Fanout { fanout, .. } => write!(formatter, "owner → gateway: {fanout:?}"),
            other => write!(formatter, "{other:?}"),
        }
    }
}
