//! Arbitrary runs: a small world in which everything collides with everything.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use stentor_postoffice::BotRules;
use stentor_types::{
    ControlChange, EventNumber, GatewayId, Input, InputKind, RejectCode, Reply, Say,
};

use crate::script::{
    GATEWAY, Run, attach, client_of, connection, draft_action, mid, outcome, say, user_of,
};

/// One thing that happens; numbers are taken modulo what is there.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Attach {
        name: char,
        counter: u64,
        off_s: Option<i64>,
    },
    /// `skew` 0 is the next message, below it an old one, above it one too early.
    Say {
        name: char,
        skew: i64,
        delayed_s: i64,
        big: bool,
    },
    Refuse {
        name: char,
        skew: i64,
    },
    Detach {
        name: char,
        delivered: Option<u64>,
    },
    Lost(bool),
    Outcome {
        back: usize,
        verb: &'static str,
    },
    Control {
        name: char,
        take: bool,
    },
    Note {
        name: char,
        skew: i64,
    },
    Draft {
        name: char,
        back: usize,
        verb: &'static str,
    },
    End {
        name: char,
    },
    Tick,
    /// Decides what has gathered, then lets time pass, backwards if negative.
    Pass {
        millis: i64,
    },
    Bot(bool),
    /// Beyond so many participants agents are counted from now on.
    Crowd(usize),
}

pub(crate) fn actions() -> impl Strategy<Value = Vec<Action>> {
    let name = || prop::sample::select(vec!['a', 'b', 'p', 'q', 'x', 'y', 'z']);
    let skew = || prop_oneof![6 => Just(0_i64), 2 => -3_i64..0, 1 => 1_i64..3];
    let off = prop::option::of(prop::sample::select(vec![0_i64, -60, 60, 3]));
    let action = prop_oneof![
        3 => (name(), 0_u64..4, off)
            .prop_map(|(name, counter, off_s)| Action::Attach { name, counter, off_s }),
        8 => (name(), skew(), prop::sample::select(vec![0_i64, 0, 3, 9, -60, 60]), prop::bool::weighted(0.1))
            .prop_map(|(name, skew, delayed_s, big)| Action::Say { name, skew, delayed_s, big }),
        1 => (name(), skew()).prop_map(|(name, skew)| Action::Refuse { name, skew }),
        2 => (name(), prop::option::of(0_u64..200))
            .prop_map(|(name, delivered)| Action::Detach { name, delivered }),
        1 => prop::bool::weighted(0.7).prop_map(Action::Lost),
        6 => (0_usize..4, prop::sample::select(vec!["reply", "handoff", "empty", "fail"]))
            .prop_map(|(back, verb)| Action::Outcome { back, verb }),
        2 => (name(), any::<bool>()).prop_map(|(name, take)| Action::Control { name, take }),
        1 => (name(), skew()).prop_map(|(name, skew)| Action::Note { name, skew }),
        2 => (name(), 0_usize..4, prop::sample::select(vec!["send", "dismiss", "edited"]))
            .prop_map(|(name, back, verb)| Action::Draft { name, back, verb }),
        1 => name().prop_map(|name| Action::End { name }),
        1 => Just(Action::Tick),
        8 => prop::sample::select(vec![0_i64, 1, 7, 1_000, 5_000, 16_000, 700_000, -3_000])
            .prop_map(|millis| Action::Pass { millis }),
        1 => prop::bool::weighted(0.8).prop_map(Action::Bot),
        1 => prop::sample::select(vec![0_usize, 1, 2, 50]).prop_map(Action::Crowd),
    ];
    prop::collection::vec(action, 1..120)
}

