//! `stentor token`: makes tokens, and says what is wrong with one.

use std::{
    io::Read as _,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, bail};
use stentor_tokens::{Claims, Key, Keys, Purpose, Role, inspect, mint, verify};

use crate::{
    check::say,
    cli::{Inspect, KeyFlags, Mint, TokenCommand},
};

/// How long a token is valid, if nothing else is said.
const TOKEN_MINUTES: u64 = 60;
/// How long a link can be spent, if nothing else is said.
pub(crate) const LINK_MINUTES: u64 = 15;
/// More than any token has.
const INPUT_BYTES_MAX: u64 = 64 * 1024;

pub(crate) fn run(command: &TokenCommand) -> anyhow::Result<ExitCode> {
    match command {
        TokenCommand::Mint(flags) => make(flags),
        TokenCommand::Inspect(flags) => look(flags),
    }
}

fn make(flags: &Mint) -> anyhow::Result<ExitCode> {
    let role = match flags.role.as_str() {
        "visitor" => Role::Visitor,
        "observer" => Role::Observer,
        "agent" => Role::Agent,
        "integration" => Role::Integration,
        _ => bail!("--role must be one of visitor, observer, agent, integration"),
    };
    let key = key(&flags.key)?;
    let mut claims = Claims {
        sub: flags.subject.clone(),
        aud: flags.app.clone(),
        role,
        name: flags.name.clone(),
        ..Claims::default()
    };
    let text = match &flags.link {
        None => {
            let minutes = flags.minutes.unwrap_or(TOKEN_MINUTES);
            claims.exp = now().saturating_add(minutes.saturating_mul(60));
            mint(&claims, &key).context("no token can be made")?
        }
        Some(_) if role == Role::Visitor => bail!("--link: visitors do not log in; give a --role"),
        Some(address) => {
            let minutes = flags.minutes.unwrap_or(LINK_MINUTES);
            link(address, claims, &key, minutes)?
        }
    };
    say(&mut std::io::stdout(), &text);
    Ok(ExitCode::SUCCESS)
}

/// A link by which one person logs in once. It is a secret until it is spent.
pub(crate) fn link(
    address: &str,
    mut claims: Claims,
    key: &Key,
    minutes: u64,
) -> anyhow::Result<String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).context("the operating system has no random numbers")?;
    claims.purpose = Some(Purpose::Login);
    claims.jti = Some(random.iter().map(|byte| format!("{byte:02x}")).collect());
    claims.iat = Some(now());
    claims.exp = now().saturating_add(minutes.saturating_mul(60));
    let code = mint(&claims, key).context("no login code can be made")?;
    // Behind the `#`, browsers tell it to nobody.
    Ok(format!("{}/agents/#login={code}", address.trim_end_matches('/')))
}

/// The token comes from the standard input: arguments are seen by everybody on the machine.
fn look(flags: &Inspect) -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    std::io::stdin()
        .take(INPUT_BYTES_MAX)
        .read_to_string(&mut text)
        .context("the token is read from the standard input, as text")?;
    let token = text.trim();
    let mut out = std::io::stdout();
    match inspect(token) {
        Ok((algorithm, kid, claims)) => {
            let seconds = i64::try_from(claims.exp).unwrap_or(i64::MAX)
                - i64::try_from(now()).unwrap_or(i64::MAX);
            say(&mut out, &format!("alg   {algorithm}"));
            say(&mut out, &format!("kid   {}", kid.as_deref().unwrap_or("(missing)")));
            say(&mut out, &format!("sub   {}", claims.sub));
            say(&mut out, &format!("aud   {}", claims.aud));
            say(&mut out, &format!("role  {:?}", claims.role));
            say(&mut out, &format!("name  {}", claims.name.as_deref().unwrap_or("(none)")));
            say(&mut out, &format!("exp   {} (in {seconds} s)", claims.exp));
        }
        Err(error) => say(&mut out, &error.to_string()),
    }
    match verify(token, &Keys::new(vec![key(&flags.key)?]), &flags.app) {
        Ok(_) => {
            say(&mut out, "good");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            say(&mut out, &format!("not believed: {error}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

fn key(flags: &KeyFlags) -> anyhow::Result<Key> {
    let algorithm =
        flags.algorithm.parse().map_err(|message| anyhow::anyhow!("--algorithm {message}"))?;
    let path = flags.key_file.display();
    let bytes = std::fs::read(&flags.key_file)
        .with_context(|| format!("--key-file: cannot read {path}"))?;
    Key::try_new(&flags.kid, algorithm, &bytes).with_context(|| format!("--key-file: {path}"))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
