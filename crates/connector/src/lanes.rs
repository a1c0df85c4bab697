//! Who may call now: each app has its slots, at most an eighth of all, so that one slow bot leaves the
//! others alone; and each session has at most one call.
//!
//! Overflow: attempts of an app without a free slot wait, until their deadline; beyond a bound they are
//! not taken at all, and their session gives them up at its own deadline.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use stentor_types::{AppId, EffectId, SessionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::breaker::Breaker;

/// Attempts of one app that may wait for a slot.
const WAITING_MAX: usize = 1_024;

/// One attempt of one session.
pub(crate) type Attempt = (SessionId, EffectId);

/// The slots of all apps.
#[derive(Debug)]
pub(crate) struct Lanes {
    per_app_max: usize,
    apps: Mutex<HashMap<AppId, Arc<Lane>>>,
    /// Each says when its outcome is where it belongs.
    open: Mutex<HashMap<Attempt, watch::Receiver<bool>>>,
}

/// The slots of one app.
#[derive(Debug)]
pub(crate) struct Lane {
    slots: Arc<Semaphore>,
    size: usize,
    waiting: Mutex<usize>,
    breaker: Mutex<Breaker>,
}

/// An attempt that is being made. Dropping it lets the same attempt be made again.
#[derive(Debug)]
pub(crate) struct Claim {
    lanes: Arc<Lanes>,
    attempt: Attempt,
    is_done: watch::Sender<bool>,
}

/// An attempt that somebody else is making.
#[derive(Debug)]
pub(crate) struct Other(watch::Receiver<bool>);

// === impl Lanes ===

impl Lanes {
    pub(crate) fn new(slots: usize) -> Self {
        Self { per_app_max: (slots / 8).max(1), apps: Mutex::default(), open: Mutex::default() }
    }

    /// Claims an attempt, unless it is being made already.
    pub(crate) fn claim(self: &Arc<Self>, attempt: Attempt) -> Result<Claim, Other> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = open.get(&attempt) {
            return Err(Other(other.clone()));
        }
        let (is_done, told) = watch::channel(false);
        open.insert(attempt, told);
        Ok(Claim { lanes: Arc::clone(self), attempt, is_done })
    }

    /// The lane of an app, with as many slots as it wants and may have.
    pub(crate) fn lane(&self, app: &AppId, wanted: usize) -> Arc<Lane> {
        let size = wanted.clamp(1, self.per_app_max);
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = apps.entry(app.clone()).or_insert_with(|| Arc::new(Lane::new(size)));
        if lane.size != size {
            // The setting changed: those who hold slots of the old lane finish there.
            *lane = Arc::new(Lane::new(size));
        }
        Arc::clone(lane)
    }
}

impl Claim {
    /// Its outcome is where it belongs, and nothing is left to do about the attempt.
    pub(crate) fn done(&self) {
        self.is_done.send_replace(true);
    }
}

impl Other {
    /// Waits until the attempt has ended; true if nothing is left to do about it.
    pub(crate) async fn ended(mut self) -> bool {
        self.0.wait_for(|is_done| *is_done).await.is_ok()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.lanes.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.attempt);
    }
}

// === impl Lane ===

impl Lane {
    fn new(size: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(size)),
            size,
            waiting: Mutex::new(0),
            breaker: Mutex::default(),
        }
    }

    /// Waits for a slot; `None` if too many wait already.
    pub(crate) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        let _place = Place::take(&self.waiting)?;
        Arc::clone(&self.slots).acquire_owned().await.ok()
    }

    pub(crate) fn permits(&self, now: Instant) -> bool {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner).permits(now)
    }

    /// A call has ended; true if the breaker has opened by that.
    pub(crate) fn ended(&self, well: bool, now: Instant) -> bool {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let before = breaker.is_open();
        breaker.ended(well, now);
        breaker.is_open() && !before
    }
}

struct Place<'a>(&'a Mutex<usize>);

impl<'a> Place<'a> {
    fn take(waiting: &'a Mutex<usize>) -> Option<Self> {
        let mut count = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if *count >= WAITING_MAX {
            return None;
        }
        *count += 1;
        drop(count);
        Some(Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
    }
}
