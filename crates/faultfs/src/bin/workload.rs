//! A long mixed run over a data folder: conversations, snapshots, trims, histories, reopening. What is
//! acknowledged is written, line by line, to a file `acks` beside the folder.
//!
//! Arguments: the root, the seed, the number of steps, and MiB of history to write at the end, which makes
//! the database change to its next journal. Ends with 3 if the disk has failed, and then has made sure that
//! nothing is promised any more.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use bytes::Bytes;
use stentor_cluster::{Append, Appended, Entity, EntityKind, Header, Log, LogError};
use stentor_embedded::{Embedded, OpenError, Options};
use stentor_faultfs::disk::Dice;
use stentor_postoffice::{CROWD_MIN, Context as Decision, Rules, Session};
use stentor_store::{Projection, Store, StoreError, StoredEvent};
use stentor_types::{
    AppId, Attach, ConnectionId, Epoch, EventNumber, GatewayId, Input, InputKind, Mid, Permissions,
    PlacementKey, Role, Say, Sequence, SessionId, Timestamp, UserKey,
};
use stentor_wire::{CommitRecord, decode_commit, encode_commit, encode_snapshot};

const SESSIONS: u64 = 12;
const SNAPSHOT_EVERY: u64 = 9;
const KEEP_EVERY: u64 = 40;
const REOPEN_EVERY: u64 = 170;
/// The exit code that says that the disk has failed.
const FAILED: u8 = 3;

struct Conversation {
    session: Session,
    head: Option<Sequence>,
    connection: ConnectionId,
}

struct Run {
    folder: PathBuf,
    app: AppId,
    conversations: Vec<Conversation>,
    acks: File,
    dice: Dice,
    log: Option<Embedded>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().context("the root is missing")?);
    let seed = arguments.next().context("the seed is missing")?.parse()?;
    let steps: u64 = arguments.next().context("the number of steps is missing")?.parse()?;
    let history: u64 = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let acks = OpenOptions::new().create(true).append(true).open(root.join("acks"))?;
    let folder = root.join("data");
    let log = open(&folder)?;
    let app = AppId::try_new("fault")?;
    let conversations = (0..SESSIONS).map(conversation).collect();
    let mut run = Run { folder, app, conversations, acks, dice: Dice(seed), log: Some(log) };
    for step in 1..=steps {
        match run.step(step).await {
            Ok(()) => {}
            Err(error) if is_failure(&error) => {
                // A disk that has failed once is not believed again.
                let again = run.log.is_none() || run.step(step + 1).await.is_err();
                anyhow::ensure!(again, "written after a failure");
                return Ok(ExitCode::from(FAILED));
            }
            Err(error) => return Err(error),
        }
    }
    for number in 0..history {
        run.remember(number).await?;
    }
    if history > 0 {
        run.step(steps + 1).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the disk has failed, while writing or while opening again.
fn is_failure(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(LogError::Fatal(_)))
            || matches!(cause.downcast_ref(), Some(StoreError::Fatal(_)))
            || matches!(cause.downcast_ref(), Some(OpenError::Io { .. }))
    })
}

fn open(folder: &Path) -> anyhow::Result<Embedded> {
    // Small enough that a short run writes out, merges and drops tables.
    let options = Options { memory_bytes: 48 << 10, ..Options::default() };
    Ok(Embedded::open(folder, options)?)
}

fn conversation(number: u64) -> Conversation {
    let id = SessionId::new(PlacementKey(number), u128::from(number));
    let connection = ConnectionId { gateway: GatewayId(1), number: number + 1 };
    Conversation { session: Session::new(id, Epoch(1)), head: None, connection }
}

fn entity(app: &AppId, session: SessionId) -> Entity {
    Entity { app: app.clone(), kind: EntityKind::Session(session) }
}

impl Run {
    fn log(&self) -> anyhow::Result<&Embedded> {
        self.log.as_ref().context("the folder is closed")
    }

    async fn step(&mut self, step: u64) -> anyhow::Result<()> {
        let mut writing = Vec::new();
        for place in 0..=self.dice.roll(3) {
            let chosen = usize::try_from((self.dice.roll(SESSIONS) + place * 5) % SESSIONS)?;
            if !writing.contains(&chosen) {
                writing.push(chosen);
            }
        }
        self.write(&writing, step).await?;
        if step.is_multiple_of(KEEP_EVERY) {
            let chosen = usize::try_from(self.dice.roll(SESSIONS))?;
            if let Some(conversation) = self.conversations.get(chosen) {
                keep(self.log()?, &self.app, conversation).await?;
            }
        }
        if step.is_multiple_of(REOPEN_EVERY) {
            self.log = None;
            self.log = Some(open(&self.folder)?);
        }
        Ok(())
    }

    /// Writes a MiB of history that nobody was promised.
    async fn remember(&self, number: u64) -> anyhow::Result<()> {
        let session = SessionId::new(PlacementKey(1_000), u128::from(number));
        let mut noise = Dice(number);
        // Noise, so that it is as large in the journal.
        let event = std::iter::repeat_with(|| noise.roll(1 << 31).to_le_bytes())
            .flat_map(|[one, two, three, ..]| [one, two, three])
            .take(1 << 20)
            .collect();
        let events = vec![StoredEvent { n: EventNumber(1), at: Timestamp(1), event }];
        let app = self.app.clone();
        Ok(self.log()?.project(Projection { app, session, events, row: None }).await?)
    }

    async fn write(&mut self, writing: &[usize], step: u64) -> anyhow::Result<()> {
        let Self { app, conversations, acks, dice, log, .. } = self;
        let log = log.as_ref().context("the folder is closed")?;
        let rules = Rules { bot: None, ..Rules::default() };
        let now = Timestamp(1_000_000 * step);
        let mut batch = Vec::new();
        let mut decided = Vec::new();
        for place in writing {
            let Some(conversation) = conversations.get(*place) else { continue };
            let input = input(conversation, now, dice);
            let commit = conversation
                .session
                .decide(&[input], &Decision { now, rules: &rules, crowd_min: CROWD_MIN });
            let mut after = conversation.session.clone();
            after.apply(&commit);
            let mut record = CommitRecord::new(app.clone(), conversation.session.id(), commit);
            record.previous = conversation.head;
            record.snapshot =
                step.is_multiple_of(SNAPSHOT_EVERY).then(|| encode_snapshot(after.state()));
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
            batch.push(Append {
                entity,
                expected,
                header,
                record: encode_commit(&record),
                effects: Vec::new(),
            });
            decided.push((*place, after, record.commit.last()));
        }
        let judged = log.append(batch).await?;
        for ((place, after, last), appended) in decided.into_iter().zip(judged) {
            let Appended::Stored(sequence) = appended else {
                anyhow::bail!("{appended:?} without a rival")
            };
            let Some(conversation) = conversations.get_mut(place) else { continue };
            // One write: a mark is there or not.
            acks.write_all(format!("{} {last}\n", after.id()).as_bytes())?;
            conversation.session = after;
            conversation.head = Some(sequence);
        }
        Ok(())
    }
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
            client: None,
            existing: false,
        }),
        Some(endpoint) => {
            let length = usize::try_from(1 + dice.roll(3_000)).unwrap_or(1);
            let body = Bytes::from(vec![b'a' + u8::try_from(dice.roll(26)).unwrap_or(0); length]);
            InputKind::Say(Say {
                connection,
                mid: Mid { client: connection.into(), counter: endpoint.taken.counter + 1 },
                client_time: None,
                text: Some("text".into()),
                greeting: false,
                note: false,
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
    Ok(())
}