/// Runs them; `after` is called after each decision with its inputs and what they were answered.
pub(crate) fn run(actions: &[Action], mut after: impl FnMut(&Run, &[Input], &[Reply])) -> Run {
    let mut run = Run::new();
    let mut gathered: Vec<InputKind> = Vec::new();
    for action in actions {
        match action {
            Action::Pass { millis } => {
                decide(&mut run, std::mem::take(&mut gathered), &mut after);
                let distance = Duration::from_millis(millis.unsigned_abs());
                run.now = if *millis < 0 {
                    stentor_types::Timestamp(run.now.0.saturating_sub(3_000_000))
                } else {
                    run.now.after(distance)
                };
            }
            Action::Bot(on) => {
                decide(&mut run, std::mem::take(&mut gathered), &mut after);
                run.rules.bot = on.then(BotRules::default);
            }
            Action::Crowd(min) => {
                decide(&mut run, std::mem::take(&mut gathered), &mut after);
                run.crowd_min = *min;
            }
            other => gathered.extend(input(&run, &gathered, other)),
        }
    }
    decide(&mut run, gathered, &mut after);
    run
}

fn decide(run: &mut Run, inputs: Vec<InputKind>, after: &mut impl FnMut(&Run, &[Input], &[Reply])) {
    if inputs.is_empty() {
        return;
    }
    let replies = run.decide(&inputs);
    let inputs: Vec<_> = inputs.into_iter().map(|kind| Input { at: run.now, kind }).collect();
    after(run, &inputs, &replies);
}

fn input(run: &Run, gathered: &[InputKind], action: &Action) -> Option<InputKind> {
    let now = i64::try_from(run.now.as_millis()).unwrap();
    Some(match action {
        Action::Attach { name, counter, off_s } => {
            InputKind::Attach(attach(*name, *counter, off_s.map(|off| now + off * 1_000)))
        }
        Action::Say { name, skew, delayed_s, big } => {
            let size = if *big { 100_000 } else { 1 };
            let time = now - delayed_s * 1_000;
            InputKind::Say(say(*name, counter(run, gathered, *name, *skew), Some(time), size))
        }
        Action::Refuse { name, skew } => InputKind::Refuse {
            connection: connection(*name),
            mid: mid(*name, counter(run, gathered, *name, *skew)),
            code: RejectCode::Poison,
            body: Bytes::new(),
        },
        Action::Detach { name, delivered } => InputKind::Detach {
            connection: connection(*name),
            delivered: delivered.map(EventNumber),
        },
        Action::Lost(ours) => {
            InputKind::GatewayLost { gateway: if *ours { GATEWAY } else { GatewayId(8) } }
        }
        Action::Outcome { back, verb } => {
            let effect = run.effects.iter().rev().nth(*back)?.id;
            InputKind::Outcome { effect, result: outcome(verb) }
        }
        Action::Control { name, take } => {
            let user = user_of(*name).0;
            InputKind::Control(if *take {
                ControlChange::Take { user, display_name: None }
            } else {
                ControlChange::Release { user }
            })
        }
        Action::Note { name, skew } => {
            let note = say(*name, counter(run, gathered, *name, *skew), None, 1);
            InputKind::Say(Say { note: true, ..note })
        }
        Action::Draft { name, back, verb } => InputKind::Draft {
            user: user_of(*name).0,
            turn: run.effects.iter().rev().nth(*back)?.id.turn,
            action: draft_action(verb),
        },
        Action::End { name } => InputKind::End { user: user_of(*name).0 },
        Action::Tick => InputKind::Tick,
        Action::Pass { .. } | Action::Bot(_) | Action::Crowd(_) => return None,
    })
}

fn counter(run: &Run, gathered: &[InputKind], name: char, skew: i64) -> u64 {
    let state = run.session.state();
    let known = match client_of(name) {
        Some(client) => state.clients.get(&client).map_or(0, |client| client.taken.counter),
        None => state.endpoints.get(&connection(name)).map_or(0, |endpoint| endpoint.taken.counter),
    };
    let client = mid(name, 0).client;
    let waiting = gathered
        .iter()
        .filter(|input| matches!(input, InputKind::Say(say) if say.mid.client == client))
        .count();
    known.saturating_add(waiting as u64).saturating_add(1).saturating_add_signed(skew)
}
