//! What a log is opened on, and what is refused.

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use stentor_cluster::Log;
use stentor_cluster_nats::{
    Connection, ConnectionSettings, LogSettings, Login, NatsLog, OpenError, fence, subjects,
};
use stentor_testkit::{Nats, NatsOptions};

use crate::harness::{Server, connect, metrics, put, record, session};

async fn refusal(connection: &Connection, settings: LogSettings) -> OpenError {
    NatsLog::open(connection, settings, metrics().1).await.unwrap_err()
}

#[tokio::test]
async fn a_server_that_acknowledges_before_it_syncs_is_refused() {
    let server = Server::with(NatsOptions { sync_always: false, ..NatsOptions::default() }).await;
    let settings = server.settings();
    let error = refusal(&server.connection, settings.clone()).await;
    assert!(matches!(error, OpenError::LazyFsync(_)), "{error}");
    let streams = server.connection.jetstream().get_stream(settings.stream_name()).await;
    assert!(streams.is_err(), "something was made before it was refused");
    // Unless it is wanted.
    put(
        &server.open(LogSettings { allow_lazy_fsync: true, ..settings }).await,
        record(&session(1), None, 1),
    )
    .await;
}

#[tokio::test]
async fn a_server_that_takes_only_small_messages_is_refused() {
    let extra = "max_payload: 512KB\n".to_owned();
    let server = Server::with(NatsOptions { extra, ..NatsOptions::default() }).await;
    let error = refusal(&server.connection, server.settings()).await;
    assert!(matches!(error, OpenError::SmallMessages(_)), "{error}");
}

#[tokio::test]
async fn cluster_7_a_log_that_would_fill_the_disk_is_refused_with_what_would_fit() {
    // The store of these servers is 4 GiB.
    let server = Server::start().await;
    let settings = LogSettings { max_bytes: 3 << 30, ..server.settings() };
    let error = refusal(&server.connection, settings.clone()).await;
    let OpenError::TooLarge { largest, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("nats.max_bytes"), "{error}");
    let streams = server.connection.jetstream().get_stream(settings.stream_name()).await;
    assert!(streams.is_err(), "something was made before it was refused");
    // What is named fits.
    server.open(LogSettings { max_bytes: largest, ..settings }).await;
}

#[tokio::test]
async fn cluster_7_a_log_that_would_fill_the_disk_is_made_if_that_is_wanted() {
    let server = Server::start().await;
    let settings = LogSettings { max_bytes: 3 << 30, allow_large: true, ..server.settings() };
    server.open(settings).await;
}

#[tokio::test]
async fn servers_that_nobody_can_ask_are_refused() {
    let server = Server::start().await;
    for urls in [vec![], vec!["http://127.0.0.1:1".to_owned()]] {
        let settings = LogSettings { monitor_urls: urls, ..server.settings() };
        let error = refusal(&server.connection, settings).await;
        assert!(matches!(error, OpenError::FsyncUnknown(_)), "{error}");
    }
    // One that is down beside one that syncs is no reason to stay down as well.
    let mut settings = server.settings();
    settings.monitor_urls.push("http://127.0.0.1:1".to_owned());
    server.open(settings).await;
}

#[tokio::test]
async fn a_stream_that_is_not_fit_is_refused() {
    let server = Server::start().await;
    let jetstream = server.connection.jetstream();
    let spoil: [fn(&mut Config); 4] = [
        |config| config.allow_atomic_publish = false,
        |config| config.max_age = std::time::Duration::from_secs(3_600),
        |config| config.discard = DiscardPolicy::Old,
        // It was not made by us: no incarnation.
        |_| {},
    ];
    for (number, spoil) in spoil.iter().enumerate() {
        let settings = server.settings();
        let mut config = Config {
            name: settings.stream_name(),
            subjects: subjects::of_group(settings.group),
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            allow_direct: true,
            allow_atomic_publish: true,
            ..Config::default()
        };
        spoil(&mut config);
        jetstream.create_stream(config).await.unwrap();
        let error = refusal(&server.connection, settings).await;
        match number {
            0 => assert!(matches!(error, OpenError::NoBatches(_)), "{error}"),
            _ => assert!(matches!(error, OpenError::Unfit { .. }), "{number}: {error}"),
        }
    }
}

