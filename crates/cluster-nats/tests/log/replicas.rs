//! Replicas that lag behind their leader.

use stentor_cluster::{Log, PartitionLog};
use stentor_cluster_nats::{Connection, ConnectionSettings, NatsLog};
use stentor_testkit::NatsOptions;
use stentor_types::Sequence;

use crate::harness::{Server, count, metrics, put, record, session};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_read_whatever_replica_answers() {
    let server = Server::with(NatsOptions { nodes: 3, ..NatsOptions::default() }).await;
    let settings = server.settings();
    let writer = server.open(settings.clone()).await;
    let leader = server.nats.leader_of(writer.stream_name()).await.unwrap();
    let (registry, metrics) = metrics();
    let follower = server.nats.url_of((leader + 1) % 3).unwrap();
    let near = Connection::open(&ConnectionSettings::new(&follower, "near")).await.unwrap();
    let reader = NatsLog::open(&near, settings, metrics).await.unwrap();
    let entity = session(1);
    let mut head = None;
    let (mut next, mut scanned) = (Sequence(0), 0);
    for n in 1..=600 {
        head = Some(put(&writer, record(&entity, head, n)).await);
        // Whatever is asked first finds the replica furthest behind.
        if n % 2 == 0 {
            let records = reader.read(&entity, Sequence(0), usize::MAX).await.unwrap();
            let last = records.last().map(|record| record.sequence);
            assert_eq!((records.len() as u64, last), (n, head), "not all is read");
            continue;
        }
        loop {
            let scan = reader.scan(entity.partition(), next, usize::MAX).await.unwrap();
            next = scan.next;
            scanned += scan.records.len() as u64;
            if scan.end {
                break;
            }
        }
        assert_eq!(scanned, n, "a scan ended before what was acknowledged");
    }
    // How often that was so depends on the machine; never, where replicas are as quick as the leader.
    eprintln!("{} reads were behind", count(&registry, "stentor_log_reads_behind_total"));
}
