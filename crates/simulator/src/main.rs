//! `simulator --seeds N`: runs schedules, prints the first one that violates something.

use std::{
    io::Write as _,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use clap::Parser;
use stentor_simulator::{Failure, Options, Summary, run};

/// Simulates a whole small installation, one schedule per seed, and checks every invariant after every
/// step.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many schedules to run
    #[arg(long, default_value_t = 2000)]
    seeds: u64,
    /// The first seed; the others follow by one
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// Things that happen in each schedule, deliveries not counted
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    steps: u64,
    /// Threads; each schedule runs in one [default: one per processor]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: Option<u64>,
    /// Tell everything as it happens (with one seed)
    #[arg(long)]
    verbose: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let options = Options { steps: arguments.steps, verbose: arguments.verbose };
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let jobs = if arguments.verbose { 1 } else { arguments.jobs.unwrap_or(processors) };
    let begun = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let results: Mutex<(Summary, Option<Box<Failure>>)> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= arguments.seeds {
                        return;
                    }
                    let result = run(arguments.first_seed.saturating_add(number), options);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(summary) => results.0 += summary,
                        Err(failure) => {
                            stop.store(true, Ordering::Relaxed);
                            // Of several at once the lowest seed is shown.
                            if results.1.as_ref().is_none_or(|other| failure.seed < other.seed) {
                                results.1 = Some(failure);
                            }
                        }
                    }
                }
            });
        }
    });
    let (summary, failure) = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut out = std::io::stdout().lock();
    if let Some(failure) = failure {
        writeln!(out, "{failure}")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(
        out,
        "{} schedules hold: {} steps, {} crashes, {} messages, {} events, {:.1} s",
        arguments.seeds,
        summary.steps,
        summary.crashes,
        summary.messages,
        summary.events,
        begun.elapsed().as_secs_f64(),
    )?;
    let seen: Vec<_> = summary.seen.iter().map(|(what, times)| format!("{times} {what}")).collect();
    writeln!(out, "among them {}", seen.join(", "))?;
    Ok(ExitCode::SUCCESS)
}
