//! Breakages of what a cluster rests on: the log on JetStream, who owns a partition, what is told to gateways, the
//! history. The numbers are those of the rules that the log and its owners follow.

use super::{CaughtBy, Mutant, Servers};

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

pub(super) const MUTANTS: &[Mutant] = &[
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
        name: "cluster 2: a message that closes the connection is sent",
        file: "crates/cluster-nats/src/log/append.rs",
        find: "if item.largest() > MESSAGE_BYTES || item.messages() > BATCH_MESSAGES {",
        replace: "if item.largest() > MESSAGE_BYTES * 100 || item.messages() > BATCH_MESSAGES {",
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
        replace: "row.filter(|row| row.at > Timestamp(u64::MAX).min(end.at.max(row.at)))",
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
        caught_by: router("i16_"),
    },
    Mutant {
        name: "cluster 9: an owner forgets how far it has seen its session come",
        file: "crates/router/src/load.rs",
        find: "let ahead = known.filter(|known| *known > (end.epoch, end.n));",
        replace: "let ahead = known.filter(|known| *known > (end.epoch, EventNumber(u64::MAX)));",
        caught_by: router("i12_"),
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
        file: "crates/router/src/actor.rs",
        find: "since_snapshot: if loaded.origin.is_some() { u32::MAX } else { 0 },",
        replace: "since_snapshot: if loaded.origin.is_some() { 0 } else { 0 },",
        caught_by: router("cluster_10_the_first_commit_after_a_load_holds_the_state"),
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
        file: "crates/cluster-nats/src/ownership/keeper.rs",
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
    Mutant {
        name: "cluster 13: who does not hear itself counts the silence of others",
        file: "crates/cluster-nats/src/members/view.rs",
        find: "hears.then(|| now.saturating_sub(since))",
        replace: "(hears || since <= now).then(|| now.saturating_sub(since))",
        caught_by: nats_unit("f24_nobody_looks_dead_to_an_observer_that_does_not_hear_itself"),
    },
    Mutant {
        name: "cluster 13: two routers take the same partition",
        file: "crates/cluster-nats/src/ownership/records.rs",
        find: "        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());\n",
        replace: "        let _ = (revision, NATS_EXPECTED_LAST_SUBJECT_SEQUENCE);\n",
        caught_by: nats_bus("two_routers_share_all_partitions_and_each_has_one_owner"),
    },
    Mutant {
        name: "cluster 13: everybody takes what a dead router owned",
        file: "crates/cluster-nats/src/ownership/plan.rs",
        find: "let is_mine = silence >= timings.takeover_after && is_first(partition);",
        replace: "let is_mine = silence >= timings.takeover_after;",
        caught_by: nats_unit("what_a_dead_router_owned_is_shared_by_the_living"),
    },
    Mutant {
        name: "cluster 13: an owner believes in itself until others take over",
        file: "crates/cluster-nats/src/timings.rs",
        find: "(self.hold_for < self.takeover_after, \"hold_for < takeover_after\"),",
        replace: "(self.hold_for < self.takeover_after * 9, \"hold_for < takeover_after\"),",
        caught_by: nats_unit("an_owner_that_believes_in_itself_for_too_long_is_refused"),
    },
    Mutant {
        name: "cluster 14: a newcomer takes what is its own by rank",
        file: "crates/cluster-nats/src/ownership/plan.rs",
        find: "            Some(owner) => view.silence(&owner.member(), now)?,",
        replace: "            Some(owner) => view.silence(&owner.member(), now)?.max(timings.takeover_after),",
        caught_by: nats_unit("what_a_living_router_owns_is_never_taken"),
    },
    Mutant {
        name: "cluster 14: a newcomer asks for what is not its own",
        file: "crates/cluster-nats/src/ownership/plan.rs",
        find: "(others && owner != me && is_first(partition)).then",
        replace: "(others && owner != me).then",
        caught_by: nats_unit("a_newcomer_asks_for_what_is_its_own_by_rank_and_for_one_at_a_time"),
    },
    Mutant {
        name: "cluster 14: nobody is sent away while a partition changes hands",
        file: "crates/cluster-nats/src/ownership/handover.rs",
        find: "            self.lingering += 1;\n            self.tasks.spawn(async move {\n                tokio::time::sleep(LINGER).await;\n",
        replace: "            self.lingering += 1;\n            self.tasks.spawn(async move {\n                let _ = LINGER;\n",
        caught_by: nats_bus(
            "p8_a_drain_hands_everything_over_with_no_request_waiting_for_half_a_second",
        ),
    },
    Mutant {
        name: "cluster 15: a new owner does not look for what is due",
        file: "crates/router/src/startup.rs",
        find: "if attached || next_deadline.is_some_and(|deadline| deadline < soon) {",
        replace: "if attached && next_deadline.is_some_and(|deadline| deadline > soon) {",
        caught_by: router("cluster_16_a_new_owner_repeats_the_heads_of_connected_sessions"),
    },
    Mutant {
        name: "cluster 15: deadlines that are far away are forgotten at a takeover",
        file: "crates/router/src/startup.rs",
        find: "                shared.timers.set(key.clone(), next_deadline).await;\n",
        replace: "",
        caught_by: router("cluster_15_a_deadline_that_is_far_away_outlives_its_owner"),
    },
    Mutant {
        name: "cluster 16: a new owner does not repeat the heads of its sessions",
        file: "crates/router/src/actor.rs",
        find: "        settle::note_receivers(self);\n",
        replace: "",
        caught_by: router("cluster_16_a_new_owner_repeats_the_heads_of_connected_sessions"),
    },
    Mutant {
        name: "cluster 16: a head says nothing to a gateway",
        file: "crates/gateway/src/fanout.rs",
        find: "            Ok(batch) => deliver(shared, strays, &app, &Arc::new(batch), &connections),",
        replace: "            Ok(batch) => deliver(shared, strays, &app, &Arc::new(batch), &[]),",
        caught_by: gateway("p4_heads_make_both_dialects_fetch_what_they_lack_and_nobody_else"),
    },
    Mutant {
        name: "cluster 16: a widget is shown what comes behind a hole",
        file: "crates/gateway/src/legacy/shown.rs",
        find: "            if event.n > self.last.next() {\n",
        replace: "            if event.n.0 == u64::MAX {\n",
        caught_by: gateway("p9_what_was_missed_is_fetched_and_shown_once_in_order"),
    },
    Mutant {
        name: "cluster 16: a loss at a gateway has no consequence",
        file: "crates/gateway/src/fanout.rs",
        find: "                    \"messages may be missing; every socket looks\"\n                );\n                shared.catch_up.order();\n",
        replace: "                    \"messages may be missing; every socket looks\"\n                );\n",
        caught_by: gateway("f7_after_a_loss_every_socket_looks_but_not_all_at_once"),
    },
    Mutant {
        name: "cluster 16: after a loss all sockets ask at once",
        file: "crates/gateway/src/catch_up.rs",
        find: "const AT_ONCE: usize = 64;",
        replace: "const AT_ONCE: usize = 64_000;",
        caught_by: gateway("f7_after_a_loss_every_socket_looks_but_not_all_at_once"),
    },
    Mutant {
        name: "cluster 16: one owner that hangs holds up everybody's sockets",
        file: "crates/gateway/src/catch_up.rs",
        find: "const TURN_MAX: Duration = Duration::from_secs(2);",
        replace: "const TURN_MAX: Duration = Duration::from_secs(2_000);",
        caught_by: gateway("f7_an_owner_that_does_not_answer_holds_up_only_its_own_sockets"),
    },
    Mutant {
        name: "cluster 16: a lost line is not told to the gateway",
        file: "crates/cluster-nats/src/fanout/receive.rs",
        find: "        if !lost && now.overflows == before.overflows {",
        replace: "        if lost || now.overflows == before.overflows {",
        caught_by: nats_bus("a_lost_line_is_told_once_after_what_came_before_it"),
    },
    Mutant {
        name: "cluster 17: a gateway is given up too early",
        file: "crates/cluster-nats/src/members/view.rs",
        find: "silences.min().unwrap_or(listened) >= self.timings.gone_after",
        replace: "silences.min().unwrap_or(listened) >= self.timings.takeover_after",
        caught_by: nats_unit("a_gateway_is_gone_after_ten_seconds_of_silence_and_not_before"),
    },
    Mutant {
        name: "cluster 17: sessions are not told of a gateway that is gone",
        file: "crates/router/src/attached.rs",
        find: "let _ = actors.send(&key, Command::GatewayGone { gateway });",
        replace: "let _ = (&key, Command::GatewayGone { gateway });",
        caught_by: router("f1_sessions_are_told_of_a_gateway_that_is_gone_while_they_are_served"),
    },
    Mutant {
        name: "cluster 17: a gateway that was away goes on under its name",
        file: "crates/cluster-nats/src/fanout/receive.rs",
        find: "self.members.silent_for().is_some_and(|silence| silence > self.timings.rename_after)",
        replace: "self.members.silent_for().is_some_and(|silence| silence > self.timings.rename_after * 900)",
        caught_by: nats_bus(
            "f14_a_gateway_that_was_away_for_long_has_another_name_before_it_is_heard_again",
        ),
    },
    Mutant {
        name: "cluster 17: connections are not attached again under the new name",
        file: "crates/gateway/src/fanout.rs",
        find: "                shared.rename(gateway);\n",
        replace: "                let _ = gateway;\n",
        caught_by: gateway("under_a_new_name_every_connection_is_attached_again_from_where_it_was"),
    },
    Mutant {
        name: "cluster 17: a message in doubt is sent under the new name",
        file: "crates/gateway/src/legacy/missed.rs",
        find: "if self.name == name || self.in_doubt > 0 || waits || leaves {",
        replace: "if self.name == name || waits || leaves {",
        caught_by: gateway("i5_what_was_taken_under_the_old_name_is_not_taken_under_the_new_one"),
    },
    Mutant {
        name: "cluster 18: a request is sent that is too large for the bus",
        file: "crates/cluster-nats/src/ingress/ask.rs",
        find: "if request.len() > REQUEST_MAX {",
        replace: "if request.len() > REQUEST_MAX * 2 {",
        caught_by: nats_bus("what_is_too_large_is_not_sent_and_a_long_answer_comes_whole"),
    },
    Mutant {
        name: "cluster 18: pages of two owners make one answer",
        file: "crates/cluster-nats/src/ingress/pages.rs",
        find: "let fits = self.term == term\n            && self.next == number",
        replace: "let fits = self.next == number",
        caught_by: nats_unit("parts_of_two_owners_make_no_answer"),
    },
    Mutant {
        name: "cluster 18: a gateway makes requests that are too large",
        file: "crates/gateway/src/asking.rs",
        find: "pub(crate) const INPUTS_BYTES_MAX: usize = 255 * 1024;",
        replace: "pub(crate) const INPUTS_BYTES_MAX: usize = 2_550 * 1024;",
        caught_by: gateway("i15_no_request_is_longer_than_the_bus_carries"),
    },
    Mutant {
        name: "cluster 18: owners of one partition share its requests",
        file: "crates/cluster-nats/src/ingress/serve.rs",
        find: "client.subscribe(Caller::Gateways.subject(self.partition)).await;",
        replace: "client.queue_subscribe(Caller::Gateways.subject(self.partition), \"owners\".into()).await;",
        caught_by: nats_bus(
            "f4_a_paused_owner_stops_believing_in_itself_before_another_takes_over_and_never_again",
        ),
    },
    Mutant {
        name: "cluster 18: what waited while a router was frozen is decided by it",
        file: "crates/cluster-nats/src/ingress/serve.rs",
        find: "        if !self.desk.members.is_fresh() {\n",
        replace: "        if self.desk.members.lapses() == u64::MAX {\n",
        caught_by: nats_bus(
            "f4_a_paused_owner_stops_believing_in_itself_before_another_takes_over_and_never_again",
        ),
    },
    Mutant {
        name: "cluster 19: a panic costs the whole session",
        file: "crates/router/src/actor/decide.rs",
        find: "            input.kind = refusal(&input.kind);\n",
        replace: "            input.kind = refusal(&refusal(&input.kind));\n            panic!(\"as the input wanted\");\n",
        caught_by: router("f16_a_panic_costs_one_message_and_nobody_else"),
    },
    Mutant {
        name: "cluster 24: effects are written without their record",
        file: "crates/cluster-nats/src/log/publish.rs",
        find: "        std::iter::once(record).chain(effects)\n",
        replace: "        std::iter::once(record).chain(effects.take(0))\n",
        caught_by: nats_log("effects_exist_if_and_only_if_their_record_does"),
    },
    Mutant {
        name: "cluster 24: an attempt that takes long is handed out again",
        file: "crates/cluster-nats/src/effects/take.rs",
        find: "acker.ack_with(AckKind::Progress).await {",
        replace: "acker.ack_with(AckKind::Nak(None)).await {",
        caught_by: nats_bus(
            "an_effect_that_takes_longer_than_the_servers_patience_is_not_handed_out_again",
        ),
    },
    Mutant {
        name: "cluster 24: an effect is done with although nobody has worked on it",
        file: "crates/cluster-nats/src/effects/take.rs",
        find: "done = &mut told => break done.is_ok(),",
        replace: "done = &mut told => break done.is_ok() || done.is_err(),",
        caught_by: nats_bus("an_effect_that_was_dropped_comes_again_and_one_that_is_done_does_not"),
    },
    Mutant {
        name: "cluster 24: after a takeover an open attempt is not made again",
        file: "crates/router/src/actor.rs",
        find: "        self.unsent = self.session.open_effect();\n",
        replace: "",
        caught_by: router("p10_an_open_question_is_asked_again_after_a_kill_under_the_same_name"),
    },
    Mutant {
        name: "cluster 25: a record of a later version is read",
        file: "crates/wire/src/commit.rs",
        find: "if min_logic > LOGIC {",
        replace: "if min_logic > LOGIC * 1_000_000 {",
        caught_by: CaughtBy::TestOf {
            package: "stentor-wire",
            target: "records",
            filter: "later_versions",
        },
    },
    Mutant {
        name: "cluster 25: a newer schema is written to",
        file: "crates/store-scylla/src/schema.rs",
        find: "filter(|found| *found > SCHEMA_VERSION).max()",
        replace: "filter(|found| *found > SCHEMA_VERSION * 1_000_000).max()",
        caught_by: database("a_schema_of_a_newer_version_is_refused_and_says_so"),
    },
    Mutant {
        name: "cluster 27: a name may hold a wildcard",
        file: "crates/cluster-nats/src/members/name.rs",
        find: "    char.is_ascii_alphanumeric() || char == '_' || char == '-'\n",
        replace: "    char.is_ascii_alphanumeric() || char == '_' || char == '-' || char == '*'\n",
        caught_by: nats_unit("i17_what_would_change_a_subject_is_no_name"),
    },
    Mutant {
        name: "cluster 28: what was committed is not copied",
        file: "crates/router/src/committer.rs",
        find: "                    backlog.committed(&entity, Record { sequence, ..record });\n",
        replace: "                    let _ = (backlog, &entity, Record { sequence, ..record });\n",
        caught_by: router(
            "f11_conversations_outlive_a_store_that_is_down_and_an_owner_that_dies_meanwhile",
        ),
    },
    Mutant {
        name: "cluster 28: what finds no room is forgotten",
        file: "crates/router/src/projector/backlog.rs",
        find: "                part.miss(sequence, record.header.at);\n",
        replace: "",
        caught_by: router_unit("i15_what_finds_no_room_is_read_from_the_log_later"),
    },
    Mutant {
        name: "cluster 28: the cursor passes what was perhaps written",
        file: "crates/router/src/projector/backlog.rs",
        find: "        part.hold(from);\n",
        replace: "        let _ = from;\n",
        caught_by: router_unit(
            "what_was_perhaps_written_holds_the_cursor_until_somebody_has_looked",
        ),
    },
    Mutant {
        name: "cluster 28: a row goes before the events that it covers",
        file: "crates/router/src/projector/backlog/work.rs",
        find: "self.row.take_if(|(covers, _)| covered(*covers) && row_may_go(*covers));",
        replace: "self.row.take_if(|(covers, _)| covered(*covers) || row_may_go(*covers));",
        caught_by: router_unit("a_row_never_goes_before_the_events_that_it_covers"),
    },
    Mutant {
        name: "cluster 28: what the log has is shown without what the store has before it",
        file: "crates/router/src/history.rs",
        find: "        if n > next {\n",
        replace: "        if n > next && next > from {\n",
        caught_by: router_unit("what_the_log_lacks_is_asked_for_and_nothing_else"),
    },
];
