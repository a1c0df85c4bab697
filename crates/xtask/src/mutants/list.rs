//! The breakages. To add one: copy a line of the code as `find`, break it in `replace`, name who must notice.
//!
//! `find` must stand in the file exactly once, also after the code has moved on: a mutant that no longer applies is an
//! error, so the list cannot rot in silence.

mod access;
mod cluster;
mod people;

use super::{CaughtBy, Mutant, Servers};

/// All of them.
pub(super) fn mutants() -> impl Iterator<Item = &'static Mutant> {
    MUTANTS.iter().chain(people::MUTANTS).chain(access::MUTANTS).chain(cluster::mutants())
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "core: a message sent again is taken again",
        file: "crates/postoffice/src/decide.rs",
        find: "if mid.counter <= taken.counter {",
        replace: "if mid.counter == u64::MAX {",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a hole in the numbers of a connection is jumped over",
        file: "crates/postoffice/src/decide.rs",
        find: "(mid.counter > expected).then_some(Reply::Gap(expected))",
        replace: "(mid.counter == u64::MAX).then_some(Reply::Gap(expected))",
        caught_by: CaughtBy::Test {
            package: "stentor-postoffice",
            filter: "i6_a_hole_is_not_jumped_over",
        },
    },
    Mutant {
        name: "core: a stamp is used twice",
        file: "crates/postoffice/src/decide.rs",
        find: "self.state.last_stamp.0.saturating_add(2)",
        replace: "self.state.last_stamp.0.saturating_add(0)",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: the time of commits follows a clock that steps back",
        file: "crates/postoffice/src/decide.rs",
        find: "context.now.max(Timestamp(state.last_at.0.saturating_add(1)))",
        replace: "context.now",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a gateway that is gone is not noted",
        file: "crates/postoffice/src/decide.rs",
        find: "if !self.state.endpoints.keys().any(|connection| connection.gateway == gateway) {",
        replace: "if self.state.n > EventNumber::NONE || gateway.0 == 0 {",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: control is not fenced",
        file: "crates/postoffice/src/decide/on_outcome.rs",
        find: "let stale = turn.control_epoch != self.state.control_epoch;",
        replace: "let stale = false;",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a draft is for everybody",
        file: "crates/postoffice/src/decide/on_outcome.rs",
        find: "self.emit(Audience::Staff, EventKind::Draft",
        replace: "self.emit(Audience::All, EventKind::Draft",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: the outcome of an earlier attempt counts",
        file: "crates/postoffice/src/decide/on_outcome.rs",
        find: "            && turn.attempt == effect.attempt\n",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: an outcome counts although its attempt has ended",
        file: "crates/postoffice/src/decide/on_outcome.rs",
        find: "matches!(turn.phase, TurnPhase::Calling { .. })\n            && ",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: the sender's own stamp is no floor",
        file: "crates/postoffice/src/decide/on_say.rs",
        find: "EventKind::Said(said), floor, request)",
        replace: "EventKind::Said(said), floor.filter(|_| false), request)",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: the queue has no bound",
        file: "crates/postoffice/src/decide/on_say.rs",
        find: "let within = self.state.queue.len() <= QUEUE_MAX && bytes <= QUEUE_BYTES_MAX;",
        replace: "let within = self.state.queue.len() <= QUEUE_MAX * 1_000 && bytes <= QUEUE_BYTES_MAX;",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: the waiting bytes have no bound",
        file: "crates/postoffice/src/decide/on_say.rs",
        find: "&& bytes <= QUEUE_BYTES_MAX;",
        replace: "&& bytes <= QUEUE_BYTES_MAX * 1_000;",
        caught_by: CaughtBy::Test {
            package: "stentor-postoffice",
            filter: "i15_waiting_requests_are_bounded_in_bytes",
        },
    },
    Mutant {
        name: "core: what is said to people waits for the bot",
        file: "crates/postoffice/src/decide/on_say.rs",
        find: "            && self.state.control == Control::Bot\n",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: an agent speaks without control",
        file: "crates/postoffice/src/decide/on_say.rs",
        find: "Some(Role::Agent) if say.note || self.holds_control(user) => Ok(Role::Agent),",
        replace: "Some(Role::Agent) if say.note || self.state.control != Control::Bot => Ok(Role::Agent),",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a second turn begins while one is open",
        file: "crates/postoffice/src/decide/turn.rs",
        find: "while self.state.turn.is_none() && self.state.control == Control::Bot {",
        replace: "while self.state.control == Control::Bot {",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: there is a fourth attempt",
        file: "crates/postoffice/src/decide/turn.rs",
        find: "Some(bot) if attempt < ATTEMPTS =>",
        replace: "Some(bot) if attempt <= ATTEMPTS =>",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: each attempt is the first",
        file: "crates/postoffice/src/decide/on_tick.rs",
        find: "self.begin_attempt(n, attempt.saturating_add(1));",
        replace: "self.begin_attempt(n, attempt.min(1));",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: nobody is given a grace",
        file: "crates/postoffice/src/decide/on_tick.rs",
        find: "participant.leaves_at.is_some_and(|at| at <= self.at)",
        replace: "participant.leaves_at.is_some()",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: an agent who left keeps control",
        file: "crates/postoffice/src/decide/on_tick.rs",
        find: "            self.release(user, true);\n",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: control passes on and the open turn is not interrupted",
        file: "crates/postoffice/src/decide/on_control.rs",
        find: "open.filter(|_| self.state.control == Control::Bot)",
        replace: "open.filter(|_| self.state.control != Control::Bot)",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a session belongs to whoever comes",
        file: "crates/postoffice/src/decide/on_attach.rs",
        find: "(Some(visitor), Role::Visitor) if visitor != attach.user => {",
        replace: "(Some(visitor), Role::Visitor) if visitor != attach.user && attach.counter == u64::MAX => {",
        caught_by: CaughtBy::Test {
            package: "stentor-postoffice",
            filter: "s3_a_session_belongs_to_the_visitor_who_opened_it",
        },
    },
    Mutant {
        name: "core: a clock is measured with every frame",
        file: "crates/postoffice/src/decide/clock.rs",
        find: "if !known || !(-CLOCK_DELAY_MS..=CLOCK_TOLERANCE_MS).contains(&change) {",
        replace: "if !known || change != i64::MAX {",
        caught_by: CaughtBy::Test {
            package: "stentor-postoffice",
            filter: "a_delayed_message_does_not_move_the_clock",
        },
    },
    Mutant {
        name: "core: whoever comes back still leaves",
        file: "crates/postoffice/src/fold.rs",
        find: "                    participant.leaves_at = None;\n",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: what waited when people took over is asked later",
        file: "crates/postoffice/src/fold.rs",
        find: "            self.queue.clear();\n",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: an interrupted turn begins again",
        file: "crates/postoffice/src/fold.rs",
        find: "self.turn.take().filter(|open| matches!(open.phase, TurnPhase::Calling { .. }));",
        replace: "self.turn.take();",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: the counter of a connection that went is forgotten",
        file: "crates/postoffice/src/fold.rs",
        find: "if endpoint.taken.counter > 0 {",
        replace: "if endpoint.taken.counter == u64::MAX {",
        caught_by: CaughtBy::Test {
            package: "stentor-postoffice",
            filter: "p2_a_message_sent_again_after_its_connection_was_given_up",
        },
    },
    Mutant {
        name: "core: an attempt that is to be made again is never due",
        file: "crates/postoffice/src/state.rs",
        find: "TurnPhase::Waiting { until } => until,",
        replace: "TurnPhase::Waiting { .. } => Timestamp(u64::MAX),",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: an attempt has another id when it is offered again",
        file: "crates/postoffice/src/session.rs",
        find: "                attempt: turn.attempt,",
        replace: "                attempt: turn.attempt.saturating_add(1),",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a replay is too short",
        file: "crates/postoffice/src/session.rs",
        find: "const REPLAY_EVENTS: u64 = 300;",
        replace: "const REPLAY_EVENTS: u64 = 10;",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a directory forgets all sessions but one",
        file: "crates/postoffice/src/directory.rs",
        find: "entries.truncate(DIRECTORY_ENTRIES_MAX);",
        replace: "entries.truncate(1);",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a claim leads to a new session every time",
        file: "crates/postoffice/src/directory.rs",
        find: "Some(entry) => entry.session,",
        replace: "Some(_) => fresh,",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "core: a directory has no bound",
        file: "crates/postoffice/src/directory.rs",
        find: "        entries.truncate(DIRECTORY_ENTRIES_MAX);\n",
        replace: "",
        caught_by: CaughtBy::Test {
            package: "stentor-postoffice",
            filter: "i15_a_directory_keeps_eight_sessions",
        },
    },
    Mutant {
        name: "types: a device's stamp may fall",
        file: "crates/types/src/event.rs",
        find: "Stamp(stamp.0.saturating_add(self.offset_ms).max(least))",
        replace: "Stamp(stamp.0.saturating_add(self.offset_ms).max(least.min(0)))",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "wire: a snapshot loses the queue",
        file: "crates/wire/src/snapshot.rs",
        find: "queue: state.queue.iter().map(request).collect(),",
        replace: "queue: state.queue.iter().take(0).map(request).collect(),",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "wire: a snapshot loses the open turn",
        file: "crates/wire/src/snapshot.rs",
        find: "state.turn = snapshot.turn.map(turn).transpose()?;",
        replace: "state.turn = snapshot.turn.filter(|_| false).map(turn).transpose()?;",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "wire: a snapshot loses the counters",
        file: "crates/wire/src/snapshot.rs",
        find: "taken: taken(endpoint.counter, endpoint.recent),",
        replace: "taken: taken(endpoint.counter.min(0), endpoint.recent),",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "wire: a snapshot loses the counters of connections that went",
        file: "crates/wire/src/snapshot.rs",
        find: "for departed in snapshot.departed {",
        replace: "for departed in snapshot.departed.into_iter().take(0) {",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "wire: a snapshot loses the clocks of devices",
        file: "crates/wire/src/snapshot.rs",
        find: "for device in &snapshot.devices {",
        replace: "for device in snapshot.devices.iter().take(0) {",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "wire: a damaged record is believed",
        file: "crates/wire/src/checksum.rs",
        find: "if fits { Ok(()) }",
        replace: "if fits || !record.is_empty() { Ok(()) }",
        caught_by: CaughtBy::Test {
            package: "stentor-wire",
            filter: "every_flipped_bit_is_noticed",
        },
    },
    Mutant {
        name: "wire: a hole in a record is not noticed",
        file: "crates/wire/src/commit.rs",
        find: "if event.n.0 != n {",
        replace: "if event.n.0 == u64::MAX {",
        caught_by: CaughtBy::Test {
            package: "stentor-wire",
            filter: "i2_a_record_whose_events_are_not_dense_is_refused",
        },
    },
    Mutant {
        name: "protocol: visitors see their own messages again",
        file: "crates/protocol/src/legacy_view.rs",
        find: "EventKind::Said(said) if said.user != self.user && !said.greeting => {",
        replace: "EventKind::Said(said) if !said.greeting => {",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "protocol: the bot types on when it has nothing to say",
        file: "crates/protocol/src/legacy_view.rs",
        find: "TurnEnd::Empty | TurnEnd::Interrupted",
        replace: "TurnEnd::Interrupted",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "protocol: notes and who listens are drawn by the published widget",
        file: "crates/protocol/src/legacy_view.rs",
        find: "            _ if event.audience == Audience::Staff => None,\n",
        replace: "",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "protocol: tokens are recorded",
        file: "crates/protocol/src/request/record.rs",
        find: "_ => keep(field, value, &secrets),",
        replace: "_ => keep(field, value, &secrets) || !secrets.is_empty(),",
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "protocol: the bot is told the user id that a frame claims",
        file: "crates/protocol/src/request.rs",
        find: r#"bot.set("userId", identity.user_id.to_owned());"#,
        replace: r#"bot.set("userId", given.str("userId").unwrap_or(identity.user_id).to_owned());"#,
        caught_by: CaughtBy::Simulation,
    },
    Mutant {
        name: "cluster: no compare-and-set in memory",
        file: "crates/cluster/src/memory.rs",
        find: "if actual != append.expected {",
        replace: "if actual < append.expected {",
        caught_by: CaughtBy::Test {
            package: "stentor-cluster",
            filter: "p10_the_log_in_memory_keeps_the_contract",
        },
    },
    Mutant {
        name: "embedded: no compare-and-set",
        file: "crates/embedded/src/writer/worker.rs",
        find: "if actual != append.expected {",
        replace: "if actual < append.expected {",
        caught_by: CaughtBy::Test {
            package: "stentor-embedded",
            filter: "p10_the_embedded_log_keeps_the_contract",
        },
    },
    Mutant {
        name: "embedded: what is acknowledged is not synced",
        file: "crates/embedded/src/writer/worker.rs",
        find: ".durability(Some(PersistMode::SyncAll))",
        replace: ".durability(Some(PersistMode::Buffer))",
        caught_by: CaughtBy::Test {
            package: "stentor-faultfs",
            filter: "f23_nothing_acknowledged_is_lost_at_any_write_or_sync",
        },
    },
    Mutant {
        name: "router: what was decided is acknowledged before the log has it",
        file: "crates/router/src/actor/write.rs",
        find: "match self.append(&record, &after, &commit).await? {",
        replace: "match Some(Sequence(record.commit.first.0)) {",
        caught_by: CaughtBy::Test {
            package: "stentor-router",
            filter: "p10_an_open_question_is_asked_again_after_a_kill",
        },
    },
    Mutant {
        name: "layers: a shell may know an adapter",
        file: "crates/xtask/src/layers.rs",
        find: "layer.may_know.contains(&dependency.name.as_str())",
        replace: "true",
        caught_by: CaughtBy::Test {
            package: "xtask",
            filter: "a_shell_that_knows_an_adapter_is_refused",
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_still_applies_and_names_are_unique() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let mut names: Vec<_> = mutants().map(|mutant| mutant.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), mutants().count());
        for mutant in mutants() {
            let text = std::fs::read_to_string(format!("{root}/{}", mutant.file)).unwrap();
            assert_eq!(text.matches(mutant.find).count(), 1, "{}", mutant.name);
            assert_ne!(mutant.find, mutant.replace, "{}", mutant.name);
        }
    }
}
