//! Breakages of what keeps one input, one session or one disk from harming all others.

use super::{CaughtBy, Mutant, core, nats_log, nats_unit, router, router_unit};

const fn gateway_unit(filter: &'static str) -> CaughtBy {
    CaughtBy::TestOf { package: "stentor-gateway", target: "lib", filter }
}

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cluster 19: what an owner was lost over is tried again",
        file: "crates/router/src/trials.rs",
        find: "entry.mark == mark && entry.life != life)\n    }\n\n    fn refuse(",
        replace: "entry.mark == mark && entry.life == life)\n    }\n\n    fn refuse(",
        caught_by: router("f16_what_an_owner_was_lost_over_the_next_one_does_not_try"),
    },
    Mutant {
        name: "cluster 19: a refusal uses up no number",
        file: "crates/router/src/dispatch/trying.rs",
        find: "        let Some(InputOf::Say(say)) = input.kind else { return None };",
        replace: "        let Some(InputOf::Say(say)) = input.kind.filter(|_| app.as_str().is_empty()) else { return None };",
        caught_by: router("f16_what_an_owner_was_lost_over_the_next_one_does_not_try"),
    },
    Mutant {
        name: "cluster 19: a suspicious input is not written down",
        file: "crates/router/src/trials.rs",
        find: "        list.entries.push(Entry { mark, life, at: now });\n",
        replace: "",
        caught_by: router(
            "f16_what_is_suspicious_is_written_down_before_it_is_decided_about_and_not_for_longer",
        ),
    },
    Mutant {
        name: "cluster 19: what was tried and came out well stays written down",
        file: "crates/router/src/trials.rs",
        find: "        list.remove(trial.mark, life);\n        // If it stays",
        replace: "        // If it stays",
        caught_by: router(
            "f16_what_is_suspicious_is_written_down_before_it_is_decided_about_and_not_for_longer",
        ),
    },
    Mutant {
        name: "cluster 19: suspicious inputs are tried side by side",
        file: "crates/router/src/trials.rs",
        find: "Arc::clone(&self.alone).lock_owned().await",
        replace: "Arc::new(Mutex::new(())).lock_owned().await",
        caught_by: router("f16_suspicious_inputs_are_tried_one_at_a_time_in_the_whole_router"),
    },
    Mutant {
        name: "cluster 19: one lost router makes everything suspicious that it left behind",
        file: "crates/router/src/trials.rs",
        find: "SUSPECTED_FROM: u32 = 2;",
        replace: "SUSPECTED_FROM: u32 = 1;",
        caught_by: router(
            "f16_what_is_suspicious_is_written_down_before_it_is_decided_about_and_not_for_longer",
        ),
    },
    Mutant {
        name: "cluster 19: a gateway never gives an input up",
        file: "crates/gateway/src/asking/poison.rs",
        find: "        if deaths < DEATHS_MAX {",
        replace: "        if deaths < DEATHS_MAX * 100 {",
        caught_by: gateway_unit(
            "f16_an_input_that_four_owners_are_gone_over_is_refused_and_its_copy_kept",
        ),
    },
    Mutant {
        name: "cluster 19: what was asked beside a suspicious input is forgotten",
        file: "crates/gateway/src/asking/poison.rs",
        find: "std::iter::repeat_n(later, self.later)",
        replace: "std::iter::repeat_n(later, 0)",
        caught_by: gateway_unit("what_was_asked_with_it_is_asked_after_it"),
    },
    Mutant {
        name: "cluster 8: nobody is told what the history refuses",
        file: "crates/router/src/projector/backlog/jobs.rs",
        find: "            self.given_up.push(GivenUp { entity: entity.clone(), sequence: first, why });\n",
        replace: "",
        caught_by: router("cluster_8_what_the_store_refuses_holds_the_trim_and_nobody_else"),
    },
    Mutant {
        name: "cluster 20: nobody leaves memory for others",
        file: "crates/router/src/memory.rs",
        find: "            leave.notify_one();\n",
        replace: "",
        caught_by: router(
            "cluster_20_sessions_in_memory_stay_within_their_limit_and_lose_nothing_by_it",
        ),
    },
    Mutant {
        name: "cluster 20: whoever spoke last leaves first",
        file: "crates/router/src/memory.rs",
        find: "self.by_use.pop_first()",
        replace: "self.by_use.pop_last()",
        caught_by: router_unit("cluster_20_whoever_was_used_least_lately_leaves_first"),
    },
    Mutant {
        name: "cluster 20: others leave for one who is about to",
        file: "crates/router/src/memory.rs",
        find: "while self.used.saturating_sub(self.leaving) > limit {",
        replace: "while self.used > limit {",
        caught_by: router_unit("cluster_20_nobody_else_is_asked_for_what_is_about_to_be_free"),
    },
    Mutant {
        name: "cluster 20: everybody is told of each of many agents",
        file: "crates/postoffice/src/decide.rs",
        find: "there > self.context.crowd_min\n",
        replace: "there > self.context.crowd_min.saturating_mul(3)\n",
        caught_by: core("cluster_20_the_fifty_first_is_the_first_who_is_counted"),
    },
    Mutant {
        name: "cluster 20: a visitor is one of many",
        file: "crates/postoffice/src/decide.rs",
        find: "role == Role::Agent && there >",
        replace: "there >",
        caught_by: core("cluster_20_a_visitor_is_never_one_of_many"),
    },
    Mutant {
        name: "cluster 20: what was counted is counted again",
        file: "crates/postoffice/src/fold.rs",
        find: "EventKind::Crowd { .. } => self.crowd = None,",
        replace: "EventKind::Crowd { .. } => self.crowd_at(at).tell_at = at.after(CROWD_EVERY),",
        caught_by: core("cluster_20_agents_beyond_the_limit_are_counted_once_a_second"),
    },
    Mutant {
        name: "cluster 20: a count is told at once",
        file: "crates/postoffice/src/fold.rs",
        find: "let tell_at = at.after(CROWD_EVERY);",
        replace: "let tell_at = at.after(CROWD_EVERY / 4);",
        caught_by: core("cluster_20_a_count_is_due_a_second_after_the_first_who_came"),
    },
    Mutant {
        name: "cluster 20: a count is written for readers who do not know it",
        file: "crates/router/src/actor/decide.rs",
        find: "if shared.min_logic() < CROWDS {",
        replace: "if shared.min_logic() < CROWDS - 1 {",
        caught_by: router("cluster_20_a_count_waits_for_version_two"),
    },
    Mutant {
        name: "cluster 28: what cannot be written keeps the log from being read",
        file: "crates/router/src/projector/backlog/room.rs",
        find: "                self.let_go_above(partition, gap);\n",
        replace: "                let _ = (&mut *self, partition, gap);\n",
        caught_by: router_unit("cluster_28_whatever_happened_all_is_in_the_store_in_the_end"),
    },
    Mutant {
        name: "cluster 28: what is let go of while the log is read is left out",
        file: "crates/router/src/projector/backlog/room.rs",
        find: "                    part.miss(sequence, at);\n",
        replace: "                    let _ = (sequence, at);\n",
        caught_by: router_unit("cluster_28_what_is_let_go_of_while_the_log_is_read_is_read_again"),
    },
    Mutant {
        name: "cluster 7: a log larger than the disk bears is made",
        file: "crates/cluster-nats/src/disk.rs",
        find: "    if wanted <= share(store) {",
        replace: "    if wanted <= store {",
        caught_by: nats_log(
            "cluster_7_a_log_that_would_fill_the_disk_is_refused_with_what_would_fit",
        ),
    },
    Mutant {
        name: "cluster 7: a stream is warned of when it is full",
        file: "crates/cluster-nats/src/log/room.rs",
        find: "value >= begins };",
        replace: "value >= begins + 30 };",
        caught_by: nats_unit(
            "cluster_7_a_stream_that_fills_up_is_warned_of_once_and_long_before_it_is_full",
        ),
    },
];
