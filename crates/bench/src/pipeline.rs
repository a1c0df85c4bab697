//! The whole way of a message through a cluster: what all processes together spend on it, and how long it takes.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    crowd::{Crowd, Talk},
    system::{Kind, Places, System},
    table::{float, head, median, ratio, row},
};

const ROUNDS: usize = 3;
pub(crate) const TEXT_BYTES: usize = 128;
const EACH: usize = 10;
const KINDS: [Kind; 6] = [
    Kind::Cluster,
    Kind::ClusterInMemory,
    Kind::ClusterReplicated,
    Kind::ClusterDatabase,
    Kind::CentrifugeRedis,
    Kind::CentrifugeRedisSynced,
];

/// A system with its crowd, and what was measured of it, by round.
pub(crate) struct Candidate {
    pub(crate) system: System,
    pub(crate) crowd: Crowd,
    pub(crate) rounds: Vec<Round>,
}

/// One round: microseconds per delivery of each part, and latencies in milliseconds.
pub(crate) struct Round {
    parts: BTreeMap<&'static str, f64>,
    p50: f64,
    p99: f64,
}

/// G4, G5.
pub(crate) async fn run(places: &Places, small: bool) -> anyhow::Result<()> {
    let rooms = if small { 3 } else { 100 };
    let kinds: &[Kind] =
        if small { &[Kind::Cluster, Kind::ClusterInMemory, Kind::CentrifugeRedis] } else { &KINDS };
    let mut candidates = Vec::new();
    for kind in places.chosen(kinds) {
        let system = places.start(kind, true).await?;
        candidates.push(Candidate::new(system, rooms, EACH).await?);
    }
    let rates: &[u32] = if small { &[10] } else { &[2, 5] };
    for rate in rates.iter().copied() {
        let talk = Talk {
            messages: u64::from(rate) * if small { 1 } else { 4 },
            after: Duration::ZERO,
            every: Duration::from_secs(1) / rate,
            bytes: TEXT_BYTES,
        };
        measure(&mut candidates, talk, if small { 1 } else { ROUNDS }).await?;
        let what = format!("{rooms} rooms of {EACH}, {rate} messages a second in each");
        print(&what, &mut candidates);
    }
    Ok(())
}

/// Lets all of them talk in turn.
pub(crate) async fn measure(
    candidates: &mut [Candidate],
    talk: Talk,
    rounds: usize,
) -> anyhow::Result<()> {
    let warm = Talk { messages: talk.messages.min(2), ..talk };
    for candidate in &mut *candidates {
        candidate.crowd.talk(warm).await?;
        candidate.crowd.latencies()?;
    }
    for _ in 0..rounds {
        for candidate in &mut *candidates {
            candidate.round(talk).await?;
        }
    }
    Ok(())
}

fn print(what: &str, candidates: &mut [Candidate]) {
    let of = |kind: Kind, value: fn(&Candidate) -> f64| {
        let found = candidates.iter().find(|candidate| candidate.system.kind == kind);
        found.map_or(f64::NAN, value)
    };
    let rival = of(Kind::CentrifugeRedis, Candidate::micros);
    let in_memory = of(Kind::ClusterInMemory, Candidate::p99);
    head(&[
        what,
        "µs per delivery",
        "× centrifuge + Redis, `everysec`",
        "of which",
        "p50 ms",
        "p99 ms",
        "p99, × NATS in memory",
    ]);
    for candidate in &*candidates {
        row(&[
            candidate.system.kind.name().to_owned(),
            format!("{:.1}", candidate.micros()),
            ratio(candidate.micros(), rival),
            candidate.parts(),
            format!("{:.1}", candidate.p50()),
            format!("{:.1}", candidate.p99()),
            if candidate.system.kind.is_ours() {
                ratio(candidate.p99(), in_memory)
            } else {
                "–".to_owned()
            },
        ]);
    }
    for candidate in candidates {
        candidate.rounds.clear();
    }
}

// === impl Candidate ===

impl Candidate {
    pub(crate) async fn new(system: System, rooms: usize, each: usize) -> anyhow::Result<Self> {
        let crowd = Crowd::gather(&system, rooms, each).await?;
        Ok(Self { system, crowd, rounds: Vec::new() })
    }

    async fn round(&mut self, talk: Talk) -> anyhow::Result<()> {
        let before = self.system.cpu_by_part()?;
        self.crowd.talk(talk).await?;
        let mut parts = self.system.cpu_by_part()?;
        let latencies = self.crowd.latencies()?;
        for (part, seconds) in &mut parts {
            let spent = *seconds - before.get(part).copied().unwrap_or_default();
            *seconds = spent * 1e6 / float(latencies.len());
        }
        self.rounds.push(Round {
            parts,
            p50: float(latencies.value_at_quantile(0.5)) / 1e3,
            p99: float(latencies.value_at_quantile(0.99)) / 1e3,
        });
        Ok(())
    }

    pub(crate) fn micros(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.parts.values().sum()).collect())
    }

    pub(crate) fn p50(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.p50).collect())
    }

    pub(crate) fn p99(&self) -> f64 {
        median(self.rounds.iter().map(|round| round.p99).collect())
    }

    /// What each part spends.
    pub(crate) fn parts(&self) -> String {
        let names = self.rounds.first().map(|round| round.parts.keys().copied().collect());
        let names: Vec<&str> = names.unwrap_or_default();
        let of = |name: &str| {
            let all = self.rounds.iter().filter_map(|round| round.parts.get(name).copied());
            format!("{name} {:.1}", median(all.collect()))
        };
        names.into_iter().map(of).collect::<Vec<_>>().join(", ")
    }
}
