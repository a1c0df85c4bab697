//! Breakages of what a cluster rests on: the log on JetStream, who owns a partition, what is told to gateways, the
//! history. The numbers are those of the rules that the log and its owners follow.

mod clients;
mod erasing;
mod limits;
mod owners;
mod telling;
mod versions;

use super::{CaughtBy, Mutant, Servers};

const fn core(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-postoffice", target: "session", filter }
}

const fn router(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-router", target: "router", filter }
}

const fn router_unit(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-router", target: "lib", filter }
}

const fn gateway(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-gateway", target: "gateway", filter }
}

const fn nats_unit(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-cluster-nats", target: "lib", filter }
}

const fn nats_log(filter: &'static str) -> CaughtBy {
    let package = "stentor-cluster-nats";
    CaughtBy::Served { package, target: "log", filter, by: Servers::Nats }
}

const fn nats_bus(filter: &'static str) -> CaughtBy {
    let package = "stentor-cluster-nats";
    CaughtBy::Served { package, target: "bus", filter, by: Servers::Nats }
}

const fn database(filter: &'static str) -> CaughtBy {
    let package = "stentor-store-scylla";
    CaughtBy::Served { package, target: "store", filter, by: Servers::Database }
}

/// All of them.
pub(super) fn mutants() -> impl Iterator<Item = &'static Mutant> {
    let known = [MUTANTS, owners::MUTANTS, versions::MUTANTS, limits::MUTANTS];
    let later = [clients::MUTANTS, erasing::MUTANTS, telling::MUTANTS];
    known.into_iter().chain(later).flatten()
}

