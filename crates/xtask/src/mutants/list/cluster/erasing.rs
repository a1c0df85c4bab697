//! Breakages of what an erased session leaves: numbers, and nothing else.

use super::{CaughtBy, Mutant, core, database, gateway, nats_log, router};

const fn embedded(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-embedded", target: "contract", filter }
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cluster 26: a name leads back to the session that was erased",
        file: "crates/gateway/src/v2/seat.rs",
        find: "self.sid.filter(|_| !by_name)",
        replace: "self.sid.filter(|_| !by_name || self.sid.is_some())",
        caught_by: gateway("cluster_26_a_name_that_is_open_leads_to_what_it_names_now"),
    },
    Mutant {
        name: "cluster 26: a state keeps what was erased",
        file: "crates/postoffice/src/fold.rs",
        find: "ended: true, erased: true, ..forgotten };",
        replace: "ended: true, erased: true, control_epoch: self.control_epoch, drafts: std::mem::take(&mut self.drafts), ..forgotten };",
        caught_by: core("cluster_26_whatever_happened_only_the_numbers_are_left"),
    },
    Mutant {
        name: "cluster 26: what is decided with an erasure keeps its words",
        file: "crates/postoffice/src/decide/on_erase.rs",
        find: "        for event in &mut self.commit.events {",
        replace: "        for event in self.commit.events.iter_mut().skip(100) {",
        caught_by: core("cluster_26_what_is_decided_with_an_erasure_is_written_without_words"),
    },
    Mutant {
        name: "cluster 26: an erased session goes on",
        file: "crates/postoffice/src/decide.rs",
        find: "kind if self.state.erased => self.on_erased(kind),",
        replace: "kind if self.state.erased && self.state.n.0 == 0 => self.on_erased(kind),",
        caught_by: core("cluster_26_an_erased_session_takes_nothing_more"),
    },
    Mutant {
        name: "cluster 26: a folder takes what comes late",
        file: "crates/embedded/src/writer/worker.rs",
        find: "Table::Events => keys::split_event(key).is_some_and(|session| erased(session).is_some()),",
        replace: "Table::Events => keys::split_event(key).is_some_and(|session| erased(session) == Some(0)),",
        caught_by: embedded("p10"),
    },
    Mutant {
        name: "cluster 26: a database takes what comes late",
        file: "crates/store-scylla/src/events.rs",
        find: "            events.clear();\n",
        replace: "",
        caught_by: database("p10"),
    },
    Mutant {
        name: "cluster 26: effects of an erased session stay",
        file: "crates/cluster-nats/src/log/erasing.rs",
        find: "if effect.is_ok_and(|effect| effect.session == session) {",
        replace: "if effect.is_ok_and(|effect| effect.session.is_empty() && effect.session == session) {",
        caught_by: nats_log(
            "cluster_26_the_bytes_of_an_erased_session_are_gone_with_its_effects_and_letters",
        ),
    },
    Mutant {
        name: "cluster 26: records are let go of and not overwritten",
        file: "crates/cluster-nats/src/log/erasing.rs",
        find: "            self.erase_message(found.sequence).await?;\n            report",
        replace: "            self.remove(entity, before, false).await?;\n            report",
        caught_by: nats_log(
            "cluster_26_the_bytes_of_an_erased_session_are_gone_with_its_effects_and_letters",
        ),
    },
    Mutant {
        name: "cluster 26: whoever has sockets may erase",
        file: "crates/router/src/dispatch.rs",
        find: "let may = operator || self.lets_erase(&key.app, &request.token);",
        replace: "let may = operator || !request.token.is_empty();",
        caught_by: router("s17_a_gateway_erases_only_with_the_token_of_a_program_of_that_app"),
    },
    Mutant {
        name: "cluster 26: everybody at an app may erase",
        file: "crates/apps/src/app.rs",
        find: "is_ok_and(|(claims, _)| claims.role == Role::Integration)",
        replace: "is_ok_and(|(claims, _)| claims.role != Role::Visitor)",
        caught_by: router("s17_a_gateway_erases_only_with_the_token_of_a_program_of_that_app"),
    },
    Mutant {
        name: "cluster 26: a gateway asks for whoever is staff",
        file: "crates/gateway/src/http/erase.rs",
        find: "caller.principal.role == RoleName::Integration",
        replace: "caller.principal.role != RoleName::Visitor",
        caught_by: gateway("s1_nobody_but_a_program_of_the_operator_has_anything_erased"),
    },
    Mutant {
        name: "cluster 26: a session is erased before all members understand it",
        file: "crates/router/src/dispatch/erasing.rs",
        find: "if self.actors.shared().min_logic() < ERASING {",
        replace: "if self.actors.shared().min_logic() < ERASING - 1 {",
        caught_by: router("cluster_26_only_operators_erase_and_only_what_all_versions_understand"),
    },
    Mutant {
        name: "cluster 26: an erasure that was begun stays so",
        file: "crates/router/src/load.rs",
        find: "return Loaded { is_to_be_erased: true, ..loaded };",
        replace: "return loaded;",
        caught_by: router(
            "cluster_26_what_was_begun_is_finished_by_whoever_loads_the_session_next",
        ),
    },
    Mutant {
        name: "cluster 26: a visitor is led back to what is erased",
        file: "crates/router/src/directories.rs",
        find: "let directory = current.directory.without(session);",
        replace: "let directory = current.directory.clone();\n            let _ = session;",
        caught_by: router(
            "cluster_26_of_an_erased_session_the_numbers_are_left_and_a_new_visit_finds_another",
        ),
    },
    Mutant {
        name: "cluster 26: whoever is in the session is not told",
        file: "crates/router/src/actor/write.rs",
        find: "                    if is_erased {\n                        // Nobody",
        replace: "                    if is_erased && self.head.is_none() {\n                        // Nobody",
        caught_by: router(
            "cluster_26_of_an_erased_session_the_numbers_are_left_and_a_new_visit_finds_another",
        ),
    },
];
