//! Breakages of what clients are told, and of what becomes of them when their gateway is in trouble.

use super::{CaughtBy, Mutant, gateway, nats_bus, nats_unit, router};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cluster 17: a gateway that is cut off keeps its sockets",
        file: "crates/gateway/src/cut_off.rs",
        find: "                spread::close(&shared, Closing::CUT_OFF).await;\n",
        replace: "",
        caught_by: gateway(
            "cluster_17_a_client_of_the_second_dialect_is_told_to_come_back_elsewhere",
        ),
    },
    Mutant {
        name: "cluster 17: a gateway that is cut off closes all sockets at once",
        file: "crates/gateway/src/spread.rs",
        find: "        if due > Instant::now() + TICK {",
        replace: "        if due > Instant::now() + window {",
        caught_by: gateway(
            "cluster_17_a_gateway_that_is_cut_off_sends_its_sockets_away_at_a_pace_and_takes_no_others",
        ),
    },
    Mutant {
        name: "cluster 17: a gateway that is cut off takes new sockets",
        file: "crates/gateway/src/http/handshake.rs",
        find: "    if shared.is_cut_off() {",
        replace: "    if shared.is_cut_off() && shared.sockets.is_empty() {",
        caught_by: gateway(
            "cluster_17_a_gateway_that_is_cut_off_sends_its_sockets_away_at_a_pace_and_takes_no_others",
        ),
    },
    Mutant {
        name: "cluster 17: a gateway goes on closing when its line is back",
        file: "crates/gateway/src/cut_off.rs",
        find: "cut_off.wait_for(|cut_off| !*cut_off)",
        replace: "cut_off.wait_for(|_| false)",
        caught_by: gateway(
            "cluster_17_whoever_is_still_there_when_the_line_is_back_stays_and_is_served_as_before",
        ),
    },
    Mutant {
        name: "cluster 17: a moment without the line cuts a gateway off",
        file: "crates/cluster-nats/src/bus/gateway.rs",
        find: "now.saturating_sub(since) >= self.timings.rename_after)",
        replace: "now.saturating_sub(since) >= self.timings.beat)",
        caught_by: nats_unit(
            "cluster_17_a_gateway_counts_as_cut_off_after_the_time_in_which_others_give_it_up",
        ),
    },
    Mutant {
        name: "cluster 12: nobody is warned of very many subjects",
        file: "crates/cluster-nats/src/log/room.rs",
        find: "const SUBJECTS: u64 = 1_000_000;",
        replace: "const SUBJECTS: u64 = 1_100_000;",
        caught_by: nats_unit(
            "cluster_12_very_many_subjects_are_warned_of_once_before_they_slow_a_restart_down",
        ),
    },
    Mutant {
        name: "cluster 21: what the gateway refuses uses up no number",
        file: "crates/gateway/src/v2/frames.rs",
        find: "                Job::Refuse { mid, why }\n",
        replace: "                return frames.push(seat.nack(mid, why.code, None, &why.text));\n",
        caught_by: gateway(
            "cluster_21_what_the_gateway_itself_refuses_for_good_uses_up_its_number",
        ),
    },
    Mutant {
        name: "cluster 22: whoever has an unknown outcome goes on",
        file: "crates/gateway/src/v2/connection.rs",
        find: "self.seats.iter().any(|seat| seat.is_lost)",
        replace: "self.seats.iter().any(|seat| seat.is_lost && seat.over)",
        caught_by: gateway(
            "cluster_22_nothing_overtakes_a_message_of_which_nobody_knows_what_became_of_it",
        ),
    },
    Mutant {
        name: "cluster 22: what comes behind an unknown outcome is asked for",
        file: "crates/gateway/src/v2/seat.rs",
        find: "        self.doubt_what_is_asked();\n        self.fail_all(frames);\n        // Nothing",
        replace: "        self.doubt_what_is_asked();\n        let behind = self.jobs.split_off(1.min(self.jobs.len()));\n        self.fail_all(frames);\n        self.jobs.extend(behind);\n        // Nothing",
        caught_by: gateway("cluster_22_what_surely_was_not_done_costs_nobody_the_connection"),
    },
    Mutant {
        name: "cluster 22: a damaged session refuses for good",
        file: "crates/gateway/src/v2/answers.rs",
        find: "Code::Damaged => (false,",
        replace: "Code::Damaged => (true,",
        caught_by: gateway("cluster_22_only_what_the_session_has_written_down_is_refused_for_good"),
    },
    Mutant {
        name: "cluster 22: a widget's message is given up",
        file: "crates/gateway/src/legacy/member.rs",
        find: "                if asking.0.is_late() && !self.covered {",
        replace: "                if asking.0.is_late() && self.covered {\n                    self.asking = None;\n                    self.queue.pop();\n                    return Ok(());\n                }\n                if asking.0.is_late() && !self.covered {",
        caught_by: gateway(
            "cluster_22_a_widgets_message_is_asked_for_until_it_is_taken_and_nothing_before_that",
        ),
    },
    Mutant {
        name: "cluster 23: what comes after our Close is not read",
        file: "crates/gateway/src/engine/socket.rs",
        find: "                Phase::Open | Phase::Closing => self.turn(context, &mut all_read),\n                Phase::Lingering => self.linger(context),",
        replace: "                Phase::Open => self.turn(context, &mut all_read),\n                Phase::Closing | Phase::Lingering => self.linger(context),",
        caught_by: gateway("p9_a_drain_finishes_what_is_out_and_takes_what_still_comes"),
    },
    Mutant {
        name: "cluster 23: a peer that does not answer our Close is waited for",
        file: "crates/gateway/src/engine.rs",
        find: "const CLOSE_WAIT: Duration = Duration::from_secs(5);",
        replace: "const CLOSE_WAIT: Duration = Duration::from_secs(9);",
        caught_by: gateway("a_peer_that_never_answers_the_close_is_waited_for_five_seconds"),
    },
    Mutant {
        name: "cluster 11: a deadline may lie further ahead than the log keeps",
        file: "crates/apps/src/parse.rs",
        find: "let most = (log_retention / 2).as_secs();",
        replace: "let most = (log_retention * 2).as_secs();",
        caught_by: CaughtBy::TestOf {
            package: "stentor-apps",
            target: "folder",
            filter: "cluster_11_a_grace_longer_than_half_of_what_the_log_keeps_is_refused",
        },
    },
    Mutant {
        name: "cluster 18: a message for which the log has no room closes the session",
        file: "crates/router/src/actor/decide.rs",
        find: "        InputKind::Say(say) => Some(InputKind::Refuse {\n            connection: say.connection,\n            mid: say.mid,\n            code: RejectCode::Malformed,",
        replace: "        InputKind::Say(say) if say.greeting => Some(InputKind::Refuse {\n            connection: say.connection,\n            mid: say.mid,\n            code: RejectCode::Malformed,",
        caught_by: router(
            "a_message_that_the_log_has_no_room_for_is_refused_for_good_and_the_session_goes_on",
        ),
    },
    Mutant {
        name: "cluster 18: messages that do not fit together are refused",
        file: "crates/router/src/actor/write.rs",
        find: "            if part.len() > 1 {",
        replace: "            if part.len() > 100 {",
        caught_by: router("messages_that_only_fit_one_by_one_are_all_taken_in_order"),
    },
    Mutant {
        name: "cluster 19: each time that an input is refused a copy is kept",
        file: "crates/router/src/trials.rs",
        find: "let again = self.refused.contains(&mark);",
        replace: "let again = self.refused.contains(&mark) && self.entries.is_empty();",
        caught_by: router("f16_what_an_owner_was_lost_over_the_next_one_does_not_try"),
    },
    Mutant {
        name: "cluster 13: a router that is cut off shows what it owned",
        file: "crates/cluster-nats/src/ownership/fitness.rs",
        find: "    if is_fresh { sure.count() } else { 0 }",
        replace: "    if is_fresh || lapses == 0 { sure.count() } else { 0 }",
        caught_by: nats_bus("f10_an_owner_that_is_cut_off_loses_everything_to_others"),
    },
];
