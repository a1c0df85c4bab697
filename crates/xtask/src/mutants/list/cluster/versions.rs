//! Breakages of what holds while two versions run, when the log is lost, and when a clock is off.

use super::{CaughtBy, Mutant, nats_bus, nats_log, nats_unit, router};

const fn upgrade(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor", target: "bin", filter }
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cluster 25: a cluster begins anew whose log has something",
        file: "crates/cluster-nats/src/version.rs",
        find: "version == FIRST || !is_untouched(connection, log).await?",
        replace: "version == FIRST || (log.is_empty() && !is_untouched(connection, log).await?)",
        caught_by: nats_bus("cluster_25_a_cluster_that_is_not_new_goes_on_with_version_1"),
    },
    Mutant {
        name: "cluster 25: a cluster begins anew that has owners",
        file: "crates/cluster-nats/src/version.rs",
        find: "write(connection, version, (NATS_EXPECTED_LAST_SEQUENCE, 0))",
        replace: "write(connection, version, [(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, 0), (NATS_EXPECTED_LAST_SEQUENCE, 0)][0].clone())",
        caught_by: nats_bus("cluster_25_a_cluster_that_is_not_new_goes_on_with_version_1"),
    },
    Mutant {
        name: "cluster 3: sessions of a partition just taken share batches",
        file: "crates/cluster-nats/src/log/contested.rs",
        find: "contested || (lately.is_fresh(entity, now) && !lately.written.contains(entity))",
        replace: "contested || (lately.is_fresh(entity, now) && lately.written.contains(entity))",
        caught_by: nats_log(
            "cluster_3_sessions_of_a_partition_just_taken_cannot_hold_up_those_of_others",
        ),
    },
    Mutant {
        name: "cluster 3: what was taken is contested for ever",
        file: "crates/cluster-nats/src/log/contested.rs",
        find: "if now.duration_since(*taken) < MEMORY {",
        replace: "if now.duration_since(*taken) < MEMORY * 99 {",
        caught_by: nats_unit(
            "cluster_3_what_was_taken_a_moment_ago_goes_alone_until_it_was_written_to",
        ),
    },
    Mutant {
        name: "cluster 9: a lost log is taken for the same",
        file: "crates/cluster-nats/src/log/renewal.rs",
        find: "std::mem::replace(&mut now.incarnation, incarnation) != incarnation",
        replace: "now.incarnation != incarnation && now.incarnation.0 == 0",
        caught_by: nats_log(
            "f20_a_deleted_stream_is_made_anew_as_another_log_for_all_who_write_to_it",
        ),
    },
    Mutant {
        name: "cluster 9: places of a lost log are given again",
        file: "crates/cluster-nats/src/stream.rs",
        find: "Config { first_sequence: Some(first), ..settings.config(random()?) }",
        replace: "Config { first_sequence: Some(first.min(1)), ..settings.config(random()?) }",
        caught_by: nats_log(
            "f20_a_deleted_stream_is_made_anew_as_another_log_for_all_who_write_to_it",
        ),
    },
    Mutant {
        name: "cluster 9: with the log goes what is in memory",
        file: "crates/router/src/actor/write.rs",
        find: "(self.head.is_some() && head.is_none()).then_some(origin)",
        replace: "(self.head.is_none() && head.is_some()).then_some(origin)",
        caught_by: router(
            "f20_a_log_that_is_lost_under_a_router_costs_no_message_of_a_session_in_memory",
        ),
    },
    Mutant {
        name: "cluster 11: a lone router with a wrong clock goes on",
        file: "crates/cluster-nats/src/ownership/fitness.rs",
        find: "self.clock_is_right() == Some(false) || self.holdings.finalized()",
        replace: "self.holdings.finalized()",
        caught_by: nats_bus(
            "cluster_11_a_lone_router_whose_clock_goes_off_decides_nothing_until_it_is_right_again",
        ),
    },
    Mutant {
        name: "cluster 13: the record of an owner is written over whatever is there",
        file: "crates/cluster-nats/src/ownership/records.rs",
        find: "        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());\n",
        replace: "        let _ = (revision, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE);\n",
        caught_by: nats_bus("cluster_13_of_two_routers_that_take_the_same_partition_one_gets_it"),
    },
    Mutant {
        name: "cluster 25: what is new is written before everybody knows it",
        file: "crates/router/src/later.rs",
        find: "self.later.as_deref().filter(|_| self.min_logic() >= self.logic)",
        replace: "self.later.as_deref().filter(|_| self.min_logic() <= self.logic)",
        caught_by: router(
            "cluster_25_nothing_new_is_written_before_the_cluster_has_left_the_old_version_behind",
        ),
    },
    Mutant {
        name: "cluster 25: a record does not say for which version it is",
        file: "crates/router/src/actor/write.rs",
        find: "        record.min_logic = shared.min_logic();\n",
        replace: "        record.min_logic = 1;\n",
        caught_by: router(
            "cluster_25_what_is_for_a_later_version_is_left_to_others_and_never_written_back",
        ),
    },
    Mutant {
        name: "cluster 25: what is for a later version counts as damaged",
        file: "crates/router/src/load.rs",
        find: "Self::Decode(DecodeError::NewerLogic(needed)) => Some(*needed),",
        replace: "Self::Decode(DecodeError::NewerFormat(needed)) => Some(*needed),",
        caught_by: router(
            "cluster_25_what_is_for_a_later_version_is_left_to_others_and_never_written_back",
        ),
    },
    Mutant {
        name: "cluster 25: a partition with something newer is taken again",
        file: "crates/cluster-nats/src/ownership/fitness.rs",
        find: "let found = self.beyond.values().copied().max().unwrap_or_default();",
        replace: "let found = self.beyond.values().copied().min().unwrap_or_default().min(1);",
        caught_by: nats_bus(
            "cluster_25_a_partition_with_something_newer_goes_to_a_router_that_knows_it",
        ),
    },
    Mutant {
        name: "cluster 25: a router goes on that the cluster has left behind",
        file: "crates/cluster-nats/src/ownership/keeper.rs",
        find: "                self.holdings.finalize(finalized);\n",
        replace: "                self.holdings.finalize(finalized.min(1));\n",
        caught_by: nats_bus(
            "cluster_25_a_router_that_the_cluster_has_left_behind_gives_everything_up",
        ),
    },
    Mutant {
        name: "cluster 25: a member tells no version",
        file: "crates/cluster-nats/src/members/heartbeat.rs",
        find: "let version = words.next().and_then(|version| version.parse().ok());",
        replace: "let version = words.next().and_then(|version| version.parse().ok()).filter(|known| *known == 0);",
        caught_by: nats_unit("a_heartbeat_survives_the_way"),
    },
    Mutant {
        name: "cluster 25: a cluster is finalized beyond its oldest member",
        file: "crates/stentor/src/operate/upgrade.rs",
        find: "return Verdict::Raise(lowest);",
        replace: "return Verdict::Raise(highest);",
        caught_by: upgrade("a_version_is_raised_to_what_every_member_knows_and_no_further"),
    },
];
