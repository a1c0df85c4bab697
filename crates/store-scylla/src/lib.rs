//! The history of a cluster, in ScyllaDB (or any database that speaks the CQL which Cassandra 5 does).

#![forbid(unsafe_code)]
