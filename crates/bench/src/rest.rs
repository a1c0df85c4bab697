//! Ten thousand sockets that have nothing to say: memory and processor time of each.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::{
    crowd::Crowd,
    system::{Kind, Places},
    table::{head, ratio, row},
};

const ROOMS: usize = 10;
/// After the last message, before memory is read.
const SETTLE: Duration = Duration::from_secs(5);
/// Two rounds of pings, which all of the systems send every 25 seconds.
const WATCH: Duration = Duration::from_secs(50);

/// G1, G10.
pub(crate) async fn run(places: &Places, small: bool) -> anyhow::Result<()> {
    let sockets: u32 = if small { 100 } else { 10_000 };
    let (settle, watch) = if small { (Duration::ZERO, Duration::ZERO) } else { (SETTLE, WATCH) };
    let mut found = Vec::new();
    for kind in places.chosen(&[Kind::Stentor, Kind::Ws, Kind::SocketIo, Kind::Centrifuge]) {
        let system = places.start(kind, false).await?;
        let empty = system.resident_kib()?;
        let mut crowd = Crowd::gather(&system, ROOMS, usize::try_from(sockets)? / ROOMS).await?;
        crowd.one_at_a_time(1).await?;
        sleep(settle).await;
        let each = (system.resident_kib()? - empty) / f64::from(sockets);
        let (began, before) = (Instant::now(), system.cpu()?);
        sleep(watch).await;
        let spent = system.cpu()? - before;
        let later = (system.resident_kib()? - empty) / f64::from(sockets);
        crowd.one_at_a_time(1).await?;
        let micros = spent * 1e6 / f64::from(sockets) / began.elapsed().as_secs_f64();
        found.push((kind, each, later, micros));
    }
    let (of, seconds) = (format!("{sockets} sockets in {ROOMS} rooms"), watch.as_secs());
    let idle = format!("µs of processor time per socket and second, over {seconds} s");
    head(&[&of, "KiB per socket", "× Stentor", "KiB later", &idle, "× Stentor"]);
    let ours = found.iter().copied().find(|(kind, ..)| *kind == Kind::Stentor);
    for (kind, each, later, micros) in found {
        let against = |one: f64, ours: Option<f64>| ratio(one, ours.unwrap_or(f64::NAN));
        row(&[
            kind.name().to_owned(),
            format!("{each:.2}"),
            against(each, ours.map(|(_, each, ..)| each)),
            format!("{later:.2}"),
            format!("{micros:.2}"),
            against(micros, ours.map(|(.., micros)| micros)),
        ]);
    }
    Ok(())
}
