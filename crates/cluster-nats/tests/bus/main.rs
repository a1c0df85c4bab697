//! The bus on real NATS servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod effects;
mod faults;
mod fitness;
mod founding;
mod gateway;
mod harness;
mod ingress;
mod ownership;
mod proxy;
mod rights;
