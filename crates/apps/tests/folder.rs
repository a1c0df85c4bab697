//! A folder of apps: what is in force, and what is said about what is not.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::{fs, os::unix::fs::symlink, path::Path};

use stentor_apps::FolderSource;

fn app(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: stentor.dev/v1alpha1\nkind: ChatApp\nmetadata: {{ name: {name} }}\nspec: {spec}\n"
    )
}

fn names(source: &FolderSource) -> Vec<String> {
    source.subscribe().borrow().iter().map(|app| app.id().to_string()).collect()
}

fn said(source: &FolderSource) -> String {
    source.problems().iter().map(|problem| format!("{problem}\n")).collect()
}

fn check(spec: &str, expected: &[&str]) {
    let problems = stentor_apps::parse(&app("demo", spec), Path::new("/nowhere")).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, expected, "{problems:?}");
}

#[test]
fn f18_a_bad_change_leaves_the_last_good_version_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shop.yaml");
    fs::write(&file, app("shop", "{ origins: ['https://shop.example'] }")).unwrap();
    let mut source = FolderSource::open(folder.path()).unwrap();
    assert_eq!(names(&source), ["shop"]);
    fs::write(&file, app("shop", "{ origins: ['nonsense'], limits: { burst: 0 } }")).unwrap();
    assert!(source.look());
    assert_eq!(names(&source), ["shop"]);
    assert!(source.subscribe().borrow().any_allows("https://shop.example"));
    assert!(
        said(&source).contains("spec.origins[0]") && said(&source).contains("spec.limits.burst")
    );
    fs::write(&file, app("shop", "{ origins: ['https://new.example'] }")).unwrap();
    assert!(source.look());
    assert!(said(&source).is_empty());
    assert!(source.subscribe().borrow().by_origin("https://new.example").is_some());
    assert!(!source.look(), "nothing has changed");
    fs::remove_file(&file).unwrap();
    assert!(source.look());
    assert!(names(&source).is_empty());
}

#[test]
fn a_folder_whose_links_are_swapped_is_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    for (version, origin) in [("one", "https://one.example"), ("two", "https://two.example")] {
        let inner = folder.path().join(format!("..{version}"));
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("shop.yaml"), app("shop", &format!("{{ origins: ['{origin}'] }}")))
            .unwrap();
    }
    let current = folder.path().join("..data");
    symlink("..one", &current).unwrap();
    symlink("..data/shop.yaml", folder.path().join("shop.yaml")).unwrap();
    let mut source = FolderSource::open(folder.path()).unwrap();
    assert!(source.subscribe().borrow().any_allows("https://one.example"));
    symlink("..two", folder.path().join("..new")).unwrap();
    fs::rename(folder.path().join("..new"), &current).unwrap();
    assert!(source.look());
    assert!(source.subscribe().borrow().any_allows("https://two.example"));
}

#[test]
fn two_files_with_one_name_are_a_problem_and_the_first_stays() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), app("shop", "{ origins: ['https://a.example'] }"))
        .unwrap();
    fs::write(folder.path().join("b.yaml"), app("shop", "{ origins: ['https://b.example'] }"))
        .unwrap();
    let source = FolderSource::open(folder.path()).unwrap();
    assert!(source.subscribe().borrow().any_allows("https://a.example"));
    assert!(said(&source).contains("b.yaml: metadata.name"));
}

#[test]
fn every_problem_names_its_field() {
    check("{ bot: { url: '127.0.0.1:80' } }", &["spec.bot.url"]);
    check("{ bot: { url: 'http://user:word@x/' } }", &["spec.bot.url"]);
    check("{ bot: { url: 'http://x/', key: { file: key } } }", &["spec.bot.key.file"]);
    check("{ bot: { url: 'http://x/', retryDelaySeconds: 0 } }", &["spec.bot.retryDelaySeconds"]);
    check("{ origins: ['*'] }", &["spec.origins[0]"]);
    check("{ origins: ['https://x.example', 'https://x.example/'] }", &["spec.origins[1]"]);
    check("{ limits: { messageBytes: 1 } }", &["spec.limits.messageBytes"]);
    check("{ retention: { log: 3 days } }", &["spec.retention.log"]);
    check("{ retention: { log: 1d, history: 2h } }", &["spec.retention.history"]);
    check("{ grace: { visitorSeconds: 1 } }", &["spec.grace.visitorSeconds"]);
    check("{ grace: { agentSeconds: 0 } }", &["spec.grace.agentSeconds"]);
    check(
        "{ auth: { keys: [{ kid: a, algorithm: none, file: x }, { kid: b, algorithm: HS256, file: nowhere }] } }",
        &["spec.auth.keys[0].algorithm", "spec.auth.keys[1].file"],
    );
    check("{ botz: {} }", &["file"]);
}

#[test]
fn cluster_11_a_grace_longer_than_half_of_what_the_log_keeps_is_refused() {
    let refused = ["spec.grace.visitorSeconds", "spec.grace.agentSeconds"];
    let spec = |visitor: u32, agent: u32| {
        format!(
            "{{ retention: {{ log: 2h }}, grace: {{ visitorSeconds: {visitor}, agentSeconds: {agent} }} }}"
        )
    };
    check(&spec(3_601, 3_601), &refused);
    check(&spec(3_600, 3_601), &refused[1..]);
    assert!(stentor_apps::parse(&app("demo", &spec(3_600, 3_600)), Path::new("/nowhere")).is_ok());
}

#[test]
fn s18_a_key_is_read_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), "canary-7\n").unwrap();
    let text = app("demo", "{ bot: { url: 'http://x/', key: { file: key } } }");
    let app = stentor_apps::parse(&text, folder.path()).unwrap();
    assert!(!format!("{app:?}").contains("canary-7"));
    assert_eq!(app.bot.unwrap().key.unwrap().expose(), "canary-7");
}
