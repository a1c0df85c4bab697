//! A whole small installation in one thread and one sequence of random numbers: browsers, a gateway, an
//! owner of sessions (and now and then a second one that does not know it has been replaced), a log with
//! compare-and-set and fsync points, a bot. The rules of sessions, the records and the frames are the
//! real ones; sockets, buses, disks and clocks are simulated, delayed, doubled, lost and killed.
//!
//! Every schedule follows from its seed. Invariants are checked with every record, frame, attempt and
//! acknowledgement, and once more when everything has been healed.
//!
//! Knows nothing of tokio, of real sockets or of real files.

mod actor;
mod agents;
mod bot;
mod browser;
mod client;
mod directories;
mod finish;
mod frames;
mod gateway;
mod ledger;
mod log;
mod owner;
mod rng;
mod schedule;
mod socket;
mod traffic;
mod widget;
mod world;

use std::{collections::BTreeMap, fmt};

use stentor_types::AppId;

pub use self::world::Violation;
use self::world::World;

/// How a schedule is run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Things that visitors, agents and misfortune do; deliveries come on top.
    pub steps: u64,
    /// Tell everything as it happens, to stderr.
    pub verbose: bool,
}

/// What a schedule was like that violated nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Steps, deliveries included.
    pub steps: u64,
    /// Events in the log.
    pub events: u64,
    /// Messages written by visitors and agents.
    pub messages: u64,
    /// Crashes of any part.
    pub crashes: u64,
    /// How often rarer things have happened, by name.
    pub seen: BTreeMap<&'static str, u64>,
}

/// A schedule in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Run it again with this.
    pub seed: u64,
    /// At which step.
    pub step: u64,
    /// What did not hold.
    pub violation: Violation,
    /// What happened last.
    pub trace: Vec<String>,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { steps: 200, verbose: false }
    }
}

// === impl Summary ===

impl std::ops::AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.events += other.events;
        self.messages += other.messages;
        self.crashes += other.crashes;
        for (what, times) in other.seen {
            *self.seen.entry(what).or_default() += times;
        }
    }
}

// === impl Failure ===

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "seed {}, step {}: {}", self.seed, self.step, self.violation)?;
        for line in &self.trace {
            writeln!(formatter, "    {line}")?;
        }
        write!(formatter, "again: simulator --seeds 1 --first-seed {} --verbose", self.seed)
    }
}

/// Runs the schedule of one seed.
///
/// # Errors
/// Something did not hold.
pub fn run(seed: u64, options: Options) -> Result<Summary, Box<Failure>> {
    let app = AppId::try_new("demo").map_err(|error| {
        let violation = Violation { invariant: "I17", message: error.to_string() };
        Box::new(Failure { seed, step: 0, violation, trace: Vec::new() })
    })?;
    let mut world = World::new(app.clone(), seed, options.verbose, options.verbose);
    if schedule(&mut world, options.steps).is_none() {
        return Ok(world.summary());
    }
    // Once more, and this time somebody wants to know what happened.
    if !options.verbose {
        world = World::new(app, seed, true, false);
        schedule(&mut world, options.steps);
    }
    let message = "a schedule that failed does not fail again".to_owned();
    let violation = world.violation.take().unwrap_or(Violation { invariant: "I21", message });
    Err(Box::new(Failure { seed, step: world.steps, violation, trace: world.trace() }))
}

/// The whole schedule; stops where something does not hold.
fn schedule(world: &mut World, steps: u64) -> Option<&Violation> {
    world.begin();
    // At least one crash, wherever it may fall.
    let crash = world.rng.below(steps);
    for step in 0..steps {
        world.step(step == crash);
        if world.violation.is_some() {
            return world.violation.as_ref();
        }
    }
    let ends: [fn(&mut World); 3] = [World::heal, World::check_calm, World::empty];
    for end in ends {
        end(world);
        if world.violation.is_some() {
            break;
        }
    }
    world.violation.as_ref()
}
