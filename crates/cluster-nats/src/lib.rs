//! The log and the bus of a cluster, over NATS and JetStream.

#![forbid(unsafe_code)]
