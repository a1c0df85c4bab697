mod story;

use stentor_cluster::Header;
use stentor_types::{AppId, Epoch, Incarnation, PlacementKey, SessionId, UserKey};

use super::{part::UNHEARD, *};

fn app() -> AppId {
    AppId::try_new("demo").unwrap()
}

/// All in partition 1.
fn session(number: u64) -> Entity {
    let session = SessionId::new(PlacementKey(1), number.into());
    Entity { app: app(), kind: EntityKind::Session(session) }
}

fn directory() -> Entity {
    Entity { app: app(), kind: EntityKind::Directory(PlacementKey(1), UserKey([1; 16])) }
}

fn partition() -> Partition {
    session(1).partition()
}

fn other_partition() -> Partition {
    SessionId::new(PlacementKey(2), 1).partition()
}

fn record(sequence: u64) -> Record {
    let first = EventNumber(sequence);
    let header = Header { first, last: first, at: Timestamp(sequence), ..Header::default() };
    Record { sequence: Sequence(sequence), header, record: vec![0; 100].into() }
}

fn row() -> SessionRow {
    SessionRow {
        epoch: Epoch(1),
        projected: EventNumber(1),
        first: EventNumber(1),
        at: Timestamp(1),
        log: Incarnation(1),
        state: vec![0; 50].into(),
    }
}

fn cursor(backlog: &Backlog) -> Option<u64> {
    let cursors = backlog.with(|inner| inner.parts.get(&partition()).and_then(Part::cursor));
    cursors.map(|cursor| cursor.0)
}

/// Reads the log for the backlog, which holds these records.
fn scan(backlog: &Backlog, records: &[(Entity, u64)]) -> Gap {
    let reading = backlog.next_reading().expect("nothing is to be read");
    let from = match reading.from {
        Gap::Cursor => 0,
        Gap::At(from) => from.0,
    };
    let records: Vec<_> = records
        .iter()
        .filter(|(_, sequence)| *sequence >= from)
        .map(|(entity, sequence)| (entity.clone(), record(*sequence)))
        .collect();
    let last = records.last().map_or(from, |(_, record)| record.sequence.0 + 1);
    backlog.read(reading, Some(Scan { records, next: Sequence(last), end: true }));
    reading.from
}

/// A partition whose log is empty and has been read.
fn backlog(records: usize) -> Backlog {
    let backlog = Backlog::with_limits(records, BYTES_MAX);
    backlog.take(partition());
    assert_eq!(cursor(&backlog), None, "nobody has looked yet");
    scan(&backlog, &[]);
    backlog.with(|inner| inner.parts.values_mut().for_each(|part| part.hold = None));
    backlog
}

fn write_all(backlog: &Backlog) -> Vec<(Entity, usize, bool)> {
    let mut written = Vec::new();
    while let Some(job) = backlog.next_job() {
        written.push((job.entity.clone(), job.records.len(), job.row.is_some()));
        backlog.done(job, Ended::Written);
    }
    written
}

fn is_empty(backlog: &Backlog) -> bool {
    backlog.with(|inner| inner.records == 0 && inner.bytes == 0 && inner.works.is_empty())
}

#[tokio::test(start_paused = true)]
async fn the_cursor_waits_for_the_events_and_for_the_row() {
    let backlog = backlog(100);
    backlog.committed(&session(1), record(5));
    backlog.committed(&directory(), record(6));
    assert_eq!(cursor(&backlog), Some(5));
    assert_eq!(write_all(&backlog).len(), 2);
    assert_eq!(cursor(&backlog), Some(5), "the state is not in the store yet");
    backlog.committed(&session(1), record(7));
    backlog.row(&session(1), Sequence(5), row());
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(7), "the directory needs no row");
    backlog.row(&session(1), Sequence(7), row());
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(8));
    assert!(is_empty(&backlog));
}

