//! Whether the process can serve: ready once every part has said so, and until one takes it back.
//!
//! A part that is not says what it waits for. Each change is logged once and shown as a metric.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus::{IntGaugeVec, Opts, Registry};
use tracing::{info, warn};

/// What is waited for before a part has said anything.
const NOT_YET: &str = "not yet";

/// All that has to be true. A clone is a handle to the same list.
#[derive(Clone, Debug)]
pub struct Readiness {
    parts: Arc<Mutex<Vec<Part>>>,
    shown: IntGaugeVec,
}

/// One thing that has to be true.
#[derive(Clone, Debug)]
pub struct Check {
    name: &'static str,
    all: Readiness,
}

#[derive(Debug)]
struct Part {
    name: &'static str,
    /// Nothing = it is true.
    reason: Option<String>,
}

// === impl Readiness ===

impl Readiness {
    /// An empty list, which is not ready.
    ///
    /// # Errors
    /// The metric is registered already.
    pub fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let help = "Whether a part of the process is ready: 1 or 0. The process is when all are.";
        let shown = IntGaugeVec::new(Opts::new("stentor_ready", help), &["part"])?;
        registry.register(Box::new(shown.clone()))?;
        Ok(Self { parts: Arc::default(), shown })
    }

    /// Adds something that has to be true; it is not yet.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        parts.push(Part { name, reason: Some(NOT_YET.to_owned()) });
        self.shown.with_label_values(&[name]).set(0);
        Check { name, all: self.clone() }
    }

    /// What is not true, and why; empty when ready. A process that has not yet said what it needs is not ready.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.is_empty() {
            return vec![format!("start: {NOT_YET}")];
        }
        let reason = |part: &Part| Some(format!("{}: {}", part.name, part.reason.as_ref()?));
        parts.iter().filter_map(reason).collect()
    }

    fn change(&self, name: &'static str, reason: Option<String>) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(part) = parts.iter_mut().find(|part| part.name == name) else { return };
        if part.reason == reason {
            return;
        }
        match &reason {
            Some(reason) => warn!(part = name, reason, "not ready"),
            None => info!(part = name, "ready"),
        }
        part.reason = reason;
        self.shown.with_label_values(&[name]).set(part.reason.is_none().into());
    }
}

// === impl Check ===

impl Check {
    /// It is true from now on.
    pub fn holds(&self) {
        self.all.change(self.name, None);
    }

    /// It is not, because of this. Nothing secret may stand in it.
    pub fn fails(&self, reason: &str) {
        self.all.change(self.name, Some(reason.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_part_has_said_so() {
        let registry = Registry::new();
        let readiness = Readiness::new(&registry).unwrap();
        assert_eq!(readiness.missing(), ["start: not yet"], "nothing was said of any part");
        let (log, drain) = (readiness.check("log"), readiness.check("serving"));
        log.holds();
        assert_eq!(readiness.missing(), ["serving: not yet"]);
        drain.holds();
        assert!(readiness.missing().is_empty());
        drain.fails("draining");
        assert_eq!(readiness.missing(), ["serving: draining"]);
        let shown = |part: &str| readiness.shown.with_label_values(&[part]).get();
        assert_eq!((shown("log"), shown("serving")), (1, 0));
    }
}
