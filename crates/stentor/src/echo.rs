//! `stentor echo-bot`: a bot that repeats what it hears, to try a cluster with.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context as _;
use stentor_connector::echo_bot::EchoBot;
use stentor_service::shutdown_signal;
use tokio_util::sync::CancellationToken;

/// Answers until the signal to stop.
pub(crate) fn run(listen: SocketAddr) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(async {
        let bot = EchoBot::bind(listen)
            .await
            .with_context(|| format!("listen: {listen} cannot be bound"))?;
        let stop = CancellationToken::new();
        let answering = tokio::spawn(bot.run(stop.clone()));
        shutdown_signal().await.context("signals cannot be listened for")?;
        stop.cancel();
        answering.await.context("the bot has ended")?;
        Ok(ExitCode::SUCCESS)
    })
}
