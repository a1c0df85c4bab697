//! Rooms in which somebody speaks: processor time per delivery, and how late it comes.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    crowd::{Crowd, Talk},
    dialect::Member,
    system::{Kind, Places, System},
    table::{float, head, median, ratio, row},
};

const KINDS: [Kind; 5] = [Kind::Stentor, Kind::Engine, Kind::Bare, Kind::Ws, Kind::SocketIo];
const TEXT_BYTES: usize = 128;
/// How long somebody who does not read stays. The router gives up on those who take nothing for ten seconds.
const LAZY_FOR: Duration = Duration::from_secs(14);
/// What it counts of them.
const STALLED: &str = "stentor_gateway_connections_closed_total{reason=\"stalled\"}";

/// A system with its crowd, and what was measured of it, by round.
struct Candidate {
    system: System,
    crowd: Crowd,
    micros: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

impl Candidate {
    async fn new(places: &Places, kind: Kind, each: usize) -> anyhow::Result<Self> {
        let system = places.start(kind, false).await?;
        let crowd = Crowd::gather(&system, 1, each).await?;
        Ok(Self { system, crowd, micros: Vec::new(), p50: Vec::new(), p99: Vec::new() })
    }

    fn note(&mut self, cpu: f64) -> anyhow::Result<()> {
        let latencies = self.crowd.latencies()?;
        self.micros.push(cpu * 1e6 / float(latencies.len()));
        self.p50.push(float(latencies.value_at_quantile(0.5)) / 1e3);
        self.p99.push(float(latencies.value_at_quantile(0.99)) / 1e3);
        Ok(())
    }
}

/// G2.
pub(crate) async fn one_at_a_time(
    places: &Places,
    small: bool,
    rounds: usize,
) -> anyhow::Result<()> {
    let (each, messages) = if small { (20, 5) } else { (1_000, 300) };
    let mut candidates = Vec::new();
    for kind in places.chosen(&KINDS) {
        candidates.push(Candidate::new(places, kind, each).await?);
    }
    for round in 0..=rounds {
        for candidate in &mut candidates {
            let before = candidate.system.cpu()?;
            candidate.crowd.one_at_a_time(messages).await?;
            let cpu = candidate.system.cpu()? - before;
            // The first is for warming up.
            if round > 0 {
                candidate.note(cpu)?;
            } else {
                candidate.crowd.latencies()?;
            }
        }
    }
    print(&format!("room of {each}, one message at a time"), &candidates);
    Ok(())
}

/// G3.
pub(crate) async fn busy(places: &Places, small: bool, rounds: usize) -> anyhow::Result<()> {
    let sizes: &[(usize, u32, u64)] =
        if small { &[(10, 100, 1)] } else { &[(100, 500, 4), (30, 2_000, 4)] };
    for (each, rate, seconds) in sizes.iter().copied() {
        let talk = Talk {
            messages: u64::from(rate) * seconds,
            after: Duration::ZERO,
            every: Duration::from_secs(1) / rate,
            bytes: TEXT_BYTES,
        };
        let mut candidates = Vec::new();
        for kind in places.chosen(&KINDS) {
            candidates.push(Candidate::new(places, kind, each).await?);
        }
        for _ in 0..rounds {
            for candidate in &mut candidates {
                let before = candidate.system.cpu()?;
                candidate.crowd.talk(talk).await?;
                let cpu = candidate.system.cpu()? - before;
                candidate.note(cpu)?;
            }
        }
        print(&format!("{each} sockets, {rate} messages a second to each"), &candidates);
    }
    Ok(())
}

fn print(what: &str, candidates: &[Candidate]) {
    let of = |kind: Kind| {
        let found = candidates.iter().find(|candidate| candidate.system.kind == kind);
        found.map_or(f64::NAN, |found| median(found.micros.clone()))
    };
    let (bare, socket_io) = (of(Kind::Bare), of(Kind::SocketIo));
    head(&[
        what,
        "µs per delivery",
        "deliveries per second, × bare",
        "× Socket.IO",
        "p50 ms",
        "p99 ms",
    ]);
    for Candidate { system, micros, p50, p99, .. } in candidates {
        let micros = median(micros.clone());
        row(&[
            system.kind.name().to_owned(),
            format!("{micros:.2}"),
            ratio(bare, micros),
            ratio(socket_io, micros),
            format!("{:.2}", median(p50.clone())),
            format!("{:.2}", median(p99.clone())),
        ]);
    }
}

/// G9.
pub(crate) async fn stalled(places: &Places, small: bool, rounds: usize) -> anyhow::Result<()> {
    let each = if small { 50 } else { 1_000 };
    let talk = Talk {
        messages: if small { 10 } else { 100 },
        after: Duration::ZERO,
        every: Duration::from_millis(50),
        bytes: 4_096,
    };
    let mut alone = Candidate::new(places, Kind::Stentor, each).await?;
    let mut beside = Candidate::new(places, Kind::Stentor, each).await?;
    let port = beside.system.port();
    let lazies = u32::try_from(each / 100 + 1)?;
    let mut lazy = JoinSet::new();
    for one in 0..lazies {
        lazy.spawn(async move {
            // Not all of them come and go together.
            tokio::time::sleep(LAZY_FOR * one / lazies).await;
            loop {
                // Given up by the server after a while, it comes back and goes on not reading.
                let member = Member::join_lazily(port, "room-0").await;
                tokio::time::sleep(LAZY_FOR).await;
                drop(member);
            }
        });
    }
    for round in 0..=rounds {
        for candidate in [&mut alone, &mut beside] {
            let before = candidate.system.cpu()?;
            candidate.crowd.talk(talk).await?;
            let cpu = candidate.system.cpu()? - before;
            if round > 0 {
                candidate.note(cpu)?;
            } else {
                candidate.crowd.latencies()?;
            }
        }
    }
    lazy.abort_all();
    let given_up = beside.system.metric(STALLED).await?;
    anyhow::ensure!(small || given_up > 0.0, "those who do not read were no burden at all");
    head(&[
        &format!("{each} sockets, 20 messages of 4 KiB a second"),
        "µs per delivery",
        "p50 ms",
        "p99 ms",
        "× alone",
    ]);
    let besides = format!("beside 1 % more that do not read; {given_up} times given up");
    for (name, candidate) in [("all of them read", &alone), (besides.as_str(), &beside)] {
        row(&[
            name.to_owned(),
            format!("{:.2}", median(candidate.micros.clone())),
            format!("{:.2}", median(candidate.p50.clone())),
            format!("{:.2}", median(candidate.p99.clone())),
            ratio(median(candidate.p99.clone()), median(alone.p99.clone())),
        ]);
    }
    Ok(())
}
