//! The table: every crate, its kind, and the crates of this workspace that it may know.
//!
//! `bin → shell → adapter/port → types` and `shell → core → types`; cores and ports do not know each other, shells do
//! not know adapters or each other, and only the binary chooses adapters.

/// What a crate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Ids, numbers, parsing: no IO.
    Pure,
    /// Decides, without IO, clock or randomness.
    Core,
    /// The records that outlive a process.
    Contract,
    /// What a shell needs from the outside, as traits.
    Port,
    /// One way to fulfil ports.
    Adapter,
    /// Configuration, signals, logs, metrics.
    Support,
    /// Acts: sockets, actors, calls.
    Shell,
    /// Files that are served.
    Assets,
    /// Puts everything together.
    Bin,
    /// Tests, simulation, tasks.
    Dev,
}

/// One crate of the table.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) may_know: &'static [&'static str],
}

const fn layer(name: &'static str, kind: Kind, may_know: &'static [&'static str]) -> Layer {
    Layer { name, kind, may_know }
}

const TYPES: &str = "stentor-types";
const PROTOCOL: &str = "stentor-protocol";
const POSTOFFICE: &str = "stentor-postoffice";
const WIRE: &str = "stentor-wire";
const CLUSTER: &str = "stentor-cluster";
const STORE: &str = "stentor-store";
const EMBEDDED: &str = "stentor-embedded";
const CLUSTER_NATS: &str = "stentor-cluster-nats";
const STORE_SCYLLA: &str = "stentor-store-scylla";
const APPS: &str = "stentor-apps";
const SERVICE: &str = "stentor-service";
const TELEMETRY: &str = "stentor-telemetry";
const GATEWAY: &str = "stentor-gateway";
const ROUTER: &str = "stentor-router";
const CONNECTOR: &str = "stentor-connector";
const CONSOLE: &str = "stentor-console";
const TOKENS: &str = "stentor-tokens";
const TESTKIT: &str = "stentor-testkit";

pub(super) const TABLE: &[Layer] = &[
    layer(TYPES, Kind::Pure, &[]),
    layer(PROTOCOL, Kind::Pure, &[TYPES]),
    layer(POSTOFFICE, Kind::Core, &[TYPES, PROTOCOL]),
    layer(WIRE, Kind::Contract, &[TYPES, PROTOCOL, POSTOFFICE]),
    layer(CLUSTER, Kind::Port, &[TYPES]),
    layer(STORE, Kind::Port, &[TYPES]),
    layer(TOKENS, Kind::Pure, &[]),
    layer(APPS, Kind::Port, &[TYPES, TOKENS]),
    layer(EMBEDDED, Kind::Adapter, &[TYPES, WIRE, CLUSTER, STORE]),
    layer(CLUSTER_NATS, Kind::Adapter, &[TYPES, WIRE, CLUSTER]),
    layer(STORE_SCYLLA, Kind::Adapter, &[TYPES, STORE]),
    layer(SERVICE, Kind::Support, &[TYPES]),
    layer(TELEMETRY, Kind::Support, &[TYPES, SERVICE]),
    layer(
        GATEWAY,
        Kind::Shell,
        &[TYPES, PROTOCOL, WIRE, CLUSTER, STORE, APPS, TOKENS, SERVICE, TELEMETRY],
    ),
    layer(
        ROUTER,
        Kind::Shell,
        &[TYPES, PROTOCOL, POSTOFFICE, WIRE, CLUSTER, STORE, APPS, SERVICE, TELEMETRY],
    ),
    layer(CONNECTOR, Kind::Shell, &[TYPES, PROTOCOL, WIRE, CLUSTER, APPS, SERVICE, TELEMETRY]),
    layer(CONSOLE, Kind::Assets, &[]),
    layer(
        "stentor",
        Kind::Bin,
        &[
            TYPES,
            PROTOCOL,
            POSTOFFICE,
            WIRE,
            CLUSTER,
            STORE,
            EMBEDDED,
            CLUSTER_NATS,
            STORE_SCYLLA,
            APPS,
            SERVICE,
            TELEMETRY,
            GATEWAY,
            ROUTER,
            CONNECTOR,
            CONSOLE,
            TOKENS,
        ],
    ),
    layer(TESTKIT, Kind::Dev, &[TYPES, PROTOCOL, WIRE]),
    layer(
        "stentor-simulator",
        Kind::Dev,
        &[TYPES, PROTOCOL, POSTOFFICE, WIRE, CLUSTER, STORE, ROUTER, TESTKIT],
    ),
    layer("stentor-faultfs", Kind::Dev, &[TYPES, POSTOFFICE, WIRE, CLUSTER, STORE, EMBEDDED]),
    layer("stentor-bench", Kind::Dev, &[TOKENS, TESTKIT]),
    layer("xtask", Kind::Dev, &[TESTKIT]),
];

// === impl Kind ===

impl Kind {
    /// Tests may use adapters and the test kit, but never reach sideways into another shell or up into the binary.
    pub(super) fn may_test_with(self, other: Self) -> bool {
        match other {
            Self::Bin => false,
            Self::Shell => matches!(self, Self::Bin | Self::Dev),
            Self::Pure
            | Self::Core
            | Self::Contract
            | Self::Port
            | Self::Adapter
            | Self::Support
            | Self::Assets
            | Self::Dev => true,
        }
    }
}
