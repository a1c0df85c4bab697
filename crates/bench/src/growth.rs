//! A cluster of many: whether a message costs more among ten times as many sockets, sessions or routers, and
//! what a live session costs those who only pass its messages on.

use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use stentor_testkit::Nats;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    crowd::Talk,
    pipeline::{Candidate, TEXT_BYTES, measure},
    system::{Places, Shape, resident_kib},
    table::{float, head, ratio, row},
};

const ROUNDS: usize = 3;
/// Messages per second in all rooms together.
const RATE: u32 = 200;

/// What there is more and more of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Of {
    Sockets,
    Sessions,
    Routers,
}

/// Rooms, people in each, routers.
type Size = (usize, usize, usize);

/// G11.
pub(crate) async fn run(places: &Places, small: bool, of: Option<Of>) -> anyhow::Result<()> {
    for one in [Of::Sockets, Of::Sessions, Of::Routers] {
        if of.is_none_or(|of| of == one) {
            grow(places, small, one).await?;
        }
    }
    Ok(())
}

async fn grow(places: &Places, small: bool, of: Of) -> anyhow::Result<()> {
    let sizes: &[Size] = match (of, small) {
        (Of::Sockets, false) => &[(100, 10, 2), (1_000, 10, 2)],
        (Of::Sockets, true) => &[(2, 10, 2), (4, 10, 2)],
        (Of::Sessions, false) => &[(500, 2, 2), (5_000, 2, 2)],
        (Of::Sessions, true) => &[(2, 2, 2), (10, 2, 2)],
        (Of::Routers, false) => &[(100, 10, 1), (100, 10, 2), (100, 10, 4)],
        (Of::Routers, true) => &[(2, 10, 1), (2, 10, 2)],
    };
    let mut candidates = Vec::new();
    let rate = if small { 20 } else { RATE };
    for (rooms, each, routers) in sizes.iter().copied() {
        let system = places.cluster(Shape { routers, ..Shape::ORDINARY }).await?;
        candidates.push(Candidate::new(system, rooms, each).await?);
    }
    let (seconds, rounds) = if small { (1, 1) } else { (5, ROUNDS) };
    // Each has as many messages in all, in however many rooms.
    for round in 0..=rounds {
        for (candidate, (rooms, ..)) in candidates.iter_mut().zip(sizes) {
            let rooms = u32::try_from(*rooms)?;
            let talk = Talk {
                messages: u64::from(rate * seconds / rooms).max(1),
                after: Duration::ZERO,
                every: Duration::from_secs(1) * rooms / rate,
                bytes: TEXT_BYTES,
            };
            measure(std::slice::from_mut(candidate), talk, usize::from(round > 0)).await?;
        }
    }
    head(&[
        &format!("{rate} messages a second in all"),
        "µs per delivery",
        "× first",
        "of which",
        "p50 ms",
        "p99 ms",
        "× first",
    ]);
    let first = candidates.first().map(|first| (first.micros(), first.p99()));
    let (micros, p99) = first.context("nothing was measured")?;
    for (candidate, (rooms, each, routers)) in candidates.iter().zip(sizes) {
        row(&[
            format!("{} sockets, {rooms} sessions, {routers} routers", rooms * each),
            format!("{:.1}", candidate.micros()),
            ratio(candidate.micros(), micros),
            candidate.parts(),
            format!("{:.1}", candidate.p50()),
            format!("{:.1}", candidate.p99()),
            ratio(candidate.p99(), p99),
        ]);
    }
    Ok(())
}

/// G7. As many sockets in few and in many sessions: the difference is what sessions cost.
pub(crate) async fn sessions(places: &Places, small: bool) -> anyhow::Result<()> {
    let sizes: [(usize, usize); 2] =
        if small { [(2, 20), (20, 2)] } else { [(10, 1_000), (5_000, 2)] };
    let mut found = Vec::new();
    for (rooms, each) in sizes {
        let system = places.cluster(Shape::ORDINARY).await?;
        let mut candidate = Candidate::new(system, rooms, each).await?;
        candidate.crowd.one_at_a_time(1).await?;
        let resident = candidate.system.resident_by_part()?;
        let of = |name: &str| resident.get(name).copied().unwrap_or_default();
        found.push((rooms, of("gateway"), of("NATS"), of("router")));
    }
    let [(few, gateways, nats, routers), (many, more_gateways, more_nats, more_routers)] =
        found[..]
    else {
        anyhow::bail!("two sizes were measured")
    };
    let more = float(u64::try_from(many - few)?);
    let each = |one: f64, other: f64| (other - one) / more;
    let ours = each(gateways, more_gateways) + each(nats, more_nats);
    let subscription = subscription(if small { 100 } else { 50_000 }).await?;
    let (few, each_few) = sizes[0];
    head(&[
        &format!("{} sockets: {many} sessions instead of {few}", few * each_few),
        "KiB for each session more",
        "× subscription",
    ]);
    let both = format!(
        "gateways {:.2} + NATS {:.2}",
        each(gateways, more_gateways),
        each(nats, more_nats)
    );
    row(&[both, format!("{ours:.2}"), ratio(ours, subscription)]);
    let routers = each(routers, more_routers);
    row(&["routers, who have the sessions".into(), format!("{routers:.2}"), "–".to_owned()]);
    row(&[
        "a subscription, at the server alone".into(),
        format!("{subscription:.2}"),
        "1.00".to_owned(),
    ]);
    Ok(())
}

/// What a subscription costs a NATS server, in KiB.
async fn subscription(count: u32) -> anyhow::Result<f64> {
    let nats = Nats::start().await?;
    let process = *nats.process_ids().first().context("no server")?;
    let url = nats.url();
    let address = url.strip_prefix("nats://").context("no address")?;
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").await?;
    until_pong(&mut stream).await?;
    let before = resident_kib(process)?;
    let mut text = String::new();
    for number in 1..=count {
        text.push_str(&format!("SUB session.{number:016x}-{number:032x} {number}\r\n"));
    }
    text.push_str("PING\r\n");
    stream.write_all(text.as_bytes()).await?;
    until_pong(&mut stream).await?;
    Ok((resident_kib(process)? - before) / f64::from(count))
}

async fn until_pong(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut seen = Vec::new();
    while memchr::memmem::find(&seen, b"PONG\r\n").is_none() {
        anyhow::ensure!(stream.read_buf(&mut seen).await? > 0, "NATS has hung up");
    }
    Ok(())
}
