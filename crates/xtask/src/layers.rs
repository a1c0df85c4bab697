//! Holds the plan of the house: who may depend on whom, how long a file may be, and what must not be committed.

mod sources;
mod table;

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde::Deserialize;

use self::table::{Kind, TABLE};
use crate::process::run_quiet;
use crate::report::Report;
use crate::workspace::Workspace;

#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
    path: Option<String>,
}

/// Checks the crates against the table, then all sources.
pub(crate) fn run(workspace: &Workspace, report: &mut Report) -> anyhow::Result<()> {
    report.heading("layers");
    let mut cargo = workspace.cargo();
    cargo.args(["metadata", "--format-version", "1", "--no-deps"]);
    let metadata: Metadata = serde_json::from_str(&run_quiet(&mut cargo)?)
        .context("cargo metadata printed something unknown")?;
    let problems = check(&metadata.packages);
    verdict(report, "who may depend on whom", &problems);
    let problems = sources::check(workspace.root())?;
    verdict(report, "sources: length, ignored tests, unfinished code", &problems);
    Ok(())
}

fn verdict(report: &mut Report, name: &str, problems: &[String]) {
    for problem in problems {
        println!("        {problem}");
    }
    match problems.first() {
        None => report.pass(name),
        Some(first) => report.fail(name, &format!("{first} ({} problems)", problems.len())),
    }
}

/// Every breach of the table, in words.
fn check(packages: &[Package]) -> Vec<String> {
    let kinds: BTreeMap<&str, Kind> = TABLE.iter().map(|layer| (layer.name, layer.kind)).collect();
    let mut problems = Vec::new();
    for package in packages {
        let Some(layer) = TABLE.iter().find(|layer| layer.name == package.name) else {
            problems.push(format!(
                "{} is not in the table of layers (crates/xtask/src/layers/table.rs)",
                package.name
            ));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.path.is_some())
        {
            let Some(kind) = kinds.get(dependency.name.as_str()) else { continue };
            let in_tests_only = dependency.kind.as_deref() == Some("dev");
            let allowed = if in_tests_only {
                layer.kind.may_test_with(*kind)
            } else {
                layer.may_know.contains(&dependency.name.as_str())
            };
            if !allowed {
                let when = if in_tests_only { " in its tests" } else { "" };
                let name = &dependency.name;
                problems.push(format!(
                    "{} ({:?}) must not know {name} ({kind:?}){when}",
                    layer.name, layer.kind
                ));
            }
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::{Dependency, Package, check};

    fn package(name: &str, on: &str, kind: Option<&str>) -> Package {
        let dependency = Dependency {
            name: on.to_owned(),
            kind: kind.map(str::to_owned),
            path: Some("/somewhere".to_owned()),
        };
        Package { name: name.to_owned(), dependencies: vec![dependency] }
    }

    #[test]
    fn a_shell_that_knows_an_adapter_is_refused() {
        assert_eq!(check(&[package("stentor-router", "stentor-embedded", None)]).len(), 1);
        assert!(check(&[package("stentor-router", "stentor-embedded", Some("dev"))]).is_empty());
    }

    #[test]
    fn a_shell_that_knows_another_shell_is_refused_even_in_tests() {
        assert_eq!(check(&[package("stentor-gateway", "stentor-router", None)]).len(), 1);
        assert_eq!(check(&[package("stentor-gateway", "stentor-router", Some("dev"))]).len(), 1);
    }

    #[test]
    fn a_core_that_knows_a_port_is_refused() {
        assert_eq!(check(&[package("stentor-postoffice", "stentor-cluster", None)]).len(), 1);
    }

    #[test]
    fn an_unlisted_crate_is_refused() {
        assert_eq!(check(&[package("stentor-common", "stentor-types", None)]).len(), 1);
    }
}
