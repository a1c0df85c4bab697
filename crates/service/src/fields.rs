//! The one list of settings: keys, defaults and what they mean. Parsing and documentation read it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    /// Key in the file, dots for tables. The environment variable follows from it.
    pub(crate) key: &'static str,
    /// Further environment variables that are honoured.
    pub(crate) alias: Option<&'static str>,
    /// The flag, if there is one.
    pub(crate) flag: Option<&'static str>,
    /// What holds if nothing is said.
    pub(crate) default: &'static str,
    /// What it means, units included.
    pub(crate) doc: &'static str,
}

/// All settings.
pub(crate) const FIELDS: &[Field] = &[
    Field {
        key: "listen",
        alias: None,
        flag: Some("--listen"),
        default: "127.0.0.1:8080",
        doc: "Address and port for widgets: sockets, the widget's files and the demo page. Anything but \
              loopback needs `trusted_proxies` or `insecure`.",
    },
    Field {
        key: "admin_listen",
        alias: None,
        flag: Some("--admin-listen"),
        default: "127.0.0.1:9090",
        doc: "Address and port for `/metrics`, `/healthz` and `/readyz`. Keep it inside.",
    },
    Field {
        key: "data",
        alias: None,
        flag: Some("--data"),
        default: "",
        doc: "Folder that keeps everything. `standalone` needs one; `dev` without one uses a temporary folder; \
              members of a cluster keep nothing.",
    },
    Field {
        key: "apps",
        alias: None,
        flag: Some("--apps"),
        default: "",
        doc: "Folder of `ChatApp` YAML files, reloaded on change. Everybody needs one, the same for all members of a \
              cluster; `dev` without one serves the app `demo`.",
    },
    Field {
        key: "widget_dir",
        alias: None,
        flag: Some("--widget-dir"),
        default: "",
        doc: "Folder with the published widget (`xapp-chat-widget.js` and `.css`), served under `/widget/`.",
    },
    Field {
        key: "public_url",
        alias: Some("CONNECTION_SERVER_URL"),
        flag: None,
        default: "",
        doc: "Public socket URL (`ws://` or `wss://`) that is written into hosted widgets. Without it, it \
              follows from the request's `Host`.",
    },
    Field {
        key: "single_app",
        alias: Some("STUDIO_APP_ID"),
        flag: None,
        default: "",
        doc: "Name of the one app that every socket belongs to, whatever its URL says.",
    },
    Field {
        key: "insecure",
        alias: None,
        flag: Some("--insecure"),
        default: "false",
        doc: "Listen on other addresses than loopback although nothing in front encrypts.",
    },
    Field {
        key: "trusted_proxies",
        alias: None,
        flag: None,
        default: "",
        doc: "Address ranges of proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, \
              separated by commas.",
    },
    Field {
        key: "drain_seconds",
        alias: None,
        flag: None,
        default: "20",
        doc: "Seconds from SIGTERM to the end: what is in flight is finished, sockets are closed spread \
              over half of it. 1 to 600.",
    },
    Field {
        key: "connector.allow_cidrs",
        alias: None,
        flag: None,
        default: "127.0.0.0/8, ::1/128",
        doc: "Private address ranges in which bots may live, separated by commas. Public addresses are always \
              allowed, link-local and metadata addresses never.",
    },
    Field {
        key: "commit.max_commits",
        alias: None,
        flag: None,
        default: "400",
        doc: "Commits of different sessions that may share one fsync. 1 gives each its own. 1 to 400.",
    },
    Field {
        key: "router.memory_max_bytes",
        alias: None,
        flag: None,
        default: "1073741824",
        doc: "Bytes that the sessions in memory may take together, as far as can be estimated. Beyond it those leave that \
              were used least lately; they are loaded again when somebody asks for them. At least 64 MiB.",
    },
    Field {
        key: "name",
        alias: None,
        flag: None,
        default: "",
        doc: "Name of this process in its cluster, 1 to 64 of `A-Z a-z 0-9 _ -`; no other may have it. Without one \
              it is made of the machine's name and the admin port.",
    },
    Field {
        key: "nats.urls",
        alias: None,
        flag: None,
        default: "",
        doc: "Addresses of the NATS servers, `nats://host:port` or `tls://host:port`, separated by commas. \
              `gateway`, `router` and `connector` need them.",
    },
    Field {
        key: "nats.user",
        alias: None,
        flag: None,
        default: "",
        doc: "User at NATS. Each role has its own, with the least rights (`deploy/nats`).",
    },
    Field {
        key: "nats.password_file",
        alias: None,
        flag: None,
        default: "",
        doc: "File with the password of `nats.user`.",
    },
    Field {
        key: "nats.credentials_file",
        alias: None,
        flag: None,
        default: "",
        doc: "File with a NATS user's JWT and seed, instead of a user and a password.",
    },
    Field {
        key: "nats.roots_file",
        alias: None,
        flag: None,
        default: "",
        doc: "File with the certificates that sign the NATS servers, besides those of the system.",
    },
    Field {
        key: "nats.monitor_urls",
        alias: None,
        flag: None,
        default: "",
        doc: "Monitoring URLs of the NATS servers, `http://host:8222`, separated by commas: there a router reads \
              whether they write to disk before they answer.",
    },
    Field {
        key: "nats.allow_lazy_fsync",
        alias: None,
        flag: None,
        default: "false",
        doc: "Run although a NATS server may answer before it has written to disk, or does not say. What was \
              acknowledged may then be lost with its power.",
    },
    Field {
        key: "nats.allow_large_log",
        alias: None,
        flag: None,
        default: "false",
        doc: "Run although the log and what is beside it may take more than 60 % of what a NATS server can store \
              (`max_file_store`). A disk that is full takes JetStream down; a stream that is full only waits.",
    },
    Field {
        key: "nats.replicas",
        alias: None,
        flag: None,
        default: "3",
        doc: "Servers that keep a copy of the log: 1, 3 or 5. Counts when the log is made.",
    },
    Field {
        key: "nats.max_bytes",
        alias: None,
        flag: None,
        default: "8589934592",
        doc: "Bytes that the log may take on each server, at most. With what is beside it (some 200 MiB) it may be \
              60 % of the server's `max_file_store`, or a router does not start.",
    },
    Field {
        key: "nats.inbox_prefix",
        alias: None,
        flag: None,
        default: "_INBOX",
        doc: "Where answers to this process come to; each NATS user has its own.",
    },
    Field {
        key: "store.nodes",
        alias: None,
        flag: None,
        default: "",
        doc: "Addresses of ScyllaDB or Cassandra nodes, `host:port`, separated by commas. Without them a cluster \
              remembers as far as its log reaches.",
    },
    Field {
        key: "store.keyspace",
        alias: None,
        flag: None,
        default: "stentor",
        doc: "Keyspace of the history.",
    },
    Field {
        key: "store.datacenter",
        alias: None,
        flag: None,
        default: "",
        doc: "The data centre that this process is in. Without one, copies are spread without regard to data centres.",
    },
    Field {
        key: "store.replication",
        alias: None,
        flag: None,
        default: "3",
        doc: "Copies of the history. Counts when the keyspace is made. 1 to 9.",
    },
    Field { key: "store.user", alias: None, flag: None, default: "", doc: "User at the database." },
    Field {
        key: "store.password_file",
        alias: None,
        flag: None,
        default: "",
        doc: "File with the password of `store.user`.",
    },
    Field {
        key: "login_key_file",
        alias: None,
        flag: None,
        default: "",
        doc: "File with at least 32 bytes that sign the cookies of people who log in; the same for all gateways. \
              `standalone` makes its own in the data folder.",
    },
    Field {
        key: "log.format",
        alias: None,
        flag: None,
        default: "text",
        doc: "`text` for people, `json` for machines.",
    },
    Field {
        key: "log.level",
        alias: None,
        flag: None,
        default: "info",
        doc: "`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,stentor_gateway=debug`.",
    },
];

// === impl Field ===

impl Field {
    /// Its environment variable: `connector.allow_cidrs` → `STENTOR_CONNECTOR__ALLOW_CIDRS`.
    pub(crate) fn variable(&self) -> String {
        format!("STENTOR_{}", self.key.replace('.', "__").to_ascii_uppercase())
    }
}
