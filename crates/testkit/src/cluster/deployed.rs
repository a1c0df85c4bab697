//! What is deployed with Docker is what is started locally: `deploy/` against the topology.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{
    GivenDatabase,
    settings::Places,
    topology::{Kind, Topology},
};

const COMPOSE: &str = include_str!("../../../../deploy/compose.yaml");
const PROMETHEUS: &str = include_str!("../../../../deploy/prometheus.yml");
const NATS: &str = include_str!("../../../../deploy/nats/nats.conf");
const CONFIG: [(Kind, &str); 3] = [
    (Kind::Gateway, include_str!("../../../../deploy/config/gateway.toml")),
    (Kind::Router, include_str!("../../../../deploy/config/router.toml")),
    (Kind::Connector, include_str!("../../../../deploy/config/connector.toml")),
];

/// What only a deployment says: that its ports are published on loopback, and how its logs are read.
const DEPLOYED_ONLY: [&str; 2] = ["insecure", "log.format"];

fn compose() -> Value {
    serde_saphyr::from_str(COMPOSE).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

/// A field of a service, or of what it is a variant of.
fn field<'a>(compose: &'a Value, service: &str, name: &str) -> &'a Value {
    let service = &compose["services"][service];
    if service[name].is_null() { &service["<<"][name] } else { &service[name] }
}

fn settings(text: &str) -> BTreeMap<&str, &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(" = ")).collect()
}

fn local() -> Places {
    Places {
        apps: "/apps".into(),
        folder: "/somewhere".into(),
        nats_urls: vec!["nats://127.0.0.1:1".into()],
        monitor_urls: vec!["http://127.0.0.1:2".into()],
        replicas: 3,
        database: Some(GivenDatabase { address: "127.0.0.1:3".into(), keyspace: "stentor".into() }),
        drain_seconds: 20,
        extra: String::new(),
    }
}

#[test]
fn the_compose_file_has_the_members_of_the_topology_and_no_others() {
    let compose = compose();
    let services: BTreeSet<_> = compose["services"].as_object().unwrap().keys().cloned().collect();
    let members = Topology::STANDARD.members();
    assert_eq!(services, members.iter().map(|member| member.name.clone()).collect());
    for member in members {
        let image = field(&compose, &member.name, "image");
        assert_eq!(image, member.kind.image(), "{}", member.name);
        if member.kind.is_role() {
            let command = texts(field(&compose, &member.name, "command"));
            assert_eq!(command.first(), Some(&member.kind.as_str()), "{}", member.name);
        }
        let needed: Vec<_> =
            member.kind.needs().iter().flat_map(|kind| Topology::STANDARD.of(*kind)).collect();
        let needed: Vec<_> = needed.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(texts(field(&compose, &member.name, "depends_on")), needed, "{}", member.name);
    }
}

#[test]
fn s17_a_role_sees_no_other_roles_password() {
    let compose = compose();
    for member in Topology::STANDARD.members().iter().filter(|member| member.kind.is_role()) {
        let secrets = texts(field(&compose, &member.name, "secrets"));
        let passwords: Vec<_> =
            secrets.into_iter().filter(|name| name.starts_with("nats_")).collect();
        assert_eq!(passwords, [format!("nats_{}", member.kind.as_str())]);
        assert!(field(&compose, &member.name, "env_file").is_null(), "{}", member.name);
    }
}

#[test]
fn a_deployed_role_is_given_the_settings_of_a_local_one() {
    for (kind, deployed) in CONFIG {
        let listen = (kind == Kind::Gateway).then_some(4);
        let local = local().settings(kind, listen, 5);
        let local: BTreeSet<_> = settings(&local).into_keys().collect();
        let mut deployed: BTreeSet<_> = settings(deployed).into_keys().collect();
        for name in DEPLOYED_ONLY {
            deployed.remove(name);
        }
        assert_eq!(deployed, local, "{kind:?}");
    }
}

#[test]
fn deployed_addresses_name_members() {
    let nats: Vec<_> = Topology::STANDARD.of(Kind::Nats);
    for (kind, text) in CONFIG {
        let settings = settings(text);
        for (name, scheme, port) in
            [("nats.urls", "nats", 4222), ("nats.monitor_urls", "http", 8222)]
        {
            let Some(given) = settings.get(name) else { continue };
            let urls = nats.iter().map(|node| format!("{scheme}://{}:{port}", node.name));
            let given: Vec<String> = serde_json::from_str(given).unwrap();
            assert_eq!(given, urls.collect::<Vec<_>>(), "{name} of {kind:?}");
        }
        let user = format!("{:?}", kind.as_str());
        assert_eq!(settings.get("nats.user"), Some(&user.as_str()));
    }
}

#[test]
fn prometheus_asks_every_role() {
    let prometheus: Value = serde_saphyr::from_str(PROMETHEUS).unwrap();
    let jobs = prometheus["scrape_configs"].as_array().unwrap();
    let targets = jobs.iter().flat_map(|job| texts(&job["static_configs"][0]["targets"]));
    let members = Topology::STANDARD.members();
    let roles = members.iter().filter(|member| member.kind.is_role());
    let wanted: BTreeSet<_> = roles.map(|member| format!("{}:9090", member.name)).collect();
    assert_eq!(targets.map(str::to_owned).collect::<BTreeSet<_>>(), wanted);
}

#[test]
fn p1_deployed_nats_syncs_before_it_acknowledges() {
    assert!(NATS.lines().any(|line| line.trim() == "sync_interval: always"));
}
