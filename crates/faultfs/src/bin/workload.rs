//! A long mixed run over a data folder: conversations, snapshots, trims, histories, reopening. What is
//! acknowledged is written, line by line, to a file `acks` beside the folder.
//!
//! Arguments: the root, the seed, the number of steps.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log};
use stentor_embedded::{Embedded, Options};
use stentor_postoffice::{Context as Decision, Rules, Session};
use stentor_store::{Projection, Store, StoredEvent};
use stentor_types::{
    AppId, Attach, ConnectionId, Epoch, GatewayId, Input, InputKind, Mid, Permissions,
    PlacementKey, Role, Say, Sequence, SessionId, Timestamp, UserKey,
};
use stentor_wire::{CommitRecord, decode_commit, encode_commit, encode_snapshot};

const SESSIONS: u64 = 12;
const SNAPSHOT_EVERY: u64 = 9;

struct Conversation {
    session: Session,
    head: Option<Sequence>,
    connection: ConnectionId,
    counter: u64,
}

/// A linear congruential generator: all that is asked of it is to be the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().context("the root is missing")?);
    let mut dice = Dice(arguments.next().context("the seed is missing")?.parse()?);
    let steps: u64 = arguments.next().context("the number of steps is missing")?.parse()?;
    let folder = root.join("data");
    let mut acks = OpenOptions::new().create(true).append(true).open(root.join("acks"))?;
    let mut log = open(&folder)?;
    let app = AppId::try_new("fault")?;
    let mut conversations: Vec<_> = (0..SESSIONS).map(conversation).collect();
    for step in 1..=steps {
        let mut writing = Vec::new();
        for place in 0..=dice.roll(3) {
            let chosen = usize::try_from((dice.roll(SESSIONS) + place * 5) % SESSIONS)?;
            if !writing.contains(&chosen) {
                writing.push(chosen);
            }
        }
        write(&log, &app, &mut conversations, &writing, &mut acks, &mut dice, step).await?;
        if step.is_multiple_of(40) {
            let chosen = usize::try_from(dice.roll(SESSIONS))?;
            if let Some(conversation) = conversations.get(chosen) {
                keep(&log, &app, conversation).await?;
            }
        }
        if step.is_multiple_of(170) {
            drop(log);
            log = open(&folder)?;
        }
    }
    Ok(())
}

fn open(folder: &Path) -> anyhow::Result<Embedded> {
    Ok(Embedded::open(folder, Options::default())?)
}

fn conversation(number: u64) -> Conversation {
    let id = SessionId::new(PlacementKey(number), u128::from(number));
    let connection = ConnectionId { gateway: GatewayId(1), number: number + 1 };
    Conversation { session: Session::new(id, Epoch(1)), head: None, connection, counter: 0 }
}

fn entity(app: &AppId, session: SessionId) -> Entity {
    Entity { app: app.clone(), kind: EntityKind::Session(session) }
}

async fn write(
    log: &Embedded,
    app: &AppId,
    conversations: &mut [Conversation],
    writing: &[usize],
    acks: &mut File,
    dice: &mut Dice,
    step: u64,
) -> anyhow::Result<()> {
    let rules = Rules { bot: None, ..Rules::default() };
    let now = Timestamp(1_000_000 * step);
    let mut batch = Vec::new();
    let mut decided = Vec::new();
    for place in writing {
        let Some(conversation) = conversations.get(*place) else { continue };
        let input = input(conversation, now, dice);
        let commit = conversation.session.decide(&[input], &Decision { now, rules: &rules });
        let mut after = conversation.session.clone();
        after.apply(&commit);
        let mut record = CommitRecord::new(app.clone(), conversation.session.id(), commit);
        record.previous = conversation.head;
        record.snapshot =
            (step.is_multiple_of(SNAPSHOT_EVERY)).then(|| encode_snapshot(after.state()));
        let header = Header {
            first: record.commit.first,
            last: record.commit.last(),
            at: record.commit.at,
            next_deadline: record.commit.next_deadline,
            attached: true,
            snapshot: record.snapshot.is_some(),
        };
        let expected = conversation.head;
        let entity = entity(app, conversation.session.id());
        batch.push(Append { entity, expected, header, record: encode_commit(&record) });
        decided.push((*place, after, record.commit.last()));
    }
    let judged = log.append(batch).await?;
    for ((place, after, last), appended) in decided.into_iter().zip(judged) {
        let Appended::Stored(sequence) = appended else {
            anyhow::bail!("{appended:?} without a rival")
        };
        let Some(conversation) = conversations.get_mut(place) else { continue };
        writeln!(acks, "{} {last}", after.id())?;
        conversation.session = after;
        conversation.head = Some(sequence);
        conversation.counter += u64::from(conversation.session.state().n.0 > 3);
    }
    Ok(())
}

fn input(conversation: &Conversation, now: Timestamp, dice: &mut Dice) -> Input {
    let connection = conversation.connection;
    let attached = conversation.session.state().endpoints.get(&connection);
    let kind = match attached {
        None => InputKind::Attach(Attach {
            connection,
            user: UserKey([u8::try_from(connection.number).unwrap_or(0); 16]),
            role: Role::Visitor,
            display_name: None,
            claimed: Some("claimed".into()),
            client_time: None,
            counter: 0,
            permissions: Permissions::ALL,
        }),
        Some(endpoint) => {
            let length = usize::try_from(1 + dice.roll(3_000)).unwrap_or(1);
            let body = Bytes::from(vec![b'a' + u8::try_from(dice.roll(26)).unwrap_or(0); length]);
            InputKind::Say(Say {
                connection,
                mid: Mid { client: connection.into(), counter: endpoint.counter + 1 },
                client_time: None,
                text: Some("text".into()),
                greeting: false,
                body,
                request: Bytes::new(),
            })
        }
    };
    Input { at: now, kind }
}

/// Copies what is older than the newest snapshot to the history, then takes it out of the log.
async fn keep(log: &Embedded, app: &AppId, conversation: &Conversation) -> anyhow::Result<()> {
    let entity = entity(app, conversation.session.id());
    let Some(snapshot) = log.head(&entity).await?.and_then(|head| head.snapshot) else {
        return Ok(());
    };
    let mut events = Vec::new();
    for record in log.read(&entity, Sequence(0), usize::MAX).await? {
        if record.sequence >= snapshot {
            break;
        }
        let decoded = decode_commit(&record.record)?;
        let at = decoded.commit.at;
        let numbers = decoded.commit.events.iter().map(|event| event.n).zip(decoded.events);
        events.extend(numbers.map(|(n, event)| StoredEvent { n, at, event }));
    }
    let session = conversation.session.id();
    log.project(Projection { app: app.clone(), session, events, row: None }).await?;
    log.trim(&entity, snapshot, false).await?;
    tokio::time::sleep(Duration::ZERO).await;
    Ok(())
}
