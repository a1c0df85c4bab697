//! Measures sockets: this router, and what else people would take, in one run under the same load.
//!
//! Every system is a process of its own; what counts is the processor time and memory of that process. The
//! load comes from this one, over loopback, on other cores. Knows the wire of each system, and nothing of how
//! it works.
//!
//! Reading order: [`system`] (what is measured), [`dialect`] (what each of them speaks), [`link`] (one socket),
//! [`crowd`] (many), then the benchmarks: [`fanout`], [`rest`], [`storm`], and of a cluster [`pipeline`],
//! [`growth`].

mod bare;
mod cores;
mod crowd;
mod dialect;
mod fanout;
mod growth;
mod link;
mod pipeline;
mod rest;
mod storm;
mod system;
mod table;

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use tokio::runtime::Builder;

use crate::system::{Kind, Places};

/// Compares sockets under load.
#[derive(Debug, Parser)]
struct Options {
    /// Folder of the programs `stentor` and `echo`; leave it out to use the one of this program
    #[arg(long)]
    programs: Option<PathBuf>,
    /// Folder with the rivals, made ready
    #[arg(long)]
    rivals: Option<PathBuf>,
    /// Small sizes: shows that everything works, measures nothing
    #[arg(long)]
    small: bool,
    /// Measurements of each system, of which the median is shown
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Only these systems (may be given several times); G9 is about the router alone
    #[arg(long, value_enum)]
    only: Vec<Kind>,
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum Bench {
    /// G2: one message at a time to a room of 1,000
    Fanout,
    /// G3: rooms in which every socket gets hundreds or thousands of messages per second
    Busy,
    /// G9: what one in a hundred that does not read does to the others
    Stalled,
    /// G1 and G10: memory and processor time of 10,000 sockets that are silent
    Rest,
    /// G8: everybody comes back at the same time
    Storm,
    /// G4 and G5: the whole way of a message through a cluster, in rooms of 10
    Pipeline,
    /// G11: what a message costs as there are more of everything
    Growth {
        /// More of what; all of it in turn if it is not given
        #[arg(value_enum)]
        of: Option<growth::Of>,
    },
    /// G7: memory of a live session at gateways and broker, against a subscription
    Sessions,
    /// G8: everybody comes back to a cluster at the same time
    ClusterStorm,
    /// The floor: hyper's upgrade, and one `try_write` for each member of a room
    #[command(hide = true)]
    Serve {
        /// Port
        port: u16,
    },
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    // The floor is told by its own load where it runs.
    let serves = matches!(options.bench, Bench::Serve { .. });
    let cores = if serves { Vec::new() } else { cores::split()? };
    let places = Places::new(cores, options.programs, options.rivals, options.only)?;
    let rounds = if options.small { 1 } else { options.rounds };
    Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match options.bench {
            Bench::Fanout => fanout::one_at_a_time(&places, options.small, rounds).await,
            Bench::Busy => fanout::busy(&places, options.small, rounds).await,
            Bench::Stalled => fanout::stalled(&places, options.small, rounds).await,
            Bench::Rest => rest::run(&places, options.small).await,
            Bench::Storm => storm::run(&places, options.small, rounds).await,
            Bench::Pipeline => pipeline::run(&places, options.small).await,
            Bench::Growth { of } => growth::run(&places, options.small, of).await,
            Bench::Sessions => growth::sessions(&places, options.small).await,
            Bench::ClusterStorm => storm::cluster(&places, options.small, rounds).await,
            Bench::Serve { port } => bare::serve(port).await,
        }
    })
}
