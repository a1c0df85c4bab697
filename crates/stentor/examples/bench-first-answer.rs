//! G12: time from starting `stentor dev` to the first answer of its bot, as a widget sees it.

use std::time::Instant;

use stentor_testkit::{LegacyClient, Process, program_beside_example};

const ROUNDS: usize = 5;

#[expect(clippy::print_stdout, reason = "a benchmark prints its table")]
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let program = program_beside_example()?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut server = Process::start(&program, &[]).await?;
        let ready = begun.elapsed();
        let mut widget = LegacyClient::new(&LegacyClient::user_id(1), "first", 0);
        widget.connect(server.port(), "/dev?appId=demo", "emitNoWs").await?;
        widget.join().await?;
        widget.say("hello").await?;
        widget.wait_for_text("You said: hello").await?;
        times.push((begun.elapsed(), ready));
        server.kill()?;
    }
    times.sort_unstable();
    if let Some((first, ready)) = times.get(ROUNDS / 2) {
        let (first, ready) = (first.as_secs_f64() * 1e3, ready.as_secs_f64() * 1e3);
        println!(
            "first answer {first:.0} ms after the start (ready after {ready:.0} ms), median of {ROUNDS}"
        );
    }
    Ok(())
}
