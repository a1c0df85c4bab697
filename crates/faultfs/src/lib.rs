//! Records what a process does to a folder, call by call, so that a test can look at the folder as it
//! would be after a crash at any of them. For tests only.
//!
//! The library is preloaded into a child process and stands between it and the C library: each call
//! that changes a file below `FAULTFS_ROOT` is carried out and then written to `FAULTFS_TRACE`. Writes to
//! a file named `acks` are marks of the child's own: what it considers safe from then on.
//!
//! With `FAULTFS_SPACE` the disk is full after that many bytes, with `FAULTFS_SYNCS` syncs fail after that many.

// Only its feature is wanted: it makes the crate call the C library, where it can be watched.
use rustix as _;

pub mod disk;
mod hooks;
mod sink;
pub mod trace;
