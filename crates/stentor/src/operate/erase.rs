//! `stentor erase`: has a session erased by the router that owns it, and prints the certificate.
//!
//! Only the owner may commit. So a cluster's is asked, again and again until it has answered: what was begun and
//! interrupted is finished by whoever is asked next. Over a data folder that nobody serves a router is started that
//! does nothing else.

use std::{
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use prost::Message as _;
use serde_json::json;
use stentor_apps::AppSet;
use stentor_cluster::local::LocalBus;
use stentor_cluster_nats::operator;
use stentor_embedded::{Embedded, Options};
use stentor_protocol::api::Certificate;
use stentor_router::Router;
use stentor_types::{AppId, Epoch, EventNumber, SessionId, Timestamp};
use stentor_wire::{pb, pb::erase_reply::Kind, session_to_bytes};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Printed, flags::Erase, reach::Reach, run, session::Found, time::utc};

/// For how long the owner is asked again.
const ASK_FOR: Duration = Duration::from_secs(45);
/// Pause before it is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// `stentor erase`.
pub(crate) fn erase(flags: &Erase) -> anyhow::Result<ExitCode> {
    run(ask(flags))
}

async fn ask(flags: &Erase) -> anyhow::Result<Printed> {
    let session = flags.session;
    let certificate = match (&flags.data, &flags.app) {
        (Some(data), Some(app)) => of_folder(data, app, session).await?,
        _ => of_cluster(flags).await?,
    };
    let (hidden, gone) = (Timestamp(certificate.hidden_at), certificate.gone_at.map(Timestamp));
    let numbers = (Epoch(certificate.epoch), EventNumber(certificate.events));
    let json = json!(Certificate::new((certificate.app.clone(), session), numbers, hidden, gone));
    Ok(Printed::new(&flags.cluster, &json, || {
        let gone = gone.map_or_else(
            || {
                "when no file is left that is older; docs/operations.md says how to hasten it"
                    .to_owned()
            },
            |gone| format!("by {}", utc(gone)),
        );
        format!(
            "session {session} of {} is erased\n\
             events    {}, of which the numbers are left\n\
             hidden    since {}\n\
             gone      {gone}, from log and database; backups are yours",
            certificate.app,
            certificate.events,
            utc(hidden),
        )
    }))
}

async fn of_cluster(flags: &Erase) -> anyhow::Result<pb::Certificate> {
    let session = flags.session;
    let reach = Reach::open(&flags.cluster).await?;
    let app = match &flags.app {
        Some(app) => app.clone(),
        None => {
            let log = reach.log().await?;
            Found::find(&log, None, session, None).await?.entity.app
        }
    };
    let until = Instant::now() + ASK_FOR;
    loop {
        let request = request(&app, session);
        let answer = operator::ask_owner(&reach.connection, session.partition(), request).await?;
        if let Some(certificate) = answer.map(judged).transpose()?.flatten() {
            return Ok(certificate);
        }
        if Instant::now() > until {
            bail!(
                "nobody has erased the session wholly within {} s: is a router running (`stentor show {session}` names \
                 the owner), and does the database answer? Say it again: it goes on where it was",
                ASK_FOR.as_secs()
            );
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn of_folder(
    data: &Path,
    app: &AppId,
    session: SessionId,
) -> anyhow::Result<pb::Certificate> {
    let folder = data.to_owned();
    let opened =
        tokio::task::spawn_blocking(move || Embedded::open_existing(&folder, Options::default()));
    let embedded = Arc::new(opened.await?.context("--data")?);
    let (bus, ends) = LocalBus::new();
    let bus = Arc::new(bus);
    let (_apps, apps) = watch::channel(Arc::new(AppSet::default()));
    let config = stentor_router::Config::default();
    let registry = prometheus::Registry::new();
    let store = Arc::clone(&embedded);
    let router = Router::new(config, embedded, store, Arc::clone(&bus), apps, &registry)?;
    let drain = CancellationToken::new();
    let routing = tokio::spawn(router.run(ends.requests, ends.changes, drain.clone()));
    for taken_up in ends.taken_up {
        let _ = taken_up.await;
    }
    let until = Instant::now() + ASK_FOR;
    let certificate = loop {
        let asked = bus.operate(session.partition(), request(app, session)).await;
        let answer =
            asked.context("the log has failed; start again to recover from what is on disk")?;
        match judged(answer) {
            Ok(Some(certificate)) => break Ok(certificate),
            Ok(None) if Instant::now() < until => tokio::time::sleep(AGAIN).await,
            Ok(None) => {
                break Err(anyhow::anyhow!("the session could not be erased wholly; say it again"));
            }
            Err(cause) => break Err(cause),
        }
    };
    drain.cancel();
    routing.await??;
    certificate
}

fn request(app: &AppId, session: SessionId) -> Bytes {
    let erase = pb::EraseRequest { session: session_to_bytes(session), ..Default::default() };
    let request = pb::Request {
        app: app.as_str().to_owned(),
        kind: Some(pb::request::Kind::Erase(erase)),
        deaths: 0,
    };
    request.encode_to_vec().into()
}

/// The certificate, or nothing if it is to be asked again.
fn judged(answer: Bytes) -> anyhow::Result<Option<pb::Certificate>> {
    let reply = pb::Reply::decode(answer).context("the owner's answer cannot be read")?;
    let kind = match reply.kind {
        Some(pb::reply::Kind::Erase(reply)) => reply.kind,
        Some(pb::reply::Kind::Malformed(_)) => {
            bail!("the owner does not know how to erase: it has an older version")
        }
        _ => None,
    };
    match kind {
        Some(Kind::Certificate(certificate)) => Ok(Some(certificate)),
        Some(Kind::NeedsVersion(needed)) => bail!(
            "the cluster has a version below {needed}, which its members would not understand an erased session in; \
             bring all of them to this version, then `stentor upgrade finalize`"
        ),
        Some(Kind::NoSession(_)) => {
            bail!("there is no such session of this app, or nothing has happened in it")
        }
        Some(Kind::Forbidden(_)) => bail!("the owner does not take us for an operator"),
        Some(Kind::Damaged(_)) => {
            bail!(
                "the session's record is damaged, and nothing can be written behind it; run `stentor verify`"
            )
        }
        Some(Kind::TryAgainMs(_)) | None => Ok(None),
    }
}
