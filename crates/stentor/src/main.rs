//! `stentor`: the one binary. Chooses the adapters, starts the parts, stops them in order.

mod check;
mod cli;
mod demo;
mod echo;
mod operate;
mod serve;
mod token;

use std::process::ExitCode;

use clap::Parser as _;
use stentor_service::EXIT_USAGE;

use self::{
    cli::{Cli, Command},
    operate::flags::LogCommand,
};

/// Gives memory back sooner and takes less per socket than the system's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    avoid_huge_pages();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Also prints help and version, which are no mistakes.
            let status = if error.use_stderr() { EXIT_USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(status);
        }
    };
    let result = match cli.command {
        Command::Dev(dev) => serve::dev(dev),
        Command::Standalone(standalone) => serve::standalone(standalone),
        Command::Gateway(member) => serve::gateway(member),
        Command::Router(member) => serve::router(member),
        Command::Connector(member) => serve::connector(member),
        Command::Config { command } => check::config(&command),
        Command::Token { command } => token::run(&command),
        Command::EchoBot { listen } => echo::run(listen),
        Command::Log { command: LogCommand::Fence(flags) } => operate::fence(&flags),
        Command::Upgrade { command } => operate::upgrade(&command),
        Command::Sessions(flags) => operate::sessions(&flags),
        Command::Show(flags) => operate::show(&flags),
        Command::Explain(flags) => operate::explain(&flags),
        Command::Erase(flags) => operate::erase(&flags),
        Command::DeadLetters(flags) => operate::dead_letters(&flags),
        Command::Verify(flags) => check::verify(&flags),
    };
    match result {
        Ok(status) => status,
        Err(error) => {
            check::say(&mut std::io::stderr(), &format!("stentor: {error:#}"));
            let usage = error.is::<stentor_service::ConfigError>();
            ExitCode::from(if usage { EXIT_USAGE } else { 1 })
        }
    }
}

/// Memory per socket is small and scattered: in huge pages it would never become free again, and would
/// cost a fifth more from the beginning (`docs/performance.md`). Without the setting it is just that.
fn avoid_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