#[tokio::test]
async fn the_incarnation_survives_the_death_of_all_servers_and_is_renewed_by_hand() {
    let mut server = Server::start().await;
    let settings = server.settings();
    let before = server.open(settings.clone()).await.incarnation();
    server.nats.kill(0).unwrap();
    server.nats.start_again(0).await.unwrap();
    let connection = connect(&server.nats).await;
    let open = async || NatsLog::open(&connection, settings.clone(), metrics().1).await.unwrap();
    let log = open().await;
    assert_eq!(log.incarnation(), before);
    let kept = put(&log, record(&session(1), None, 1)).await;
    let renewed = fence(&connection, &settings).await.unwrap();
    assert_ne!(renewed, before);
    let log = open().await;
    assert_eq!(log.incarnation(), renewed);
    assert_eq!(log.head(&session(1)).await.unwrap().unwrap().sequence, kept);
}

#[tokio::test]
async fn routers_that_start_at_once_open_the_same_log() {
    for nodes in [1, 3] {
        let server = Server::with(NatsOptions { nodes, ..NatsOptions::default() }).await;
        let settings = server.settings();
        let open = async || {
            let connection = connect(&server.nats).await;
            NatsLog::open(&connection, settings.clone(), metrics().1).await.unwrap()
        };
        let (a, b, c, d) = tokio::join!(open(), open(), open(), open());
        let first = a.incarnation();
        assert!([b, c, d].iter().all(|log| log.incarnation() == first));
    }
}

#[tokio::test]
async fn a_changed_limit_is_taken_over_and_nothing_else() {
    let server = Server::start().await;
    let settings = server.settings();
    let incarnation = server.open(settings.clone()).await.incarnation();
    let larger = LogSettings { max_bytes: settings.max_bytes * 2, ..settings.clone() };
    assert_eq!(server.open(larger.clone()).await.incarnation(), incarnation);
    let stream = server.connection.jetstream().get_stream(settings.stream_name()).await.unwrap();
    assert_eq!(stream.cached_info().config.max_bytes, larger.max_bytes as i64);
}

#[tokio::test]
async fn a_user_with_a_password_and_an_inbox_of_its_own_can_do_all_that_the_log_needs() {
    let extra = r#"
authorization { users: [ { user: "router", password: "secret", permissions: {
  publish: [
    "log.>", "fx.>", "$JS.API.INFO",
    "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.INFO.*",
    "$JS.API.STREAM.MSG.GET.*", "$JS.API.STREAM.PURGE.*", "$JS.API.DIRECT.GET.>",
    "$JS.API.CONSUMER.CREATE.*.*.log.>", "$JS.API.CONSUMER.INFO.>", "$JS.FC.>",
    "$KV.STENTOR_cursors.>"
  ], subscribe: ["_INBOX_router.>"]
} } ] }"#;
    let nats = Nats::with(NatsOptions { extra: extra.to_owned(), ..NatsOptions::default() })
        .await
        .unwrap();
    let mut settings = ConnectionSettings::new(&nats.url(), "test");
    assert!(Connection::open(&settings).await.is_err());
    settings.login = Login::User { user: "router".to_owned(), password: "secret".to_owned() };
    settings.inbox_prefix = "_INBOX_router".to_owned();
    let connection = Connection::open(&settings).await.unwrap();
    let group = std::sync::atomic::AtomicU16::new(0);
    stentor_cluster::contract::all(async || {
        let group = subjects::LogGroup(group.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        let settings =
            LogSettings { group, max_bytes: 64 << 20, ..LogSettings::new(nats.monitor_urls()) };
        NatsLog::open(&connection, settings, metrics().1).await.unwrap()
    })
    .await;
}
