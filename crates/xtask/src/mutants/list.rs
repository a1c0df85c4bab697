//! The breakages. To add one: copy a line of the code as `find`, break it in `replace`, name who must notice.
//!
//! `find` must stand in the file exactly once, also after the code has moved on: a mutant that no longer applies is an
//! error, so the list cannot rot in silence.

use super::{CaughtBy, Mutant};

pub(super) const MUTANTS: &[Mutant] = &[Mutant {
    name: "layers: a shell may know an adapter",
    file: "crates/xtask/src/layers.rs",
    find: "layer.may_know.contains(&dependency.name.as_str())",
    replace: "true",
    caught_by: CaughtBy::Test {
        package: "xtask",
        filter: "a_shell_that_knows_an_adapter_is_refused",
    },
}];
