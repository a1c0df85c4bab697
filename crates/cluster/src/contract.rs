//! The contract of the log.
