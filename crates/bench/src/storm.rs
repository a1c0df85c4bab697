//! Everybody is cut off at once, something is said, and everybody comes back.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    dialect::{Member, Place, Stamp},
    link::PATIENCE,
    system::{Kind, Places, System},
    table::{float, head, median, ratio, row},
};

/// Besides the one who stays and speaks.
const PER_ROOM: usize = 10;
/// Rooms that fill at the same time.
const ROOMS_TOGETHER: usize = 16;
/// Sockets that dial at the same time.
const TOGETHER: usize = 128;
const TEXT_BYTES: usize = 128;
/// Until the server has noticed that they are gone.
const GONE: Duration = Duration::from_secs(2);

struct Candidate {
    system: System,
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

/// Rooms full of people, in one round.
struct Rooms<'a> {
    system: &'a System,
    speakers: Vec<Member>,
    members: Vec<(String, Member)>,
    number: u64,
}

/// G8 for one process.
pub(crate) async fn run(places: &Places, small: bool, rounds: usize) -> anyhow::Result<()> {
    let kinds = [Kind::Stentor, Kind::Bare, Kind::SocketIo, Kind::Centrifuge];
    storms(places, small, &kinds, rounds).await
}

/// G8 for a cluster.
pub(crate) async fn cluster(places: &Places, small: bool, rounds: usize) -> anyhow::Result<()> {
    let kinds = [Kind::Cluster, Kind::Bare, Kind::SocketIo, Kind::CentrifugeRedis];
    storms(places, small, &kinds, rounds).await
}

async fn storms(places: &Places, small: bool, kinds: &[Kind], rounds: usize) -> anyhow::Result<()> {
    let rooms = if small { 3 } else { 200 };
    let mut candidates = Vec::new();
    for kind in places.chosen(kinds) {
        let system = places.start(kind, true).await?;
        candidates.push(Candidate { system, cpu: Vec::new(), wall: Vec::new() });
    }
    for round in 0..=rounds {
        for candidate in &mut candidates {
            let name = candidate.system.kind.name();
            // Nobody answers pings while others have their turn, so everybody comes anew.
            let mut full = Rooms::fill(&candidate.system, round, rooms).await.context(name)?;
            let (cpu, wall) = full.storm(small).await.context(name)?;
            // The first is for warming up.
            if round > 0 {
                candidate.cpu.push(cpu);
                candidate.wall.push(wall);
            }
        }
    }
    let sockets = u64::try_from(rooms * PER_ROOM)?;
    let of = |kind| {
        let found = candidates.iter().find(|candidate| candidate.system.kind == kind);
        found.map_or(f64::NAN, |found| median(found.cpu.clone()))
    };
    let (bare, socket_io) = (of(Kind::Bare), of(Kind::SocketIo));
    head(&[
        &format!("{sockets} sockets come back to {rooms} rooms"),
        "connects per processor second",
        "× bare upgrade",
        "× Socket.IO",
        "connects per second",
    ]);
    for Candidate { system, cpu, wall, .. } in &candidates {
        let cpu = median(cpu.clone());
        let name = match system.kind {
            Kind::Bare => "bare hyper upgrade: no token, nothing to catch up with",
            kind => kind.name(),
        };
        row(&[
            name.to_owned(),
            format!("{:.0}", float(sockets) / cpu),
            ratio(bare, cpu),
            ratio(socket_io, cpu),
            format!("{:.0}", float(sockets) / median(wall.clone())),
        ]);
    }
    Ok(())
}

impl<'a> Rooms<'a> {
    async fn fill(system: &'a System, round: usize, rooms: usize) -> anyhow::Result<Self> {
        let filling = (0..rooms).map(|room| async move {
            let room = format!("room-{round}-{room}");
            let mut members = Vec::with_capacity(PER_ROOM);
            for _ in 0..PER_ROOM {
                members.push((room.clone(), Member::join(system, &room).await?));
            }
            anyhow::Ok((members, Member::speaker(system, &room).await?))
        });
        let (mut speakers, mut members) = (Vec::new(), Vec::new());
        let mut filling = stream::iter(filling).buffer_unordered(ROOMS_TOGETHER);
        while let Some(room) = filling.next().await {
            let (here, speaker) = room?;
            members.extend(here);
            speakers.push(speaker);
        }
        Ok(Self { system, speakers, members, number: 0 })
    }

    /// One storm: processor seconds, and seconds, until the last one has caught up.
    async fn storm(&mut self, small: bool) -> anyhow::Result<(f64, f64)> {
        let recovers = self.system.kind != Kind::Bare;
        // Who has heard nothing yet does not know where it is.
        self.speak().await?;
        for (_, member) in &mut self.members {
            hear(member, self.number).await?;
        }
        let places: Vec<(String, Place)> =
            self.members.drain(..).map(|(room, member)| (room, member.place)).collect();
        sleep(if small { Duration::from_millis(200) } else { GONE }).await;
        self.speak().await?;
        let (before, began) = (self.system.cpu()?, Instant::now());
        let (system, number) = (self.system, self.number);
        let returning = stream::iter(places).map(|(room, place)| async move {
            let mut member = Member::come_back(system, &room, place).await?;
            if recovers {
                hear(&mut member, number).await?;
            }
            anyhow::Ok((room, member))
        });
        let mut returning = returning.buffer_unordered(TOGETHER);
        while let Some(member) = returning.next().await {
            self.members.push(member?);
        }
        let wall = began.elapsed().as_secs_f64();
        // What others are told of it belongs to it.
        sleep(if small { Duration::ZERO } else { GONE }).await;
        drop(returning);
        Ok((self.system.cpu()? - before, wall))
    }

    /// Something is said in every room, and has been taken.
    async fn speak(&mut self) -> anyhow::Result<()> {
        self.number += 1;
        let stamp = Stamp { number: self.number, at: 0 };
        for speaker in &mut self.speakers {
            speaker.say(stamp, TEXT_BYTES).await?;
        }
        for speaker in &mut self.speakers {
            hear(speaker, self.number).await?;
        }
        Ok(())
    }
}

/// Reads until this message, which must be the next one of its kind.
async fn hear(member: &mut Member, number: u64) -> anyhow::Result<()> {
    let heard = async {
        let mut found: Vec<u64> =
            std::mem::take(&mut member.early).into_iter().map(|stamp| stamp.number).collect();
        while found.is_empty() {
            let text = member.hear().await?;
            member.note(&text)?;
            found.extend(Stamp::all(&text).map(|stamp| stamp.number));
        }
        anyhow::ensure!(found == [number], "heard {found:?} instead of {number}");
        Ok(())
    };
    let patience = timeout(PATIENCE, heard).await;
    patience.with_context(|| format!("message {number} was not heard"))?
}