/// Writing, keeping and numbering.
const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cluster 1: a record does not say what it follows",
        file: "crates/cluster-nats/src/log/publish.rs",
        find: "        headers.insert(header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, expected.to_string());\n",
        replace: "        let _ = expected;\n",
        caught_by: nats_log("p10_the_log_on_one_server_keeps_the_contract"),
    },
    Mutant {
        name: "cluster 2: a batch is larger than the server takes",
        file: "crates/cluster-nats/src/log/append.rs",
        find: "&& messages + its_messages <= BATCH_MESSAGES",
        replace: "&& messages + its_messages <= BATCH_MESSAGES * 2",
        caught_by: nats_unit("a_batch_ends_at_its_limits_and_keeps_order"),
    },
    Mutant {
        name: "cluster 2: few records with effects go in a batch each",
        file: "crates/cluster-nats/src/log/append.rs",
        find: " && items.iter().all(|item| item.messages() == 1)",
        replace: "",
        caught_by: nats_log(
            "few_records_go_without_a_batch_in_their_order_and_each_is_judged_alone",
        ),
    },
    Mutant {
        name: "cluster 2: an answer to a batch that was given up is taken for the next one's",
        file: "crates/cluster-nats/src/log/publish.rs",
        find: "        self.number += 1;\n",
        replace: "",
        caught_by: nats_log("a_late_answer_to_a_batch_is_not_taken_for_the_next_ones"),
    },
    Mutant {
        name: "cluster 2: a message that closes the connection is sent",
        file: "crates/cluster-nats/src/log/append.rs",
        find: "    if bytes > MESSAGE_BYTES {",
        replace: "    if bytes > MESSAGE_BYTES * 100 {",
        caught_by: nats_log("what_is_too_large_is_never_sent_and_harms_nobody"),
    },
    Mutant {
        name: "cluster 2: a lack of room is taken for a conflict",
        file: "crates/cluster-nats/src/log/codes.rs",
        find: "const CONFLICTS: [u64; 2] = [10_071, 10_164];",
        replace: "const CONFLICTS: [u64; 2] = [10_071, 10_210];",
        caught_by: nats_unit("codes_say_what_to_do"),
    },
    Mutant {
        name: "cluster 3: who is contested holds up the others",
        file: "crates/cluster-nats/src/log/contested.rs",
        find: "known.is_some_and(|(count, at)| *count >= REFUSALS &&",
        replace: "known.is_some_and(|(count, at)| *count > REFUSALS &&",
        caught_by: nats_unit("whoever_was_refused_twice_goes_alone_for_ten_seconds"),
    },
    Mutant {
        name: "cluster 3: a refused batch is refused whole",
        file: "crates/cluster-nats/src/log/append.rs",
        find: "let second = part.split_off(part.len() / 2);",
        replace: "let second = part.split_off(part.len() / 2);\n                verdicts.extend(second.iter().map(|item| (item.index, Appended::Conflict { actual: None })));\n                let second = Vec::new();",
        caught_by: nats_log("a_contested_record_is_found_by_halves_and_the_innocent_are_stored"),
    },
    Mutant {
        name: "cluster 4: a refusal is no question of ownership",
        file: "crates/router/src/actor/write.rs",
        find: "if !self.actors.shared().bus.confirm(partition).await {",
        replace: "if self.actors.shared().bus.holds(partition) && false {",
        caught_by: router("i11_a_replaced_owner_commits_nothing"),
    },
    Mutant {
        name: "cluster 5: an earlier attempt that had won is not recognised",
        file: "crates/router/src/actor/write.rs",
        find: "(decoded.id == id).then_some(sequence)",
        replace: "(decoded.id != id).then_some(sequence)",
        caught_by: router("cluster_5_a_commit_whose_answer_was_lost_is_found_and_made_once"),
    },
    Mutant {
        name: "cluster 5: what did not answer did not write",
        file: "crates/router/src/actor/write.rs",
        find: "                Committed::Unknown => {\n",
        replace: "                Committed::Unknown => {\n                    return Ok(None);\n                    #[allow(unreachable_code)]\n",
        caught_by: router("cluster_5_a_commit_whose_answer_was_lost_is_found_and_made_once"),
    },
    Mutant {
        name: "cluster 5: a replica that lags behind is believed",
        file: "crates/cluster-nats/src/log/read.rs",
        find: "while !range.more && next <= newest.sequence {",
        replace: "while !range.more && next < Sequence(0) {",
        caught_by: nats_log("what_was_acknowledged_is_read_whatever_replica_answers"),
    },
    Mutant {
        name: "cluster 6: what writes nothing is answered by a stale owner",
        file: "crates/router/src/actor/write.rs",
        find: "                self.actors.shared().fenced(partition).await?;\n",
        replace: "",
        caught_by: router("cluster_6_an_owner_that_may_be_replaced_answers_nothing_from_memory"),
    },
    Mutant {
        name: "cluster 6: a stale owner says which session a visitor has",
        file: "crates/router/src/directories.rs",
        find: "                Resolved::Known(session) => {\n                    self.shared.fenced(partition).await?;\n",
        replace: "                Resolved::Known(session) => {\n",
        caught_by: router("cluster_6_an_owner_that_may_be_replaced_does_not_say"),
    },
    Mutant {
        name: "cluster 6: the answer of a former owner counts",
        file: "crates/cluster-nats/src/ingress/ask.rs",
        find: "highest.fetch_max(term, Ordering::AcqRel) <= term;",
        replace: "highest.fetch_max(term, Ordering::AcqRel) <= u64::MAX;",
        caught_by: nats_bus("an_answer_of_a_former_owner_is_ignored_however_fast_it_comes"),
    },
    Mutant {
        name: "cluster 7: a full stream drops its oldest",
        file: "crates/cluster-nats/src/stream.rs",
        find: "discard: DiscardPolicy::New,",
        replace: "discard: DiscardPolicy::Old,",
        caught_by: nats_log(
            "a_full_stream_refuses_in_bounded_time_keeps_all_and_is_healed_by_trimming",
        ),
    },
    Mutant {
        name: "cluster 7: a server is believed to sync that does not say so",
        file: "crates/cluster-nats/src/monitor.rs",
        find: "sync_always.unwrap_or(false)",
        replace: "sync_always.unwrap_or(true)",
        caught_by: nats_unit("only_a_server_that_says_so_syncs"),
    },
    Mutant {
        name: "cluster 8: the log forgets what the store does not have",
        file: "crates/router/src/projector/trim.rs",
        find: "before = before.min(cursor);",
        replace: "before = before.max(cursor);",
        caught_by: router("cluster_8_nothing_leaves_the_log_before_the_store_has_it"),
    },
    Mutant {
        name: "cluster 8: a stream that forgets by age is fit for a log",
        file: "crates/cluster-nats/src/stream.rs",
        find: "let unlimited = config.max_age.is_zero()\n        && config.max_messages <= 0",
        replace: "let unlimited = config.max_messages <= 0",
        caught_by: nats_unit("only_the_stream_as_it_is_made_is_fit"),
    },
    Mutant {
        name: "cluster 8: a record that the store refuses does not hold the trim",
        file: "crates/router/src/projector/backlog/work.rs",
        find: "let rest = self.open.split_off(&Sequence(first.0.saturating_add(1)));",
        replace: "let rest = self.open.split_off(&first);",
        caught_by: router("cluster_8_what_the_store_refuses_holds_the_trim_and_nobody_else"),
    },
    Mutant {
        name: "cluster 9: a log that was restored is taken for the one before",
        file: "crates/router/src/load.rs",
        find: "if end.log != shared.log.incarnation() || ahead.is_some() {",
        replace: "if ahead.is_some() {",
        caught_by: router(
            "i16_a_fenced_log_begins_a_new_numbering_even_if_the_history_says_nothing",
        ),
    },
    Mutant {
        name: "cluster 9: a history that is ahead of the log says nothing",
        file: "crates/router/src/load.rs",
        find: "row.filter(|row| (row.epoch, row.projected) > (end.epoch, end.n) || row.at > end.at)",
        replace: "row.filter(|row| row.projected > end.n.max(row.projected))",
        caught_by: router("i16_an_older_copy_of_the_log_is_found_out_by_the_history"),
    },
    Mutant {
        name: "cluster 9: an empty subject is believed without the cursor",
        file: "crates/router/src/keeping.rs",
        find: "Ok(cursor.is_some_and(|cursor| cursor >= first))",
        replace: "Ok(cursor.is_none_or(|cursor| cursor <= first.max(cursor)))",
        caught_by: router("i16_a_log_trimmed_unseen_begins_a_new_numbering"),
    },
    Mutant {
        name: "cluster 9: a row of another log is believed",
        file: "crates/router/src/load.rs",
        find: "        && row.log == shared.log.incarnation()\n",
        replace: "",
        caught_by: router(
            "i16_a_log_made_anew_begins_a_new_numbering_even_if_nothing_was_trimmed_from_it",
        ),
    },
    Mutant {
        name: "cluster 9: an owner forgets how far it has seen its session come",
        file: "crates/router/src/load.rs",
        find: "let ahead = known.filter(|known| *known > (end.epoch, end.n));",
        replace: "let ahead = known.filter(|known| *known > (end.epoch, EventNumber(u64::MAX)));",
        caught_by: router(
            "i16_a_log_that_is_put_back_under_a_running_owner_begins_a_new_numbering",
        ),
    },
    Mutant {
        name: "cluster 9: fencing a log changes nothing",
        file: "crates/cluster-nats/src/stream.rs",
        find: "    config.metadata.insert(INCARNATION.to_owned(), text(incarnation));\n",
        replace: "    let _ = text(incarnation);\n    config.metadata.remove(\"\");\n",
        caught_by: nats_log(
            "the_incarnation_survives_the_death_of_all_servers_and_is_renewed_by_hand",
        ),
    },
    Mutant {
        name: "cluster 10: a session at rest never gets a snapshot",
        file: "crates/router/src/actor.rs",
        find: "Command::Snapshot => self.rests = self.snapshot_is_old(),",
        replace: "Command::Snapshot => self.rests = self.snapshot_is_old() && self.rests,",
        caught_by: router(
            "cluster_10_a_session_at_rest_has_its_state_in_the_log_before_the_log_forgets_it",
        ),
    },
    Mutant {
        name: "cluster 10: the first commit after a load has no snapshot",
        file: "crates/router/src/actor/write.rs",
        find: "let due = self.rests || self.since_snapshot >= SNAPSHOT_EVERY || self.snapshot_is_old();",
        replace: "let due = self.rests || self.since_snapshot == SNAPSHOT_EVERY;",
        caught_by: router("cluster_10_the_first_commit_after_a_load_holds_the_state"),
    },
    Mutant {
        name: "cluster 10: a session is only ever told by all its records",
        file: "crates/router/src/actor/write.rs",
        find: "const SNAPSHOT_EVERY: u32 = 64;",
        replace: "const SNAPSHOT_EVERY: u32 = 64_000;",
        caught_by: router("cluster_10_every_64th_commit_holds_the_state"),
    },
    Mutant {
        name: "cluster 10: a session is loaded although records are missing before the head",
        file: "crates/router/src/load/tail.rs",
        find: "else { return Ok(None) };\n            for record in page {",
        replace: "else { break };\n            for record in page {",
        caught_by: router(
            "cluster_10_a_session_is_loaded_only_when_what_was_read_reaches_its_head",
        ),
    },
    Mutant {
        name: "cluster 11: a router whose clock is off goes on",
        file: "crates/cluster-nats/src/ownership/fitness.rs",
        find: "self.clock_offset.map(|offset| offset.unsigned_abs() <= tolerance)",
        replace: "self.clock_offset.map(|offset| offset.unsigned_abs() <= tolerance.max(u128::MAX))",
        caught_by: nats_bus("a_router_whose_clock_is_off_takes_nothing_and_says_so"),
    },
    Mutant {
        name: "cluster 11: a row has the time of its writing",
        file: "crates/store-scylla/src/values.rs",
        find: "    i64::try_from(at.0).unwrap_or(i64::MAX)\n",
        replace: "    i64::try_from(at.max(now()).0).unwrap_or(i64::MAX)\n",
        caught_by: database("i10_projecting_twice_or_in_another_order_gives_the_same_rows"),
    },
];
