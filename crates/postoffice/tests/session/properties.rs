//! What holds for every run.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use stentor_postoffice::{
    CLIENTS_MAX, COVERED_LINES_MAX, DRAFT_BYTES_MAX, DRAFTS_MAX, QUEUE_BYTES_MAX, QUEUE_MAX,
    Session, TurnPhase,
};
use stentor_types::{
    Audience, ClientInstance, Control, ControlEpoch, EffectId, EventKind, EventNumber, InputKind,
    Mid, Reply, Role, TurnEnd,
};

use crate::{
    clock::{live, replayed},
    generate::{actions, run},
    script::{Run, begins, user_of, visitor},
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i10_a_session_is_the_fold_of_its_log_from_any_point(actions in actions(), at: prop::sample::Index) {
        let run = run(&actions, |_, _, _| {});
        prop_assert_eq!(&run.refolded(), &run.session);
        if run.log.is_empty() {
            return Ok(());
        }
        let at = at.index(run.log.len());
        let mut session = Session::new(run.session.id(), run.session.state().epoch);
        run.log[..at].iter().for_each(|commit| session.apply(commit));
        let mut session = Session::restore(session.id(), session.state().clone());
        run.log[at..].iter().for_each(|commit| session.apply(commit));
        prop_assert_eq!(&session, &run.session);
    }

    #[test]
    fn i2_numbers_are_dense_and_stamps_even_and_apart(actions in actions()) {
        let run = run(&actions, |_, _, _| {});
        for (place, event) in run.events().enumerate() {
            prop_assert_eq!(event.n.0, place as u64 + 1);
            prop_assert_eq!(event.stamp.0 % 2, 0);
        }
        let events: Vec<_> = run.events().collect();
        prop_assert!(events.windows(2).all(|pair| pair[1].stamp.0 >= pair[0].stamp.0 + 2));
        for pair in run.log.windows(2) {
            prop_assert!(pair[0].at < pair[1].at);
            prop_assert_eq!(pair[0].last().next(), pair[1].first);
        }
    }

    #[test]
    fn i4_i5_i6_messages_are_taken_once_and_in_order(actions in actions()) {
        let mut answered = BTreeMap::<Mid, EventNumber>::new();
        let run = run(&actions, |_, inputs, replies| {
            for (input, reply) in inputs.iter().zip(replies) {
                if let (InputKind::Say(say), Reply::Committed(n)) = (&input.kind, reply) {
                    let before = answered.insert(say.mid, *n);
                    assert_eq!(before, None, "a message was taken twice");
                }
            }
        });
        let mut last: BTreeMap<ClientInstance, u64> = BTreeMap::new();
        let mut said = BTreeMap::new();
        for event in run.events() {
            let mid = match &event.kind {
                EventKind::Said(say) => {
                    said.insert(say.mid, event.n);
                    say.mid
                }
                EventKind::Rejected { mid, .. } => *mid,
                _ => continue,
            };
            let before = last.insert(mid.client, mid.counter).unwrap_or(0);
            prop_assert!(mid.counter > before, "{mid:?} after {before}");
        }
        prop_assert_eq!(said, answered);
    }

    #[test]
    fn i13_one_attempt_is_open_and_has_one_outcome(actions in actions()) {
        let run = run(&actions, |run, _, _| {
            let last = run.log.last();
            assert!(last.is_none_or(|commit| commit.effects.len() <= 1));
        });
        let mut open: Option<EffectId> = None;
        let mut ended: BTreeSet<EffectId> = BTreeSet::new();
        for event in run.events() {
            let (turn, closes) = match &event.kind {
                EventKind::TurnFailed { turn, .. } | EventKind::Replied { turn, .. }
                | EventKind::Draft { turn, .. }
                | EventKind::TurnEnded { turn, how: TurnEnd::Empty | TurnEnd::Stale } => (*turn, true),
                EventKind::TurnEnded { turn, how: TurnEnd::Overflow } => (*turn, false),
                kind => {
                    if let Some(effect) = begins(run.session.state().epoch, kind) {
                        prop_assert_eq!(open, None, "a second attempt was begun");
                        open = Some(effect);
                    }
                    continue;
                }
            };
            if closes {
                let effect = open.take();
                prop_assert_eq!(effect.map(|effect| effect.turn), Some(turn));
                prop_assert!(ended.insert(effect.unwrap()), "an attempt ended twice");
            } else {
                prop_assert_ne!(open.map(|effect| effect.turn), Some(turn));
            }
        }
        let effect = run.session.open_effect().map(|effect| effect.id);
        prop_assert_eq!(open, effect);
        let ids: BTreeSet<_> = run.effects.iter().map(|effect| effect.id).collect();
        prop_assert_eq!(ids.len(), run.effects.len(), "an attempt was sent out twice");
        prop_assert!(effect.is_none_or(|effect| ids.contains(&effect)), "an attempt was never sent out");
    }

    #[test]
    fn i20_no_reply_reaches_the_visitor_under_another_control_epoch(actions in actions()) {
        let run = run(&actions, |_, _, _| {});
        let (mut control, mut epoch) = (Control::Bot, ControlEpoch(0));
        let mut asked = ControlEpoch(0);
        for event in run.events() {
            match &event.kind {
                EventKind::ControlChanged { control: to, epoch: at } => {
                    (control, epoch) = (to.clone(), *at);
                }
                EventKind::TurnStarted { .. } => {
                    prop_assert_eq!(&control, &Control::Bot);
                    asked = epoch;
                }
                EventKind::Replied { .. } | EventKind::TurnFailed { .. } => {
                    prop_assert_eq!(&control, &Control::Bot);
                    prop_assert_eq!(asked, epoch);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn i18_only_staff_see_notes_drafts_and_who_listens(actions in actions()) {
        let run = run(&actions, |_, _, _| {});
        let (mut control, mut sent) = (Control::Bot, BTreeSet::new());
        for event in run.events() {
            let all = event.audience == Audience::All;
            match &event.kind {
                EventKind::ControlChanged { control: to, .. } => control = to.clone(),
                EventKind::Said(said) if said.role == Role::Agent && all => {
                    let agents = match &control {
                        Control::Agents(agents) => agents.clone(),
                        Control::Bot => BTreeSet::new(),
                    };
                    prop_assert!(agents.contains(&said.user), "an agent spoke without control");
                }
                EventKind::Said(said) if said.role == Role::Visitor => {
                    prop_assert!(all, "a visitor's note")
                }
                EventKind::Joined { role: Role::Agent, .. } | EventKind::Crowd { .. }
                | EventKind::Draft { .. } | EventKind::DraftDone { .. } => prop_assert!(!all, "{:?}", event.kind),
                EventKind::DraftSent { turn, user, .. } => {
                    prop_assert!(sent.insert(*turn), "a draft was sent twice");
                    prop_assert!(
                        matches!(&control, Control::Agents(agents) if agents.contains(user))
                    );
                }
                _ => {}
            }
        }
    }

    #[test]
    fn i15_everything_is_bounded_and_nothing_waits_for_nobody(actions in actions()) {
        run(&actions, |run, _, _| {
            let state = run.session.state();
            let bytes: usize = state.queue.iter().map(|request| request.body.len()).sum();
            assert!(state.queue.len() <= QUEUE_MAX && bytes <= QUEUE_BYTES_MAX);
            assert!(state.queue.is_empty() || state.turn.is_some(), "the queue waits for nothing");
            assert!(state.queue.is_empty() || state.control == Control::Bot);
            assert!(state.waiting.is_none() || state.control == Control::Bot);
            let drafts: usize = state.drafts.values().map(bytes::Bytes::len).sum();
            assert!(state.drafts.len() <= DRAFTS_MAX && drafts <= DRAFT_BYTES_MAX);
            assert!(state.clients.len() <= CLIENTS_MAX);
            let lines = state.covered.as_ref().map_or(0, |covered| covered.lines.len());
            assert!(lines <= COVERED_LINES_MAX);
            if let Control::Agents(agents) = &state.control {
                assert!(!agents.is_empty());
                assert!(agents.iter().all(|agent| state.participants.contains_key(agent)));
            }
            for (user, participant) in &state.participants {
                let connections = state.endpoints.values().filter(|endpoint| endpoint.user == *user);
                assert_eq!(participant.connections as usize, connections.count());
                assert_eq!(participant.connections == 0, participant.leaves_at.is_some());
            }
            assert!(state.endpoints.values().all(|endpoint| {
                state.participants.contains_key(&endpoint.user)
            }));
            if let Some(turn) = &state.turn {
                let stale = turn.control_epoch != state.control_epoch;
                assert!(!(stale && matches!(turn.phase, TurnPhase::Waiting { .. })));
            }
        });
    }

    #[test]
    fn i22_a_tick_at_the_deadline_moves_it_until_all_is_quiet(actions in actions()) {
        let mut run = run(&actions, |_, _, _| {});
        for _ in 0..200 {
            let Some(deadline) = run.session.next_deadline() else { return Ok(()) };
            if run.now.max(run.session.state().last_at).0 + 1 < deadline.0 {
                let early = run.decide(&[InputKind::Tick]);
                prop_assert_eq!(early, [Reply::Nothing], "nothing is due before the deadline");
            }
            run.now = run.now.max(deadline);
            run.decide(&[InputKind::Tick]);
            prop_assert!(run.session.next_deadline() > Some(deadline) || run.session.next_deadline().is_none());
        }
        prop_assert!(false, "never quiet: {:?}", run.session.next_deadline());
    }

    #[test]
    fn trap_5_what_a_device_is_shown_increases_and_is_the_same_when_replayed(actions in actions()) {
        let run = run(&actions, |_, _, _| {});
        for user in [visitor(), user_of('x').0, user_of('y').0] {
            // An agent who left and came back is a new device; so is one with more segments than are kept.
            let left = run.events().any(|event| matches!(&event.kind, EventKind::Left { user: who, .. } if *who == user));
            let segments = run.session.state().devices.get(&user).map_or(0, Vec::len);
            if left || segments >= 16 {
                continue;
            }
            let came = came(&run, user);
            let after = |list: Vec<(u64, _)>| list.into_iter().filter(|(n, _)| *n > came).collect::<Vec<_>>();
            let shown = after(live(&run, user));
            prop_assert!(shown.windows(2).all(|pair| pair[0].1 < pair[1].1), "{:?}", shown);
            prop_assert_eq!(shown, after(replayed(&run, user)));
        }
    }
}

/// The event of a user's first attachment.
fn came(run: &Run, user: stentor_types::UserKey) -> u64 {
    let attached = run
        .events()
        .find(|event| matches!(&event.kind, EventKind::Attached { user: who, .. } if *who == user));
    attached.map_or(u64::MAX, |event| event.n.0)
}
