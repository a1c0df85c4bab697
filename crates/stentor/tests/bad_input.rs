//! What the program says when it cannot go on: one clear message, a status, and no stack trace.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

fn stentor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_stentor"))
        .args(arguments)
        .env_remove("STENTOR_CONFIG")
        .env_remove("STUDIO_APP_ID")
        .output()
        .unwrap()
}

/// Runs the program, which must end with `status` and say all of `parts`.
fn refuses(status: i32, parts: &[&str], arguments: &[&str]) {
    let output = stentor(arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {said}");
    for part in parts {
        assert!(said.contains(part), "{arguments:?}: {part:?} is missing in: {said}");
    }
    assert!(!said.contains("stack backtrace") && !said.contains("panicked"), "{said}");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn an_unknown_flag_is_named() {
    refuses(64, &["--lisen", "--listen"], &["dev", "--lisen", "127.0.0.1:1"]);
    refuses(64, &["unrecognized subcommand"], &["devv"]);
}

#[test]
fn the_help_of_a_command_shows_the_flags_that_mean_something_to_it() {
    let all = ["--listen", "--admin-listen", "--data", "--apps", "--widget-dir", "--insecure"];
    let gateway = ["--listen", "--admin-listen", "--apps", "--widget-dir", "--insecure"];
    let others = ["--admin-listen", "--apps"];
    let expected: [(&str, &[&str]); 5] = [
        ("dev", &all),
        ("standalone", &all),
        ("gateway", &gateway),
        ("router", &others),
        ("connector", &others),
    ];
    for (command, flags) in expected {
        let help = stentor(&[command, "--help"]);
        let help = String::from_utf8_lossy(&help.stdout).into_owned();
        let words: Vec<_> = help.split_whitespace().collect();
        let shown: Vec<_> = all.into_iter().filter(|flag| words.contains(flag)).collect();
        assert_eq!(shown, flags, "{command}: {help}");
    }
    refuses(64, &["--listen"], &["router", "--listen", "127.0.0.1:1"]);
}

#[test]
fn all_problems_of_the_settings_are_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("stentor.toml");
    fs::write(&file, "lisen = 'x'\ndrain_seconds = 'soon'\n").unwrap();
    let config = text(&file);
    let parts = ["lisen", "did you mean listen", "drain_seconds"];
    refuses(64, &parts, &["standalone", "--config", &config]);
    refuses(64, &parts, &["config", "check", "--config", &config]);
    refuses(64, &["no folder"], &["config", "check", "--apps", "/nowhere"]);
    refuses(64, &["standalone needs a folder"], &["standalone"]);
    refuses(64, &["is not a loopback address"], &["dev", "--listen", "0.0.0.0:0"]);
}

#[test]
fn all_problems_of_an_app_are_named_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let app = "apiVersion: stentor.dev/v1\nkind: ChatApp\nmetadata: { name: a.b }\nspec:\n  bot: { url: 'ftp://x', \
               timeoutMs: 1 }\n  origins: ['https://x.example/path']\n";
    fs::write(folder.path().join("bad.yaml"), app).unwrap();
    fs::write(folder.path().join("half.yaml"), "apiVersion: stentor.dev/v1alpha1\nkind: {")
        .unwrap();
    let parts = [
        "bad.yaml: apiVersion",
        "bad.yaml: metadata.name",
        "bad.yaml: spec.bot.url",
        "bad.yaml: spec.bot.timeoutMs",
        "bad.yaml: spec.origins[0]",
        "half.yaml: file",
    ];
    refuses(64, &parts, &["config", "check", "--apps", &text(folder.path())]);
}

#[test]
fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    refuses(
        1,
        &[&address, "--listen"],
        &["dev", "--listen", &address, "--admin-listen", "127.0.0.1:0"],
    );
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named_and_left_alone() {
    let newer = tempfile::tempdir().unwrap();
    fs::write(newer.path().join("FORMAT"), "stentor data folder, format 7\n").unwrap();
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("thesis.doc"), "precious").unwrap();
    let run = |folder: &Path, parts: &[&str]| {
        let data = text(folder);
        let ports = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
        refuses(1, parts, &[&["dev", "--data", &data], &ports[..]].concat());
        refuses(1, parts, &["verify", "--data", &data]);
    };
    run(newer.path(), &["format 7", "use the version that wrote it"]);
    run(other.path(), &["no data folder"]);
    assert_eq!(fs::read_dir(other.path()).unwrap().count(), 1);
    let held =
        stentor_embedded::Embedded::open(newer.path().join("x").as_path(), Default::default())
            .unwrap();
    run(&newer.path().join("x"), &["in use by another process", "--data"]);
    drop(held);
}

#[test]
fn verify_tells_a_sound_folder_from_one_that_lacks_something() {
    let folder = tempfile::tempdir().unwrap();
    drop(stentor_embedded::Embedded::open(folder.path(), Default::default()).unwrap());
    let acks = folder.path().join("acks.txt");
    let data = text(folder.path());
    let output = stentor(&["verify", "--data", &data]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("sound"));
    fs::write(&acks, format!("{}-{} 3\n", "0".repeat(16), "1".repeat(32))).unwrap();
    let output = stentor(&["verify", "--data", &data, "--acks", &text(&acks)]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("was acknowledged and is missing"));
    fs::write(&acks, "nonsense\n").unwrap();
    refuses(
        1,
        &["line 1", "is no session id"],
        &["verify", "--data", &data, "--acks", &text(&acks)],
    );
}
