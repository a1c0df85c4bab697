//! G12: time from starting `stentor dev` to the first answer of its bot, as a widget sees it.

#[path = "support/widget.rs"]
mod widget;

use std::time::Instant;

const ROUNDS: usize = 5;

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let server = widget::Server::start(&[])?;
        server.ready().await?;
        let ready = begun.elapsed();
        let mut widget = server.connect("0b9c6a4e-5d0e-65aa-9c1f-000000000001").await?;
        widget.join("first").await?;
        widget.launch("first").await?;
        widget.wait_for("Hello!").await?;
        times.push((begun.elapsed(), ready));
        server.stop()?;
    }
    times.sort_unstable();
    if let Some((first, ready)) = times.get(ROUNDS / 2) {
        println!(
            "first answer {:.0} ms after the start (ready after {:.0} ms), median of {ROUNDS}",
            first.as_secs_f64() * 1e3,
            ready.as_secs_f64() * 1e3
        );
    }
    Ok(())
}
