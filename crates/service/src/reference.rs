//! The documentation of the settings, made from their list.

use std::fmt::Write as _;

use crate::fields::FIELDS;

/// `docs/configuration.md`.
#[must_use]
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# Configuration of a process\n\n\
         Settings come from a TOML file (`--config`), from the environment and from flags; later ones win.\n\
         `stentor config check` names every problem at once and starts nothing. Apps have files of their own:\n\
         see [apps](apps.md). A command has the flags of what it runs: `stentor router` and `stentor connector` have\n\
         no sockets, and members of a cluster no data folder.\n\n\
         This page is generated from the list in `crates/service/src/fields.rs`.\n\n\
         | Setting | Environment | Flag | Default | Meaning |\n|---|---|---|---|---|\n",
    );
    for field in FIELDS {
        let alias = field.alias.map(|alias| format!(", `{alias}`")).unwrap_or_default();
        let flag = field.flag.map(|flag| format!("`{flag}`")).unwrap_or_default();
        let default =
            if field.default.is_empty() { "–".into() } else { format!("`{}`", field.default) };
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "| `{}` | `{}`{alias} | {flag} | {default} | {} |",
            field.key,
            field.variable(),
            field.doc
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_the_list_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
        if option_env!("UPDATE_DOCS").is_some() {
            std::fs::write(path, reference_markdown()).unwrap();
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference_markdown(), "run UPDATE_DOCS=1 cargo test -p stentor-service");
    }
}
