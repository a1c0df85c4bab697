//! What a check of a cluster found.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// Problems that are listed; more are only counted.
const LISTED_MAX: usize = 50;

/// What was looked at, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) sessions: u64,
    pub(super) directories: u64,
    pub(super) records: u64,
    pub(super) events: u64,
    /// Events that log and database both have to have.
    pub(super) compared: u64,
    pub(super) acks: u64,
    problems: u64,
    listed: Vec<String>,
}

// === impl Report ===

impl Report {
    pub(super) fn problem(&mut self, problem: String) {
        self.problems += 1;
        if self.listed.len() < LISTED_MAX {
            self.listed.push(problem);
        }
    }

    pub(super) const fn is_sound(&self) -> bool {
        self.problems == 0
    }

    pub(super) fn json(&self, with_database: bool) -> Value {
        json!({
            "sound": self.is_sound(),
            "sessions": self.sessions,
            "directories": self.directories,
            "records": self.records,
            "events": self.events,
            "database": with_database,
            "compared": self.compared,
            "acks": self.acks,
            "problems": self.problems,
            "listed": self.listed,
        })
    }

    pub(super) fn words(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{name:<13}{value}");
        };
        line("sessions", &self.sessions.to_string());
        line("directories", &self.directories.to_string());
        line("records", &self.records.to_string());
        line(
            "events",
            &format!("{} in the log, {} compared with the database", self.events, self.compared),
        );
        line("acks", &format!("{} looked up", self.acks));
        for problem in &self.listed {
            line("PROBLEM", problem);
        }
        let more = self.problems.saturating_sub(u64::try_from(self.listed.len()).unwrap_or(0));
        if more > 0 {
            line("", &format!("and {more} more"));
        }
        let verdict = if self.is_sound() {
            "sound".to_owned()
        } else {
            format!("{} problems", self.problems)
        };
        text + &verdict
    }

    #[cfg(test)]
    pub(super) fn listed(&self) -> &[String] {
        &self.listed
    }
}
