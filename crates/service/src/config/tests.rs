//! What can be said, and what is answered to nonsense.

use super::*;

fn load(
    file: &str,
    environment: &[(&str, &str)],
    flags: &[(&'static str, &str)],
) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stentor.toml");
    std::fs::write(&path, file).unwrap();
    let sources = Sources {
        file: Some(path.clone()),
        environment: environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        flags: flags.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
    };
    Config::load(&sources)
        .map_err(|error| error.to_string().replace(&path.display().to_string(), "FILE"))
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "listen = '127.0.0.1:1'\nadmin_listen = '127.0.0.1:2'\n[log]\nlevel = 'warn'";
    let environment = [("STENTOR_ADMIN_LISTEN", "127.0.0.1:3"), ("STENTOR_LISTEN", "127.0.0.1:4")];
    let config = load(file, &environment, &[("listen", "127.0.0.1:5")]).unwrap();
    assert_eq!(config.listen.port(), 5);
    assert_eq!(config.admin_listen.port(), 3);
    assert_eq!(config.log_level, "warn");
}

#[test]
fn all_problems_are_named_at_once() {
    let file = "lisen = 'x'\ndrain_seconds = 0\n[connector]\nallow_cidrs = ['10.0.0.0/8', 'no']";
    let error =
        load(file, &[("STENTOR_INSECURE", "maybe"), ("STENTOR_DRAIN", "1")], &[]).unwrap_err();
    for part in [
        "there is no setting lisen; did you mean listen?",
        "drain_seconds (FILE): 0 is not a whole number from 1 to 600",
        "\"no\" is no address range",
        "insecure (variable STENTOR_INSECURE): \"maybe\" is not true or false",
        "variable STENTOR_DRAIN: there is no such setting",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
}

#[test]
fn s21_other_addresses_than_loopback_need_a_reason() {
    let refused = load("listen = '0.0.0.0:8080'", &[], &[]).unwrap_err();
    assert!(refused.contains("--insecure"), "{refused}");
    assert!(load("listen = '0.0.0.0:8080'\ninsecure = true", &[], &[]).is_ok());
    assert!(load("listen = '0.0.0.0:8080'\ntrusted_proxies = ['10.0.0.1']", &[], &[]).is_ok());
}

#[test]
fn the_names_of_the_original_are_honoured() {
    let environment =
        [("CONNECTION_SERVER_URL", "wss://chat.example.com/dev"), ("STUDIO_APP_ID", "shop")];
    let config = load("", &environment, &[]).unwrap();
    assert_eq!(config.public_url.as_deref(), Some("wss://chat.example.com/dev"));
    assert_eq!(config.single_app.unwrap().as_str(), "shop");
}

#[test]
fn half_written_toml_is_named_by_line() {
    let error = load("listen = '127.0.0.1:1", &[], &[]).unwrap_err();
    assert!(error.contains("FILE") && error.contains("line 1"), "{error}");
}

#[test]
fn a_cluster_is_described_as_a_whole_and_every_mistake_is_named() {
    let file = "[nats]\nurls = ['nats://a:4222', 'tls://b:4222']\nreplicas = 1\nuser = 'router'\n\
                password_file = '/run/nats'\n[store]\nnodes = 'c:9042'\nreplication = 1";
    let config = load(file, &[], &[]).unwrap();
    let (nats, store) = (config.nats.unwrap(), config.store.unwrap());
    assert_eq!(
        (nats.urls.len(), nats.replicas, nats.login.unwrap().user.as_str()),
        (2, 1, "router")
    );
    assert_eq!(
        (store.nodes, store.keyspace.as_str(), store.login),
        (vec!["c:9042".into()], "stentor", None)
    );
    assert_eq!(load("", &[], &[]).unwrap().nats, None);
    let file = "[nats]\nurls = 'a:4222'\nreplicas = 2\nuser = 'router'\nmonitor_urls = 'b'\n\
                inbox_prefix = 'a.b'\n[store]\nnodes = ['c']\nkeyspace = 'Drop table'\npassword_file = 'x'";
    let error = load(file, &[], &[]).unwrap_err();
    for part in [
        "nats.urls (FILE): \"a:4222\" must begin with nats:// or tls://",
        "nats.replicas (FILE): must be 1, 3 or 5",
        "nats.user (FILE): needs its password: say nats.password_file too",
        "nats.monitor_urls (FILE): \"b\" must begin with http://",
        "nats.inbox_prefix (FILE): must be one word",
        "store.nodes (FILE): \"c\" is not host:port",
        "store.keyspace (FILE): must be 1 to 48 of a-z",
        "store.password_file (FILE): is the password of nobody: say store.user too",
    ] {
        assert!(error.contains(part), "{part}\n{error}");
    }
}
