//! A log in memory, for tests and embedders.
