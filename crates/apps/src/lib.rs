//! Apps: what an operator writes about each tenant, checked, and kept up to date.
//!
//! A file has the shape of a Kubernetes resource. What is wrong with it is said all at once, and the
//! last good version stays in force. Knows nothing of what the settings do.

mod app;
mod folder;
mod parse;
mod raw;
mod secret;

pub use self::{
    app::{App, AppSet, Bot, Limits, Texts},
    folder::{FolderSource, Loaded, SourceProblem},
    parse::{Problem, parse},
    secret::Secret,
};
