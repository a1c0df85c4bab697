//! Breakages of how members of a cluster notice what they were not told, and what they have lost of themselves.

use super::{Mutant, gateway, nats_bus, router};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "cluster 16: what is told of lists is told once",
        file: "crates/router/src/lists.rs",
        find: "            repeat(&shared);",
        replace: "            let _ = repeat::<L, S, B>;",
        caught_by: router(
            "cluster_16_a_change_in_lists_that_the_bus_lost_leaves_a_number_that_is_missing",
        ),
    },
    Mutant {
        name: "cluster 16: a new owner tells lists nothing of what the one before wrote",
        file: "crates/router/src/actor.rs",
        find: "kept.filter(|_| told_by < shared.clock.now())",
        replace: "kept.filter(|_| told_by.0 > 0)",
        caught_by: router(
            "cluster_16_what_an_owner_wrote_to_lists_and_told_nobody_is_told_by_the_next",
        ),
    },
    Mutant {
        name: "cluster 16: a gateway without room is forgotten",
        file: "crates/router/src/settle.rs",
        find: "shared.untold.note(gateway, &actor.key, head);",
        replace: "let _ = head;",
        caught_by: router(
            "i15_a_gateway_that_had_no_room_for_events_learns_how_far_the_session_is",
        ),
    },
    Mutant {
        name: "cluster 16: numbers of changes in lists are not looked at",
        file: "crates/gateway/src/watchers.rs",
        find: "        fanout.listed.is_empty() || number > known + 1",
        replace: "        false",
        caught_by: gateway(
            "cluster_16_a_change_in_lists_that_did_not_come_is_missed_by_all_who_watch",
        ),
    },
    Mutant {
        name: "cluster 16: a router that says that something is missing is not believed",
        file: "crates/gateway/src/fanout.rs",
        find: "    if fanout.missed {",
        replace: "    if fanout.missed && fanout.head > 0 {",
        caught_by: gateway(
            "i15_a_router_that_cannot_name_all_that_was_missed_makes_every_socket_look",
        ),
    },
    Mutant {
        name: "gateway: a part that panicked is not missed",
        file: "crates/gateway/src/parts.rs",
        find: "                && cause.is_panic()",
        replace: "                && cause.is_cancelled()",
        caught_by: gateway(
            "a_gateway_that_loses_its_fan_out_to_a_panic_closes_its_sockets_and_ends",
        ),
    },
    Mutant {
        name: "cluster 22: what has no number overtakes what is to be sent again",
        file: "crates/router/src/dispatch/trying.rs",
        find: "matches!(last, Some(input_reply::Kind::TryAgainMs(_) | input_reply::Kind::AttachFirst(_)))",
        replace: "matches!(last, Some(input_reply::Kind::TryAgainMs(0)))",
        caught_by: router(
            "cluster_22_what_has_no_number_does_not_overtake_what_is_to_be_sent_again",
        ),
    },
    Mutant {
        name: "cluster 13: a record that was deleted by hand is not noticed",
        file: "crates/cluster-nats/src/ownership/record.rs",
        find: "        if payload.is_empty() {",
        replace: "        if payload.len() > 1_000 {",
        caught_by: nats_bus(
            "cluster_13_records_that_are_deleted_by_hand_are_written_again_under_a_higher_term",
        ),
    },
];