#[tokio::test(start_paused = true)]
async fn a_row_never_goes_before_the_events_that_it_covers() {
    let backlog = backlog(100);
    for sequence in 1..=JOBFUL {
        backlog.committed(&session(1), record(sequence));
    }
    backlog.row(&session(1), Sequence(JOBFUL), row());
    let written = write_all(&backlog);
    let rows: Vec<_> = written.iter().map(|(.., row)| *row).collect();
    assert_eq!(rows, [true]);
    // Nor while some of them may have to be read from the log.
    backlog.committed(&session(1), record(210));
    backlog.with(|inner| {
        inner.parts.values_mut().for_each(|part| part.gap = Some(Gap::At(Sequence(200))))
    });
    backlog.row(&session(1), Sequence(210), row());
    assert_eq!(write_all(&backlog), [(session(1), 1, false)]);
    scan(&backlog, &[(session(1), 205), (session(1), 210)]);
    backlog.tick();
    let written = write_all(&backlog);
    assert!(written.iter().any(|(_, _, row)| *row), "{written:?}");
}

/// More would not fit into the bound of the test.
const JOBFUL: u64 = 90;

#[tokio::test(start_paused = true)]
async fn i15_what_finds_no_room_is_read_from_the_log_later() {
    let backlog = backlog(4);
    for sequence in 1..=9 {
        backlog.committed(&session(sequence), record(sequence));
    }
    let lag = backlog.lag();
    assert_eq!((lag.records, lag.behind), (4, 1));
    assert!(backlog.next_reading().is_none(), "there is no room to read anything");
    assert_eq!(cursor(&backlog), Some(1));
    write_all(&backlog);
    for sequence in 1..=4 {
        backlog.row(&session(sequence), Sequence(sequence), row());
    }
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(5), "what did not fit holds the cursor");
    let log: Vec<_> = (1..=9).map(|sequence| (session(sequence), sequence)).collect();
    assert_eq!(scan(&backlog, &log), Gap::At(Sequence(5)));
    assert_eq!(backlog.lag().records, 4, "a page that does not fit is read again from there");
    write_all(&backlog);
    for sequence in 5..=8 {
        backlog.row(&session(sequence), Sequence(sequence), row());
    }
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(9));
    assert_eq!(scan(&backlog, &log), Gap::At(Sequence(9)));
    write_all(&backlog);
    backlog.row(&session(9), Sequence(9), row());
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(10));
    assert!(is_empty(&backlog));
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_while_the_log_is_read_is_not_left_out() {
    let backlog = backlog(4);
    for sequence in 1..=5 {
        backlog.committed(&session(1), record(sequence));
    }
    write_all(&backlog);
    backlog.row(&session(1), Sequence(4), row());
    write_all(&backlog);
    let reading = backlog.next_reading().unwrap();
    // Fed while it is read: it fits, and so does what the page has of it.
    backlog.committed(&session(1), record(6));
    for sequence in 7..=10 {
        backlog.committed(&session(1), record(sequence));
    }
    let page = vec![(session(1), record(5)), (session(1), record(6))];
    backlog.read(reading, Some(Scan { records: page, next: Sequence(7), end: true }));
    let known = |sequence| cursor(&backlog).unwrap() <= sequence;
    assert!(known(5), "{:?}", cursor(&backlog));
    backlog.row(&session(1), Sequence(10), row());
    write_all(&backlog);
    assert!(cursor(&backlog).unwrap() < 11, "not all of it was seen");
}

#[tokio::test(start_paused = true)]
async fn what_was_perhaps_written_holds_the_cursor_until_somebody_has_looked() {
    let backlog = backlog(100);
    backlog.committed(&directory(), record(3));
    backlog.doubt(partition(), None);
    backlog.committed(&directory(), record(5));
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(4));
    tokio::time::advance(UNHEARD).await;
    backlog.tick();
    assert_eq!(scan(&backlog, &[(session(1), 4), (directory(), 5)]), Gap::At(Sequence(4)));
    assert_eq!(cursor(&backlog), Some(4), "it was there");
    write_all(&backlog);
    backlog.row(&session(1), Sequence(4), row());
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(6));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_ten_times_while_others_are_taken_is_given_up_and_holds_the_cursor() {
    let backlog = backlog(100);
    backlog.committed(&session(1), record(1));
    let mut tries = 0;
    for successes in 0..100 {
        tokio::time::advance(Duration::from_secs(20)).await;
        backlog.tick();
        let Some(job) = backlog.next_job() else { break };
        // A store that is down refuses nobody.
        let successes = if successes < 50 { 0 } else { successes };
        backlog.done(job, Ended::Failed { successes });
        tries += 1;
    }
    assert_eq!(tries, 50 + 9);
    assert_eq!(backlog.lag().refused, 1);
    backlog.committed(&session(1), record(2));
    backlog.committed(&directory(), record(3));
    write_all(&backlog);
    assert_eq!(cursor(&backlog), Some(1));
    assert_eq!(backlog.lag().records, 1, "it takes no room from others");
}

