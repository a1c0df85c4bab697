//! The HTTP API against its own description: schemathesis makes requests out of `docs/openapi.json`, sound and
//! unsound ones, and checks every answer of a real server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;

use crate::conformance::{free_address, wait_for};
use crate::peers;
use crate::process::{Background, last_lines, run_logged, run_quiet, shown};
use crate::report::Report;
use crate::subject::Subject;
use crate::workspace::Workspace;

/// Requests per operation and phase; all of them take ten seconds.
const CASES: &str = "60";
/// How a request that breaks the description may be refused: 413 too, which it leaves out by itself, for a body that
/// is longer than any may be.
const SETTINGS: &str = "[checks]\n\
    negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, \"5xx\"]\n\
    positive_data_acceptance.expected-statuses = [\"2xx\", \"3xx\", 401, 403, 404, 409, 410, 429, \"5xx\"]\n";
/// Fewer mean that they did not really run.
const CASES_MIN: usize = 300;
const LIMIT: Duration = Duration::from_secs(300);
/// An app that lets a tool ask as fast as it can.
const APP: &str = "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: { name: demo }\n\
    spec: { auth: { keys: [{ kid: k, algorithm: HS256, file: key }] }, \
    limits: { messagesPerSecond: 1000, burst: 10000 } }\n";

/// Runs it, as one test.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    run_on(workspace, &Subject::one_process(workspace), report);
    Ok(())
}

/// Runs it on whatever takes the flags of `stentor dev`.
pub(crate) fn run_on(workspace: &Workspace, subject: &Subject, report: &mut Report) {
    report.heading(&subject.named("HTTP API against docs/openapi.json"));
    let program = match peers::schemathesis(workspace) {
        Ok(program) => program,
        Err(skip) => return report.skip(skip),
    };
    match check(workspace, subject, &program) {
        Ok(cases) => report.pass(&format!("{cases} requests answered as described")),
        Err(error) => report.fail(&subject.named("HTTP API"), &format!("{error:#}")),
    }
}

fn check(workspace: &Workspace, subject: &Subject, schemathesis: &Path) -> anyhow::Result<usize> {
    let folder = workspace.target().join(if subject.is_cluster() { "api-cluster" } else { "api" });
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(folder.join("apps")).context("failed to make a folder")?;
    std::fs::write(folder.join("apps/demo.yaml"), APP).context("failed to write the app")?;
    std::fs::write(folder.join("apps/key"), [b'k'; 40]).context("failed to write the key")?;

    let (listen, admin) = (free_address()?, free_address()?);
    let mut command = Command::new(subject.program());
    subject.tell(&mut command);
    command.args(["dev", "--listen", &listen, "--admin-listen", &admin, "--apps"]);
    command.arg(folder.join("apps")).arg("--data").arg(folder.join("data"));
    let log = std::fs::File::create(folder.join("server.log")).context("failed to make a log")?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let child = command.spawn().with_context(|| format!("failed to start {}", shown(&command)))?;
    let mut server = Background(child);
    wait_for(&listen, &mut server)?;

    let mut mint = Command::new(subject.program());
    mint.args(["token", "mint", "--app", "demo", "--role", "integration", "--subject", "api"]);
    mint.args(["--kid", "k", "--key-file"]).arg(folder.join("apps/key"));
    let token = run_quiet(&mut mint)?;
    let session = open_session(&listen)?;
    let description = std::fs::read_to_string(workspace.root().join("docs/openapi.json"))
        .context("failed to read docs/openapi.json")?;
    let known = format!("\"example\": \"{session}\", \"description\": \"The session.\"");
    let description = description.replace("\"description\": \"The session.\"", &known);
    let file = folder.join("openapi.json");
    std::fs::write(&file, description).context("failed to write the description")?;

    std::fs::write(folder.join("schemathesis.toml"), SETTINGS)
        .context("failed to write the settings of schemathesis")?;
    let mut tool = Command::new(schemathesis);
    tool.arg("run").arg(&file).args(["--url", &format!("http://{listen}")]);
    tool.args(["--header", &format!("Authorization: Bearer {}", token.trim())]);
    tool.args(["--checks", "all", "--seed", "1", "--max-examples", CASES, "--no-color"]);
    // Of an erased session there is still something to read: the numbers of its events.
    tool.args(["--exclude-checks", "use_after_free"]);
    tool.current_dir(&folder);
    let output = folder.join("schemathesis.log");
    let ended = run_logged(&mut tool, &output, LIMIT)?;
    let text = std::fs::read_to_string(&output).unwrap_or_default();
    let status = ended.context("schemathesis took too long and was ended")?;
    anyhow::ensure!(status.success(), "schemathesis: {}", last_lines(&text, 60));
    let cases = passed_in(&text).unwrap_or(0);
    anyhow::ensure!(cases >= CASES_MIN, "only {cases} requests were made");
    Ok(cases)
}

/// A session in which something was said. Returns its id.
fn open_session(address: &str) -> anyhow::Result<String> {
    let body = "{\"t\":\"hello\",\"app\":\"demo\"}\n\
        {\"t\":\"open\",\"ref\":1,\"name\":\"api\",\"client\":\"0123456789abcdef0123456789abcdef\"}\n";
    let mut stream = TcpStream::connect(address).context("failed to connect")?;
    let length = body.len();
    write!(
        stream,
        "POST /v2/frames HTTP/1.1\r\nHost: {address}\r\nOrigin: http://{address}\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
    .context("failed to ask")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("failed to read the answer")?;
    let session = answer.split_once("\"sid\":\"").and_then(|(_, rest)| rest.split_once('"'));
    Ok(session.with_context(|| format!("no session: {answer}"))?.0.to_owned())
}

/// The number in `515 generated, 515 passed`.
fn passed_in(text: &str) -> Option<usize> {
    let line = text.lines().find(|line| line.contains(" generated, "))?;
    line.split_once(" passed")?.0.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::passed_in;

    #[test]
    fn the_number_of_requests_is_read() {
        let text =
            "Examples\n\n  6 passed\n\nTest cases:\n  515 generated, 512 passed, 14 skipped\n";
        assert_eq!(passed_in(text), Some(512));
        assert_eq!(passed_in("nothing"), None);
    }
}