#[tokio::test(start_paused = true)]
async fn a_partition_given_up_leaves_nothing_behind() {
    let backlog = backlog(100);
    backlog.committed(&session(1), record(1));
    backlog.committed(&session(2), record(2));
    backlog.row(&session(2), Sequence(2), row());
    let under_way = backlog.next_job().unwrap();
    backlog.give_up(partition());
    backlog.take(partition());
    backlog.done(under_way, Ended::Written);
    backlog.committed(&session(3), record(3));
    backlog.give_up(partition());
    backlog.committed(&session(3), record(4));
    assert!(is_empty(&backlog));
}

#[tokio::test(start_paused = true)]
async fn a_session_is_asked_for_its_state_once_in_two_seconds() {
    let backlog = backlog(100);
    backlog.committed(&session(1), record(1));
    write_all(&backlog);
    assert!(backlog.rows_wanted(10).is_empty());
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(backlog.rows_wanted(10), [session(1)]);
    assert!(backlog.rows_wanted(10).is_empty());
    backlog.row(&session(1), Sequence(1), row());
    backlog.committed(&session(1), record(2));
    write_all(&backlog);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(backlog.rows_wanted(10).is_empty());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(backlog.rows_wanted(10), [session(1)]);
}

#[tokio::test(start_paused = true)]
async fn cluster_28_what_was_said_before_a_partition_was_read_does_not_keep_it_from_being_read() {
    let backlog = Backlog::with_limits(4, BYTES_MAX);
    backlog.take(partition());
    // The store was away, and with it the place of the last owner: nobody has read what is before these.
    for sequence in 5..=9 {
        backlog.committed(&session(sequence), record(sequence));
    }
    let log: Vec<_> = (1..=9).map(|sequence| (session(sequence), sequence)).collect();
    for read in [Gap::Cursor, Gap::At(Sequence(5)), Gap::At(Sequence(9))] {
        assert_eq!(scan(&backlog, &log), read);
        write_all(&backlog);
        for sequence in 1..=9 {
            backlog.row(&session(sequence), Sequence(sequence), row());
        }
        write_all(&backlog);
    }
    backlog.with(|inner| inner.parts.values_mut().for_each(|part| part.hold = None));
    assert_eq!(cursor(&backlog), Some(10));
    assert!(is_empty(&backlog));
}

#[tokio::test(start_paused = true)]
async fn cluster_28_what_is_let_go_of_while_the_log_is_read_is_read_again() {
    let backlog = backlog(4);
    for sequence in 1..=5 {
        backlog.committed(&session(sequence), record(sequence));
    }
    write_all(&backlog);
    for sequence in 1..=4 {
        backlog.row(&session(sequence), Sequence(sequence), row());
    }
    write_all(&backlog);
    // While the log is read, more is said than is in the page, and there is another partition to read.
    let reading = backlog.next_reading().unwrap();
    for sequence in 6..=8 {
        backlog.committed(&session(sequence), record(sequence));
    }
    backlog.take(other_partition());
    assert!(backlog.next_reading().is_some(), "there is no room for another partition");
    assert_eq!(backlog.lag().records, 0);
    let page = vec![(session(5), record(5))];
    backlog.read(reading, Some(Scan { records: page, next: Sequence(6), end: true }));
    assert_eq!(backlog.lag().behind, 2, "nobody will look for what was let go of");
    assert_eq!(cursor(&backlog), Some(5));
}
